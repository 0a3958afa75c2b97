"""What the official PostgREST client writes is understood, with its own quoting and percent-encoding."""

from __future__ import annotations

from decimal import Decimal

import pytest
from postgrest import SyncPostgrestClient

from tests.query.samples import from_query_string

INVOICES = SyncPostgrestClient("http://localhost/rest/v1").from_("invoices")


@pytest.mark.parametrize(
    ("builder", "values"),
    [
        (
            INVOICES.select("id, status", "lines(total)")
            .eq("status", "a,b(c)")
            .gt("number", 1)
            .order("created_at", desc=True, nullsfirst=True)
            .limit(5),
            [1_000, "a,b(c)", 1, 5],
        ),
        (INVOICES.select("*").in_("status", ["a", "b,c", 'q"x']).not_.like("status", "%x%"), [["a", "b,c", 'q"x'], "%x%", 50]),
        (INVOICES.select("*").or_("number.eq.1,and(status.eq.a,paid.is.true)"), [1, "a", 50]),
        (
            INVOICES.select("*, lines!inner(*)")
            .or_("total.eq.1,total.gt.5", reference_table="lines")
            .order("total", foreign_table="lines")
            .limit(2, foreign_table="lines"),
            [Decimal(1), Decimal(5), 2, 50],
        ),
        (
            INVOICES.select("*")
            .contains("tags", ["a", "b"])
            .contains("metadata", {"a": 1})
            .overlaps("scores", [1, 2])
            .contained_by("tags", ["x"]),
            [["a", "b"], ["x"], '{"a":1}', [1, 2], 50],
        ),
        (INVOICES.select("*").text_search("status", "fat & cat", {"type": "plain", "config": "english"}), ["fat & cat", 50]),
        (INVOICES.select("*").match({"number": 1, "status": "x"}).range(0, 9), [1, "x", 10, 0]),
        (INVOICES.select("*").like_any_of("status", "a%,b%").ilike_all_of("status", "%a,%b"), [["a%", "b%"], ["%a", "%b"], 50]),
        (INVOICES.select("*").filter("metadata->>lang", "eq", "en").filter("metadata->n", "gte", "5"), ["en", 5.0, 50]),
        (INVOICES.select("count()", "total.sum()", "status"), [50]),
    ],
)
def test_a_query_of_the_official_client_is_bound(builder, values):
    _, bound_values = from_query_string(str(builder.request.params))
    assert list(bound_values) == values
