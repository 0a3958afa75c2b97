"""`explain=true`: the plan of a read instead of its documents."""

from __future__ import annotations

import orjson

from portico.api.exchange import JSON, PRIVATE, VARY, Exchange
from portico.api.render import envelope
from portico.errors import InvalidParameter
from portico.service.caller import Asked, Caller
from portico.service.explain import Explanations

EXPLAIN = "explain"
RESERVED = frozenset({EXPLAIN})
_VALUES = {"true": True, "false": False}


def explaining(exchange: Exchange) -> bool | None:
    """Whether the plan is asked for; None where nothing is said of it.

    Raises:
        InvalidParameter: the value is neither `true` nor `false`, or the parameter stands twice.
    """
    value = exchange.parameters(RESERVED).get(EXPLAIN)
    if value is not None and value not in _VALUES:
        raise InvalidParameter("The parameter explain is true or false.", details={"parameter": EXPLAIN})
    return None if value is None else _VALUES[value]


async def explain(exchange: Exchange, caller: Caller, name: str, asked: Asked, explanations: Explanations) -> None:
    """Answer how a read runs."""
    found = await explanations.explain(caller, name, asked)
    await exchange.answer(200, envelope(orjson.dumps(found), "Query explained", exchange.correlation_id), JSON, VARY, PRIVATE)
