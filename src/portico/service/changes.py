"""The change feed: one task for each database with followers reads new changes once, and hands them to all who follow.

A follower holds a position and nothing else. What is new it takes from a short list that all share; who is further behind, because it
resumes or reads slowly, reads from the table again until it has come up. So a follower costs the same memory however slow it is.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from portico.catalog.catalog import Catalog
from portico.engines.base import Engine
from portico.engines.records import Records
from portico.errors import ChangesGone, NotSupported, PorticoError
from portico.events import ConnectionFailed, Emit, InternalFault
from portico.model.identity import Permission
from portico.query.capabilities import Capability
from portico.query.scoped import EverythingRule, SharedRule
from portico.service.caller import Caller
from portico.service.feed_view import Change, View, check
from portico.service.plans import Plans
from portico.service.sequencer import records_of

POLL_SECONDS = 0.2
AWAY_SECONDS = 1.0
POSITIONS_AT_ONCE = 500
BEHIND_AT_ONCE = 200
MOST_KEPT_BYTES = 8_388_608
MOST_KEPT = 2000
_READ_BEHIND = 4


@dataclass(eq=False, slots=True)
class Recent:
    """The newest changes of one collection: all of them after `base`, up to `until`. Whoever is before `base` reads the table."""

    base: int
    until: int
    positions: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    size: int = 0
    followers: set[Follower] = field(default_factory=set)

    def add(self, change: Change) -> None:
        """Append one, and let the oldest go where there are too many."""
        self.positions.append(change.row.position)
        self.changes.append(change)
        self.size += change.size
        if len(self.changes) > MOST_KEPT or self.size > MOST_KEPT_BYTES:
            gone = max(1, len(self.changes) // 4)
            self.base = self.positions[gone - 1]
            self.size -= sum(item.size for item in self.changes[:gone])
            del self.positions[:gone], self.changes[:gone]

    def after(self, position: int) -> list[Change]:
        """Those after a position that is not before `base`."""
        return self.changes[bisect_right(self.positions, position) :]

    def wake(self) -> None:
        """Tell the followers that there is something."""
        for follower in self.followers:
            follower.woken.set()


class Follower:
    """One who follows a collection, from a position on. `woken` is set when there may be something to do."""

    __slots__ = ("_hub", "_recent", "name", "position", "woken")

    def __init__(self, hub: Hub, name: str, recent: Recent, position: int) -> None:
        self._hub = hub
        self._recent = recent
        self.name = name
        self.position = position
        self.woken = asyncio.Event()

    async def next(self) -> list[Change]:
        """The changes that come next; none where the follower has come up. Raises ChangesGone, and where the database fails."""
        self.woken.clear()
        if self.position >= self._recent.base:
            found = self._recent.after(self.position)
            self.position = max(self.position, self._recent.until)
            return found
        while self.position < self._recent.base:
            found = await self._hub.behind(self)
            if found:
                return found
        return await self.next()

    def close(self) -> None:
        """Follow no longer."""
        self._hub.leave(self, self._recent)


class Hub:
    """The followers of one database."""

    def __init__(self, records: Records, database: str, emit: Emit) -> None:
        self._records = records
        self._database = database
        self._emit = emit
        self._recent: dict[str, Recent] = {}
        self._until = 0
        self._woken = asyncio.Event()
        self._behind = asyncio.Semaphore(_READ_BEHIND)
        self._task: asyncio.Task[None] | None = None

    async def follow(self, name: str, after: int | None, keep_seconds: float) -> Follower:
        """Begin to follow a collection, after a position or from now on. Raises ChangesGone."""
        newest = await self._records.newest_position()
        position = newest if after is None else after
        if position > newest:
            raise ChangesGone("There is no such position in this database.", hint=_ANEW)
        if after is not None:
            age = await self._records.aged(after)
            if age is not None and age > keep_seconds:
                raise ChangesGone("The changes after this position are not kept any more.", hint=_ANEW)
        if not self._recent:
            self._until = newest
        recent = self._recent.setdefault(name, Recent(self._until, self._until))
        follower = Follower(self, name, recent, position)
        recent.followers.add(follower)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="portico-changes")
        return follower

    def leave(self, follower: Follower, recent: Recent) -> None:
        """One follows no longer."""
        recent.followers.discard(follower)
        if not recent.followers and self._recent.get(follower.name) is recent:
            del self._recent[follower.name]

    def wake(self) -> None:
        """There are new positions."""
        self._woken.set()

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def behind(self, follower: Follower) -> list[Change]:
        """The next changes of one who is behind, from the table."""
        async with self._behind:
            page = await self._records.changes(follower.position, [follower.name], BEHIND_AT_ONCE)
        if page.lost:
            raise ChangesGone("The changes after this position are not kept any more.", hint=_ANEW)
        follower.position = page.until
        return [Change(row) for row in page.rows]

    async def _run(self) -> None:
        """Read what is new for as long as somebody follows."""
        failing = False
        while self._recent:
            try:
                more = await self._read()
                failing = False
            except PorticoError as error:
                if not failing:
                    self._emit(ConnectionFailed(self._database, error.code))
                failing, more = True, False
                await asyncio.sleep(AWAY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the followers would wait for ever
                if not failing:
                    self._emit(InternalFault(type(error).__name__, "service.changes", ""))
                failing, more = True, False
                await asyncio.sleep(AWAY_SECONDS)
            if not more:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _read(self) -> bool:
        """Read the next positions; whether there may be more."""
        asked = dict(self._recent)
        page = await self._records.changes(self._until, list(asked), POSITIONS_AT_ONCE)
        more = page.until - self._until >= POSITIONS_AT_ONCE
        self._until = page.until
        told: set[str] = set()
        for row in page.rows:
            asked[row.collection].add(Change(row))
            told.add(row.collection)
        for name, recent in self._recent.items():
            recent.until = page.until
            if asked.get(name) is not recent:
                # It came while this was read: what was read is not in it.
                recent.base = page.until
                told.add(name)
        for name in told & self._recent.keys():
            self._recent[name].wake()
        return more


_ANEW = "Read the collection anew, and follow it from now on, without a position."


class Changes:
    """The change feeds of this process.

    Args:
        plans: authorizes. engines: by database. catalog: gives the snapshot in force. keep_seconds: how old a change may be resumed from.
    """

    def __init__(
        self, plans: Plans, engines: Mapping[str, Engine], *, catalog: Callable[[], Catalog], keep_seconds: float, emit: Emit
    ) -> None:
        self._plans = plans
        self._engines = engines
        self._catalog = catalog
        self._keep_seconds = keep_seconds
        self._emit = emit
        self._hubs: dict[str, Hub] = {}

    @property
    def version(self) -> int:
        """The version of the catalog: a view of an older one is to be made anew."""
        return self._catalog().version

    def view(self, caller: Caller, name: str) -> View:
        """What a caller sees of a collection's changes.

        Raises:
            Forbidden, CollectionNotFound: it may not read it. NotSupported: it has no feed, or not for this caller's row filter.
        """
        collection = self._plans.collection(name)
        context = self._plans.context(caller, collection, Permission.READ)
        if records_of(context.engine) is None or not collection.audit:
            hint = "Run portico init-db on the database." if collection.audit else "Declare it with audit: true."
            raise NotSupported(Capability.CHANGE_FEED, context.engine.kind, message=f"The collection {name} has no change feed.", hint=hint)
        filters, _, coercers = self._plans.row_filters(context, 0)
        check(filters, collection, context.engine)
        limited = not isinstance(context.rule, EverythingRule | SharedRule)
        values = tuple(coerce(None) for coerce in coercers)
        return View(collection, limited, caller.scope, filters, values, context.access.hidden, self.version)

    async def follow(self, view: View, after: int | None) -> Follower:
        """Begin to follow. Raises ChangesGone, DatabaseUnavailable."""
        database = view.collection.database
        hub = self._hubs.get(database)
        if hub is None:
            records = records_of(self._engines[database])
            assert records is not None, "a view is of a database with records"
            hub = self._hubs[database] = Hub(records, database, self._emit)
        return await hub.follow(view.collection.name, after, self._keep_seconds)

    def wake(self, database: str) -> None:
        """This process gave positions in a database."""
        hub = self._hubs.get(database)
        if hub is not None:
            hub.wake()

    async def close(self) -> None:
        """Stop reading."""
        for hub in self._hubs.values():
            await hub.close()
