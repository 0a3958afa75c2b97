"""Imports: many documents by one call, all or none, checked before a transaction opens and read in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from portico.engines.base import Answer, Call, Transaction
from portico.errors import InvalidValue, PorticoError, RequestError
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.model.page import Document
from portico.service.caller import Caller
from portico.service.checked import CheckedRow, CheckedRows, Decode, decoders, restored
from portico.service.conflicts import OnConflict, unique_value
from portico.service.passwords import check_together
from portico.service.together import together
from portico.service.upserts import UpsertPlan, Upserts
from portico.service.validate import object_body
from portico.service.write_plan import WritePlan
from portico.service.writes import Writes

BATCH = 1_000
BATCH_BYTES = 1_048_576
"""How many rows, and of how many bytes, are written by one statement at most."""

TURN_SECONDS = 0.005
"""How long lines are checked before others have their turn."""

MOST_ERRORS = 100
BEFORE = "portico_batch"
Lines = Iterable[tuple[int, object] | None]
"""The documents, each with its line number; a line that could not be read is its error, and one that holds nothing is None."""


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
    """Lines that go out together: of one plan, each unique value once. `seen` are their unique values; `size` is theirs, in bytes."""

    names: tuple[str, ...]
    plan: WritePlan
    decode: Sequence[tuple[int, Decode]]
    numbers: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether it goes out before another line is taken."""
        return len(self.calls) >= BATCH or self.size >= BATCH_BYTES

    def add(self, row: CheckedRow, call: Call, value: tuple[object, ...] | None) -> None:
        """Take one more line. `value`: its unique values."""
        self.numbers.append(row.number)
        self.calls.append(call)
        self.size += row.size
        if value is not None:
            self.seen.add(value)


class Imports:
    """Creates or upserts the documents of an import. `writes` and `upserts` give the plans."""

    def __init__(self, writes: Writes, upserts: Upserts) -> None:
        self._writes = writes
        self._upserts = upserts

    def target(self, caller: Caller, name: str) -> tuple[Collection, frozenset[str]]:
        """The collection that documents are imported into, and its fields that the caller does not see. Raises as a create does."""
        return self._writes.writable(caller, name), self._writes.hidden(caller, name)

    async def run(self, caller: Caller, name: str, lines: Lines, how: OnConflict | None = None) -> Imported:
        """Create every document, or with `how` upsert it; or none.

        Of two lines with the same unique values the later one merges into, or is ignored for, the earlier.

        Raises:
            InvalidValue: lines break rules; ``details["errors"]`` holds the first hundred, each with its line and reason.
            RequestError: the database refused lines, of the first one's kind, with the same details.
        """
        with closing(CheckedRows()) as rows:
            await self._check(caller, name, lines, how, rows)
            alone = caller.transaction is None
            return await together(
                caller, self._writes.engine_of(name), lambda transaction: self._write(caller, name, rows, how, transaction, alone=alone)
            )

    async def _check(self, caller: Caller, name: str, lines: Lines, how: OnConflict | None, rows: CheckedRows) -> None:
        """Check every line, and keep its values in `rows`: passwords are hashed here, and not in the transaction."""
        collection, _ = self.target(caller, name)
        secret = bool(collection.security.passwords)
        if how is not None and how.resolution == "merge":
            await self._writes.conceal(caller, name, {}, Permission.UPDATE)
        errors: list[dict[str, object]] = []
        plan: WritePlan | None = None
        names: tuple[str, ...] = ()
        passwords = 0
        turn = time.monotonic()
        for line in lines:
            if time.monotonic() - turn > TURN_SECONDS:
                plan = None  # what the caller may do is looked at anew
                await asyncio.sleep(0)
                turn = time.monotonic()
            if line is None:
                continue
            number, document = line
            try:
                if isinstance(document, PorticoError):
                    raise document
                body = object_body(document)
                if secret:
                    concealed = await self._writes.conceal(caller, name, body, Permission.CREATE)
                    passwords += concealed is not body
                    check_together(passwords)
                    body = concealed
                if plan is None or tuple(body) != names:
                    plan, names = self._plan(caller, name, tuple(body), how), tuple(body)
                rows.add(names, number, plan.writer.values(body, caller.scope))
            except RequestError as error:
                errors.append(_told(number, error))
                if len(errors) >= MOST_ERRORS:
                    break
        if errors:
            raise InvalidValue(_MESSAGE.format(len(errors)), details={"errors": errors})

    def _plan(self, caller: Caller, name: str, names: tuple[str, ...], how: OnConflict | None) -> WritePlan:
        return self._writes.counted_plan(caller, name, names) if how is None else self._upserts.plan(caller, name, names, how)

    async def _write(
        self, caller: Caller, name: str, rows: CheckedRows, how: OnConflict | None, transaction: Transaction, *, alone: bool
    ) -> Imported:
        """Send the rows in batches. `alone`: the transaction is the import's own, so that the lines that fail can be looked for."""
        imported = Imported()
        refused: list[tuple[int, RequestError]] = []
        for batch in self._batches(caller, name, rows, how):
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

    def _batches(self, caller: Caller, name: str, rows: CheckedRows, how: OnConflict | None) -> Iterator[Batch]:
        """The rows as calls of their plans: a batch ends where the plan changes, or where a unique value comes again."""
        batch: Batch | None = None
        for row in rows.read():
            if batch is None or batch.full or row.names != batch.names:
                if batch is not None:
                    yield batch
                batch = self._batch(caller, name, row.names, how)
            values = restored(row.values, batch.decode)
            value = None
            if isinstance(batch.plan, UpsertPlan):
                value = unique_value(batch.plan.unique, batch.plan.writer, values)
                if value in batch.seen:
                    yield batch
                    batch = self._batch(caller, name, row.names, how)
                values = (*values, *[coerce(None) for coerce in batch.plan.coercers])
            batch.add(row, Call(values, caller.scope, caller.actor), value)
        if batch is not None:
            yield batch

    def _batch(self, caller: Caller, name: str, names: tuple[str, ...], how: OnConflict | None) -> Batch:
        plan = self._plan(caller, name, names, how)
        return Batch(names, plan, decoders(plan.writer))


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
        await asyncio.sleep(0)  # an embedded database answers without waiting
    return refused
