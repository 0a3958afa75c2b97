"""`$dateTrunc` of stored dates and datetimes, in any time zone, as PostgreSQL's `date_trunc` reads it."""

from __future__ import annotations

import datetime as dt

from portico.engines.sql.types import stored_datetime
from portico.query.moments import in_utc, zone_of

_CLOCK = frozenset({"hour", "minute", "second"})


def truncated(value: str, unit: str, zone: str, start: int) -> str:
    """The beginning of the unit that a moment or day is in.

    Args:
        value: ``YYYY-MM-DD``, or a moment in UTC. unit: from second to year. zone: an IANA name, whose days and hours are meant.
        start: the first day of a week, 0 is Monday.
    Raises:
        ValueError, OverflowError: it is outside of the years 1 to 9999.
    """
    if len(value) == 10:
        return _begun(dt.datetime.fromisoformat(value), unit, start).date().isoformat()
    moment = dt.datetime.fromisoformat(value)
    here = moment.astimezone(zone_of(zone))
    if unit in _CLOCK:
        # Within an hour the offset stays what it is, on the day that has an hour twice as well.
        local = here.replace(tzinfo=None)
        begun = (_clock(local, unit) - local) + moment
    else:
        begun = in_utc(_begun(here.replace(tzinfo=None), unit, start), zone_of(zone))
    return stored_datetime(begun)


def _clock(local: dt.datetime, unit: str) -> dt.datetime:
    begun = local.replace(microsecond=0)
    if unit != "second":
        begun = begun.replace(second=0)
    return begun.replace(minute=0) if unit == "hour" else begun


def _begun(local: dt.datetime, unit: str, start: int) -> dt.datetime:
    """The beginning of a unit, without a zone."""
    if unit in _CLOCK:
        return _clock(local, unit)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    match unit:
        case "year":
            return day.replace(month=1, day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "month":
            return day.replace(day=1)
        case "week":
            return day - dt.timedelta(days=(day.weekday() - start) % 7)
    return day
