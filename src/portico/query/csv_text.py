"""CSV as Portico takes and writes it (RFC 4180): an empty value without quotes is null, one in quotes is the empty text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from portico.errors import BodyTooLarge, InvalidValue

MOST_RECORD_BYTES = 10_485_760
_VALUE = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(,|\Z)')
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_BOM = b"\xef\xbb\xbf"

Record = list[str | None]


def read_records(lines: Iterable[bytes]) -> Iterator[tuple[int, Record | InvalidValue]]:
    """The records of physical lines, each with the number of its first line; a malformed one is its error. Blank lines have one null.

    Raises:
        BodyTooLarge: a record has more than ten megabytes, as one whose quote is never closed may.
    """
    pending: list[bytes] = []
    size = first = 0
    open_quote = False
    for number, line in enumerate(lines, start=1):
        if not pending:
            first, size = number, 0
        size += len(line)
        if size > MOST_RECORD_BYTES:
            raise BodyTooLarge(f"The record at line {first} is larger than {MOST_RECORD_BYTES} bytes.", hint="Is a quote not closed?")
        pending.append(line)
        open_quote ^= line.count(b'"') % 2 == 1
        if not open_quote:
            whole = b"".join(pending)
            pending = []
            yield first, _record(whole.removeprefix(_BOM) if first == 1 else whole)
    if pending:
        yield first, InvalidValue("A quote is not closed.")


def _record(line: bytes) -> Record | InvalidValue:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return InvalidValue("The line is not valid UTF-8.")
    text = text.removesuffix("\n").removesuffix("\r")
    if '"' not in text:
        return [value or None for value in text.split(",")]
    values: Record = []
    place = 0
    while True:
        match = _VALUE.match(text, place)
        if match is None:
            return InvalidValue("A quote stands inside of a value that does not begin with one, or a value goes on after its last quote.")
        quoted = match[1]
        values.append(quoted.replace('""', '"') if quoted is not None else match[2] or None)
        if not match[3]:
            return values
        place = match.end()


def write_value(text: str) -> str:
    """A text as a value, in quotes where it needs them."""
    if not text or _NEEDS_QUOTES.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text
