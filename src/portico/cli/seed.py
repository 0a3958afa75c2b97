"""`portico seed`: fills the built-in collections with sample data."""

from __future__ import annotations

import re
import time
from enum import StrEnum
from typing import Annotated

import typer

from portico.cli.common import ConfigOption, JsonOption, load_settings, print_json
from portico.cli.progress import progress
from portico.cli.sql_databases import sql_databases
from portico.errors import ConfigurationError
from portico.seeding.plan import SIZES
from portico.seeding.write import seed as write_set

_CLIENT = re.compile(r"[A-Za-z0-9._:@-]{1,255}")


class Size(StrEnum):
    """How much sample data: 100, 10,000 or 1,000,000 rows."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


SizeOption = Annotated[Size, typer.Option("--size", help="About 100, 10,000 or 1,000,000 rows over all collections.")]
SeedOption = Annotated[int, typer.Option("--seed", help="The same number gives the same data.")]
ClientOption = Annotated[
    list[str] | None, typer.Option("--client", help="Client whose data it is, made where it is missing; repeat it for several.")
]
AgainOption = Annotated[bool, typer.Option("--again", help="Add a further set where this seed's is there already.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("seed")(seed)


def seed(
    config: ConfigOption = None,
    size: SizeOption = Size.SMALL,
    number: SeedOption = 1,
    client: ClientOption = None,
    again: AgainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fill the built-in collections with sample data: believable, and the same for the same seed. All of it, or nothing.

    It is bulk data that passes the API by: it leaves no audit rows, no versions and no changes for feeds.
    """
    clients = tuple(dict.fromkeys(client or ()))
    if not all(_CLIENT.fullmatch(item) for item in clients):
        raise typer.BadParameter("a client id has 1 to 255 letters, digits and . _ : @ -", param_hint="--client")
    database = next((item for item in sql_databases(load_settings(config), None) if item.builtin), None)
    if database is None:
        raise ConfigurationError("No database holds the built-in collections.")
    started = time.monotonic()
    with progress(f"seeding {database.name}", sum(SIZES[size].values()), unit="rows", quiet=as_json) as advance:
        plan = write_set(database.url, size=size.value, seed=number, clients=clients, again=again, advance=advance)
    seconds = round(time.monotonic() - started, 3)
    total = sum(plan.counts.values())
    if as_json:
        print_json(
            {"database": database.name, "size": size.value, "seed": number, "set": plan.number, "rows": plan.counts, "seconds": seconds}
        )
    else:
        typer.echo(f"{database.name}: added {total} rows for {plan.counts['clients']} clients in {seconds:.1f} s")
