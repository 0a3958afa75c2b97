"""Documents written as CSV by one expression, and value by value: the same records."""

import json
from itertools import zip_longest

from hypothesis import example, given
from hypothesis import strategies as st

from portico.query.csv_text import read_records
from portico.service.tabular import CsvWriter

NAMES = ("id", "a b", 'odd"', "täg")
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=3), SCALARS, max_size=2))
DOCUMENTS = st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=3)


def expected(value: object) -> str | None:
    """What a value is read back as: texts as they are, the rest as its JSON."""
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(DOCUMENTS)
@example([("", "a,b", " ", None)])
@example([("a\r\nb", '"', {}, [])])
@example([(1.5e300, -0.0, True, "null")])
def test_what_is_written_is_read_back(rows: list[tuple[object, ...]]) -> None:
    writer = CsvWriter(NAMES)
    lines = [json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False, separators=(",", ":")) for row in rows]
    text = writer.header + writer.records("".join(line + "\n" for line in lines).encode())
    read = [record for _, record in read_records(text.splitlines(keepends=True))]
    for record, row in zip_longest(read, [NAMES, *rows]):
        assert record == [expected(value) for value in row]
