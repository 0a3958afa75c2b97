"""What of a plan's numbers is answered to whom."""

from __future__ import annotations

from portico.engines.explaining import Step
from portico.engines.postgres.explain import explained
from portico.service.explain import counted_steps

TICKETS, USERS = (None, "tickets"), (None, "users")


def test_what_an_index_finds_before_tenants_are_compared_is_notcounted_steps_for_one_of_them() -> None:
    scan = {"Node Type": "Bitmap Index Scan", "Index Name": "by_status", "Plan Rows": 7, "Actual Rows": 7, "Actual Loops": 1}
    heap = {"Node Type": "Bitmap Heap Scan", "Relation Name": "tickets", "Actual Rows": 0, "Actual Loops": 1, "Plans": [scan]}
    found = explained({"Plan": heap | {"Filter": "(client_id = 'rival')"}, "Planning Time": 1.0, "Execution Time": 2.0})
    assert [(step.table, step.index) for step in found.steps] == [("tickets", None), ("tickets", "by_status")]
    assert list(counted_steps(found.steps, frozenset({TICKETS}))) == [True, False]
    assert list(counted_steps(found.steps, None)) == [True, True]
    assert "rival" not in repr(found)


def test_what_is_limited_by_a_join_iscounted_steps_nowhere_below_it_nor_in_it() -> None:
    steps = (Step(0, "Limit"), Step(1, "Join"), Step(2, "Seq Scan", table="tickets"), Step(2, "Seq Scan", table="users"), Step(1, "Result"))
    assert list(counted_steps(steps, frozenset({USERS}))) == [False, False, False, True, True]
