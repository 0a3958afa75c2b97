"""Rows that wait to be written come back as they were checked, in the order of their lines, whether in memory or in a file."""

from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from portico.model.field import FieldType, parse_type
from portico.query.bound import Parameter
from portico.query.scoped import Assignment
from portico.service.checked import SPOOL_BYTES, CheckedRows, decoders, restored
from portico.service.validate import Writer

KINDS = {
    "text": st.text(),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "uuid": st.uuids(),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0)),
    "binary": st.binary(),
}
TYPES = [parse_type(name + more) for name in KINDS for more in ("", "[]")]


def values_of(kind: FieldType) -> st.SearchStrategy[object]:
    """Typed values of a field, or null."""
    one = KINDS[kind.base.value]
    return st.one_of(st.none(), st.lists(one, max_size=3) if kind.array else one)


def writer(*kinds: FieldType) -> Writer:
    """A writer of fields of these types."""
    return Writer(tuple(Assignment(f"f{place}", Parameter(place, kind)) for place, kind in enumerate(kinds)), ())


@given(st.lists(st.tuples(*map(values_of, TYPES)), max_size=3))
def test_values_of_every_type_come_back_as_they_were(rows: list[tuple[object, ...]]) -> None:
    with closing(CheckedRows()) as checked:
        for number, row in enumerate(rows, start=1):
            checked.add(("a",), number, row)
        for _ in range(2):  # they may be read again
            read = [(row.number, restored(row.values, decoders(writer(*TYPES)))) for row in checked.read()]
            assert read == [*enumerate(rows, start=1)]
            assert repr([values for _, values in read]) == repr(rows)


def test_rows_of_several_shapes_keep_their_order_beyond_what_is_held_in_memory() -> None:
    wide = (UUID(int=1), date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), Decimal("1.50"), b"\0" * 1000)
    with closing(CheckedRows()) as checked:
        for number in range(SPOOL_BYTES // 500):
            checked.add(("a",) if number % 3 else ("b", "c"), number, wide)
        rows = [(row.names, row.number) for row in checked.read()]
    assert rows == [(("a",) if number % 3 else ("b", "c"), number) for number in range(SPOOL_BYTES // 500)]
