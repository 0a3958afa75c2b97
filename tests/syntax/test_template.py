"""The hot path of the query string: one template for what differs in values alone, and the very values of the parser."""

from __future__ import annotations

from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.errors import InvalidParameter
from portico.syntax import postgrest

RESERVED = frozenset({"on_conflict", "include"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("status=eq.draft&total=gte.2&limit=20", "status=eq.sent&total=gte.3.5&limit=1"),
        ("status=eq.a%20b", "status=eq.a+b"),
        ("id=in.(1,2,3)", "id=in.(4)"),
        ("metadata->>lang=eq.en", "metadata->>lang=eq.de"),
        ("lines.total=gt.5&select=*,lines(*)", "lines.total=gt.6&select=*,lines(*)"),
        ("cursor=abc&limit=1", "cursor=def&limit=2"),
        ("order=id&offset=5", "order=id&offset=6"),
    ],
)
def test_query_strings_that_differ_in_values_have_one_template_and_one_tree(one, other):
    first, second = postgrest.template(one.encode()), postgrest.template(other.encode())
    assert first is not None
    assert second is not None
    assert first[0] == second[0]
    assert _parse(one).query == _parse(other).query


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("status=eq.draft", "status=neq.draft"),
        ("status=eq.draft", "kind=eq.draft"),
        ("or=(a.eq.1,b.eq.2)", "or=(a.eq.1,b.eq.3)"),
        ("order=id", "order=id.desc"),
        ("limit=1", "offset=1"),
        ("status=is.null", "status=is.true"),
        ("metadata->n=eq.5", 'metadata->n=eq."5"'),
        ("on_conflict=eq.a", "on_conflict=eq.b"),
    ],
)
def test_query_strings_that_differ_in_more_have_two_templates(one, other):
    first, second = (postgrest.template(text.encode(), reserved=RESERVED) for text in (one, other))
    assert first is not None
    assert second is not None
    assert first[0] != second[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "status=eq.a%26b%3Dc&or=(number.eq.1,status.in.(x,y))&limit=3",
        'status=in.("a,b",c)&number=in.(1,2)&number=in.()',
        "metadata->n=gt.5&metadata-%3E%3Elang=eq.en&cursor=x",
        "number=eq(any).{1,2}&status=like.a*&status=not.eq.x&not.and=(number.gt.1,number.lt.3)",
        "select=id,lines(total)&lines.total=gt.5&lines.or=(total.eq.1,total.eq.2)&order=id&count=exact",
        "include=eq.lines&limit=5",
        "&&status=eq.a&",
    ],
)
def test_the_values_are_those_of_the_parser(text):
    split = postgrest.template(text.encode(), reserved=RESERVED)
    assert split is not None
    assert split[1] == _parse(text).values


_value = st.text(st.sampled_from("ab,().%+&=\"'{}\\ é0"), max_size=6)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["status", "metadata->>a", "number"]), st.sampled_from(["eq", "neq", "gt", "lte", "in", "like"]), _value, _value
        ),
        max_size=4,
    )
)
@settings(max_examples=300, deadline=None)
def test_equal_templates_always_mean_equal_trees(parameters):
    texts = ["&".join(f"{quote_plus(name)}={operator}.{quote_plus(pair[side])}" for name, operator, *pair in parameters) for side in (0, 1)]
    splits = [postgrest.template(text.encode()) for text in texts]
    if splits[0] is None or splits[1] is None or splits[0][0] != splits[1][0]:
        return
    trees = [_parse(text) for text in texts]
    assert trees[0].query == trees[1].query
    assert [split[1] for split in splits if split is not None] == [tree.values for tree in trees]


def test_what_is_not_utf8_goes_the_long_way_and_is_refused():
    assert postgrest.template(b"status=eq.%ff") is None
    assert postgrest.template(b"status=eq.\xff") is None
    with pytest.raises(InvalidParameter):
        postgrest.decode_pairs(b"status=eq.%ff")


def test_a_malformed_parameter_goes_the_long_way():
    assert postgrest.template(b"or=(a.eq.1") is None
    assert postgrest.template(b"status=draft") is None


def _parse(text):
    return postgrest.parse(postgrest.decode_pairs(text.encode()), reserved=RESERVED)
