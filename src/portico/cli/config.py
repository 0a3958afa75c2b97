"""`portico config`: the settings in force, secrets masked, with where each value came from."""

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from portico.cli.common import ConfigOption, ExitCode, JsonOption, load_settings, print_json
from portico.settings import Entry, describe, unsafe_reasons


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("config")(show_config)


def show_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the settings in force, secrets masked, and where each comes from.

    Exits with 1 when a setting is unsafe, so that Portico would not start; each reason is printed.
    """
    settings = load_settings(config)
    entries, reasons = describe(settings), unsafe_reasons(settings)
    if as_json:
        values = {entry.key: {"value": entry.value, "source": entry.source} for entry in entries}
        print_json({"settings": values, "unsafe": reasons})
    else:
        _print_table(entries)
        for reason in reasons:
            typer.echo(f"Unsafe: {reason}", err=True)
    if reasons:
        raise typer.Exit(ExitCode.PROBLEM)


def _print_table(entries: list[Entry]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Setting", "Value", "From"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        # Plain Text: a value in brackets is no markup.
        table.add_row(Text(entry.key), Text(_shown(entry.value)), Text(entry.source))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=400)
    console.print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(item if isinstance(item, str) else _name(item) for item in value) or "-"
    return str(value)


def _name(item: object) -> str:
    return str(item.get("name") or item.get("issuer") or item.get("host")) if isinstance(item, dict) else str(item)
