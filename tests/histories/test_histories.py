"""Random transactions over HTTP, with killed workers and a crash of PostgreSQL among them, show no anomaly that their isolation rules out.

The method is that of Elle (Kingsbury and Alvaro, VLDB 2020) with the phenomena of Adya's thesis (1999). Clients run transactions that
read lists and write longer ones. The last element of each list is unique, so that a list that is read names the write that it came from,
and therefore the transaction (the property that Elle calls recoverability). The order in which lists were installed is not guessed: a
trigger in the database, which Portico knows nothing of, notes each list while its row is locked, in the transaction of the write. What is
rolled back leaves no note, and no other can write the row between a write and the end of its transaction; so the notes of a document, by
their number, are its version order.

From both follow all dependencies between committed transactions: who wrote over whom (ww), who read from whom (wr), who read what whom
then wrote over (rw). Adya's levels are defined by the cycles that they exclude:

- read committed: none of ww (G0), none of ww and wr (G1c), no read of what was aborted (G1a) or was not the last word of its writer
  (G1b);
- repeatable read, which on PostgreSQL is snapshot isolation: moreover no cycle without two rw edges in a row (Cerone and Gotsman 2016),
  of which lost updates (P4) and G-single are cases, and a document reads the same until the transaction itself writes it;
- serializable: no cycle at all.

From repeatable read on, a client's own transactions count as an edge in the order in which they were answered: whoever was told of a
commit sees it.

A transaction without an answer to its commit is asked about by `GET /api/db/transaction/{id}`; whether the answer was true is seen by the
notes. Every commit that was answered must be among the notes, also those before a crash, and nothing else. What was undone by a
savepoint, or refused, counts as aborted. `test_checker.py` shows that each anomaly would be found.

`PORTICO_HISTORY_SIZE` is how many transactions each level runs, `PORTICO_HISTORY_SEED` chooses others. A seed gives the same calls of
each client, but not the same interleaving of the clients.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.histories.checker import check, forbidden
from tests.histories.history import LEVELS, History, Level, Value
from tests.histories.recorder import COLLECTION, Recorder, keys_of
from tests.process.workers import workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.prepared import over, prepared_database
from tests.servers.waiting import wait_until

SIZE = int(os.environ.get("PORTICO_HISTORY_SIZE", "100"))
SEED = int(os.environ.get("PORTICO_HISTORY_SEED", "1"))
WORKERS, CLIENTS = 3, 10
KILLS = max(1, SIZE // 400)
"""Few enough that the service does not give itself up: it ends where more than five workers did within half a minute."""
WITHIN = 60 + SIZE / 2
"""Seconds for a part of the run."""

CONFIG: dict[str, object] = {
    "transactions": {"idle_seconds": 2},
    "collections": [
        {
            "name": "lists",
            "fields": [
                {"name": "id", "type": "string(40)", "required": True, "constraints": ["primary_key"]},
                {"name": "items", "type": "integer[]", "required": True},
            ],
            "security": {"access_control": "shared"},
        }
    ],
}
NOTES = """
CREATE TABLE public.notes (number bigserial, key text, items int[]);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN INSERT INTO public.notes (key, items) VALUES (NEW.id, NEW.items); RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE ON app.lists FOR EACH ROW EXECUTE FUNCTION public.note();
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server to crash. A commit that it has answered outlives its processes."""
    server = PostgresServer.start(settings={"synchronous_commit": "on", "deadlock_timeout": "'200ms'"})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> Iterator[PostgresDatabase]:
    """One with the trigger."""
    database = prepared_database(server, CONFIG)
    database.execute(NOTES)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def service(database: PostgresDatabase) -> Iterator[PorticoProcess]:
    """Portico on several workers, with an empty list in every document."""
    served = over(database)["databases"]
    assert isinstance(served, dict)
    main = served["main"] | {"pool_settings": {"max_connections": 20}}
    process = PorticoProcess(CONFIG | {"http": {"workers": WORKERS}, "databases": {"main": main}}).start()
    wait_until(lambda: len(workers_of(process)) == WORKERS, WITHIN, "the workers")
    documents = [{"id": key, "items": []} for level in LEVELS for key in all_keys(level)]
    for first in range(0, len(documents), 100):
        process.client.post(COLLECTION, json=documents[first : first + 100]).raise_for_status()
    yield process
    process.close()


def all_keys(level: Level) -> list[str]:
    """Every document that the clients may use."""
    return list(dict.fromkeys(key for number in range(1, SIZE + 1) for key in keys_of(level, number)))


def disturb(recorder: Recorder, clients: Future[None], process: PorticoProcess, server: PostgresServer) -> Counter[str]:
    """Kill workers, evenly over the run, and crash the database in its middle."""
    chance, counts = random.Random(recorder.seed), Counter[str]()

    def reached(part: float) -> None:
        enough = recorder.size * part
        wait_until(lambda: len(recorder.transactions) >= enough or clients.done(), WITHIN, f"{part:.0%} of the transactions")

    for place in range(KILLS):
        reached((place + 0.5) / KILLS * 0.5)
        wait_until(lambda: len(workers_of(process)) == WORKERS, WITHIN, "the workers")
        os.kill(chance.choice(workers_of(process)), signal.SIGKILL)
        counts["kills"] += 1
    reached(0.6)
    server.kill()
    server.restart()
    counts["crashes of PostgreSQL"] += 1
    return counts


def installed(database: PostgresDatabase, level: Level) -> Mapping[str, list[Value]]:
    """The lists of each document, in the order in which they were installed."""
    found: dict[str, list[Value]] = {key: [] for key in all_keys(level)}
    with database.connect() as connection:
        for key, items in connection.execute("SELECT key, items FROM public.notes ORDER BY number"):
            assert isinstance(key, str)
            assert isinstance(items, list)
            if key in found:
                found[key].append(tuple(items))
    return found


def final(process: PorticoProcess, level: Level) -> Mapping[str, Value]:
    """The list of each document, as the service gives it."""
    return {key: tuple(process.client.get(f"{COLLECTION}/{key}").raise_for_status().json()["data"]["items"]) for key in all_keys(level)}


@pytest.mark.database
@pytest.mark.parametrize("level", LEVELS)
def test_a_history_has_no_anomaly_that_its_level_rules_out(
    level: Level, service: PorticoProcess, database: PostgresDatabase, server: PostgresServer
) -> None:
    recorder = Recorder(service.url, level, SIZE, SEED)
    started = time.monotonic()
    with ThreadPoolExecutor() as executor:
        clients = executor.submit(recorder.run, CLIENTS)
        disturbed = disturb(recorder, clients, service, server)
        clients.result()
    seconds = time.monotonic() - started
    found = check(History(recorder.transactions, installed(database, level), final(service, level)))
    anomalies = {anomaly: len(texts) for anomaly, texts in found.items()}
    print(f"\n{level}, seed {SEED}: {len(recorder.transactions)} transactions in {seconds:.0f} s; {dict(disturbed)}")
    print(f"  {dict(recorder.counts.most_common())}\n  anomalies: {anomalies or 'none'}")
    assert len(recorder.transactions) == SIZE, service.log_tail()
    assert recorder.counts["committed"] > SIZE / 10
    assert forbidden(found, level) == {}
