"""Rows of an import that were checked and wait to be written: typed values, in memory while they are few and then in a file without a name.

A row is kept as one line of JSON: its line number, then its values in the order of its plan's inputs. A line that is an object says of
which members the bodies of the rows after it were made.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

import orjson

from portico.model.field import Base, FieldType
from portico.service.validate import Writer

SPOOL_BYTES = 1_048_576
WRITTEN_BYTES = 65_536
Decode = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row whose values are as they were checked; `size` is roughly what it takes, in bytes."""

    names: tuple[str, ...]
    number: int
    values: list[object]
    size: int


class CheckedRows:
    """Rows in the order of their lines, to be closed in the end."""

    def __init__(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - `close` closes it
        self._names: tuple[str, ...] | None = None
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, names: tuple[str, ...], number: int, values: Sequence[object]) -> None:
        """Keep one row. `names`: the members of its body. `number`: of its line."""
        if names != self._names:
            self._lines.append(orjson.dumps({"names": names}, option=orjson.OPT_APPEND_NEWLINE))
            self._names = names
        line = orjson.dumps((number, *values), _plain, orjson.OPT_APPEND_NEWLINE)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= WRITTEN_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._spool.write(b"".join(self._lines))
        self._lines.clear()
        self._size = 0

    def read(self) -> Iterator[CheckedRow]:
        """The rows from the first, their values as JSON has them: `restored` gives them their types again."""
        self._flush()
        self._spool.seek(0)
        names: tuple[str, ...] = ()
        for line in self._spool:
            read = orjson.loads(line)
            if isinstance(read, dict):
                names = tuple(read["names"])
            else:
                number = read.pop(0)
                yield CheckedRow(names, number, read, len(line))

    def close(self) -> None:
        """Forget them."""
        self._spool.close()


def decoders(writer: Writer) -> tuple[tuple[int, Decode], ...]:
    """The places of a plan's values that JSON has no type for, and what reads each."""
    found: list[tuple[int, Decode]] = []
    for place, assignment in enumerate(writer.assignments):
        kind = assignment.value.type
        decode = _DECODERS.get(kind.base) if isinstance(kind, FieldType) else None
        if decode is not None:
            found.append((place, _each(decode) if isinstance(kind, FieldType) and kind.array else decode))
    return tuple(found)


def restored(values: list[object], decode: Sequence[tuple[int, Decode]]) -> tuple[object, ...]:
    """The values of a row with their types."""
    for place, read in decode:
        value = values[place]
        if value is not None:
            values[place] = read(value)
    return tuple(values)


def _plain(value: object) -> object:
    """What is kept of a value that JSON has no type for."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError


def _each(decode: Decode) -> Decode:
    return lambda values: [decode(value) for value in cast("list[object]", values)]


_DECODERS: dict[Base, Decode] = {
    Base.DECIMAL: lambda value: Decimal(cast("str", value)),
    Base.UUID: lambda value: UUID(cast("str", value)),
    Base.DATE: lambda value: date.fromisoformat(cast("str", value)),
    Base.DATETIME: lambda value: datetime.fromisoformat(cast("str", value)),
    Base.BINARY: lambda value: base64.b64decode(cast("str", value)),
}
