"""Verification of the audit: what somebody who can write the tables did to them is found, and where."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import cast

import pytest
import pytest_asyncio

from portico.engines.records import Recording
from portico.engines.sqlite import positions, records
from portico.model.positions import Chain
from portico.service.verification import Verdict, Verification
from tests.engines.declarations import THINGS
from tests.engines.harness import Harness, OpenHarness
from tests.engines.test_positions import CHAIN, positions_of, settle

MANY = 12


class Audit:
    """An audit of some rows in one engine, which can be written as nobody should."""

    def __init__(self, harness: Harness, backend: str) -> None:
        self.harness = harness
        self.sqlite = backend == "sqlite"

    async def write(self, sql: str) -> None:
        """Change the tables beside Portico; `{}` is what their names begin with."""
        if self.sqlite:
            with closing(sqlite3.connect(self.harness.engine.path)) as connection:  # type: ignore[attr-defined]
                connection.execute(sql.format("portico_"))
                connection.commit()
        else:
            await self.harness.fetch(sql.format("portico."))

    async def verify(self, *chains: Chain, head: bytes | None = None, first: int = 1) -> Verdict:
        """Verify it."""
        kept = cast("Recording", self.harness.engine).records
        return await Verification(kept, chains or (CHAIN,), head=head, first=first, advanced=lambda _: None).run()

    async def grow(self, first: int = 0, many: int = MANY) -> None:
        """Write documents, each with its audit row, and have them chained."""
        for at in range(first, first + many):
            await self.harness.create("things", {"id": at, "text": f"number {at}"}, audit=True)
        await settle(positions_of(self.harness))


@pytest_asyncio.fixture
async def audit(open_harness: OpenHarness, backend: str) -> Audit:
    """An audit of twelve rows."""
    made = Audit(await open_harness(THINGS), backend)
    await made.grow()
    return made


async def test_an_audit_that_nobody_touched_is_verified(audit: Audit) -> None:
    verdict = await audit.verify()
    assert (verdict.rows, verdict.problems, verdict.pending) == (MANY, [], 0)
    assert verdict.position == MANY
    await audit.grow(MANY, 3)
    again = await audit.verify(head=verdict.hash, first=5)
    assert (again.rows, again.problems) == (MANY - 4 + 3, [])


TAMPERED = {
    "a changed field": ("UPDATE {}audit SET service = 'another' WHERE id = 5", [("changed", 5)]),
    "a changed document": ("""UPDATE {}audit SET after = '{{"id": 1}}' WHERE id = 5""", [("changed", 5)]),
    "a value made null": ("UPDATE {}audit SET after = NULL WHERE id = 5", [("changed", 5)]),
    "a moment moved by a microsecond": ("UPDATE {}audit SET at = '2020-01-01T00:00:00.000001Z' WHERE id = 5", [("changed", 5)]),
    "a removed row": ("DELETE FROM {}audit WHERE id = 5", [("removed", 5)]),
    "a removed last row": ("DELETE FROM {}audit WHERE id = 12", [("removed", 12)]),
    "a removed position": ("DELETE FROM {}positions WHERE position = 5", [("positions_removed", None), ("inserted", 5)]),
    "removed first positions": ("DELETE FROM {}positions WHERE position = 1", [("positions_removed", None), ("inserted", 1)]),
    "a changed hash": ("UPDATE {0}positions SET hash = (SELECT hash FROM {0}positions WHERE position = 2) WHERE position = 5",
                       [("hash_changed", 5)]),
    "a removed hash": ("UPDATE {}positions SET hash = NULL WHERE position = 5", [("hash_changed", 5)]),
    "rows in another order": (
        "UPDATE {}positions SET row_id = CASE position WHEN 5 THEN -6 WHEN 6 THEN 5 ELSE row_id END WHERE position IN (5, 6)",
        [("removed", -6), ("changed", 5), ("inserted", 6)],
    ),
    "a position of nothing known": ("UPDATE {}positions SET kind = 'other' WHERE position = 6", [("inserted", None), ("inserted", 6)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
async def test_what_was_done_to_the_tables_is_found(audit: Audit, name: str) -> None:
    statement, expected = TAMPERED[name]
    await audit.write(statement)
    verdict = await audit.verify()
    found = [(problem.kind, problem.row_id) for problem in verdict.problems]
    assert found == expected
    assert verdict.found == len(expected)


async def test_an_added_row_that_took_an_old_id_is_found(audit: Audit) -> None:
    await audit.write("DELETE FROM {}audit WHERE id = 4")
    await audit.write("DELETE FROM {}positions WHERE position = 4")
    system = "" if audit.sqlite else "OVERRIDING SYSTEM VALUE "
    at = "'2020-01-01T00:00:00.000000Z'"
    await audit.write(
        "INSERT INTO {}audit (id, at, service, correlation_id, collection, operation, document_key) "
        f"{system}VALUES (4, {at}, 'billing', 'c', 'things', 'create', '3')"
    )
    assert {problem.kind for problem in (await audit.verify()).problems} == {"positions_removed", "inserted"}


async def test_a_tail_that_was_cut_off_with_its_positions_is_found_by_the_head(audit: Audit) -> None:
    head = (await audit.verify()).hash
    await audit.write("DELETE FROM {}audit WHERE id > 9")
    await audit.write("DELETE FROM {}positions WHERE position > 9")
    assert (await audit.verify()).found == 0, "without the head nothing says that there was more"
    verdict = await audit.verify(head=head)
    assert [problem.kind for problem in verdict.problems] == ["head_missing"]


async def test_a_row_that_is_not_chained_yet_is_no_problem(audit: Audit) -> None:
    await audit.harness.create("things", {"id": 100, "text": "late"}, audit=True)
    verdict = await audit.verify()
    assert (verdict.problems, verdict.pending) == ([], 1)


async def test_without_the_key_a_changed_row_cannot_be_given_a_hash_that_fits(audit: Audit) -> None:
    assert (await audit.verify(Chain(b"another" * 5))).found > 0


async def test_rows_chained_by_a_former_key_are_verified_with_both(audit: Audit) -> None:
    newer = Chain(b"n" * 32)
    await audit.harness.create("things", {"id": 100, "text": "late"}, audit=True)
    await settle(cast("Recording", audit.harness.engine).records.positions(newer))
    assert (await audit.verify(newer, CHAIN)).found == 0
    assert (await audit.verify(newer)).found > 0


async def test_more_problems_than_are_listed_are_counted(audit: Audit) -> None:
    await audit.grow(MANY, 120)
    await audit.write("UPDATE {}audit SET service = 'another'")
    verdict = await audit.verify()
    assert verdict.found == MANY + 120
    assert len(verdict.problems) == 100


async def test_what_is_looked_up_by_position_sorts_nothing(audit: Audit) -> None:
    """SQLite takes the index that begins with the kind, and sorts every row of it, unless it is kept from that."""
    if not audit.sqlite:
        pytest.skip("PostgreSQL's planner knows how many rows share a kind")
    statements = {"last hash": positions._HASH, "hash before": records._LAST_HASH, "changes": records._CHANGES, "aged": records._AGED}
    with closing(sqlite3.connect(audit.harness.engine.path)) as connection:  # type: ignore[attr-defined]
        plans = {
            name: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", [1] * text.count("?"))]
            for name, text in statements.items()
        }
    assert [name for name, steps in plans.items() if any("TEMP B-TREE" in step for step in steps)] == []
