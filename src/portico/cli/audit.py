"""`portico audit verify`: whether the audit rows are what was written, and all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from portico.cli.common import ConfigOption, ExitCode, JsonOption, load_settings, print_json
from portico.cli.progress import progress
from portico.errors import ConfigurationError
from portico.events import discard
from portico.model.positions import CHAIN_PURPOSE, Chain
from portico.service.sequencer import records_of
from portico.service.verification import Problem, Verdict, Verification
from portico.settings import Settings, derive_key
from portico.wiring import lacks_file, open_engine

DatabaseOption = Annotated[str | None, typer.Option("--database", "-d", help="Database; by default every one that has an audit.")]
FromOption = Annotated[int, typer.Option("--from", min=1, help="Begin at this position, and believe the hash before it.")]
HeadOption = Annotated[str | None, typer.Option("--head", help="A head that was printed before: the chain must still have it.")]
FormerOption = Annotated[
    list[Path] | None, typer.Option("--former-secret-file", help="File with a secret_key that was in force before; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    audit = typer.Typer(no_args_is_help=True, help="Verify the audit records.")
    audit.callback()(_verbs)
    audit.command("verify")(verify)
    app.add_typer(audit, name="audit")


def _verbs() -> None:
    """Verify the audit records."""


def verify(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    first: FromOption = 1,
    head: HeadOption = None,
    former_secret_file: FormerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether an audit row was changed, removed or added, and where. Nothing is changed.

    Exits with 1 where one was, and with 3 where a database cannot be reached. The head that is printed, kept where nobody who can write
    the database can write, proves later with `--head` that nothing was cut off the end.
    """
    settings = load_settings(config)
    wanted = _hash(head)
    secrets = [path.read_text().strip() for path in former_secret_file or []]
    chains = [Chain(settings.derive_key(CHAIN_PURPOSE)), *(Chain(derive_key(secret, CHAIN_PURPOSE)) for secret in secrets)]
    verdicts = asyncio.run(_verify_all(settings, database, chains, first, wanted, quiet=as_json))
    if as_json:
        print_json({name: _plain(verdict) for name, verdict in verdicts.items()})
    else:
        for name, verdict in verdicts.items():
            _print(name, verdict)
    if any(verdict.found for verdict in verdicts.values()):
        raise typer.Exit(ExitCode.PROBLEM)


def _hash(head: str | None) -> bytes | None:
    try:
        found = bytes.fromhex(head) if head is not None else None
    except ValueError:
        found = b""
    if found is not None and len(found) != 32:
        raise ConfigurationError("A head is the 64 hexadecimal digits that portico audit verify printed.")
    return found


async def _verify_all(
    settings: Settings, only: str | None, chains: list[Chain], first: int, head: bytes | None, *, quiet: bool
) -> dict[str, Verdict]:
    names = [name for name, database in settings.databases.items() if database.type != "redis" and only in (None, name)]
    if not names:
        raise ConfigurationError(f"There is no database {only}." if only else "No database is configured.")
    verdicts: dict[str, Verdict] = {}
    for name in names:
        verdict = await _verify(settings, name, chains, first, head, quiet=quiet)
        if verdict is not None:
            verdicts[name] = verdict
    if not verdicts:
        raise ConfigurationError("There is no audit to verify: Portico's own tables are not there.", hint="portico init-db makes them.")
    return verdicts


async def _verify(settings: Settings, name: str, chains: list[Chain], first: int, head: bytes | None, *, quiet: bool) -> Verdict | None:
    if lacks_file(settings.databases[name]):
        return None
    engine = open_engine(settings, name, secret=b"audit", emit=discard)
    try:
        await engine.start()
        records = records_of(engine)
        if records is None:
            return None
        total = max(await records.newest_position() - first + 1, 0)
        with progress(f"Verifying the audit of {name}", total, unit="positions", quiet=quiet) as advanced:
            return await Verification(records, chains, first=first, head=head, advanced=advanced).run()
    finally:
        await engine.close()


def _print(name: str, verdict: Verdict) -> None:
    for problem in verdict.problems:
        place = f"position {problem.position}: " if problem.position is not None else ""
        typer.echo(f"{name}: {problem.kind}: {place}{problem.text}")
    if verdict.found > len(verdict.problems):
        typer.echo(f"{name}: and {verdict.found - len(verdict.problems)} more.")
    said = "all as written" if not verdict.found else f"{verdict.found} problems"
    pending = f", {verdict.pending} not chained yet" if verdict.pending else ""
    typer.echo(f"{name}: {verdict.rows} audit rows verified, {said}{pending}.")
    if verdict.hash is not None:
        typer.echo(f"{name}: head {verdict.hash.hex()} at position {verdict.position}")


def _plain(verdict: Verdict) -> dict[str, object]:
    return {
        "verified": not verdict.found,
        "rows": verdict.rows,
        "pending": verdict.pending,
        "problems_found": verdict.found,
        "problems": [_problem(problem) for problem in verdict.problems],
        "head": {"position": verdict.position, "hash": verdict.hash.hex()} if verdict.hash is not None else None,
    }


def _problem(problem: Problem) -> dict[str, object]:
    return {"kind": problem.kind, "position": problem.position, "row_id": problem.row_id, "text": problem.text}
