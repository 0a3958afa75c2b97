"""What is compared with what: the kinds of work, and the ratios with the least that is asked of each and the aim."""

from dataclasses import dataclass
from typing import Literal

PORTICO = "portico/postgres"
CACHED = "portico cached/postgres"
UNAUDITED = "portico unaudited/postgres"
BY_HAND = "by hand/postgres"
IDIOMATIC = "idiomatic/postgres"
PREST = "pREST/postgres"
PORTICO_SQLITE = "portico/sqlite"
BY_HAND_SQLITE = "by hand/sqlite"
POCKETBASE = "PocketBase/sqlite"


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load, driven against each target in turn.

    Args:
        part: what `--only` calls it; one part may hold several kinds of work.
        call: the name of the call at the target, `get` for example.
        connections: kept-alive connections that are busy all the time.
        targets: who is driven, Portico first.
    """

    part: str
    call: str
    connections: int
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        """As results call it."""
        return f"{self.call}, {self.connections} connection{'s' if self.connections > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One row of the report: a measure of one target over that of another.

    Args:
        label: as the report prints it.
        work: the work both did.
        over: the target above the line.
        under: the target below the line.
        measure: `rate` (higher is better), or `p50_ms` or `p99_ms` (lower is better).
        least: what is asked of the ratio; the most, for times.
        aim: where it should be.
    """

    label: str
    work: Work
    over: str
    under: str
    measure: Literal["rate", "p50_ms", "p99_ms"]
    least: float
    aim: float


GET = Work("get", "get", 32, (PORTICO, BY_HAND, IDIOMATIC, PREST))
GET_BY_COLLECTION = Work("get", "get by collection", 32, (PORTICO,))
LIST = Work("list", "list", 32, (PORTICO, BY_HAND, IDIOMATIC, PREST))
CREATE = Work("create", "create", 32, (PORTICO, BY_HAND, UNAUDITED))
CREATE_KEYED = Work("create", "create with key", 32, (PORTICO,))
BULK = Work("bulk", "bulk", 1, (PORTICO, BY_HAND))
ALONE = Work("alone", "get", 1, (PORTICO, BY_HAND))
CACHE = Work("cached", "get of 1000", 32, (CACHED, PORTICO))
SQLITE_GET = Work("sqlite", "get", 32, (PORTICO_SQLITE, BY_HAND_SQLITE, POCKETBASE))
SQLITE_LIST = Work("sqlite", "list", 32, (PORTICO_SQLITE, POCKETBASE))
SQLITE_CREATE = Work("sqlite", "create", 32, (PORTICO_SQLITE, POCKETBASE))
WORKS = (GET, GET_BY_COLLECTION, LIST, CREATE, CREATE_KEYED, BULK, ALONE, CACHE, SQLITE_GET, SQLITE_LIST, SQLITE_CREATE)

RATIOS = (
    Ratio("get by id ÷ by hand", GET, PORTICO, BY_HAND, "rate", 1.4, 1.9),
    Ratio("get by id ÷ idiomatic FastAPI + SQLAlchemy ORM + Pydantic", GET, PORTICO, IDIOMATIC, "rate", 10, 16),
    Ratio("get by id ÷ pREST", GET, PORTICO, PREST, "rate", 1, 1.4),
    Ratio("list of 50 ÷ by hand", LIST, PORTICO, BY_HAND, "rate", 1.3, 1.7),
    Ratio("list of 50 ÷ idiomatic", LIST, PORTICO, IDIOMATIC, "rate", 7, 10),
    Ratio("list of 50 ÷ pREST", LIST, PORTICO, PREST, "rate", 1.8, 2.5),
    Ratio("create with audit row ÷ by hand with audit row", CREATE, PORTICO, BY_HAND, "rate", 1.3, 1.7),
    Ratio("bulk create of 10,000 ÷ COPY by hand", BULK, PORTICO, BY_HAND, "rate", 0.2, 0.35),
    Ratio("one connection: median of a get ÷ by hand", ALONE, PORTICO, BY_HAND, "p50_ms", 1.25, 1.1),
    Ratio("32 connections: p99 of a get ÷ by hand", GET, PORTICO, BY_HAND, "p99_ms", 0.7, 0.4),
    Ratio("SQLite: get by id ÷ by hand", SQLITE_GET, PORTICO_SQLITE, BY_HAND_SQLITE, "rate", 0.5, 0.7),
    Ratio("SQLite: get by id ÷ PocketBase", SQLITE_GET, PORTICO_SQLITE, POCKETBASE, "rate", 1.5, 2.2),
    Ratio("SQLite: list of 50 ÷ PocketBase", SQLITE_LIST, PORTICO_SQLITE, POCKETBASE, "rate", 4, 7),
    Ratio("SQLite: durable create with audit ÷ PocketBase's create", SQLITE_CREATE, PORTICO_SQLITE, POCKETBASE, "rate", 1.2, 1.8),
    Ratio("cached get by id ÷ uncached", CACHE, CACHED, PORTICO, "rate", 1.15, 1.4),
)
