"""Time-ordered identifiers: UUID version 7 (RFC 9562, section 5.7), increasing within a process."""

from __future__ import annotations

import os
import time
from uuid import UUID

_RANDOM_BITS = 74
_last = 0


def uuid7() -> UUID:
    """A new identifier: 48 bits of milliseconds since the epoch, then random bits; greater than every earlier one of this process."""
    global _last  # noqa: PLW0603 - the order within a process is the state
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << _RANDOM_BITS) | (int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS))
    if value <= _last:
        value = _last + 1 + (os.urandom(1)[0] << 8)
    _last = value
    moment, random = value >> _RANDOM_BITS, value & ((1 << _RANDOM_BITS) - 1)
    return UUID(int=(moment << 80) | (0x7 << 76) | ((random >> 62) << 64) | (0b10 << 62) | (random & ((1 << 62) - 1)))
