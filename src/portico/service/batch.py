"""Batches: several operations of one request, in order, in one transaction; each is authorized and scoped like its own call.

A value ``{"$ref": "0.id"}`` of an operation is a result of an earlier one: the number of the operation, then names of members and numbers
of elements. ``{"$literal": value}`` is the value as it stands, references and all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import orjson

from portico.errors import BodyTooLarge, InvalidParameter, InvalidRequest, InvalidValue, PorticoError, StatementTimeout
from portico.model.identity import Permission
from portico.query import ast
from portico.query.json_text import check_depth, read_json, write_json
from portico.service.caller import Asked, Caller
from portico.service.conflicts import OnConflict
from portico.service.documents import Documents
from portico.service.returning import Included
from portico.service.returning_writes import ReturningWrites
from portico.service.upserts import Upserts
from portico.service.writes import Writes

REFERENCE, LITERAL = "$ref", "$literal"
Kind = Literal["insert", "update", "replace", "delete", "upsert", "get", "query", "count"]
_PERMISSIONS: dict[Kind, Permission] = {
    "insert": Permission.CREATE,
    "update": Permission.UPDATE,
    "replace": Permission.UPDATE,
    "delete": Permission.DELETE,
    "upsert": Permission.CREATE,
    "get": Permission.READ,
    "query": Permission.READ,
    "count": Permission.READ,
}
READS: frozenset[Kind] = frozenset({"get", "query", "count"})
_ANSWERED = frozenset({"fields", "include"})
_ELEMENT = re.compile(r"[0-9]{1,9}")
TURN = 16
"""Operations after which others have a turn."""

ParseQuery = Callable[[object], Asked]
"""Reads the JSON syntax of a query."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. Its values are JSON in which references stand yet.

    Attributes:
        key: the parts of the document's key; None where the operation has none.
        body: the document, the documents (an array) or the changes.
        query: the members of a query, of `query`, `count` and of changes without a key; `fields` and `include` of every write's answer.
        etag: the hash that the stored document must have, or None. conflict: what an upsert does where the document is there.
        most: documents that a change by filter may touch, or None. answer: it gives the documents.
    """

    kind: Kind
    collection: str
    key: tuple[object, ...] | None = None
    body: object = None
    query: dict[str, object] = field(default_factory=dict)
    etag: str | None = None
    most: int | None = None
    answer: bool = False
    conflict: OnConflict | None = None

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What the caller needs for it."""
        merges = self.conflict is not None and self.conflict.resolution == "merge"
        return (_PERMISSIONS[self.kind], Permission.UPDATE) if merges else (_PERMISSIONS[self.kind],)


class Batches:
    """Runs batches.

    Args:
        documents, writes, upserts, returning: the pipelines. parse: reads a query. lives: seconds that a batch may take, by database.
        most_bytes: what the references of a batch may bring in, all together.
    """

    def __init__(
        self,
        documents: Documents,
        writes: Writes,
        upserts: Upserts,
        returning: ReturningWrites,
        *,
        parse: ParseQuery,
        lives: Mapping[str, float],
        most_bytes: int,
    ) -> None:
        self._documents = documents
        self._writes = writes
        self._upserts = upserts
        self._returning = returning
        self._parse = parse
        self._lives = lives
        self._most_bytes = most_bytes

    async def run(self, caller: Caller, operations: Sequence[Operation]) -> str:
        """Run the operations one after the other, inside of the caller's transaction.

        Returns:
            their results, as a JSON array: what the data of each one's own call would be.
        Raises:
            PorticoError: an operation's own error, with its number as ``details["operation"]``; nothing more is run.
            StatementTimeout: they took too long together.
        """
        assert caller.transaction is not None, "a batch runs in a transaction"
        life = self._lives[self._authorize(caller, operations)]
        results: list[str] = []
        room = Room(self._most_bytes)
        try:
            async with asyncio.timeout(life):
                for place, operation in enumerate(operations):
                    if place % TURN == TURN - 1:
                        await asyncio.sleep(0)  # others have their turn, and the timeout
                    with _Numbered(place):
                        results.append(await self._one(caller, operation, References(results, room)))
        except TimeoutError:
            raise StatementTimeout(f"The batch took longer than {life:g} seconds.") from None
        return "[" + ",".join(results) + "]"

    def _authorize(self, caller: Caller, operations: Sequence[Operation]) -> str:
        """See that the caller may do each of them, and that they refer to earlier ones only; gives the one database that they are of."""
        plans = self._documents.plans
        databases: set[str] = set()
        for place, operation in enumerate(operations):
            with _Numbered(place):
                collection = plans.collection(operation.collection)
                for permission in operation.permissions:
                    plans.context(caller, collection, permission)
                databases.add(collection.database)
                if len(databases) > 1:
                    raise InvalidParameter("A batch is of one database: its collections are of several.")
                for value in (operation.key, operation.body, operation.query):
                    check_references(value, place)
        return databases.pop()

    async def _one(self, caller: Caller, operation: Operation, references: References) -> str:
        name, kind = operation.collection, operation.kind
        body = references.resolve(operation.body)
        if kind not in READS and not _ANSWERED.isdisjoint(operation.query):
            return await self._answered(caller, operation, body, references)
        if kind == "insert":
            if isinstance(body, list):
                return _array([made.body for made in await self._writes.create_all(caller, name, body)])
            return (await self._writes.create(caller, name, body)).body
        if operation.conflict is not None:
            bodies = body if isinstance(body, list) else [body]
            upserted = await self._upserts.upsert_all(caller, name, bodies, operation.conflict)
            texts = [document.body if document is not None else "null" for document in upserted]
            return _array(texts) if isinstance(body, list) else texts[0]
        if operation.key is not None:
            key = tuple(key_part(references.resolve(part)) for part in operation.key)
            return await self._by_key(caller, operation, key, body, references)
        asked = self._parse(references.resolve(operation.query))
        if kind == "query":
            return (await self._documents.list(caller, name, asked)).page.body
        if kind == "count":
            return str(await self._documents.count(caller, name, asked))
        if kind == "update":
            changed = await self._writes.update_where(caller, name, asked, body, most=operation.most, answer=operation.answer)
        else:
            changed = await self._writes.delete_where(caller, name, asked, most=operation.most, answer=operation.answer)
        return changed.body if changed.body is not None else orjson.dumps({"count": changed.count}).decode()

    async def _answered(self, caller: Caller, operation: Operation, body: object, references: References) -> str:
        """A write whose documents are read after it."""
        name, run = operation.collection, self._returning
        asked = self._parse(references.resolve(operation.query))
        query = asked.parse()
        wanted = Included(ast.Query(select=query.select), asked.values)
        if operation.kind in {"insert", "upsert"}:
            bodies = body if isinstance(body, list) else [body]
            made = await run.create(caller, name, bodies, wanted, operation.conflict)
            texts = [document.body if document is not None else "null" for document in made]
            return _array(texts) if isinstance(body, list) else texts[0]
        if operation.key is not None:
            key = tuple(key_part(references.resolve(part)) for part in operation.key)
            return await run.change(caller, name, key, body, wanted, etag=operation.etag, replacing=operation.kind == "replace")
        filtered = ast.Query(filter=query.filter)
        matched = Asked(filtered, asked.values, lambda: filtered)
        if operation.kind == "update":
            changed = await run.update_where(caller, name, matched, body, wanted, most=operation.most)
        else:
            changed = await run.delete_where(caller, name, matched, wanted, most=operation.most)
        return changed.body or "[]"

    async def _by_key(self, caller: Caller, operation: Operation, key: tuple[str, ...], body: object, references: References) -> str:
        name = operation.collection
        match operation.kind:
            case "update":
                return (await self._writes.update(caller, name, key, body, etag=operation.etag)).body
            case "replace":
                return (await self._writes.replace(caller, name, key, body, etag=operation.etag)).body
            case "delete":
                await self._writes.delete(caller, name, key, etag=operation.etag)
                return "null"
            case _:
                return (await self._documents.get(caller, name, key, self._parse(references.resolve(operation.query)))).body


class _Numbered:
    """Gives an error the number of its operation."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, PorticoError):
            error.details.setdefault("operation", self._place)


class Room:
    """What the references of one batch may yet bring in: a few of them, each to the one before, would else grow beyond any memory."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._left = most_bytes

    def take(self, size: int) -> None:
        """Count a value of this size. Raises BodyTooLarge."""
        self._left -= size
        if self._left < 0:
            raise BodyTooLarge(
                f"The values that the batch refers to are larger than {self._most} bytes.", details={"max_bytes": self._most}
            )


class References:
    """What has come of the operations so far, for those that refer to it. A result is parsed when it is first asked for."""

    def __init__(self, results: Sequence[str], room: Room) -> None:
        self._results = results
        self._room = room
        self._values: dict[int, object] = {}
        self._found: dict[str, tuple[object, int]] = {}

    def resolve(self, value: object) -> object:
        """The value with its references replaced.

        Raises:
            InvalidValue: one names nothing. BodyTooLarge: they bring in too much. InvalidJson: with them it nests too deep.
        """
        self._found.clear()
        resolved = self._replace(value)
        if any(isinstance(found, dict | list) for found, _ in self._found.values()):
            check_depth(write_json(resolved))
        return resolved

    def _replace(self, value: object) -> object:
        if isinstance(value, list):
            return [self._replace(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            if REFERENCE in value:
                return self._bring(cast("str", value[REFERENCE]))
            if LITERAL in value:
                return value[LITERAL]
        return {name: self._replace(item) for name, item in value.items()}

    def _bring(self, path: str) -> object:
        if path not in self._found:
            found = self._find(path)
            self._found[path] = found, len(write_json(found))
        found, size = self._found[path]
        self._room.take(size)
        return found

    def _find(self, path: str) -> object:
        first, *rest = path.split(".")
        place = int(first)
        if place not in self._values:
            self._values[place] = read_json(self._results[place])
        found = self._values[place]
        for part in rest:
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list) and _ELEMENT.fullmatch(part) and int(part) < len(found):
                found = found[int(part)]
            else:
                raise InvalidValue(f"The reference {path[:100]} names nothing.", details={"reference": path[:100]})
        return found


def check_references(value: object, place: int) -> None:
    """See that the references in a value are well-formed, and to operations before the one of this number. Raises InvalidRequest."""
    if isinstance(value, list | tuple):
        for item in value:
            check_references(item, place)
    if not isinstance(value, dict) or (len(value) == 1 and LITERAL in value):
        return
    if len(value) != 1 or REFERENCE not in value:
        for item in value.values():
            check_references(item, place)
        return
    path = value[REFERENCE]
    number = path.partition(".")[0] if isinstance(path, str) else ""
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise InvalidRequest(
            "A reference is the number of an operation and a path in its result.",
            hint='Write {"$ref": "0.id"}; an object that has such a member is written {"$literal": {"$ref": …}}.',
        )
    if int(number) >= place:
        raise InvalidRequest("A reference is to an earlier operation.", details={"reference": str(path)[:100]})


def key_part(value: object) -> str:
    """A part of a key, given as JSON, as its address writes it. Raises InvalidValue for what cannot be one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, list | dict):
        raise InvalidValue("A part of a key is a text or a number.")
    return str(value)


def _array(texts: Sequence[str]) -> str:
    return "[" + ",".join(texts) + "]"
