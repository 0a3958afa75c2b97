"""Writes the pages of docs/reference/ that are made from the code: `python scripts/write_reference.py`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from portico import errors
from portico.api.errors import STATUS
from portico.cli.common import ExitCode
from portico.cli.program import VERBS, build_app
from portico.errors import PorticoError

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
COMMAND = "python scripts/write_reference.py"

_ERRORS = f"""\
# Errors

Every refused call is answered with the same envelope:

    {{"success": false, "data": null, "message": "…", "error": {{"code": "…", "details": {{…}}, "hint": "…"}}, "correlation_id": "…"}}

`code` is stable: compare it, and the status. `message` is for people and may change. `details` holds particulars, such as the field or
parameter at fault; `hint` says what to do, or is null. No answer shows SQL, a value of another document, a driver's text or a stack.
A refused call wrote nothing, but for `outcome_unknown`, which says that it does not know.

Answers with 401 carry `WWW-Authenticate`, with 405 `Allow`, with 429 and 503 `Retry-After` in seconds.

This page is written from the code by `{COMMAND}`.
"""
_GROUPS = {
    "The request": (400, 405, 406, 413, 415, 431),
    "Who calls": (401, 403),
    "What is stored": (404, 409, 410, 412),
    "The values": (422,),
    "How often": (429,),
    "Portico and its databases": (500, 501, 503, 504),
}
_CLI = f"""\
# Command line

`portico VERB [OPTIONS]`. Every verb takes `--config FILE` (by default what `PORTICO_CONFIG` names, else `portico.yaml`) unless it says
otherwise, and verbs whose output a script would read take `--json`. `portico VERB --help` says what is written here. `init-db` is also a
program of its own.

| exit code | means |
| --- | --- |
| {ExitCode.OK:d} | all is well |
| {ExitCode.PROBLEM:d} | something was found, or did not work |
| {ExitCode.CONFIGURATION:d} | the settings or the command line are wrong |
| {ExitCode.UNREACHABLE:d} | a database or the service cannot be reached |

This page is written from the code by `{COMMAND}`.
"""


def write_errors() -> str:
    """The page of error codes, from the error tree and the status table."""
    lines = [_ERRORS]
    for title, statuses in _GROUPS.items():
        lines += [f"## {title}\n", "| code | status | meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{kind.code}` | {STATUS[kind]} | {_meaning(kind)} |" for kind in answered() for status in statuses if STATUS[kind] == status
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def answered() -> list[type[PorticoError]]:
    """The errors that callers may see, in the order of the tree."""
    internal = {errors.PorticoError, errors.ConfigurationError, errors.ServiceError}
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PorticoError) and kind not in internal]
    return sorted(kinds, key=lambda kind: inspect.getsourcelines(kind)[1])


def write_cli() -> str:
    """The page of the command line, from the Typer application."""
    lines = [_CLI]
    for verb, (module, summary) in VERBS.items():
        if find_spec(module) is None:
            lines += [f"## portico {verb}\n", f"{summary} Not there yet.\n"]
            continue
        group = typer.main.get_command(build_app(verb))
        assert isinstance(group, TyperGroup), "the program has verbs"
        lines += _command(f"portico {verb}", _typed(group.commands[verb]), "##")
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: TyperCommand | TyperGroup, heading: str) -> Iterator[str]:
    yield f"{heading} {name}\n"
    yield f"{_sentence(command.help or '')}\n"
    if isinstance(command, TyperGroup):
        for word, inner in command.commands.items():
            yield from _command(f"{name} {word}", _typed(inner), heading + "#")
        return
    arguments = [item for item in command.params if isinstance(item, TyperArgument)]
    options = [item for item in command.params if isinstance(item, TyperOption)]
    words = [item.display_name_raw if item.required else f"[{item.display_name_raw}]" for item in arguments]
    yield f"    {' '.join([name, *words, '[OPTIONS]' if options else '']).strip()}\n"
    if options:
        yield "| option | meaning |"
        yield "| --- | --- |"
        yield from (f"| `{_written(item)}` | {_cell(item.help or '')}{_default(item)} |" for item in options)
        yield ""


def _typed(command: object) -> TyperCommand | TyperGroup:
    assert isinstance(command, TyperCommand | TyperGroup), "verbs are made by Typer"
    return command


def _written(option: TyperOption) -> str:
    names = ", ".join(sorted(option.opts, key=len, reverse=True))
    return names if option.is_flag else f"{names} {(option.name or '').upper()}"


def _default(option: TyperOption) -> str:
    if option.required:
        return " Required."
    default = option.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    return f" Default: `{default:g}`." if plain and isinstance(default, float) else f" Default: `{default}`." if plain else ""


def _meaning(kind: type[PorticoError]) -> str:
    first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return _cell(" ".join(first.split()).replace("``", "`"))


def _sentence(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


PAGES = {"errors.md": write_errors, "cli.md": write_cli}
"""The generated pages of docs/reference/, with what writes each. `configuration.md` has a writer beside the settings."""


def main() -> None:
    """Write every page."""
    for name, write in PAGES.items():
        (REFERENCE / name).write_text(write(), encoding="utf-8")
    sys.stdout.write(f"Wrote {', '.join(PAGES)}.\n")


if __name__ == "__main__":
    main()
