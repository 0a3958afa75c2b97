"""The file of a backup: SQL text between a first line that says what it is and a last one with the checksum of all before it, compressed.

gunzip -c FILE | head -1        says what it is; encrypted files (.enc) hold the same, in chunks of AES-256-GCM
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

from portico.backup.names import PARTIAL, checksum_file
from portico.backup.sealing import MAGIC, Opener, Sealer, is_sealed
from portico.errors import BackupError
from portico.settings.keyring import MasterKey

BEGINS = b"-- Portico backup "
ENDS = b"-- Portico backup ends "
CHUNK = 1 << 18
_FORMAT = 1
_LONGEST_HEADER = 1 << 20
_TAIL = 256
_LEVEL = 6

Advance = Callable[[int], None]
"""Told how many bytes or rows more are done."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup is of.

    Attributes:
        engine: ``postgresql`` or ``sqlite``. database: its configured name. taken_at: ISO 8601, UTC. version: Portico's.
        owners: the roles that own what is in it. roles: those and the ones that have privileges.
    """

    engine: str
    database: str
    taken_at: str
    version: str
    owners: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that was written and read again. `size` is in bytes, `sha256` of the file as it lies there."""

    file: Path
    size: int
    sha256: str
    encrypted: bool


def write_backup(file: Path, header: Header, body: Iterable[bytes], *, key: MasterKey | None, advance: Advance) -> Written:
    """Write a backup, read it again, and only then give it its name, with its checksum beside it.

    Args:
        body: the SQL text in chunks. key: encrypts, where there is one. advance: told of the bytes of text that are written.
    """
    partial = file.with_name(f".{file.name}{PARTIAL}")
    try:
        # What is in a backup is for nobody's eyes but the owner's.
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
            sealer = Sealer(raw, key) if key is not None else None
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=cast("BinaryIO", sealer or raw), mtime=0) as packed:
                _write(cast("BinaryIO", packed), header, body, advance)
            if sealer is not None:
                sealer.close()
            raw.flush()
            os.fsync(raw.fileno())
        verify(partial, [key] if key is not None else [])
        digest, size = sha256_of(partial), partial.stat().st_size
        partial.rename(file)
    except FileExistsError:
        raise BackupError(f"A backup of this moment is being written to {file.parent}.", hint="Take it a second later.") from None
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BackupError(f"The backup cannot be written to {file.parent}: {error.strerror or 'it failed'}.") from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    checksum_file(file).write_text(f"{digest}  {file.name}\n")
    _sync_folder(file.parent)
    return Written(file, size, digest, key is not None)


def _write(target: BinaryIO, header: Header, body: Iterable[bytes], advance: Advance) -> None:
    digest, count = hashlib.sha256(), 0
    first = BEGINS + json.dumps({"format": _FORMAT, **asdict(header)}, ensure_ascii=True).encode() + b"\n"

    def whole() -> Iterator[bytes]:
        yield first
        yield from body

    for chunk in whole():
        digest.update(chunk)
        count += len(chunk)
        target.write(chunk)
        advance(len(chunk))
    target.write(ENDS + json.dumps({"bytes": count, "sha256": digest.hexdigest()}).encode() + b"\n")


def verify(file: Path, keys: Sequence[MasterKey], advance: Advance = lambda _: None) -> Header:
    """Read a whole backup without changing anything; gives what it is of.

    Raises:
        BackupError: it is not one of ours, truncated, or was changed.
        ConfigurationError: it is encrypted with a key that is not among `keys`.
    """
    beside = checksum_file(file)
    if beside.exists():
        stated = beside.read_text(errors="replace").split()
        if not stated or stated[0] != sha256_of(file):
            raise BackupError(f"The file {file.name} is not the one that its checksum in {beside.name} was made of.")
    with open_backup(file, keys) as (header, chunks):
        for chunk in chunks:
            advance(len(chunk))
    return header


def read_header(file: Path, keys: Sequence[MasterKey]) -> Header:
    """What a backup is of, by its first line alone. Raises as `verify`."""
    with open_backup(file, keys) as (header, _):
        return header


@contextmanager
def open_backup(file: Path, keys: Sequence[MasterKey]) -> Iterator[tuple[Header, Iterator[bytes]]]:
    """A backup's header, and its SQL text in chunks, of which the last comes only if all of them are what was written.

    Raises as `verify`, where the text is read.
    """
    try:
        with file.open("rb") as raw:
            sealed = is_sealed(raw.read(len(MAGIC)))
            raw.seek(0)
            source = cast("BinaryIO", Opener(raw, keys) if sealed else raw)
            with gzip.GzipFile(mode="rb", fileobj=source) as packed:
                first = packed.readline(_LONGEST_HEADER)
                header = _read_header(first, file.name)
                yield header, _checked(cast("BinaryIO", packed), first, file.name)
    except FileNotFoundError:
        raise BackupError(f"There is no file {file}.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise BackupError(f"The file {file.name} is not a backup of Portico, is truncated, or was changed.") from None


def _checked(source: BinaryIO, first: bytes, name: str) -> Iterator[bytes]:
    digest = hashlib.sha256(first)
    count, held = len(first), b""
    while chunk := source.read(CHUNK):
        held += chunk
        given, held = held[:-_TAIL], held[-_TAIL:]
        if given:
            digest.update(given)
            count += len(given)
            yield given
    at = held.rfind(ENDS)
    given = held[: max(at, 0)]
    digest.update(given)
    try:
        stated = json.loads(held[at + len(ENDS) :]) if at >= 0 else None
    except ValueError:
        stated = None
    if stated != {"bytes": count + len(given), "sha256": digest.hexdigest()}:
        raise BackupError(f"The backup {name} is truncated or was changed.")
    yield given


def _read_header(line: bytes, name: str) -> Header:
    try:
        if not line.startswith(BEGINS) or line.startswith(ENDS):
            raise ValueError("no header")
        stated = cast("dict[str, object]", json.loads(line[len(BEGINS) :]))
        if stated.pop("format") != _FORMAT:
            raise BackupError(f"The backup {name} was written by a newer Portico.", hint="Restore it with that version.")
        texts = {key: str(stated[key]) for key in ("engine", "database", "taken_at", "version")}
        lists = {key: tuple(str(item) for item in cast("list[object]", stated[key])) for key in ("owners", "roles")}
        return Header(**texts, owners=lists["owners"], roles=lists["roles"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackupError(f"The file {name} is not a backup of Portico.") from None


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
