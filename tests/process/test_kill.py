"""`kill -9` of a worker under load: nothing is half-done, the other worker goes on, and a new one takes the place of the dead."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.conftest import StartPortico
from tests.process.audited import Held, held_by_postgres, held_by_sqlite, require_nothing_half_done
from tests.process.load import Load
from tests.process.workers import workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.waiting import wait_until, wait_until_async

CALLERS = 12


def _held(process: PorticoProcess, database: PostgresDatabase | None, prefix: str) -> Held:
    return held_by_sqlite(process.folder, prefix) if database is None else held_by_postgres(database, prefix)


async def _kill_under_load(process: PorticoProcess, load: Load, victims: Callable[[list[int]], list[int]]) -> None:
    """Kill workers while callers write, and stop writing once many more requests were answered and the workers are replaced."""
    callers = asyncio.ensure_future(load.run(CALLERS))
    await load.answered(150)
    before = workers_of(process)
    killed = victims(before)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    await load.answered(150)

    async def replaced() -> bool:
        found = workers_of(process)
        return len(found) == len(before) and not set(found) & set(killed)

    await wait_until_async(replaced, what="a new worker")
    load.ended = True
    await callers


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_worker_killed_under_load_leaves_nothing_half_done_and_the_other_goes_on(
    portico: StartPortico, process_database: PostgresDatabase | None, over: dict[str, object]
) -> None:
    process = portico(config={"http": {"workers": 2}} | over)
    wait_until(lambda: len(workers_of(process)) == 2, what="two workers")
    load = Load(process.port, "kill")
    asyncio.run(_kill_under_load(process, load, lambda pids: pids[:1]))
    assert set(load.statuses) <= {200, 201, None}, load.statuses
    # Each caller may have had one call on the dead worker, and then a new connection that still waited in its queue.
    assert load.statuses[None] <= 2 * CALLERS, "more were cut off than one worker can have had"
    require_nothing_half_done(load, _held(process, process_database, "kill"))
    assert process.stop() == 0
