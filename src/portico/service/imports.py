"""Imports: many documents by one call, all or none, checked before a transaction opens and read in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from portico.engines.base import Call, Transaction
from portico.errors import InvalidValue, PorticoError, RequestError
from portico.model.identity import Permission
from portico.service.caller import Caller
from portico.service.passwords import check_together
from portico.service.validate import Body
from portico.service.writes import WritePlan, Writes

BATCH = 500
MOST_ERRORS = 100
Lines = Callable[[], Iterator[tuple[int, object]]]
"""Gives the documents from the first, each with its line number; a line that could not be read is its error."""


class Imports:
    """Creates the documents of an import. `writes` gives the plans of its creates."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def run(self, caller: Caller, name: str, lines: Lines) -> int:
        """Create every document, or none.

        Returns:
            how many.
        Raises:
            InvalidValue: lines break rules; ``details["errors"]`` holds the first hundred, each with its line and reason.
        """
        documents = with_hashes(lines, await self._check(caller, name, lines))
        if caller.transaction is not None:
            return await self._insert(caller, name, documents, caller.transaction)
        engine = self._writes.engine_of(name)
        transaction = await engine.begin()
        try:
            count = await self._insert(caller, name, documents, transaction)
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(transaction.rollback()))
            raise
        await transaction.commit()
        return count

    async def _check(self, caller: Caller, name: str, lines: Lines) -> dict[int, Body]:
        """Check every line; gives those whose passwords were hashed, so that this is not done in the transaction."""
        errors: list[dict[str, object]] = []
        hashes: dict[int, Body] = {}
        for seen, (number, document) in enumerate(lines(), start=1):
            try:
                if isinstance(document, Mapping):
                    concealed = await self._writes.conceal(caller, name, document, Permission.CREATE)
                    if concealed is not document:
                        hashes[number] = concealed
                        check_together(len(hashes))
                self._prepared(caller, name, hashes.get(number, document))
            except RequestError as error:
                if not isinstance(error, InvalidValue) and not isinstance(document, PorticoError | dict):
                    raise
                errors.append({"line": number, "code": error.code, "message": error.message})
                if len(errors) >= MOST_ERRORS:
                    break
            if seen % BATCH == 0:
                await asyncio.sleep(0)  # others have their turn
        if errors:
            raise InvalidValue(f"{len(errors)} lines cannot be imported; nothing was written.", details={"errors": errors})
        return hashes

    def _prepared(self, caller: Caller, name: str, document: object) -> tuple[WritePlan, Call]:
        if isinstance(document, PorticoError):
            raise document
        return self._writes.prepared(caller, name, document)

    async def _insert(self, caller: Caller, name: str, lines: Lines, transaction: Transaction) -> int:
        count = 0
        plan: WritePlan | None = None
        batch: list[Call] = []
        first = 1
        for number, document in lines():
            next_plan, call = self._prepared(caller, name, document)
            if plan is not None and (next_plan is not plan or len(batch) >= BATCH):
                await self._send(transaction, plan, batch, first, number - 1)
                batch = []
            if not batch:
                first = number
            plan = next_plan
            batch.append(call)
            count += 1
        if plan is not None and batch:
            await self._send(transaction, plan, batch, first, first + len(batch) - 1)
        return count

    @staticmethod
    async def _send(transaction: Transaction, plan: WritePlan, batch: list[Call], first: int, last: int) -> None:
        try:
            await transaction.run_all(plan.lane.plan, batch, timeout=plan.lane.timeout)
        except RequestError as error:
            error.details.setdefault("lines", [first, last])
            raise


def with_hashes(lines: Lines, hashes: Mapping[int, Body]) -> Lines:
    """The same lines, those of `hashes` with their passwords hashed."""
    return lines if not hashes else lambda: ((number, hashes.get(number, document)) for number, document in lines())
