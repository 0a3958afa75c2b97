"""What every verb shares: the options `--config` and `--json`, exit codes, loading of settings, and printing."""

import json
import os
import signal
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

from portico.errors import PorticoError
from portico.settings import Settings, load

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; by default PORTICO_CONFIG, else portico.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class ExitCode(IntEnum):
    """What the exit code of every verb means."""

    OK = 0
    PROBLEM = 1
    CONFIGURATION = 2
    UNREACHABLE = 3


def load_settings(config: Path | None) -> Settings:
    """The settings of this process. Raises ConfigurationError, which `main` prints."""
    return load(config, os.environ)


def end_tidily() -> None:
    """Let SIGTERM end the command as an error does, so that what it was making is removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def print_json(value: object) -> None:
    """Print a value as indented JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_error(error: PorticoError) -> None:
    """Print an error and its hint on standard error."""
    typer.echo(f"portico: {error.message}", file=sys.stderr)
    if error.hint:
        typer.echo(f"  {error.hint}", file=sys.stderr)
