"""The checker finds each anomaly in a history written by hand, and nothing in one that has none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.histories.checker import Anomaly, check, forbidden
from tests.histories.history import LEVELS, Forgotten, History, Outcome, Read, Step, Transaction, Value, Write


def did(number: int, *steps: Step, outcome: Outcome = "committed", told: Outcome | None = None, session: int | None = None) -> Transaction:
    return Transaction(number, number if session is None else session, steps, outcome, told)


def history(*transactions: Transaction, final: dict[str, Value] | None = None, **installed: Sequence[Value]) -> History:
    return History(transactions, installed, final or {})


def r(key: str, *value: int) -> Read:
    return Read(key, value)


def w(key: str, *value: int, undone: bool = False, held: bool = False) -> Write:
    return Write(key, value, undone, held)


WRITE_SKEW = history(
    did(1, r("x"), r("y"), w("x", 1)),
    did(2, r("x"), r("y"), w("y", 2)),
    x=[(1,)], y=[(2,)],
)  # fmt: skip
LOST_UPDATE = history(did(1, r("x"), w("x", 1)), did(2, r("x"), w("x", 2)), x=[(1,), (2,)])

ANOMALIES: dict[Anomaly, History] = {
    "unwritten": history(did(1, r("x", 7)), x=[]),
    "wrong_list": history(did(1, r("x"), w("x", 1)), did(2, r("x", 1), w("x", 1, 2)), did(3, r("x", 5, 2)), x=[(1,), (1, 2)]),
    "aborted_read": history(did(1, w("x", 1), outcome="aborted"), did(2, r("x", 1)), x=[]),
    "intermediate_read": history(did(1, w("x", 1), w("x", 1, 2)), did(2, r("x", 1)), x=[(1,), (1, 2)]),
    "internal": history(did(1, w("x", 1), r("x")), x=[(1,)]),
    "non_repeatable_read": history(did(1, w("x", 1)), did(2, r("x"), r("x", 1)), x=[(1,)]),
    "lost_commit": history(did(1, w("x", 1)), x=[]),
    "aborted_write": history(did(1, w("x", 1), outcome="aborted"), x=[(1,)]),
    "wrong_state": history(did(1, w("x", 1), outcome="unknown", told="aborted"), x=[(1,)]),
    "wrong_final": history(did(1, w("x", 1)), x=[(1,)], final={"x": ()}),
    "dirty_write": history(did(1, w("x", 1), w("x", 3)), did(2, w("x", 2)), x=[(1,), (2,), (3,)]),
    "lost_update": LOST_UPDATE,
    "held_lost_update": history(did(1, r("x"), w("x", 1)), did(2, r("x"), w("x", 2, held=True)), x=[(1,), (2,)]),
    "G0": history(did(1, w("x", 1), w("y", 2)), did(2, w("x", 3), w("y", 4)), x=[(1,), (3,)], y=[(4,), (2,)]),
    "G1c": history(did(1, w("x", 1), r("y", 2)), did(2, w("y", 2), r("x", 1)), x=[(1,)], y=[(2,)]),
    "G-single": history(did(1, w("x", 1), w("y", 2)), did(2, r("x"), r("y", 2)), x=[(1,)], y=[(2,)]),
    "G-nonadjacent": history(
        did(1, w("x", 1)), did(2, r("x", 1), r("y")), did(3, w("y", 2)), did(4, r("y", 2), r("x")), x=[(1,)], y=[(2,)]
    ),
    "G2": WRITE_SKEW,
}  # fmt: skip


@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_each_anomaly_is_found(anomaly: Anomaly) -> None:
    assert anomaly in check(ANOMALIES[anomaly])


def test_a_history_without_anomaly_has_none() -> None:
    good = history(
        did(1, r("x"), w("x", 1), r("x", 1), w("x", 1, 2), told="committed"),
        did(2, r("x", 1, 2), w("x", 1, 2, 3), w("y", 4, undone=True), r("y", 4), Forgotten(frozenset({"y"})), r("y")),
        did(3, r("x", 1, 2, 3), w("y", 5), outcome="unknown", told="committed"),
        did(4, r("y", 5), w("x", 9), outcome="aborted", told="aborted"),
        did(6, w("y", 6), outcome="unknown", told="aborted"),
        x=[(1,), (1, 2), (1, 2, 3)],
        y=[(5,)],
        final={"x": (1, 2, 3), "y": (5,)},
    )
    assert check(good) == {}


def test_what_was_undone_by_a_savepoint_is_seen_by_nobody() -> None:
    seen = history(did(1, w("x", 1, undone=True), Forgotten(frozenset({"x"}))), did(2, r("x", 1)), x=[])
    assert "aborted_read" in check(seen)
    assert "aborted_write" in check(history(did(1, w("x", 1, undone=True)), x=[(1,)]))


def test_what_was_refused_is_not_seen_by_its_own_transaction_either() -> None:
    refused = Write("x", (1,), refused=True)
    assert "internal" in check(history(did(1, w("x", 2), refused, r("x", 1)), x=[(2,)]))
    assert "aborted_write" in check(history(did(1, refused), x=[(1,)]))
    assert check(history(did(1, r("x"), refused, r("x")), x=[])) == {}


def test_a_client_that_does_not_see_its_own_commit_is_found() -> None:
    stale = history(did(1, w("x", 1), session=1), did(2, r("x"), session=1), x=[(1,)])
    assert "G-single" in check(stale)


def test_a_single_read_is_held_to_what_is_committed_and_to_no_order() -> None:
    alone = Transaction(3, 3, [r("x", 1), r("y")], "committed", alone=True)
    both = (did(1, w("x", 1)), did(2, w("y", 2), r("x")))
    assert check(history(*both, alone, x=[(1,)], y=[(2,)])) == {}
    assert "aborted_read" in check(history(did(1, w("x", 1), outcome="aborted"), alone, x=[]))


def test_each_level_rules_out_what_the_one_below_allows() -> None:
    assert [bool(forbidden(check(LOST_UPDATE), level)) for level in LEVELS] == [False, True, True]
    assert [bool(forbidden(check(WRITE_SKEW), level)) for level in LEVELS] == [False, False, True]
    allowed = {"non_repeatable_read", "lost_update", "G-single", "G-nonadjacent", "G2"}
    for anomaly, one in ANOMALIES.items():
        assert bool(forbidden(check(one), "read_committed")) == (anomaly not in allowed), anomaly
