"""Dates and datetimes on the wire, exactly: the driver's own codecs send the first and last of Python's calendar as infinities."""

from __future__ import annotations

import datetime as dt
from typing import cast

import asyncpg

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_FIRST_DAY = dt.date(2000, 1, 1).toordinal()
_MICROSECOND = dt.timedelta(microseconds=1)


async def use_exact_moments(connection: asyncpg.Connection) -> None:
    """Send and read `date` and `timestamptz` by this module on a connection."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_moment_sent, decoder=_moment_read, format="tuple"
    )  # fmt: skip
    await connection.set_type_codec("date", schema="pg_catalog", encoder=_day_sent, decoder=_day_read, format="tuple")


def _moment_sent(value: object) -> tuple[int]:
    return ((cast("dt.datetime", value) - _EPOCH) // _MICROSECOND,)


def _moment_read(parts: tuple[int]) -> dt.datetime:
    return _EPOCH + parts[0] * _MICROSECOND


def _day_sent(value: object) -> tuple[int]:
    return (cast("dt.date", value).toordinal() - _FIRST_DAY,)


def _day_read(parts: tuple[int]) -> dt.date:
    return dt.date.fromordinal(parts[0] + _FIRST_DAY)
