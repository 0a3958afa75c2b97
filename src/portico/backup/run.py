"""Takes and restores backups of either SQL engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from portico import __version__
from portico.backup import postgres, postgres_restore, sqlite
from portico.backup.file import Advance, Header, Written, open_backup, verify, write_backup
from portico.backup.names import COPIES, backup_name, remove_old
from portico.errors import BackupError, ConfigurationError
from portico.settings.keyring import MasterKey
from portico.store.schema import store_path

_STORE_BEGINS = b"-- Portico backup: the control data"


@dataclass(frozen=True, slots=True)
class Source:
    """A database to back up or restore into. `url` is for PostgreSQL, `file` for SQLite; `name` is its configured name."""

    name: str
    engine: str
    url: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was taken and proven, and the names of the old ones that were removed after that."""

    written: Written
    removed: tuple[str, ...]


def size_of(source: Source) -> int:
    """About how many bytes the database has, for progress."""
    if source.file is None:
        return postgres.survey(source.url).size
    return source.file.stat().st_size if source.file.exists() else 0


def take(source: Source, folder: Path, *, key: MasterKey | None, keep_days: float, advance: Advance) -> Taken:
    """Back up one database into a folder, prove the file, and then remove that database's older ones.

    Args:
        key: encrypts, where there is one. keep_days: backups older than this go; 0 keeps all. advance: told of bytes.

    Raises:
        BackupError: it could not be taken whole; nothing is left behind, and no old backup was removed.
        DatabaseUnavailable: the database cannot be reached.
    """
    now = datetime.now(UTC)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise BackupError(f"The folder {folder} cannot be made.") from None
    file = folder / backup_name(source.name, now, encrypted=key is not None)
    if file.exists():
        raise BackupError(f"There is a backup of this moment in {folder}.", hint="Take it a second later.")
    taken_at = now.isoformat(timespec="seconds")
    if source.file is not None:
        header = Header("sqlite", source.name, taken_at, __version__)
        with tempfile.TemporaryDirectory(dir=folder, prefix=COPIES) as copies:
            written = write_backup(file, header, _sqlite_text(source.file, Path(copies), advance), key=key, advance=lambda _: None)
    else:
        surveyed = postgres.survey(source.url)
        header = Header("postgresql", source.name, taken_at, __version__, surveyed.owners, surveyed.roles)
        written = write_backup(file, header, postgres.dump(source.url, surveyed), key=key, advance=advance)
    return Taken(written, remove_old(folder, source.name, days=keep_days, now=now) if keep_days else ())


def _sqlite_text(file: Path, copies: Path, advance: Advance) -> Iterator[bytes]:
    copy, store = copies / "main", store_path(str(file))
    sqlite.copy_database(file, copy, advance)
    if store.exists():
        sqlite.copy_database(store, copies / "store", advance)
    yield from sqlite.dump(copy)
    if store.exists():
        yield _STORE_BEGINS + b"\n"
        yield from sqlite.dump(copies / "store")


def restore(file: Path, target: Source, *, keys: Sequence[MasterKey], force: bool, advance: Advance) -> Header:
    """Restore a backup into an empty database, after the whole file was read and found to be what was written.

    Args:
        force: remove what the target has. advance: told of bytes of text: twice over, for reading and for restoring.

    Raises:
        BackupError: the file or the target will not do, or restoring failed; the target is as it was.
        DatabaseUnavailable, ConfigurationError.
    """
    header = verify(file, keys, advance)
    if header.engine != target.engine:
        raise ConfigurationError(f"The backup is of {header.engine}, and the database {target.name} is of {target.engine}.")
    if target.file is not None:
        _restore_sqlite(file, target.file, keys, force=force, advance=advance)
        return header
    clear = postgres_restore.check_target(target.url, header, force=force)
    with open_backup(file, keys) as (_, chunks):
        postgres_restore.restore(target.url, _counted(chunks, advance), clear=clear)
    return header


def _restore_sqlite(file: Path, target: Path, keys: Sequence[MasterKey], *, force: bool, advance: Advance) -> None:
    store = store_path(str(target))
    sqlite.check_target(target, force=force)
    sqlite.check_target(store, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".restore-") as made, open_backup(file, keys) as (_, chunks):
        lines = _lines(_counted(chunks, advance))
        sections: list[tuple[Path, Path]] = [(Path(made) / "main", target)]
        found: list[bytes] = []
        sqlite.load(_until_store(lines, found), sections[0][0])
        if found:
            sections.append((Path(made) / "store", store))
            sqlite.load(lines, sections[1][0])
        # The text was read to its end, so the checksum holds. Control data goes first: it is nothing without the database.
        for new, place in reversed(sections):
            new.chmod(0o600 if place == store else 0o640)
            sqlite.remove(place)
            os.replace(new, place)  # noqa: PTH105 - it says that a file in the way is replaced


def _counted(chunks: Iterator[bytes], advance: Advance) -> Iterator[bytes]:
    for chunk in chunks:
        advance(len(chunk))
        yield chunk


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends. A line is in memory whole, as a row of the database was."""
    held: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        held.append(first)
        if others:
            yield b"".join(held)
            yield from others[:-1]
            held = [others[-1]]
    if any(held):
        yield b"".join(held)


def _until_store(lines: Iterator[bytes], found: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line == _STORE_BEGINS:
            found.append(line)
            return
        yield line


__all__ = ["Source", "Taken", "restore", "size_of", "take"]
