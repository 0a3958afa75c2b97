"""Has the databases' committed companion rows given their positions, within a second of their commit and beside the writers.

Every worker of every node runs one for each database. Rounds that find that another one is at work come less often, and take over when
it stops: nobody is elected, and nobody has to be found dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from portico.engines.base import Engine
from portico.engines.records import Positions, Recording, Records
from portico.errors import PorticoError
from portico.events import ConnectionFailed, Emit, InternalFault
from portico.model.positions import Chain
from portico.query.capabilities import Capability

LEAD_SECONDS = 0.2
FOLLOW_SECONDS = 0.7
"""How often one looks that sees another one at work. Two looks are how long its end may stay unnoticed."""

AWAY_SECONDS = 1.0


class Sequencer:
    """Gives positions in one database, until it is cancelled.

    Args:
        engine: the database. chain: links its audit rows. emit: told of faults, once when they begin.
        given: called when rows got their positions.
    """

    def __init__(self, engine: Engine, chain: Chain, *, emit: Emit, given: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._chain = chain
        self._emit = emit
        self._given = given
        self._failing = False

    async def run(self) -> None:
        """Give positions until cancelled. A database that is away, or has no companion tables yet, is asked again."""
        positions: Positions | None = None
        while True:
            pause = AWAY_SECONDS
            try:
                records = records_of(self._engine)
                if records is not None:
                    positions = positions or records.positions(self._chain)
                    pause = await self._round(positions)
                self._failing = False
            except PorticoError as error:
                self._failed(ConnectionFailed(self._engine.name, error.code))
            except Exception as error:  # noqa: BLE001 - a task that ended would leave the audit without its chain
                self._failed(InternalFault(type(error).__name__, "service.sequencer", ""))
            await asyncio.sleep(pause)

    async def _round(self, positions: Positions) -> float:
        """One round; gives the seconds until the next."""
        done = await positions.advance()
        if done.given:
            self._given()
        if done.more:
            return 0.0
        if done.contested:
            return FOLLOW_SECONDS
        return LEAD_SECONDS

    def _failed(self, event: ConnectionFailed | InternalFault) -> None:
        if not self._failing:
            self._failing = True
            self._emit(event)


def records_of(engine: Engine) -> Records | None:
    """The companion records of a database; None where it has none, or its engine keeps none."""
    if not isinstance(engine, Recording) or not {Capability.AUDIT, Capability.CHANGE_FEED} <= engine.capabilities:
        return None
    return engine.records
