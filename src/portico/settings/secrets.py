"""`Secret`: a configured value that never prints, and that is read again when the file it comes from is replaced."""

from pathlib import Path

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from portico.errors import ConfigurationError
from portico.settings.keyring import Keyring, is_encrypted

MASK = "********"


class FileText(str):
    """The text of a file that a `_FILE` name pointed to; it remembers the file, so that a secret can be read again."""

    __slots__ = ("path",)
    path: Path

    @classmethod
    def read(cls, path: Path, name: str) -> "FileText":
        """Read `path`, which the setting `name` points to, without its last line end. Raises ConfigurationError."""
        text = cls(_read(path, name))
        text.path = path
        return text


class Secret:
    """A secret of the configuration: plain text, encrypted text, or a file. Only `current()` gives it away."""

    __slots__ = ("_keyring", "_name", "_path", "_stamp", "_text")

    def __init__(self, text: str, *, name: str = "A secret", keyring: Keyring | None = None) -> None:
        """`text` as configured (a FileText when it came from a file). Raises ConfigurationError when it cannot be decrypted."""
        self._name = name
        self._keyring = keyring or Keyring()
        self._path = text.path if isinstance(text, FileText) else None
        self._stamp = _stamp(self._path) if self._path else None
        self._text = str(text)
        self._decrypted()

    def current(self) -> str:
        """The secret as it is now. A file that changed since (by inode, size or time) is read again.

        While a rotation has the file removed for a moment, the last value stays good.
        """
        if self._path is not None:
            stamp = _stamp(self._path)
            if stamp is not None and stamp != self._stamp:
                self._text, self._stamp = _read(self._path, self._name), stamp
        return self._decrypted()

    @property
    def plain(self) -> bool:
        """Whether the secret stands in the open in a variable or in the configuration file."""
        return self._path is None and not is_encrypted(self._text)

    def _decrypted(self) -> str:
        return self._keyring.decrypt(self._text, self._name) if is_encrypted(self._text) else self._text

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of this type takes a Secret and nothing else: loading makes it, with its name and the keyring."""
        del source, handler
        return core_schema.is_instance_schema(cls)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path, name: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ConfigurationError(f"{name} names the file {path}, which cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} names the file {path}, which is not UTF-8 text.") from error
    return text.removesuffix("\n").removesuffix("\r")
