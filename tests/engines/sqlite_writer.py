"""A process of its own that writes to a file until it is told to stop, and prints each key that was acknowledged.

Arguments: the file, the first key, how many (0 for no end).
"""

import asyncio
import sys
from pathlib import Path

from portico.engines.sqlite.engine import SqliteEngine
from portico.events import discard
from portico.model.page import Document
from tests.engines.declarations import THINGS
from tests.engines.harness import Harness, declared


async def nothing(_: str) -> list[list[object]]:
    """This process looks at no table by itself."""
    return []


async def main(path: str, first: int, many: int) -> None:
    """Write documents one after the other, several at a time."""
    engine = SqliteEngine("main", Path(path), secret=b"k" * 32, emit=discard)
    await engine.start()
    harness = Harness(engine, {item.name: item for item in declared(THINGS)}, nothing)
    key = first
    while not many or key < first + many:
        work = [harness.create("things", {"id": key + at, "text": "written"}, audit=True) for at in range(10)]
        for made in await asyncio.gather(*work):
            assert isinstance(made, Document)
            sys.stdout.write(f"{made.key}\n")
        sys.stdout.flush()
        key += 10
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
