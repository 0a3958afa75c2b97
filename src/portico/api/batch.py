"""`POST /api/db/transaction`: reads a batch of operations, and answers their results in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

from portico.api.conditions import wanted
from portico.api.exchange import JSON, VARY, Exchange
from portico.api.render import envelope
from portico.errors import InvalidParameter, InvalidRequest, OutOfRange, PorticoError, UnknownOperator
from portico.query.nearest import refuse_unknown
from portico.query.scoped import Resolution
from portico.service.authenticate import Authenticator
from portico.service.batch import READS, Batches, Kind, Operation
from portico.service.caller import Asked
from portico.service.conflicts import OnConflict
from portico.service.units import Isolation, Unit
from portico.syntax import mongo

QUERY_MEMBERS = ("filter", "fields", "sort", "limit", "offset", "cursor", "include", "count")
_BY_KEY, _BY_FILTER = ("id", "key", "if_match"), ("filter", "max_affected", "return")
_ANSWER = ("fields", "include")
_MEMBERS: dict[Kind, tuple[str, ...]] = {
    "insert": ("document", "documents", *_ANSWER),
    "update": ("changes", *_BY_KEY, *_BY_FILTER, *_ANSWER),
    "replace": ("document", *_BY_KEY, *_ANSWER),
    "delete": (*_BY_KEY, *_BY_FILTER, *_ANSWER),
    "upsert": ("document", "documents", "on_conflict", "resolution", *_ANSWER),
    "get": ("id", "key", "fields", "include"),
    "query": QUERY_MEMBERS,
    "count": ("filter",),
}
_ISOLATION: frozenset[str] = frozenset(get_args(Isolation))
_RESOLUTIONS: dict[str, Resolution] = {"merge-duplicates": "merge", "ignore-duplicates": "ignore"}
_NOTHING = object()


class BatchCall:
    """The handler. `most` is how many operations a batch may have."""

    def __init__(self, batches: Batches, authenticator: Authenticator, *, most: int) -> None:
        self._batches = batches
        self._authenticator = authenticator
        self._most = most

    async def run(self, exchange: Exchange) -> None:
        """Answer a batch. It runs in the transaction of its exchange."""
        exchange.allow("POST")
        caller = await exchange.caller(self._authenticator)
        isolation, operations = self._read(await exchange.json())
        if isinstance(caller.transaction, Unit):
            caller.transaction.isolation = isolation or "read_committed"
            caller.transaction.read_only = all(operation.kind in READS for operation in operations)
        elif isolation is not None:
            raise InvalidParameter("An open transaction has its isolation already.", details={"parameter": "isolation"})
        results = await self._batches.run(caller, operations)
        message = f"{len(operations)} operations executed successfully"
        await exchange.answer(200, envelope(results, message, exchange.correlation_id), JSON, VARY)

    def _read(self, body: object) -> tuple[Isolation | None, list[Operation]]:
        if not isinstance(body, dict):
            raise InvalidRequest("The body of a transaction is an object.", hint='Send {"operations": [{"op": "insert", …}, …]}.')
        refuse_unknown(body, ("isolation", "operations"))
        isolation, given = body.get("isolation"), body.get("operations")
        if isolation is not None and isolation not in _ISOLATION:
            raise InvalidParameter("The isolation is read_committed, repeatable_read or serializable.", details={"parameter": "isolation"})
        if not isinstance(given, list) or not given:
            raise InvalidRequest("'operations' is an array of at least one operation.", details={"parameter": "operations"})
        if len(given) > self._most:
            raise OutOfRange(f"A batch has at most {self._most} operations.", details={"max_operations": self._most})
        operations: list[Operation] = []
        for place, item in enumerate(given):
            try:
                operations.append(_operation(item))
            except PorticoError as error:
                error.details.setdefault("operation", place)
                raise
        return cast("Isolation | None", isolation), operations


def parse_query(members: object) -> Asked:
    """A query in the JSON syntax, as the pipeline takes it."""
    parsed = mongo.parse(members)
    return Asked(parsed.query, parsed.values, lambda: parsed.query)


def _operation(item: object) -> Operation:
    if not isinstance(item, dict):
        raise InvalidRequest("An operation is an object.")
    name = item.get("op")
    if not isinstance(name, str) or name not in _MEMBERS:
        raise UnknownOperator("There is no such operation.", hint=f"It is one of {', '.join(_MEMBERS)}.", details={"parameter": "op"})
    kind = name
    collection = item.get("collection")
    if not isinstance(collection, str):
        raise InvalidRequest("An operation names its collection.", details={"parameter": "collection"})
    refuse_unknown(item, ("op", "collection", *_MEMBERS[kind]))
    key = _key(item)
    query = {member: item[member] for member in QUERY_MEMBERS if member in item}
    _require_target(kind, key, query)
    _require_answer(kind, key, item)
    etag = _etag(item.get("if_match"))
    if key is None and etag is not None:
        raise InvalidParameter("if_match is for one document.", hint="Name it by its id.", details={"parameter": "if_match"})
    return Operation(
        kind,
        collection,
        key,
        _body(kind, item),
        query,
        etag,
        _most_affected(item),
        item.get("return") == "representation",
        _conflict(kind, item),
    )


def _key(item: Mapping[str, object]) -> tuple[object, ...] | None:
    if "id" in item and "key" in item:
        raise InvalidRequest("An operation has an 'id' or a 'key', not both.")
    value = item.get("id", item.get("key", _NOTHING))
    if value is _NOTHING:
        return None
    return tuple(value) if isinstance(value, list) else (value,)


def _require_target(kind: Kind, key: tuple[object, ...] | None, query: Mapping[str, object]) -> None:
    """An operation on documents that exist says which: one by its key, or those of a filter."""
    if kind in {"get", "replace"} and key is None:
        raise InvalidRequest(f"The operation {kind} names a document by its 'id'.", details={"parameter": "id"})
    if kind in {"update", "delete"} and (key is None) == ("filter" not in query):
        raise InvalidRequest(f"The operation {kind} has an 'id' or a 'filter', and not both.", details={"parameter": "filter"})


def _require_answer(kind: Kind, key: tuple[object, ...] | None, item: Mapping[str, object]) -> None:
    """Of documents that are not answered nothing is selected."""
    quiet = kind == "delete" if key is not None else kind in {"update", "delete"} and item.get("return") != "representation"
    named = [name for name in _ANSWER if name in item]
    if quiet and named:
        raise InvalidParameter(
            "The operation answers no documents of which to select.",
            hint='A delete or an update by filter answers them with "return": "representation".',
            details={"parameter": named[0]},
        )


def _body(kind: Kind, item: Mapping[str, object]) -> object:
    if kind in READS or kind == "delete":
        return None
    both = ("document", "documents")
    names = {"insert": both, "upsert": both, "update": ("changes",), "replace": ("document",)}[kind]
    given = [name for name in names if name in item]
    if len(given) != 1:
        raise InvalidRequest(f"The operation {kind} has {' or '.join(repr(name) for name in names)}.", details={"parameter": names[0]})
    value = item[given[0]]
    if given[0] == "documents" and not isinstance(value, list):
        raise InvalidRequest("'documents' is an array.", details={"parameter": "documents"})
    if given[0] != "documents" and not isinstance(value, dict):
        raise InvalidRequest(f"{given[0]!r} is an object.", details={"parameter": given[0]})
    return value


def _conflict(kind: Kind, item: Mapping[str, object]) -> OnConflict | None:
    """What an upsert does where the document is there: merges into it, unless it says otherwise."""
    if kind != "upsert":
        return None
    asked = item.get("resolution", "merge-duplicates")
    resolution = _RESOLUTIONS.get(asked) if isinstance(asked, str) else None
    if resolution is None:
        raise InvalidParameter("The resolution is merge-duplicates or ignore-duplicates.", details={"parameter": "resolution"})
    fields = item.get("on_conflict")
    if fields is None:
        return OnConflict(resolution)
    if not isinstance(fields, list) or not fields or not all(isinstance(name, str) for name in fields):
        raise InvalidParameter("on_conflict is an array of names.", details={"parameter": "on_conflict"})
    return OnConflict(resolution, tuple(fields))


def _etag(value: object) -> str | None:
    """The one hash of `if_match`, with its quotes or without; ``*`` is no condition on what is stored."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidParameter("if_match is the ETag of the document.", details={"parameter": "if_match"})
    quoted = value if value.startswith(('"', "W/", "*")) else f'"{value}"'
    hashes = wanted(quoted.encode("latin-1", "replace"))
    if hashes is not None and len(hashes) > 1:
        raise InvalidParameter("if_match is one ETag.", details={"parameter": "if_match"})
    return hashes[0] if hashes else None


def _most_affected(item: Mapping[str, object]) -> int | None:
    most = item.get("max_affected")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or not 0 <= most < 10**9):
        raise InvalidParameter("max_affected is a whole number.", details={"parameter": "max_affected"})
    if item.get("return") not in {None, "representation", "minimal"}:
        raise InvalidParameter("return is representation or minimal.", details={"parameter": "return"})
    return most
