"""The lines of an import, read by two parsers that must agree."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from portico.api.streams import _document, _read
from portico.errors import PorticoError

VALUES = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.floats(), st.lists(st.integers(), max_size=2))
MEMBERS = st.lists(st.tuples(st.text(max_size=3), VALUES), max_size=5)


def written(members: list[tuple[str, object]], *, plain: bool) -> bytes:
    """An object with these members, which may have the same name twice."""
    texts = (json.dumps(name, ensure_ascii=plain) + ":" + json.dumps(value, ensure_ascii=plain) for name, value in members)
    return ("{" + ",".join(texts) + "}\n").encode()


def said(read: object) -> object:
    """What was read, with the types of values; or the error."""
    if isinstance(read, PorticoError):
        return (type(read), read.message)
    return [(name, type(value), value) for name, value in read.items()] if isinstance(read, dict) else read


@given(MEMBERS, st.booleans())
@example([("a", 1), ("a", 1)], True)
@example([("a", "x"), ("a", "y")], True)
@example([("a", 2**64), ("b", -0.0)], True)
def test_a_line_is_read_as_the_strict_parser_reads_it(members: list[tuple[str, object]], plain: bool) -> None:
    line = written(members, plain=plain)
    assert said(_document(line)) == said(_read(line))


@given(st.binary(max_size=20))
@example(b'{"a":1,"a":2}')
@example(b'{"a":01}')
@example(b'{"a":-0}')
@example(b'{"a":"\xff"}')
@example(b'\xef\xbb\xbf{"a":1}')
def test_whatever_stands_in_a_line_the_two_agree(line: bytes) -> None:
    assert said(_document(line)) == said(_read(line))
