"""`portico secrets`: encrypts secrets for the configuration with the master key, and moves them to a new one."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from portico.cli.common import ConfigOption, ExitCode, JsonOption, print_json
from portico.errors import ConfigurationError
from portico.settings import MasterKey, config_file, load_keyring
from portico.settings.keyring import TOKENS_IN_TEXT

secrets_app = typer.Typer(no_args_is_help=True, help="Encrypt secrets for the configuration, and change their master key.")

FileArgument = Annotated[Path | None, typer.Argument(help="File with `enc:…` values; by default the configuration file.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(secrets_app, name="secrets")


@secrets_app.command("generate-key")
def generate_key(
    key_id: Annotated[str | None, typer.Option("--id", help="Id of the key; by default its fingerprint.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a master key and print it, for the file that PORTICO_MASTER_KEY_FILE names."""
    if key_id is not None and not MasterKey.valid_id(key_id):
        raise typer.BadParameter("an id has 1 to 32 letters, digits, `_` or `-`", param_hint="--id")
    key = MasterKey.generate(key_id)
    if as_json:
        print_json({"id": key.key_id, "key": key.text()})
    else:
        typer.echo(key.text())


@secrets_app.command("encrypt")
def encrypt(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Encrypt a secret that is typed, or piped in, with the first master key, and print it as `enc:…`.

    The secret is never an argument: other users of the machine can read those.
    """
    keyring = load_keyring(config, os.environ)
    token = keyring.encrypt(_read_secret())
    if as_json:
        print_json({"key_id": keyring.keys[0].key_id, "value": token})
    else:
        typer.echo(token)


@secrets_app.command("check")
def check(file: FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try every `enc:…` value of a file with the master keys; prints how many each key opens, and exits with 1 when one does not open."""
    keyring = load_keyring(config, os.environ)
    path = _file(file, config)
    text = _read_text(path)
    opened: dict[str, int] = {}
    failed: list[str] = []
    for match in TOKENS_IN_TEXT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        try:
            keyring.decrypt(match[0], f"{path.name}, line {line}")
            opened[match["key_id"]] = opened.get(match["key_id"], 0) + 1
        except ConfigurationError as error:
            failed.append(error.message)
    if as_json:
        print_json({"opened": opened, "failed": failed})
    else:
        for key_id, count in opened.items():
            typer.echo(f"{key_id}: {count}")
        for message in failed:
            typer.echo(message, err=True)
    if failed:
        raise typer.Exit(ExitCode.PROBLEM)


@secrets_app.command("rotate")
def rotate(file: FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Encrypt every `enc:…` value of a file anew with the first master key, and replace the file in one step.

    The other keys are not needed for it afterwards.
    """
    keyring = load_keyring(config, os.environ)
    path = _file(file, config)
    text = _read_text(path)
    rotated = TOKENS_IN_TEXT.sub(lambda match: keyring.rotate(match[0], path.name), text)
    tokens = [match[0] for match in TOKENS_IN_TEXT.finditer(text)]
    changed = sum(old != new[0] for old, new in zip(tokens, TOKENS_IN_TEXT.finditer(rotated), strict=True))
    if changed:
        _replace_text(path, rotated)
    if as_json:
        print_json({"found": len(tokens), "changed": changed})
    else:
        typer.echo(f"{changed} of {len(tokens)} encrypted values changed.")


def _read_secret() -> str:
    if sys.stdin.isatty():
        secret: str = typer.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
    else:
        secret = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigurationError("There is no secret to encrypt.", hint="Type it when asked, or pipe it in.")
    return secret


def _file(file: Path | None, config: Path | None) -> Path:
    path = file or config_file(config, os.environ)
    if path is None:
        raise ConfigurationError("There is no configuration file here.", hint="Name the file.")
    return path


def _read_text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read.") from error


def _replace_text(file: Path, text: str) -> None:
    target = file.resolve()
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        Path(draft).chmod(target.stat().st_mode & 0o7777)
        Path(draft).replace(target)
    except OSError as error:
        Path(draft).unlink(missing_ok=True)
        raise ConfigurationError(f"{file} cannot be replaced; it is as it was.") from error
