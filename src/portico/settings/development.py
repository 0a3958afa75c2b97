"""The secret of a development machine: made once at random and kept beside the embedded database, so that workers agree."""

import contextlib
import os
import secrets
from pathlib import Path

from portico.errors import ConfigurationError

FOLDER = ".portico"
FILE = "secret"


def development_secret(data_folder: Path) -> str:
    """The text of `.portico/secret` in `data_folder`; made, readable by its owner alone, when it is not there.

    Raises ConfigurationError when it can be neither read nor made.
    """
    path = data_folder / FOLDER / FILE
    try:
        if not path.exists():
            _create(path)
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"The development secret {path} can be neither read nor made."
        raise ConfigurationError(message, hint="Make the folder writable, or set PORTICO_SECRET_KEY.") from error


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = path.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="ascii")
    draft = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        # A link fails where the name is taken: of two workers that start together one wins, and both read its secret.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
