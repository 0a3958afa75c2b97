"""How many documents match, as the planner guesses: `count=planned` and `count=estimated` (PostgREST's meaning)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import asyncpg

from portico.engines.base import Call
from portico.engines.postgres.compiled import PostgresPlan
from portico.engines.postgres.errors import reported
from portico.engines.postgres.statement import array_literal
from portico.model.scope import Scope

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

EXACT_UP_TO = 1000
"""Guesses of `estimated` below this are counted, because that is cheap then."""

SET_SCOPE = "SELECT set_config('portico.clients', $1, true), set_config('portico.users', $2, true), set_config('portico.all', $3, true)"


async def set_scope(connection: Connection, scope: Scope) -> None:
    """Set the row-level-security scope for the open transaction, for statements that do not set it themselves."""
    await connection.fetchrow(SET_SCOPE, array_literal(scope.clients), array_literal(scope.users), "on" if scope.everything else "")


async def estimate(connection: Connection, plan: PostgresPlan, call: Call, timeout: float | None) -> int:
    """How many documents match the plan's filter in the call's scope, as `query.count` asks for it.

    Row-level security is part of the guess, so the scope is set for it, in a transaction that changes nothing.
    """
    kind, mode = call.scope.kind, plan.counting
    text = plan.planned(kind)
    text = replace(text, text=f"EXPLAIN (FORMAT JSON) {text.text}")
    own = not connection.is_in_transaction()
    try:
        if own:
            await connection.execute("BEGIN READ ONLY")
        await set_scope(connection, call.scope)
        explained = await connection.fetchval(text.text, *text.bind([call]), timeout=timeout)
        guess = int(cast("list[dict[str, dict[str, float]]]", json.loads(explained))[0]["Plan"]["Plan Rows"])
        if own:
            await connection.execute("ROLLBACK")
        if mode == "planned" or guess > EXACT_UP_TO:
            return guess
        counted = plan.counted(kind)
        return cast("int", await connection.fetchval(counted.text, *counted.bind([call]), timeout=timeout))
    except asyncpg.PostgresConnectionError:
        raise
    except asyncpg.PostgresError as error:
        raise reported(error, plan.collection) from error
