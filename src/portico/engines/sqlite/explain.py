"""How SQLite runs a read: EXPLAIN QUERY PLAN of its statements, of which names are kept, and the time that running them took."""

from __future__ import annotations

import re
import sqlite3
import time

from portico.engines.base import Answer, Call
from portico.engines.explaining import Explanation, Step
from portico.engines.sqlite.errors import is_unshowable
from portico.engines.sqlite.perform import perform_read, read_with_care
from portico.engines.sqlite.plan import SqlitePlan
from portico.model.page import Page

_READ = re.compile(r"(SCAN|SEARCH) (?P<name>.+?)(?P<how> USING .+| VIRTUAL TABLE .+)?(?: LEFT-JOIN)?")
_INDEX = re.compile(r" USING (?:COVERING )?INDEX (?P<name>.+?)(?: \(.*\))?")
_KEY = re.compile(r" USING (?:INTEGER )?PRIMARY KEY.*")
_WORDS = re.compile(r"[A-Z0-9 -]*[A-Z]")
_ALIAS = re.compile(r'(?:FROM|JOIN|,)\s+("(?:[^"]|"")+"|\w+) AS (\w+)')

PRIMARY_KEY = "PRIMARY KEY"
"""The name of the index that the table itself is."""


def explain(connection: sqlite3.Connection, plan: SqlitePlan, call: Call) -> Explanation:
    """Say how the statements of one call run, and run them."""
    statements = plan.read(call.scope)
    started = time.perf_counter()
    steps: list[Step] = []
    for statement in (statements.main, statements.total):
        if statement is not None:
            arguments = statement.arguments(call.values, call.scope)
            rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", arguments).fetchall()
            steps += steps_of(rows, statement.sql)
    planned = time.perf_counter()
    answer = _run(connection, plan, call)
    ended = time.perf_counter()
    return Explanation(
        tuple(steps),
        estimated_rows=None,
        actual_rows=answer.count if isinstance(answer, Page) else 0,
        planning_ms=(planned - started) * 1000,
        execution_ms=(ended - planned) * 1000,
    )


def _run(connection: sqlite3.Connection, plan: SqlitePlan, call: Call) -> Answer:
    try:
        return perform_read(connection, plan, call)
    except sqlite3.Error as error:
        if not is_unshowable(error):
            raise
    return read_with_care(connection, plan, call)


def steps_of(rows: list[tuple[int, int, int, str]], sql: str) -> list[Step]:
    """The rows (id, parent, unused, text) of EXPLAIN QUERY PLAN as steps; `sql` tells which table an alias in a text means."""
    tables = {alias: name.strip('"').replace('""', '"') for name, alias in _ALIAS.findall(sql)}
    depths: dict[int, int] = {}
    steps: list[Step] = []
    for identifier, parent, _, text in rows:
        depth = depths[identifier] = depths[parent] + 1 if parent in depths else 0
        steps.append(_step(depth, text, tables))
    return steps


def _step(depth: int, text: str, tables: dict[str, str]) -> Step:
    read = _READ.fullmatch(text)
    if read is None:
        words = _WORDS.match(text)
        return Step(depth, words.group() if words is not None else "STEP")
    how = read["how"] or ""
    name = read["name"]
    index = _INDEX.fullmatch(how)
    used = index["name"] if index is not None else PRIMARY_KEY if _KEY.fullmatch(how) else None
    return Step(depth, read[1], table=tables.get(name, name), index=used, whole=read[1] == "SCAN" and "VIRTUAL" not in how)


__all__ = ["explain", "steps_of"]
