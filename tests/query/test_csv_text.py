"""CSV: what is written is read back, an empty value is null or the empty text, and what is no CSV is said."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.errors import BodyTooLarge, InvalidValue
from portico.query import csv_text
from portico.query.csv_text import read_records, write_value
from portico.service.tabular import CsvWriter

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def lines(text: str) -> list[bytes]:
    """Physical lines, as a file gives them."""
    return io.BytesIO(text.encode()).readlines()


@given(st.lists(st.lists(st.one_of(st.none(), TEXTS), min_size=2, max_size=4), max_size=6))
def test_what_is_written_is_read_back(rows: list[list[str | None]]) -> None:
    text = "".join(",".join("" if value is None else write_value(value) for value in row) + "\r\n" for row in rows)
    assert [record for _, record in read_records(lines(text))] == rows


@given(st.lists(st.lists(TEXTS.filter(lambda text: text == text.strip("\ufeff")), min_size=2, max_size=3), max_size=5))
def test_what_the_standard_library_writes_is_read(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    assert [record for _, record in read_records(lines(out.getvalue()))] == rows


@given(
    st.dictionaries(
        TEXTS,
        st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), TEXTS), lambda inner: st.lists(inner, max_size=3)),
        min_size=2,
        max_size=5,
    )
)
def test_a_document_becomes_a_record_of_its_values_texts(document: dict[str, object]) -> None:
    writer = CsvWriter(tuple(document))
    line = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    made = (writer.header + writer.records(line.encode() + b"\n")).decode()
    header, record = (found for _, found in read_records(lines(made)))
    assert not isinstance(header, InvalidValue)
    assert [name or "" for name in header] == list(document)
    shown = [
        None if value is None else value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        for value in document.values()
    ]
    assert record == shown


def test_numbers_keep_their_digits() -> None:
    writer = CsvWriter(("a", "b", "c"))
    assert (
        writer.records(b'{"a":12345678901234567890.10,"b":1e400,"c":{"x":1.50}}\n') == b'12345678901234567890.10,1e400,"{""x"":1.50}"\r\n'
    )


def test_an_empty_value_is_null_and_one_in_quotes_is_the_empty_text() -> None:
    assert list(read_records(lines('\ufeffa,b\n,""\n\nx,"l1\nl2"\nlast,y'))) == [
        (1, ["a", "b"]), (2, [None, ""]), (3, [None]), (4, ["x", "l1\nl2"]), (6, ["last", "y"]),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ['a"b,c"\n', '"a"b,c\n', '"a" ,c\n', '"never closed\n'])
def test_what_is_no_csv_is_an_error_of_its_line(text: str) -> None:
    assert [(number, type(record)) for number, record in read_records(lines(text))] == [(1, InvalidValue)]


def test_bytes_that_are_not_utf_8_are_an_error_of_their_line() -> None:
    assert [type(record) for _, record in read_records([b"a,b\n", b"\xff,x\n"])] == [list, InvalidValue]


def test_a_quote_that_is_never_closed_is_read_no_further_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "MOST_RECORD_BYTES", 100)
    with pytest.raises(BodyTooLarge, match="line 2"):
        list(read_records([b"a\n", b'"x\n', *[b"0123456789\n"] * 20]))
