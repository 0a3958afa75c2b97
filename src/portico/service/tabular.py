"""Documents as CSV: what a header names, what a record's values are by their fields' types, and a document's JSON as a record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from portico.errors import InvalidParameter, InvalidValue, PorticoError, UnknownField
from portico.model.collection import Collection
from portico.model.field import Base, Field
from portico.query.csv_text import Record, read_records, write_value
from portico.query.json_text import read_json
from portico.query.nearest import nearest

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NUMERIC = frozenset({Base.INTEGER, Base.BIGINT, Base.DECIMAL, Base.FLOAT})
_SIMPLE_VALUE = r'(?:"([^"\\]*)"|(-?[0-9][0-9.eE+-]*|true|false|\{\}|\[\])|null)'
"""A JSON value that is a text without escapes (the first group), something that stands as it is (the second), or null."""

_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
Read = Callable[[str], object]


def documents(collection: Collection, lines: Iterable[bytes], hidden: frozenset[str]) -> Iterator[tuple[int, object] | None]:
    """The documents of a CSV text with their line numbers; one that cannot be read is its error, and a line that holds nothing is None.

    Raises:
        InvalidParameter: there is no header, or it names a field twice. UnknownField: it names what is no field.
    """
    records = read_records(lines)
    _, header = next(records, (1, None))
    if header is None:
        raise InvalidParameter("The CSV has no header.", hint="Its first line names the fields.")
    if isinstance(header, InvalidValue):
        raise InvalidParameter(f"The header cannot be read. {header.message}")
    readers = _readers(collection, header, hidden)
    for number, record in records:
        if isinstance(record, InvalidValue):
            yield number, record
        elif record != [None] or len(readers) == 1:
            yield number, _document(record, readers)
        else:
            yield None


def _readers(collection: Collection, header: Record, hidden: frozenset[str]) -> list[tuple[str, Read]]:
    members = [member for member, _ in collection.security.passwords]
    known = [field.name for field in collection.fields if field.name not in hidden] + members
    readers: list[tuple[str, Read]] = []
    for name in header:
        if name is None or (name not in collection.by_name and name not in members):
            raise UnknownField(
                f"The header names {(name or '')[:100]!r}, which is no field of {collection.name}.",
                hint=nearest(name or "", known, "The first line names the fields."),
                details={"field": (name or "")[:100]},
            )
        if any(name == other for other, _ in readers):
            raise InvalidParameter(f"The header names {name} twice.", details={"field": name})
        readers.append((name, _reader(collection.by_name[name]) if name in collection.by_name else str))
    return readers


def _reader(field: Field) -> Read:
    """How a value's text becomes what a JSON body would have. What does not fit stays a text, which the field's own rules refuse."""
    base = field.type.base
    if field.type.array or base is Base.JSON:
        return read_json
    if base in _NUMERIC:
        return lambda text: read_json(text) if _NUMBER.fullmatch(text) else text
    if base is Base.BOOLEAN:
        return lambda text: _TRUTH.get(text.lower(), text)
    return str


def _document(record: Record, readers: Sequence[tuple[str, Read]]) -> object:
    if len(record) != len(readers):
        return InvalidValue(f"The line has {len(record)} values, and the header names {len(readers)} fields.")
    try:
        return {name: None if text is None else read(text) for (name, read), text in zip(readers, record, strict=True)}
    except PorticoError as error:
        return error


class CsvWriter:
    """Turns documents, as JSON objects with these members in this order, into records. Numbers and nested JSON keep their text."""

    def __init__(self, names: Sequence[str]) -> None:
        self._prefixes = [json.dumps(name, ensure_ascii=False) + ":" for name in names]
        self._read = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
        self._simple = re.compile(r"\{" + ",".join(re.escape(prefix) + _SIMPLE_VALUE for prefix in self._prefixes) + r"\}")
        self.header = (",".join(write_value(name) for name in names) + "\r\n").encode()

    def records(self, chunk: bytes) -> bytes:
        """The records of whole lines, each a document."""
        return "".join([self._record(line) for line in chunk.decode().split("\n") if line]).encode()

    def _record(self, line: str) -> str:
        """A document as a record. Most have no text with an escape and no nested JSON, so that one expression takes their values."""
        match = self._simple.fullmatch(line)
        if match is None:
            return self._value_by_value(line)
        found = iter(match.groups())
        values = [
            plain or "" if text is None else text if text and "," not in text else f'"{text}"'
            for text, plain in zip(found, found, strict=True)
        ]
        return ",".join(values) + "\r\n"

    def _value_by_value(self, line: str) -> str:
        values: list[str] = []
        place = 1
        for prefix in self._prefixes:
            if not line.startswith(prefix, place):
                place = self._skipped(line, place)
            else:
                place += len(prefix)
            value, end = self._read(line, place)
            text = line[place:end]
            values.append("" if value is None else write_value(cast("str", value) if text[0] == '"' else text))
            place = end + 1
        return ",".join(values) + "\r\n"

    def _skipped(self, line: str, place: int) -> int:
        """Where the member's value begins, whose name is written in another way than expected."""
        _, end = self._read(line, place)
        return end + 1
