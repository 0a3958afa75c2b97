"""Correlation ids: the caller's where it is well-formed, else one of ours, known to everything that runs for the request."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from itertools import count

HEADER = b"x-correlation-id"

current: ContextVar[str] = ContextVar("correlation_id", default="")
"""The correlation id of the request that runs now; empty outside of one."""

_well_formed = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch


class CorrelationIds:
    """Chooses the id of each request. Those it makes are unique by 64 random bits of the process and a counter."""

    __slots__ = ("_count", "_prefix")

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._count = count(1)

    def choose(self, asked: bytes | None) -> str:
        """`asked`, where it is 1–128 characters of ``[A-Za-z0-9._-]``, else a new id."""
        if asked is not None and _well_formed(asked):
            return asked.decode("ascii")
        return f"{self._prefix}-{next(self._count):x}"
