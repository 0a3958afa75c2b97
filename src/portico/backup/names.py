"""Names of backup files, and which of them are old enough to go."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

ENCRYPTED = ".enc"
CHECKSUM = ".sha256"
PARTIAL = ".partial"
COPIES = ".copy-"
"""What the names of folders begin with in which a running backup keeps its copies."""

_UNFINISHED = timedelta(days=1)
_MOMENT = "%Y%m%d_%H%M%S"


def backup_name(database: str, moment: datetime, *, encrypted: bool) -> str:
    """``<database>_backup_YYYYmmdd_HHMMSS.sql.gz``, in UTC; encrypted ones end in ``.enc``."""
    return f"{database}_backup_{moment.astimezone(UTC):{_MOMENT}}.sql.gz{ENCRYPTED if encrypted else ''}"


def checksum_file(backup: Path) -> Path:
    """The file beside a backup that holds its SHA-256, in the form of `sha256sum`."""
    return backup.with_name(backup.name + CHECKSUM)


def remove_old(folder: Path, database: str, *, days: float, now: datetime) -> tuple[str, ...]:
    """Remove a database's backups older than `days`, and what killed runs left of unfinished ones; gives the backups' names.

    Only files that have exactly a backup's name are touched; how old they are, the name says.
    """
    pattern = re.compile(rf"\.?{re.escape(database)}_backup_(\d{{8}}_\d{{6}})\.sql\.gz(?:\.enc)?(\.partial)?")
    removed: list[str] = []
    for copies in folder.glob(f"{COPIES}*"):
        if copies.stat().st_mtime < (now - _UNFINISHED).timestamp():
            shutil.rmtree(copies, ignore_errors=True)
    for file in sorted(folder.iterdir()):
        match = pattern.fullmatch(file.name)
        if match is None:
            continue
        try:
            taken = datetime.strptime(match[1], _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            continue
        if taken < now - timedelta(days=days):
            checksum_file(file).unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            removed += [] if match[2] else [file.name]
    return tuple(removed)
