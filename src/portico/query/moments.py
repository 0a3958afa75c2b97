"""Time zones by their IANA names, and local times as the moments that they are there."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

UTC = "UTC"
_SAME_AS_UTC = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal"})
_LOCAL = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?))?")


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """IANA's names; what a machine's own files add to them may mean other things elsewhere."""
    return frozenset(
        name
        for name in available_timezones()
        if not name.startswith(("posix/", "right/", "SystemV/")) and name not in {"localtime", "Factory"}
    )


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name."""
    return ZoneInfo(name)


def plain_zone(name: str) -> str:
    """The name, or ``UTC`` for those that mean nothing else."""
    return UTC if name in _SAME_AS_UTC else name


def in_utc(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """A local time as a moment. One that is there twice is the later, one that is not there is read by the offset before."""
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    before, after = first.utcoffset(), second.utcoffset()
    twice = before is not None and after is not None and before > after
    return second if twice else first


def with_offset(raw: object, zone: str) -> object:
    """A text of a datetime that names no offset, with the one that it has in a zone; anything else as it is."""
    found = _LOCAL.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        return [with_offset(item, zone) for item in raw] if isinstance(raw, list) else raw
    day, clock = found.groups()
    whole = f"{day}T{clock or '00:00'}"
    try:
        # Where the digits behind the point are more than there are microseconds, they are cut, as everywhere.
        moment = in_utc(dt.datetime.fromisoformat(whole[:26]), zone_of(zone))
        return moment.astimezone(dt.UTC).isoformat()
    except (ValueError, OverflowError):
        return raw


def shown_in(text: str, zone: str) -> tuple[str, str, int]:
    """A moment of a stored text in a zone, as local date, local time of day, and offset in seconds.

    Raises:
        ValueError, OverflowError: it is no moment, or is outside of the years 1 to 9999 there.
    """
    local = dt.datetime.fromisoformat(text).astimezone(zone_of(zone))
    offset = local.utcoffset()
    assert offset is not None, "a zone says its offset"
    day, _, clock = local.replace(tzinfo=None).isoformat().partition("T")
    return day, clock, int(offset.total_seconds())


def offset_text(seconds: int, *, minutes: bool) -> str:
    """An offset as PostgreSQL writes it: ``+02``, or ``+02:00`` with `minutes`, and seconds where there are some."""
    size = abs(seconds)
    parts = [size // 3600, size // 60 % 60, size % 60]
    while len(parts) > (2 if minutes else 1) and parts[-1] == 0:
        parts.pop()
    return ("-" if seconds < 0 else "+") + ":".join(f"{part:02}" for part in parts)
