"""Imports: many documents by one call, all or none, checked before a transaction opens and read in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from portico.engines.base import Answer, Call, Transaction
from portico.errors import InvalidValue, PorticoError, RequestError
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.model.page import Document
from portico.service.caller import Caller
from portico.service.conflicts import OnConflict, unique_value
from portico.service.passwords import check_together
from portico.service.together import together
from portico.service.upserts import UpsertPlan, Upserts
from portico.service.validate import Body
from portico.service.write_plan import WritePlan
from portico.service.writes import Writes

BATCH = 500
MOST_ERRORS = 100
BEFORE = "portico_batch"
Lines = Callable[[], Iterator[tuple[int, object]]]
"""Gives the documents from the first, each with its line number; a line that could not be read is its error."""


@dataclass(slots=True)
class Imported:
    """What became of the lines."""

    created: int = 0
    merged: int = 0
    ignored: int = 0

    @property
    def count(self) -> int:
        """How many documents were written."""
        return self.created + self.merged

    def note(self, answer: Answer) -> None:
        """Count one answer."""
        if not isinstance(answer, Document):
            self.ignored += 1
        elif answer.created:
            self.created += 1
        else:
            self.merged += 1


@dataclass(slots=True)
class Batch:
    """Lines that go out together: of one plan, each unique value once. `seen` are their unique values."""

    plan: WritePlan
    numbers: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)

    def takes(self, plan: WritePlan, value: tuple[object, ...] | None) -> bool:
        """Whether one more line may go with these: of two with the same unique values, the later one meets the earlier."""
        return plan is self.plan and len(self.calls) < BATCH and value not in self.seen


class Imports:
    """Creates or upserts the documents of an import. `writes` and `upserts` give the plans."""

    def __init__(self, writes: Writes, upserts: Upserts) -> None:
        self._writes = writes
        self._upserts = upserts

    def target(self, caller: Caller, name: str) -> tuple[Collection, frozenset[str]]:
        """The collection that documents are imported into, and its fields that the caller does not see."""
        return self._writes.writable(caller, name), self._writes.hidden(caller, name)

    async def run(self, caller: Caller, name: str, lines: Lines, how: OnConflict | None = None) -> Imported:
        """Create every document, or with `how` upsert it; or none.

        Of two lines with the same unique values the later one merges into, or is ignored for, the earlier.

        Raises:
            InvalidValue: lines break rules; ``details["errors"]`` holds the first hundred, each with its line and reason.
            RequestError: the database refused lines, of the first one's kind, with the same details.
        """
        documents = with_hashes(lines, await self._check(caller, name, lines, how))
        alone = caller.transaction is None
        return await together(
            caller, self._writes.engine_of(name), lambda transaction: self._insert(caller, name, documents, how, transaction, alone=alone)
        )

    async def _check(self, caller: Caller, name: str, lines: Lines, how: OnConflict | None) -> dict[int, Body]:
        """Check every line; gives those whose passwords were hashed, so that this is not done in the transaction."""
        errors: list[dict[str, object]] = []
        hashes: dict[int, Body] = {}
        if how is not None and how.resolution == "merge":
            await self._writes.conceal(caller, name, {}, Permission.UPDATE)
        for seen, (number, document) in enumerate(lines(), start=1):
            try:
                if isinstance(document, Mapping):
                    concealed = await self._writes.conceal(caller, name, document, Permission.CREATE)
                    if concealed is not document:
                        hashes[number] = concealed
                        check_together(len(hashes))
                self._prepared(caller, name, hashes.get(number, document), how)
            except RequestError as error:
                if not isinstance(error, InvalidValue) and not isinstance(document, PorticoError | dict):
                    raise
                errors.append(_told(number, error))
                if len(errors) >= MOST_ERRORS:
                    break
            if seen % BATCH == 0:
                await asyncio.sleep(0)  # others have their turn
        if errors:
            raise InvalidValue(_MESSAGE.format(len(errors)), details={"errors": errors})
        return hashes

    def _prepared(self, caller: Caller, name: str, document: object, how: OnConflict | None) -> tuple[WritePlan, Call]:
        if isinstance(document, PorticoError):
            raise document
        return self._writes.prepared(caller, name, document) if how is None else self._upserts.prepared(caller, name, document, how)

    async def _insert(
        self, caller: Caller, name: str, lines: Lines, how: OnConflict | None, transaction: Transaction, *, alone: bool
    ) -> Imported:
        """Send the lines in batches. `alone`: the transaction is the import's own, so that the lines that fail can be looked for."""
        imported = Imported()
        refused: list[tuple[int, RequestError]] = []
        for batch in self._batches(caller, name, lines, how):
            if not alone:
                await _send(transaction, batch, imported)
                continue
            await transaction.savepoint(BEFORE)
            try:
                await _send(transaction, batch, imported)
            except RequestError as error:
                await transaction.rollback_to(BEFORE)
                refused += await _one_by_one(transaction, batch, imported) or [(batch.numbers[0], error)]
            await transaction.release(BEFORE)
            if len(refused) >= MOST_ERRORS:
                break
        if refused:
            first, told = refused[0][1], [_told(number, error) for number, error in refused[:MOST_ERRORS]]
            raise type(first)(_MESSAGE.format(len(told)), details={"errors": told}) from first.__cause__
        return imported

    def _batches(self, caller: Caller, name: str, lines: Lines, how: OnConflict | None) -> Iterator[Batch]:
        batch: Batch | None = None
        for number, document in lines():
            plan, call = self._prepared(caller, name, document, how)
            value = unique_value(plan.unique, plan.writer, call.values) if isinstance(plan, UpsertPlan) else None
            if batch is None or not batch.takes(plan, value):
                if batch is not None:
                    yield batch
                batch = Batch(plan)
            batch.numbers.append(number)
            batch.calls.append(call)
            if value is not None:
                batch.seen.add(value)
        if batch is not None:
            yield batch


_MESSAGE = "{} lines cannot be imported; nothing was written."


def _told(number: int, error: PorticoError) -> dict[str, object]:
    return {"line": number, "code": error.code, "message": error.message}


async def _send(transaction: Transaction, batch: Batch, imported: Imported) -> None:
    try:
        answers = await transaction.run_all(batch.plan.lane.plan, batch.calls, timeout=batch.plan.lane.timeout)
    except RequestError as error:
        error.details.pop("index", None)
        error.details.setdefault("lines", [batch.numbers[0], batch.numbers[-1]])
        raise
    for answer in answers:
        imported.note(answer)


async def _one_by_one(transaction: Transaction, batch: Batch, imported: Imported) -> list[tuple[int, RequestError]]:
    """Send the lines of a batch that failed each by itself; gives those that fail, with their errors."""
    refused: list[tuple[int, RequestError]] = []
    for number, call in zip(batch.numbers, batch.calls, strict=True):
        await transaction.savepoint(BEFORE + "_line")
        try:
            imported.note((await transaction.run_all(batch.plan.lane.plan, [call], timeout=batch.plan.lane.timeout))[0])
        except RequestError as error:
            refused.append((number, error))
            await transaction.rollback_to(BEFORE + "_line")
        await transaction.release(BEFORE + "_line")
    return refused


def with_hashes(lines: Lines, hashes: Mapping[int, Body]) -> Lines:
    """The same lines, those of `hashes` with their passwords hashed."""
    return lines if not hashes else lambda: ((number, hashes.get(number, document)) for number, document in lines())
