"""The program `portico`: the table of its verbs, their loading, and the exit codes of errors."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, NoReturn

import typer

from portico import __version__
from portico.cli.common import ExitCode, print_error
from portico.errors import ConfigurationError, PorticoError, Unavailable


class Verb(NamedTuple):
    """Where a verb lives (a module with `register(app)`), and its line in `portico --help`."""

    module: str
    summary: str


VERBS: dict[str, Verb] = {
    "serve": Verb("portico.cli.serve", "Serve the API."),
    "init-db": Verb("portico.cli.init_db", "Create the built-in collections and Portico's own tables."),
    "status": Verb("portico.cli.status", "Say what state the databases are in."),
    "config": Verb("portico.cli.config", "Show the settings in force and where each comes from."),
    "doctor": Verb("portico.cli.doctor", "Look for what is wrong with the set-up, and say how to put it right."),
    "migrate": Verb("portico.cli.migrate", "Make, plan, apply and undo migrations."),
    "verify-schema": Verb("portico.cli.verify_schema", "Compare the databases with what is declared."),
    "seed": Verb("portico.cli.seed", "Fill the built-in collections with sample data."),
    "backup": Verb("portico.cli.backup", "Back up a database."),
    "restore": Verb("portico.cli.restore", "Restore a backup."),
    "key": Verb("portico.cli.key", "Create, list and revoke API keys."),
    "secrets": Verb("portico.cli.secrets", "Encrypt secrets for the configuration, and change their master key."),
    "audit": Verb("portico.cli.audit", "Verify the audit records."),
    "dev": Verb("portico.cli.dev", "Start and stop the services of a development machine."),
}


def build_app(verb: str | None) -> typer.Typer:
    """The Typer application. Only the module of `verb` is imported; of the others the list of verbs needs no more than the table."""
    app = typer.Typer(
        name="portico",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, (module, summary) in VERBS.items():
        if verb in (None, name) and find_spec(module) is None:
            app.command(name, help=f"{summary} Not there yet.", context_settings=_ANY_ARGUMENTS)(_missing)
        elif name == verb:
            import_module(module).register(app)
        else:
            app.command(name, help=summary)(_listed)
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `portico` with `arguments`, by default the process's, and exit with an `ExitCode`."""
    given = list(arguments if arguments is not None else sys.argv[1:])
    try:
        # The program's own options take no values, so the first argument that is no option is the verb.
        build_app(next((argument for argument in given if not argument.startswith("-")), None))(given, prog_name="portico")
    except PorticoError as error:
        print_error(error)
        sys.exit(exit_code(error))
    sys.exit(ExitCode.OK)


def init_db_main() -> NoReturn:
    """The console script `init-db`: `portico init-db` by its familiar name."""
    main(["init-db", *sys.argv[1:]])


def exit_code(error: PorticoError) -> ExitCode:
    """The exit code that tells a script what kind of error ended a command."""
    if isinstance(error, ConfigurationError):
        return ExitCode.CONFIGURATION
    return ExitCode.UNREACHABLE if isinstance(error, Unavailable) else ExitCode.PROBLEM


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"portico {__version__}")
        raise typer.Exit


# Eager, so that it needs no verb.
_VERSION = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit.")


def _options(version: bool = _VERSION) -> None:
    """Portico: one HTTP door between microservices and their databases."""


def _listed() -> None:
    """Stands for a verb that is only listed."""


# A verb whose options are not known yet takes whatever is given, so that the answer is not a complaint about them.
_ANY_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True}


def _missing(context: typer.Context) -> None:
    raise PorticoError(f"{context.command_path} is not there yet.", hint="portico --help lists the verbs that are.")
