"""The calls of `/api/db/transaction/…`, and calls that run in a transaction: here, or carried to the worker that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, cast

from portico.api.collections import no_route
from portico.api.exchange import JSON, VARY, Exchange, segment
from portico.api.middleware.correlation import HEADER
from portico.api.render import Message, Receive, Scope, Send, envelope, to_json
from portico.api.safe_writes import KEY
from portico.errors import InvalidParameter, MissingValue
from portico.service.authenticate import Authenticator
from portico.service.caller import Caller
from portico.service.transactions.held import Held
from portico.service.transactions.ids import Token
from portico.service.transactions.reasons import COMMITTED, ROLLED_BACK, STARTED, gone, unreachable
from portico.service.transactions.registry import Isolation, Known, Transactions

NAME = b"x-transaction-id"
ISOLATIONS = ("read_committed", "repeatable_read", "serializable")
_NO_STORE = (b"cache-control", b"no-store")


class Carry(Protocol):
    """Carries a request to the worker that holds its transaction, and its answer back."""

    async def __call__(self, node: str, worker: str, scope: Scope, receive: Receive | None, send: Send) -> bool:
        """Whether the holder answered; False where there is none. `receive` is None for a request without a body."""
        ...


class Asked(NamedTuple):
    """A transaction that a caller asks about."""

    token: Token
    caller: Caller


class Joining:
    """One call that is to run in a transaction: its way in, once it is known who calls, and its way out."""

    def __init__(self, transactions: Transactions, token: Token, deadline: asyncio.Timeout, *, lost: bool) -> None:
        self._transactions = transactions
        self._token = token
        self._deadline = deadline
        self._lost = lost
        self.held: Held | None = None

    async def join(self, caller: Caller) -> None:
        """Wait for the call's turn. Raises TransactionNotFound, TransactionGone."""
        if self._lost:
            self._transactions.ids.require_owner(self._token, caller)
            raise await self._transactions.gone(self._token, caller)
        if self.held is None:
            self.held = await self._transactions.enter(self._token, caller, self._deadline)

    async def leave(self, *, failed: bool) -> None:
        """The call has ended."""
        if self.held is not None:
            await self._transactions.leave(self.held, failed=failed)


class TransactionCalls:
    """Handlers of transactions.

    Args:
        transactions: those that this worker holds. authenticator: says who calls. carry: reaches the other workers.
    """

    def __init__(self, transactions: Transactions, authenticator: Authenticator, carry: Carry) -> None:
        self._transactions = transactions
        self._authenticator = authenticator
        self._carry = carry

    async def inside(self, exchange: Exchange, handle: Callable[[], Awaitable[None]], *, alone: bool = False) -> bool:
        """Run a call in the transaction that its header names, here; True where it was carried to the worker that holds that.

        A call that is `alone` has a transaction of its own.
        """
        token = self._transactions.ids.read(exchange.headers[NAME].decode("latin-1"))
        if alone or KEY in exchange.headers or exchange.prefer().get("tx", "commit") != "commit":
            raise InvalidParameter(
                "A batch, an Idempotency-Key and the preference tx=rollback have a transaction of their own.",
                hint="Send the call without X-Transaction-ID, or without these.",
            )
        lost = token.holder != self._transactions.holder
        if lost and await self._carried(exchange, token):
            return True
        joining: Joining | None = None
        try:
            async with asyncio.timeout(None) as deadline:
                joining = exchange.joining = Joining(self._transactions, token, deadline, lost=lost)
                try:
                    await handle()
                finally:
                    # What was answered stays, even where its caller leaves before the answer's last byte.
                    await joining.leave(failed=not exchange.started or exchange.status >= 400)
        except TimeoutError:
            if joining is None or joining.held is None or joining.held.is_open():
                raise
            raise gone(joining.held.state, joining.held.reason or "ended") from None
        return False

    async def handle(self, exchange: Exchange, parts: list[bytes]) -> bool:
        """`/api/db/transaction/…`; `parts` is what follows. True where it was carried to another worker."""
        if KEY in exchange.headers and parts[-1:] in ([b"begin"], [b"savepoint"]):
            raise InvalidParameter(
                "A transaction is begun, and a savepoint set, without an Idempotency-Key.",
                hint="One that was begun in vain is rolled back after its idle limit.", details={"header": KEY.decode()},
            )  # fmt: skip
        match parts:
            case [b"begin"]:
                await self._begin(exchange)
                return False
            case [identifier]:
                exchange.allow("GET", "HEAD")
                return await self._control(exchange, identifier, self._state)
            case [identifier, b"commit" | b"rollback" | b"savepoint" as what]:
                exchange.allow("POST")
                calls = {b"commit": self._commit, b"rollback": self._roll_back, b"savepoint": self._savepoint}
                return await self._control(exchange, identifier, calls[what])
            case _:
                raise no_route("/api/db/transaction/" + "/".join(segment(part) for part in parts))

    # --- begin -----------------------------------------------------------------------------------------------------------

    async def _begin(self, exchange: Exchange) -> None:
        exchange.allow("POST")
        caller = await exchange.caller(self._authenticator)
        asked = await _optional_object(exchange)
        unknown_members = sorted(set(asked) - {"isolation", "read_only", "database"})
        if unknown_members:
            raise InvalidParameter(
                f"A transaction has no {unknown_members[0][:100]!r}.", hint="It has isolation, read_only and database.",
            )  # fmt: skip
        isolation = asked.get("isolation", "read_committed")
        read_only = asked.get("read_only", False)
        database = asked.get("database")
        if isolation not in ISOLATIONS:
            raise InvalidParameter(f"isolation is one of {', '.join(ISOLATIONS)}.")
        if not isinstance(read_only, bool):
            raise InvalidParameter("read_only is true or false.")
        if database is not None and not isinstance(database, str):
            raise InvalidParameter("database is the name of a database.")
        known = await self._transactions.begin(caller, database, cast("Isolation", isolation), read_only=read_only)
        await self._answer(exchange, known, "Transaction begun", status=201)

    # --- control ---------------------------------------------------------------------------------------------------------

    async def _control(
        self, exchange: Exchange, identifier: bytes, here: Callable[[Exchange, Asked, Held | None], Awaitable[None]]
    ) -> bool:
        """Run a call about a transaction where that is held. `here` gets None where its holder is gone, and then reads no body."""
        token = self._transactions.ids.read(segment(identifier))
        caller = await exchange.caller(self._authenticator)
        held = self._transactions.find(token, caller)
        if token.holder != self._transactions.holder and await self._carried(exchange, token):
            return True
        await here(exchange, Asked(token, caller), held)
        return False

    async def _state(self, exchange: Exchange, asked: Asked, held: Held | None) -> None:
        known = await (self._transactions.ask(*asked) if held is None else self._transactions.state(held))
        await self._answer(exchange, known, "Transaction found")

    async def _commit(self, exchange: Exchange, asked: Asked, held: Held | None) -> None:
        if held is None:
            known = await self._transactions.ask(*asked)
            if known.state == STARTED:
                raise unreachable()
            if known.state != COMMITTED:
                raise gone(known.state, known.reason or "ended")
        else:
            if await _optional_object(exchange):
                raise InvalidParameter("A commit takes nothing.")
            known = await self._transactions.commit(held)
        await self._answer(exchange, known, "Transaction committed")

    async def _roll_back(self, exchange: Exchange, asked: Asked, held: Held | None) -> None:
        if held is None:
            raise await self._transactions.gone(*asked)
        body = await _optional_object(exchange)
        if body:
            await self._transactions.roll_back_to(held, _name(body, "to"))
            await self._answer(exchange, await self._transactions.state(held), "Transaction rolled back to the savepoint")
            return
        known = await self._transactions.roll_back(held)
        if known.state != ROLLED_BACK:
            raise gone(known.state, known.reason or "ended")
        await self._answer(exchange, known, "Transaction rolled back")

    async def _savepoint(self, exchange: Exchange, asked: Asked, held: Held | None) -> None:
        if held is None:
            raise await self._transactions.gone(*asked)
        await self._transactions.savepoint(held, _name(await _optional_object(exchange), "name"))
        await self._answer(exchange, await self._transactions.state(held), "Savepoint set")

    @staticmethod
    async def _answer(exchange: Exchange, known: Known, message: str, *, status: int = 200) -> None:
        data = {"transaction_id": known.id, "state": known.state, "reason": known.reason, "expires_at": _moment(known)}
        await exchange.answer(status, envelope(to_json(data), message, exchange.correlation_id), JSON, VARY, _NO_STORE)

    # --- other workers ---------------------------------------------------------------------------------------------------

    async def _carried(self, exchange: Exchange, token: Token) -> bool:
        """Whether the holder answered the request."""
        scope = dict(exchange.scope)
        scope["headers"] = [
            *((name, value) for name, value in exchange.scope["headers"] if name != HEADER),
            (HEADER, exchange.correlation_id.encode()),
        ]

        async def receive() -> Message:
            message = await exchange.receive()
            exchange.reading = bool(message.get("more_body"))
            return message

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.started, exchange.status = True, message["status"]
            await exchange.send(message)

        return await self._carry(token.holder.node, token.holder.worker, scope, receive if exchange.reading else None, send)


def _moment(known: Known) -> str | None:
    if known.expires_at is None:
        return None
    return known.expires_at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


async def _optional_object(exchange: Exchange) -> dict[str, object]:
    """The body as an object; nothing is an empty one."""
    if not exchange.reading or exchange.headers.get(b"content-length", b"") == b"0":
        return {}
    if b"content-length" not in exchange.headers and b"transfer-encoding" not in exchange.headers:
        return {}
    body = await exchange.json()
    if not isinstance(body, dict):
        raise InvalidParameter("The body is an object.")
    return body


def _name(asked: dict[str, object], member: str) -> str:
    """The name of a savepoint in a body that holds nothing else."""
    for other in asked:
        if other != member:
            raise InvalidParameter(f"This call takes no {other[:100]!r}.", hint=f'Send {{"{member}": "a_name"}}.')
    name = asked.get(member)
    if not isinstance(name, str):
        raise MissingValue(f"{member} is the name of a savepoint.", details={"field": member})
    return name


__all__ = ["NAME", "Carry", "Joining", "TransactionCalls"]
