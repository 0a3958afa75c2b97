"""`python -m bench`: one run of everything, or of the parts that are named, with the tables at the end."""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench.comparisons import WORKS, Work
from bench.portico import OPTIONS
from bench.processes import BenchError
from bench.report import Value, markdown, write
from bench.rounds import Measured, measure
from bench.single_calls import measure_times
from bench.stage import Stage
from bench.steady import measure_connections, measure_fairness
from bench.values import measure_cached, measure_export, measure_start
from tests.servers.install import ServerMissingError
from tests.servers.process import ServerFailedError

# In this order: what wants an idle, fresh service first, what makes the tables larger last.
_VALUES: dict[str, Callable[[Stage], list[Value]]] = {
    "start": measure_start,
    "times": measure_times,
    "cached": measure_cached,
    "fairness": measure_fairness,
    "connections": measure_connections,
    "export": measure_export,
}
_PARTS = list(dict.fromkeys([*(work.part for work in WORKS), *_VALUES]))
_AGAINST = ("by hand", "idiomatic", "pREST", "PocketBase")
_LAST = Path(__file__).with_name("results") / "last.json"


def main() -> int:
    """Run the benchmark; 0 when it ran, whatever the ratios are, 1 when a measurement was not a fair one."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measured: list[Measured] = []
    values: list[Value] = []
    failures: list[str] = []
    try:
        with Stage() as stage:
            for each in measure(stage, _works(arguments), arguments.rounds, arguments.seconds):
                if isinstance(each, Measured):
                    measured.append(each)
                    print(_line(each), flush=True)
                else:
                    failures.append(f"{each.target}, {each.work}: {each.why}")
                    print(f"FAILED   {failures[-1]}", flush=True)
            for part in arguments.parts:
                if part in _VALUES:
                    print(f"measuring {part} …", flush=True)
                    try:
                        values += _VALUES[part](stage)
                    except BenchError as error:
                        failures.append(f"{part}: {error}")
    except (BenchError, ServerMissingError, ServerFailedError) as error:
        print(f"\nThe benchmark stopped: {error}", file=sys.stderr)
        return 1
    print("\n" + markdown(measured, values))
    if arguments.json:
        write(arguments.json, measured, values, {"rounds": arguments.rounds, "seconds": arguments.seconds, "parts": arguments.parts})
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def _line(each: Measured) -> str:
    load = each.load
    times = f"median {load.p50_ms:7.2f} ms  p99 {load.p99_ms:7.2f} ms"
    return f"round {each.round}  {each.work:32} {each.target:24} {load.rate:9,.0f} a second  {times}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"what to measure, everything unless named: {', '.join(_PARTS)}")
    parser.add_argument("--only", default="", metavar="PART,…", help="the same, separated by commas")
    parser.add_argument("--against", metavar="NAME,…", help=f"of {', '.join(_AGAINST)}: everyone, but only `by hand` when parts are named")
    parser.add_argument("--without-portico", action="store_true", help="drive the others alone, to judge the floor and the peers")
    parser.add_argument("--rounds", type=int, default=3, help="how often each target is driven (3)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each time (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too; a whole run writes bench/results/last.json")
    arguments = parser.parse_args()
    named = [*arguments.parts, *filter(None, arguments.only.split(","))]
    unknown = sorted(set(named) - set(_PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    arguments.parts = [part for part in _PARTS if part in named or not named]
    arguments.against = arguments.against.split(",") if arguments.against else list(_AGAINST[:1] if named else _AGAINST)
    if not named and not arguments.without_portico:
        arguments.json = arguments.json or _LAST
    return arguments


def _works(arguments: argparse.Namespace) -> list[Work]:
    """The works of the parts, with the targets that this run drives."""
    ours = {name.partition("/")[0] for name in OPTIONS}
    programs = set(arguments.against) | (set() if arguments.without_portico else ours)
    chosen = [work for work in WORKS if work.part in arguments.parts]
    cut = [dataclasses.replace(work, targets=tuple(each for each in work.targets if each.partition("/")[0] in programs)) for work in chosen]
    return [work for work in cut if work.targets]


if __name__ == "__main__":
    sys.exit(main())
