"""The calls of `/api/db/{collection}`: one function for each line of the API's table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from urllib.parse import quote

import orjson

from portico.api import creating
from portico.api.conditions import is_known, wanted
from portico.api.exchange import JSON, PRIVATE, VARY, Exchange, key_of
from portico.api.explain import EXPLAIN, RESERVED, explain, explaining
from portico.api.included import changed as filtered
from portico.api.included import created, included
from portico.api.render import envelope, page_part
from portico.api.streams import export, import_documents
from portico.errors import InvalidParameter, PreconditionFailed, RouteNotFound, TooManyAffected
from portico.model.page import Changed, Document
from portico.service.bulk import BulkChanges
from portico.service.caller import Asked, Caller
from portico.service.documents import Documents, Listed
from portico.service.explain import Explanations
from portico.service.imports import Imports
from portico.service.members import EACH_ITS_OWN
from portico.service.returning_writes import ReturningWrites
from portico.service.upserts import Upserts
from portico.service.writes import Writes
from portico.syntax import mongo

FIELDS_ONLY = frozenset({"select", "include"})
COUNTED = frozenset({"count"})


class Collections:
    """Handlers of documents of any collection. Each answers its exchange; errors are raised to the dispatcher.

    `send_timeout` is how many seconds an export waits for a caller who does not read.
    """

    def __init__(
        self,
        documents: Documents,
        writes: Writes,
        upserts: Upserts,
        bulk: BulkChanges,
        imports: Imports,
        explanations: Explanations,
        returning: ReturningWrites,
        *,
        send_timeout: float,
    ) -> None:
        self._documents = documents
        self._writes = writes
        self._upserts = upserts
        self._bulk = bulk
        self._imports = imports
        self._explanations = explanations
        self._returning = returning
        self._send_timeout = send_timeout

    async def all(self, exchange: Exchange, caller: Caller, name: str) -> None:
        """`/api/db/{collection}`."""
        match exchange.method:
            case "GET" | "HEAD":
                await self._list(exchange, caller, name)
            case "POST":
                await self.create(exchange, caller, name)
            case "PATCH":
                await self._update_where(exchange, caller, name)
            case "DELETE":
                await self._delete_where(exchange, caller, name)
            case _:
                exchange.allow("GET", "HEAD", "POST", "PATCH", "DELETE")

    async def one(self, exchange: Exchange, caller: Caller, name: str, raw_key: bytes) -> None:
        """`/api/db/{collection}/{id}`."""
        key = key_of(raw_key)
        match exchange.method:
            case "GET" | "HEAD":
                await self.got(exchange, await self._documents.get(caller, name, key, exchange.asked(FIELDS_ONLY)))
            case "PATCH" | "PUT":
                await self._change(exchange, caller, name, key)
            case "DELETE":
                exchange.takes()
                etag = await self.condition(exchange, caller, name, key)
                await self._writes.delete(caller, name, key, etag=etag)
                await exchange.answer(204, b"")
            case _:
                exchange.allow("GET", "HEAD", "PUT", "PATCH", "DELETE")

    async def named(self, exchange: Exchange, caller: Caller, name: str, call: bytes) -> bool:
        """`/api/db/{collection}/{call}`; False where `call` is no call's name, so that it is a key."""
        match call:
            case b"query":
                exchange.allow("POST")
                exchange.takes(EXPLAIN)
                explained = explaining(exchange)
                parsed = mongo.parse(await exchange.json())
                asked = Asked(parsed.query, parsed.values, lambda: parsed.query)
                if explained:
                    await explain(exchange, caller, name, asked, self._explanations)
                else:
                    await self.listed(exchange, await self._documents.list(caller, name, asked))
            case b"aggregate":
                exchange.allow("POST")
                exchange.takes()
                await self._aggregate(exchange, caller, name)
            case b"count":
                exchange.allow("GET", "HEAD")
                counted = await self._documents.count(caller, name, exchange.asked(COUNTED))
                await exchange.answer(
                    200, envelope(str(counted).encode(), "Documents counted", exchange.correlation_id), JSON, VARY, PRIVATE
                )
            case b"export":
                exchange.allow("GET")
                await export(exchange, caller, name, self._documents, send_timeout=self._send_timeout)
            case b"import":
                exchange.allow("POST")
                await import_documents(exchange, caller, name, self._imports)
            case _:
                return False
        return True

    async def _list(self, exchange: Exchange, caller: Caller, name: str) -> None:
        if b"explain" not in exchange.scope["query_string"] or (explained := explaining(exchange)) is None:
            await self.listed(exchange, await self._documents.list(caller, name, exchange.asked()))
        elif explained:
            await explain(exchange, caller, name, exchange.asked(reserved=RESERVED), self._explanations)
        else:
            await self.listed(exchange, await self._documents.list(caller, name, exchange.asked(reserved=RESERVED)))

    async def _aggregate(self, exchange: Exchange, caller: Caller, name: str) -> None:
        page = await self._documents.aggregate(caller, name, mongo.parse_pipeline(await exchange.json()))
        message = f"{page.count} results"
        if page.last is not None:
            message = f"The first {page.count} results; there are more. Add a $limit, or match less"
        await exchange.answer(200, envelope(page.body, message, exchange.correlation_id), JSON, VARY, PRIVATE)

    # --- answers ---------------------------------------------------------------------------------------------------------

    @staticmethod
    async def got(exchange: Exchange, document: Document, message: str = "Document found") -> None:
        """Answer one document, or 304 where the caller has it."""
        tag = ((b"etag", b'"' + document.etag.encode() + b'"'),) if document.etag is not None else ()
        if is_known(exchange.headers.get(b"if-none-match"), document.etag):
            await exchange.answer(304, b"", *tag, VARY, PRIVATE)
            return
        await exchange.answer(200, envelope(document.body, message, exchange.correlation_id), JSON, *tag, VARY, PRIVATE)

    @staticmethod
    async def listed(exchange: Exchange, listed: Listed) -> None:
        """Answer a page."""
        page = listed.page
        described = page_part(page, listed.limit, listed.next_cursor)
        await exchange.answer(200, envelope(page.body, "Documents found", exchange.correlation_id, described), JSON, VARY, PRIVATE)

    @staticmethod
    async def changed(exchange: Exchange, changed: Changed, message: str) -> None:
        """Answer how many documents a change touched, or the documents where they were asked for."""
        body = changed.body if changed.body is not None else orjson.dumps({"count": changed.count}).decode()
        await exchange.answer(200, envelope(body, message, exchange.correlation_id), JSON, VARY)

    # --- writes ----------------------------------------------------------------------------------------------------------

    async def create(
        self, exchange: Exchange, caller: Caller, name: str, *, base: str = "", message: str = "Document created successfully"
    ) -> None:
        """Create one document, or an array of them; with `on_conflict` or a resolution, upsert. A new one is found below `base`."""
        wanted = included(exchange, creating.PARAMETERS)
        asked = creating.asked(exchange, None if wanted is not None else creating.PARAMETERS)
        body = await exchange.json()
        base = base or f"/api/db/{quote(name, safe='')}"
        if wanted is not None:
            one = not isinstance(body, list)
            how, members = (asked.how, asked.members) if asked is not None else (None, EACH_ITS_OWN)
            made = await self._returning.create(caller, name, [body] if one else cast("list[object]", body), wanted, how, members)
            await created(exchange, made, asked, base, message, one=one)
            return
        if asked is not None and asked.how is not None:
            await self._upsert(exchange, caller, name, body, asked, base, message)
            return
        if isinstance(body, list):
            bodies = body if asked is None else self._upserts.chosen(caller, name, body, asked.members).bodies
            await self.all_made(exchange, await self._writes.create_all(caller, name, bodies), asked)
            return
        if asked is not None:
            body = self._upserts.chosen(caller, name, [body], asked.members).bodies[0]
        await self.made(exchange, await self._writes.create(caller, name, body), base, message, asked)

    async def _upsert(
        self, exchange: Exchange, caller: Caller, name: str, body: object, asked: creating.CreateOptions, base: str, message: str
    ) -> None:
        assert asked.how is not None, "a plain create meets nothing"
        if isinstance(body, list):
            await creating.upserted(exchange, await self._upserts.upsert_all(caller, name, body, asked.how, asked.members), asked)
            return
        document = await self._upserts.upsert(caller, name, body, asked.how, asked.members)
        if document is not None and document.created:
            await self.made(exchange, document, base, message, asked)
        else:
            await creating.merged(exchange, document, asked)

    @staticmethod
    async def all_made(exchange: Exchange, made: Sequence[Document], asked: creating.CreateOptions | None = None) -> None:
        """Answer documents that were created together, in order."""
        text = "[" + ",".join(document.body for document in made) + "]"
        applied = asked.applied_header if asked is not None else ()
        body = envelope(text, f"{len(made)} documents created successfully", exchange.correlation_id)
        await exchange.answer(201, body, JSON, VARY, *applied)

    @staticmethod
    async def made(exchange: Exchange, document: Document, base: str, message: str, asked: creating.CreateOptions | None = None) -> None:
        """Answer a document that was created."""
        location = creating.location(base, document)
        tag = (b"etag", b'"' + (document.etag or "").encode() + b'"')
        applied = asked.applied_header if asked is not None else ()
        body = envelope(document.body, message, exchange.correlation_id)
        await exchange.answer(201, body, JSON, (b"location", location), tag, VARY, *applied)

    async def _change(self, exchange: Exchange, caller: Caller, name: str, key: tuple[str, ...]) -> None:
        wanted = included(exchange)
        body = await exchange.json()
        if exchange.method == "PUT" and exchange.headers.get(b"if-none-match", b"").strip() == b"*":
            if wanted is not None:
                raise InvalidParameter("A create by its address answers the document alone.", details={"parameter": "select"})
            document = await self._writes.create_at(caller, name, key, body)
            await self.made(exchange, document, f"/api/db/{quote(name, safe='')}", "Document created successfully")
            return
        etag = await self.condition(exchange, caller, name, key)
        if wanted is not None:
            replacing = exchange.method == "PUT"
            text = await self._returning.change(caller, name, key, body, wanted, etag=etag, replacing=replacing)
            message = "Document replaced successfully" if replacing else "Document updated successfully"
            await exchange.answer(200, envelope(text, message, exchange.correlation_id), JSON, VARY)
            return
        change = self._writes.replace if exchange.method == "PUT" else self._writes.update
        document = await change(caller, name, key, body, etag=etag)
        tag = (b"etag", b'"' + (document.etag or "").encode() + b'"')
        message = "Document replaced successfully" if exchange.method == "PUT" else "Document updated successfully"
        await exchange.answer(200, envelope(document.body, message, exchange.correlation_id), JSON, tag, VARY)

    async def condition(self, exchange: Exchange, caller: Caller, name: str, key: tuple[str, ...]) -> str | None:
        """The hash that the stored document must have. Of several, the one that it has now is what the change is held to."""
        hashes = wanted(exchange.headers.get(b"if-match"))
        if not hashes:
            return None
        if len(hashes) == 1:
            return hashes[0]
        now = (await self._documents.get(caller, name, key)).etag
        if now not in hashes:
            raise PreconditionFailed("The document was changed since it was read.", hint="Read it again.")
        return now

    async def _update_where(self, exchange: Exchange, caller: Caller, name: str) -> None:
        most, answer = self._preferences(exchange)
        body = await exchange.json()
        asked, wanted = filtered(exchange, answer=answer)
        if isinstance(body, list):
            if wanted is None:
                exchange.takes()
            elif asked.parse().filter is not None:
                raise InvalidParameter("Changes by their keys take no filter.")
            if most is not None and len(body) > most:
                raise TooManyAffected(f"The change would touch more than {most} documents.", details={"max_affected": most})
        if wanted is not None:
            changed = await self._returning.update_where(caller, name, asked, body, wanted, most=most)
        elif isinstance(body, list):
            changed = await self._bulk.update_all(caller, name, body, answer=answer)
        else:
            changed = await self._writes.update_where(caller, name, asked, body, most=most, answer=answer)
        await self.changed(exchange, changed, f"{changed.count} documents updated successfully")

    async def _delete_where(self, exchange: Exchange, caller: Caller, name: str) -> None:
        most, answer = self._preferences(exchange)
        asked, wanted = filtered(exchange, answer=answer)
        if wanted is not None:
            changed = await self._returning.delete_where(caller, name, asked, wanted, most=most)
        else:
            changed = await self._writes.delete_where(caller, name, asked, most=most, answer=answer)
        await self.changed(exchange, changed, f"{changed.count} documents deleted successfully")

    @staticmethod
    def _preferences(exchange: Exchange) -> tuple[int | None, bool]:
        if exchange.headers.get(b"if-match") is not None:
            raise InvalidParameter("If-Match is for one document.", hint="Name it in the path.")
        prefer = exchange.prefer()
        most = prefer.get("max-affected")
        if most is not None and not (most.isascii() and most.isdigit() and len(most) <= 9):
            raise InvalidParameter("The preference max-affected is a whole number.")
        return int(most) if most is not None else None, prefer.get("return") == "representation"


def no_route(path: str) -> RouteNotFound:
    """No call has this path."""
    return RouteNotFound(f"There is no call {path[:200]}.", hint="See /docs.")
