"""`POST /api/db/search`: full-text search across collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from portico.api.exchange import JSON, PRIVATE, VARY, Exchange
from portico.api.render import envelope
from portico.errors import InvalidParameter, WrongType
from portico.service.caller import Caller
from portico.service.search import DEFAULT_LIMIT, Searches, Wanted
from portico.service.validate import object_body
from portico.syntax import mongo

MEMBERS = ("q", "collections", "filter", "limit", "fuzzy")


class SearchCall:
    """The handler of searches."""

    def __init__(self, searches: Searches) -> None:
        self._searches = searches

    async def handle(self, exchange: Exchange, caller: Caller) -> None:
        """Answer the best matches."""
        exchange.allow("POST")
        exchange.takes()
        wanted = _wanted(object_body(await exchange.json()))
        found = await self._searches.search(caller, wanted)
        page = f'"page":{{"limit":{wanted.limit},"count":null,"next_cursor":null}}'.encode()
        body = envelope("[" + ",".join(item.json() for item in found) + "]", "Documents found", exchange.correlation_id, page)
        await exchange.answer(200, body, JSON, VARY, PRIVATE)


def _wanted(body: Mapping[str, object]) -> Wanted:
    unknown = next((member for member in body if member not in MEMBERS), None)
    if unknown is not None:
        raise InvalidParameter(f"A search takes no member {unknown[:100]!r}.", hint="It takes " + ", ".join(MEMBERS) + ".")
    text, names = body.get("q"), body.get("collections")
    if not isinstance(text, str):
        raise WrongType("The member q is the text to look for.", details={"member": "q"})
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise WrongType("The member collections is an array of names.", details={"member": "collections"})
    limit, fuzzy = body.get("limit", DEFAULT_LIMIT), body.get("fuzzy", False)
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise WrongType("The member limit is a whole number.", details={"member": "limit"})
    if not isinstance(fuzzy, bool):
        raise WrongType("The member fuzzy is true or false.", details={"member": "fuzzy"})
    node, values = mongo.parse_filter(body["filter"]) if body.get("filter") is not None else (None, ())
    chosen = None if names is None else tuple(cast("list[str]", names))
    return Wanted(text, chosen, node, values, limit, fuzzy)
