"""PostgREST's grammar: what is accepted, and that what is not is named in an error."""

from __future__ import annotations

import pytest

from portico.errors import (
    HiddenField,
    InvalidParameter,
    InvalidRequest,
    OutOfRange,
    UnknownField,
    UnknownOperator,
    UnknownParameter,
    UnknownRelation,
    WrongType,
)
from portico.query.ast import Condition, Embed, Operator, Ordered, Path, Selected, Slot, Written
from portico.query.bound import Embedded, Output
from portico.syntax import postgrest
from tests.query.samples import from_query_string


def parse(**parameters):
    return postgrest.parse(list(parameters.items()))


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("id", Selected(Path("id"))),
        ("*", Selected(Path("*"))),
        ("number:id", Selected(Path("id"), "number")),
        ("id::text", Selected(Path("id", cast="text"))),
        ("n:id::double precision", Selected(Path("id", cast="double precision"), "n")),
        ("metadata->a->0->>b", Selected(Path("metadata", ("a", 0, "b"), as_text=True))),
        ('metadata->"a.b,c"', Selected(Path("metadata", ("a.b,c",)))),
        ('"weird, name"', Selected(Path("weird, name"))),
        ("total.sum()", Selected(Path("total"), aggregate="sum")),
        ("t:total.avg()::integer", Selected(Path("total"), "t", "avg", "integer")),
        ("count()", Selected(Path("*"), aggregate="count")),
        ("n:count()", Selected(Path("*"), "n", "count")),
        ("with-dash", Selected(Path("with-dash"))),
    ],
)
def test_a_member_of_select_is_read_as_postgrest_reads_it(text, selected):
    assert parse(select=text).query.select == (selected,)


def test_embedded_relations_have_aliases_hints_joins_and_selects_of_their_own():
    selected = parse(select="all:lines!lines_invoice_fkey!inner(id,invoice(*))").query.select
    embed = selected[0] if selected else None
    assert isinstance(embed, Embed)
    assert (embed.relation, embed.alias, embed.hint, embed.inner, embed.spread) == ("lines", "all", "lines_invoice_fkey", True, False)
    inner = (embed.query.select or ())[1]
    assert isinstance(inner, Embed)
    assert inner.relation == "invoice"


def test_a_spread_relation_lifts_its_fields_into_the_document():
    bound, _ = from_query_string("select=id,...client(name)")
    embedded = bound.query.outputs[1]
    assert isinstance(embedded, Embedded)
    assert embedded.spread


@pytest.mark.parametrize(
    ("text", "ordered"),
    [
        ("a", Ordered(Path("a"))),
        ("a.asc", Ordered(Path("a"))),
        ("a.desc", Ordered(Path("a"), descending=True)),
        ("a.nullsfirst", Ordered(Path("a"), nulls_first=True)),
        ("a.desc.nullslast", Ordered(Path("a"), descending=True, nulls_first=False)),
        ("a->b->>c.desc", Ordered(Path("a", ("b", "c"), as_text=True), descending=True)),
        ("client(name).desc", Ordered(Path("name"), descending=True, relation="client")),
    ],
)
def test_a_sort_key_is_read_as_postgrest_reads_it(text, ordered):
    assert parse(order=text).query.order == (ordered,)


def test_a_value_of_a_plain_filter_is_taken_as_it_stands():
    assert parse(status='eq."a,b)').values == ('"a,b)',)


def test_a_quoted_value_in_a_logic_tree_may_have_what_ends_one():
    assert postgrest.parse([("or", r'(a.eq."x,y)",b.eq."q\"q")')]).values == ("x,y)", 'q"q')


def test_a_repeated_field_must_meet_both_conditions():
    bound, values = from_query_string("number=gt.1&number=lt.5")
    assert values[:2] == (1, 5)
    assert "Conjunction" in repr(type(bound.query.filter))


def test_quantifiers_take_a_list_of_values():
    parsed = parse(status="like(any).{a*,b}")
    assert parsed.values == (["a%", "b"],)
    assert parsed.query.filter == Condition(Path("status"), Operator.LIKE, Slot(0, Written.TEXT), quantifier="any")


def test_reserved_parameters_are_left_to_the_caller():
    assert postgrest.parse([("on_conflict", "a,b"), ("columns", "x")], reserved=frozenset({"on_conflict", "columns"})).query.filter is None


def test_a_clause_that_the_call_does_not_take_is_a_fields_name():
    allowed = postgrest.CLAUSES - {"count"}
    assert postgrest.parse([("count", "eq.5")], allowed=allowed).query.filter is not None


def test_grouped_selects_order_by_what_they_group_by():
    bound, _ = from_query_string("select=status,total.sum(),n:count()&order=status.desc")
    assert [output.name for output in bound.query.outputs] == ["status", "sum", "n"]
    assert [item.target.field.name for item in bound.query.order if item.target.field] == ["status"]


def test_json_places_are_named_by_their_last_step():
    bound, _ = from_query_string("select=metadata->a->>b,x:metadata->c")
    assert [output.name for output in bound.query.outputs if isinstance(output, Output)] == ["b", "x"]


@pytest.mark.parametrize(
    ("query_string", "error", "named"),
    [
        ("foo=bar", UnknownParameter, "foo"),
        ("status=draft", UnknownParameter, "status"),
        ("status=xx.1", UnknownOperator, "xx"),
        ("or=(status.between.1)", UnknownOperator, "between"),
        ("totl=eq.1", UnknownField, "totl"),
        ("select=totl", UnknownField, "totl"),
        ("order=totl", UnknownField, "totl"),
        ("select=nothing(*)", UnknownRelation, "nothing"),
        ("secret=eq.1", HiddenField, "secret"),
        ("select=secret", HiddenField, "secret"),
        ("order=secret", HiddenField, "secret"),
        ("or=(number.eq.1,secret.is.null)", HiddenField, "secret"),
        ("select=total.median()", InvalidParameter, "median"),
        ("select=id::money", InvalidParameter, "money"),
        ("select=status.sum()", WrongType, "sum"),
        ("limit=1&limit=2", InvalidParameter, "limit"),
        ("select=id&select=id", InvalidParameter, "select"),
        ("select=id,id", InvalidRequest, "id"),
        ("select=invoice_lines(*)", InvalidRequest, "invoice_lines"),
        ("select=...lines(total.sum())", InvalidRequest, "lines"),
        ("lines.total=gt.1", InvalidParameter, "lines"),
        ("order=lines(total)", InvalidRequest, "lines"),
        ("count=maybe", InvalidParameter, "count"),
        ("or=(status.eq.a", InvalidParameter, "or"),
        ("or=()", InvalidParameter, "or"),
        ("or=(status.eq.a)x", InvalidParameter, "or"),
        ("number=in.1,2", InvalidParameter, "number"),
        ("number=in.(1,2", InvalidParameter, "number"),
        ("status=is.empty", InvalidParameter, "status"),
        ("metadata->n=gt.x", InvalidParameter, "metadata"),
        ("metadata->>a->b=eq.1", InvalidParameter, "metadata"),
        ("status->a=eq.1", WrongType, "status"),
        ("total=like.1*", WrongType, "like"),
        ("status=cs.{a}", WrongType, "cs"),
        ("number=is.true", WrongType, "is_true"),
        ("number=fts.a", WrongType, "fts"),
        ("tags=gt.{a}", WrongType, "gt"),
        ("tags=in.({a})", WrongType, "in"),
        ("metadata=eq(any).{1}", WrongType, "eq(any)"),
        ('""=wfts.a', InvalidParameter, "name"),
        ("limit=abc", InvalidParameter, "limit"),
        ("limit=-1", OutOfRange, "limit"),
        ("limit=1001", OutOfRange, "limit"),
        ("offset=100001", OutOfRange, "offset"),
        ("offset=-1", OutOfRange, "offset"),
        ("cursor=a&offset=1", InvalidParameter, "cursor"),
    ],
)
def test_what_is_wrong_is_refused_and_named(query_string, error, named):
    with pytest.raises(error) as caught:
        from_query_string(query_string)
    assert named in caught.value.message


def test_the_nearest_name_is_the_hint_and_never_a_hidden_one():
    with pytest.raises(UnknownField) as caught:
        from_query_string("totl=eq.1")
    assert "total" in (caught.value.hint or "")
    with pytest.raises(UnknownField) as caught:
        from_query_string("secre=eq.1")
    assert "secret" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    "query_string",
    [
        "or=" + "(and" * 5_000,
        "and=" + "(and" * 30 + "(number.eq.1)" + ")" * 30,
        "or=(" + ",".join(["number.eq.1"] * 201) + ")",
        "number=in.(" + ",".join(["1"] * 1_001) + ")",
        "select=" + "lines(invoice(" * 3 + "id" + "))" * 3,
        "select=" + "lines(" * 5_000,
    ],
)
def test_requests_that_are_too_large_are_refused(query_string):
    with pytest.raises((OutOfRange, InvalidParameter)):
        from_query_string(query_string)


def test_limits_are_inclusive():
    _, values = from_query_string("or=(" + ",".join(["number.eq.1"] * 200) + ")&limit=1000&offset=100000")
    assert values[-2:] == (1000, 100_000)


def test_one_relation_is_embedded_twice_under_two_names():
    bound, _ = from_query_string("select=id,a:lines(id,invoice(id)),b:lines(total)&a.total=gt.5")
    first, second = bound.query.outputs[1:]
    assert isinstance(first, Embedded)
    assert isinstance(second, Embedded)
    assert (first.name, second.name) == ("a", "b")
    assert (first.query.filter is None, second.query.filter is None) == (False, True)
