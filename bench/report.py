"""The report: ratios with their spread, loads, single values; as text for people, Markdown for the README and JSON."""

import datetime
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.comparisons import RATIOS, Ratio
from bench.rounds import Measured


@dataclass(frozen=True, slots=True)
class Value:
    """One measured value beside what is asked of it.

    Args:
        part: what `--only` calls it.
        label: as the report prints it.
        value: in `unit`.
        unit: `ms`, `MB`, `s`, or empty for ratios and counts.
        asked: in words, `< 100` for example; empty where nothing is asked.
        met: whether it is as asked.
    """

    part: str
    label: str
    value: float
    unit: str
    asked: str
    met: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """A ratio's median over the rounds, with the lowest and the highest."""

    ratio: Ratio
    median: float
    low: float
    high: float

    @property
    def met(self) -> str:
        """`aim`, `yes` or `no`."""
        lower_is_better = self.ratio.measure != "rate"
        for word, bound in (("aim", self.ratio.aim), ("yes", self.ratio.least)):
            if (self.median <= bound) if lower_is_better else (self.median >= bound):
                return word
        return "no"


def compare(measured: Sequence[Measured]) -> list[Compared]:
    """The ratios that these loads give, each taken within its own round."""
    loads = {(each.work, each.target, each.round): each.load for each in measured}
    rounds = sorted({each.round for each in measured})
    found = []
    for ratio in RATIOS:
        pairs = [(loads.get((ratio.work.name, ratio.over, number)), loads.get((ratio.work.name, ratio.under, number))) for number in rounds]
        values = [getattr(over, ratio.measure) / getattr(under, ratio.measure) for over, under in pairs if over and under]
        if values:
            found.append(Compared(ratio, statistics.median(values), min(values), max(values)))
    return found


def machine() -> dict[str, str]:
    """What it ran on, without anything that names the machine."""
    cpu = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = next((int(line.split()[1]) // 1024**2 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": cpu,
        "cores": str(os.cpu_count()),
        "memory": f"{memory} GB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("granian", "starlette", "asyncpg", "uvicorn", "fastapi", "sqlalchemy", "pydantic")},
    }


def markdown(measured: Sequence[Measured], values: Sequence[Value]) -> str:
    """The tables."""
    lines: list[str] = []
    compared = compare(measured)
    if compared:
        rows = [_ratio_row(each) for each in compared]
        lines += ["| work | asked | aim | measured | spread | met |", "| --- | --- | --- | --- | --- | --- |", *rows, ""]
    if measured:
        lines += ["| work | target | a second | median ms | p99 ms |", "| --- | --- | --- | --- | --- |", *_load_rows(measured), ""]
    if values:
        lines += ["| value | asked | measured | met |", "| --- | --- | --- | --- |"]
        lines += [f"| {each.label} | {each.asked} | {each.value:.4g} {each.unit} | {'yes' if each.met else 'no'} |" for each in values]
    return "\n".join(lines).strip() + "\n"


def write(path: Path, measured: Sequence[Measured], values: Sequence[Value], settings: dict[str, object]) -> None:
    """Write everything that was measured as JSON, and the tables beside it as Markdown."""
    found = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": settings,
        "ratios": [
            {"label": each.ratio.label, "median": each.median, "low": each.low, "high": each.high,
             "asked": each.ratio.least, "aim": each.ratio.aim, "met": each.met}
            for each in compare(measured)
        ],
        "loads": [{**{k: v for k, v in asdict(each).items() if k != "load"}, **asdict(each.load)} for each in measured],
        "values": [asdict(each) for each in values],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(_heading(found["machine"]) + markdown(measured, values), encoding="utf-8")


def _heading(described: object) -> str:
    assert isinstance(described, dict)
    return f"Measured on: {', '.join(f'{name} {value}' for name, value in described.items())}.\n\n"


def _ratio_row(each: Compared) -> str:
    asked = f"| {each.ratio.label} | {_bound(each.ratio)} | {each.ratio.aim:g} |"
    return f"{asked} **{each.median:.2f}** | {each.low:.2f}–{each.high:.2f} | {each.met} |"


def _bound(ratio: Ratio) -> str:
    return f"{'≥' if ratio.measure == 'rate' else '≤'} {ratio.least:g}"


def _load_rows(measured: Iterable[Measured]) -> list[str]:
    groups: dict[tuple[str, str], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each.work, each.target), []).append(each)
    rows = []
    for (work, target), group in groups.items():
        rate, p50, p99 = (statistics.median(getattr(each.load, name) for each in group) for name in ("rate", "p50_ms", "p99_ms"))
        rows.append(f"| {work} | {target} | {rate:,.0f} | {p50:.2f} | {p99:.2f} |")
    return rows


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
