"""What holds for every filter and every text: both syntaxes agree, and nothing but an error of the request comes out of nonsense."""

from __future__ import annotations

import contextlib
import json
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from portico.errors import RequestError
from portico.query.bind import bind, bind_filter
from portico.query.cursor import query_tag
from portico.query.json_text import read_json
from portico.syntax import mongo, postgrest
from tests.query.samples import INVOICES, from_json, from_query_string, resolve
from tests.query.wishes import Compare, as_json, as_parameter, as_query_string, comparisons, filters

FRAGMENTS = [
    "or=(",
    "and=(",
    "not.",
    "eq.",
    "in.(",
    "like.",
    "is.null",
    "select=",
    "order=",
    "metadata->",
    "->>",
    "lines(",
    "lines.",
    ")",
    ",",
    ".",
]
FRAGMENTS += [
    "status",
    "number",
    "total.sum()",
    "::text",
    "!inner",
    "...",
    "cs.{",
    "}",
    '"',
    "\\",
    "&",
    "=",
    "limit=",
    "%",
    "%00",
    "%ff",
    "+",
    "(any)",
    "5",
]
KEYS = [
    "filter",
    "fields",
    "sort",
    "limit",
    "offset",
    "cursor",
    "include",
    "count",
    "status",
    "number",
    "metadata.n",
    "tags",
    "lines",
    "relation",
    "inner",
]
KEYS += [
    "$and",
    "$or",
    "$nor",
    "$not",
    "$eq",
    "$ne",
    "$in",
    "$nin",
    "$exists",
    "$regex",
    "$options",
    "$elemMatch",
    "$size",
    "$text",
    "$where",
    "$like",
    "$contains",
]


@given(filters())
@settings(max_examples=300, deadline=None)
def test_any_filter_is_bound_alike_from_both_syntaxes(wish):
    one, one_values = from_query_string(as_query_string(wish))
    other, other_values = from_json(json.dumps({"filter": as_json(wish)}))
    assert one.query == other.query
    assert one_values == other_values


@given(comparisons())
@settings(max_examples=300, deadline=None)
def test_a_condition_means_the_same_as_a_parameter_and_inside_a_logic_tree(wish: Compare):
    text = as_parameter(wish)
    one, one_values = from_query_string(text)
    other, other_values = from_json(json.dumps({"filter": as_json(wish)}))
    assert one.query == other.query
    assert one_values == other_values


_fields = st.lists(st.sampled_from(["id", "status", "number", "metadata.a.b"]), unique=True, min_size=1)
_sort_keys = st.tuples(st.sampled_from(["status", "number", "metadata.n"]), st.booleans(), st.sampled_from([None, "first", "last"]))
_pages = st.tuples(st.none() | st.integers(0, 1_000), st.none() | st.integers(0, 100_000))


@given(filters(), st.none() | _fields, st.lists(_sort_keys, max_size=3), _pages, st.none() | filters(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_whole_query_is_bound_alike_from_both_syntaxes(wish, fields, sort, page, nested, inner):
    limit, offset = page
    body: dict[str, object] = {"filter": as_json(wish), "fields": fields, "limit": limit, "offset": offset}
    body["sort"] = [
        {"field": name, "direction": "desc" if down else "asc", **({"nulls": nulls} if nulls else {})} for name, down, nulls in sort
    ]
    body["include"] = {"lines": {"inner": inner, "include": {"invoice": {"filter": as_json(nested)}}}} if nested else None
    selected = [name.replace(".", "->") for name in fields] if fields else ["*"]
    selected += [f"lines{'!inner' if inner else ''}(*,invoice(*))"] if nested else []
    order = [f"{name.replace('.', '->')}.{'desc' if down else 'asc'}{f'.nulls{nulls}' if nulls else ''}" for name, down, nulls in sort]
    parameters = [as_query_string(wish), f"select={','.join(selected)}"]
    parameters += [f"order={','.join(order)}"] if order else []
    parameters += [f"limit={limit}"] if limit is not None else []
    parameters += [f"offset={offset}"] if offset is not None else []
    parameters += [f"lines.invoice.{as_query_string(nested)}"] if nested else []
    one, one_values = from_query_string("&".join(parameters))
    other, other_values = from_json(json.dumps(body))
    assert one.query == other.query
    assert one_values == other_values


@given(filters())
@settings(max_examples=100, deadline=None)
def test_a_cursor_belongs_to_the_query_whatever_the_order_of_its_parameters(wish):
    text = as_query_string(wish)
    trees = [postgrest.parse(postgrest.decode_pairs(pairs.encode())).query for pairs in (f"{text}&limit=5", f"limit=5&{text}&cursor=abc")]
    assert query_tag(trees[0], INVOICES) == query_tag(trees[1], INVOICES)


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(string.printable, max_size=4), max_size=12).map("".join))
@settings(max_examples=500, deadline=None)
def test_no_query_string_gives_anything_but_an_answer_or_an_error_of_the_request(text):
    _survive(lambda: from_query_string(text))
    split = postgrest.template(text.encode())
    try:
        parsed = postgrest.parse(postgrest.decode_pairs(text.encode()))
    except RequestError:
        return
    assert split is not None
    assert split[1] == parsed.values


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_bytes_give_anything_but_an_answer_or_an_error_of_the_request(raw):
    _survive(lambda: bind(postgrest.parse(postgrest.decode_pairs(raw)).query, INVOICES, resolve=resolve))
    _survive(lambda: postgrest.template(raw))


_leaves = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["status", "-number", "lines", "exact", "a.b", ""])
)
_json = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(_json)
@settings(max_examples=500, deadline=None)
def test_no_json_gives_anything_but_an_answer_or_an_error_of_the_request(body):
    text = json.dumps(body)
    _survive(lambda: from_json(text))
    _survive(lambda: _bind_filter(text))


@given(st.text(max_size=30) | st.lists(st.sampled_from(list('{}[]",:0123.eE+-tfn\\u ')), max_size=20).map("".join))
def test_no_text_gives_anything_but_json_or_an_error_of_the_request(text):
    _survive(lambda: read_json(text))


def _bind_filter(text):
    node, values = mongo.parse_filter(read_json(text))
    return bind_filter(node, INVOICES).values(values) if node is not None else None


def _survive(call):
    with contextlib.suppress(RequestError):
        call()
