"""Finds in a history what its level of isolation rules out: Adya's phenomena, by the graph of dependencies between transactions.

Sources: A. Adya, Weak Consistency (MIT thesis, 1999), for G0 to G2; K. Kingsbury and P. Alvaro, Elle (VLDB 2020), for finding them in what
clients saw; A. Cerone and A. Gotsman, Analysing Snapshot Isolation (PODC 2016), for the graph that snapshot isolation keeps without cycles.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from tests.histories.graph import components, has_path
from tests.histories.history import Forgotten, History, Level, Read, Transaction, Value, Write

Anomaly = Literal[
    "unwritten", "wrong_list", "aborted_read", "intermediate_read", "internal", "non_repeatable_read", "lost_commit", "aborted_write",
    "wrong_state", "wrong_final", "dirty_write", "lost_update", "held_lost_update", "G0", "G1c", "G-single", "G-nonadjacent", "G2",
]  # fmt: skip
Found = dict[Anomaly, list[str]]

_ALLOWED: dict[Level, frozenset[str]] = {
    "read_committed": frozenset({"non_repeatable_read", "lost_update", "G-single", "G-nonadjacent", "G2"}),
    "repeatable_read": frozenset({"G2"}),
    "serializable": frozenset(),
}

FIRST = 0
"""The name of the empty list that every document begins with, and the number of the transaction that wrote it."""


def forbidden(found: Found, level: Level) -> Found:
    """What of it the level rules out."""
    return {anomaly: texts for anomaly, texts in found.items() if anomaly not in _ALLOWED[level]}


def check(history: History) -> Found:
    """Every anomaly in the history, each with a line for each place."""
    return _Check(history).run()


def _name(value: Value) -> int:
    return value[-1] if value else FIRST


class _Check:
    def __init__(self, history: History) -> None:
        self._history = history
        self._found: defaultdict[Anomaly, list[str]] = defaultdict(list)
        self._written = {_name(write.value): (one, write) for one in history.transactions for write in one.writes()}
        self._order = {key: [FIRST, *map(_name, values)] for key, values in history.installed.items()}
        self._installed = {name for order in self._order.values() for name in order}
        self._before = {name: before for order in self._order.values() for before, name in itertools.pairwise(order)}
        self._committed = {one.number: one for one in history.transactions if not one.alone and self._is_committed(one)}

    def run(self) -> Found:
        for key, values in self._history.installed.items():
            self._check_installed(key, values)
        for one in self._history.transactions:
            self._check_outcome(one)
            self._check_reads(one)
            self._check_own_view(one)
            self._check_updates(one)
        self._check_cycles()
        return dict(self._found)

    def _is_committed(self, one: Transaction) -> bool:
        """An unknown outcome is a commit where its writes were installed. (Without writes it is none: nobody depends on it.)"""
        return one.outcome == "committed" or (
            one.outcome == "unknown" and any(_name(write.value) in self._installed for write in one.writes())
        )

    def _writer(self, name: int) -> int:
        return FIRST if name == FIRST else self._written[name][0].number

    # --- single transactions ---------------------------------------------------------------------------------------------

    def _check_installed(self, key: str, values: Sequence[Value]) -> None:
        for value in values:
            self._check_list("installed", key, value)
            if _name(value) in self._written:
                one, write = self._written[_name(value)]
                if write.is_void or one.outcome == "aborted":
                    self._found["aborted_write"].append(f"{key}: {value} of transaction {one.number} was installed, which was undone")
        writers = [
            number for number, _ in itertools.groupby(_name(value) in self._written and self._writer(_name(value)) for value in values)
        ]
        for number in {number for number in writers if writers.count(number) > 1}:
            self._found["dirty_write"].append(f"{key}: others wrote between two writes of transaction {number}")
        if key in self._history.final and self._history.final[key] != (values[-1] if values else ()):
            self._found["wrong_final"].append(f"{key} is {self._history.final[key]} in the end, not {values[-1:]}")

    def _check_list(self, what: str, key: str, value: Value) -> bool:
        """Whether the list is one that somebody sent for this document."""
        if value == ():
            return True
        if _name(value) not in self._written:
            self._found["unwritten"].append(f"{what}: {key} = {value}, which nobody sent")
            return False
        write = self._written[_name(value)][1]
        if (write.key, write.value) != (key, value):
            self._found["wrong_list"].append(f"{what}: {key} = {value}, and {write.key} = {write.value} was sent")
            return False
        return True

    def _check_outcome(self, one: Transaction) -> None:
        last: dict[str, int] = {write.key: _name(write.value) for write in one.writes() if not write.is_void}
        missing = [key for key, name in last.items() if name not in self._installed]
        is_committed = one.number in self._committed
        if is_committed and missing:
            self._found["lost_commit"].append(f"transaction {one.number} was committed, and its {missing} are not there")
        says_otherwise = one.told is not None and (one.told == "committed") != is_committed
        if says_otherwise and (last or one.outcome != "unknown"):
            self._found["wrong_state"].append(
                f"transaction {one.number}: {one.told} by its state, {one.outcome} and committed={is_committed}"
            )

    def _check_reads(self, one: Transaction) -> None:
        for read in one.reads():
            if not self._check_list(f"transaction {one.number} read", read.key, read.value) or read.value == ():
                continue
            writer, write = self._written[_name(read.value)]
            if writer is one:
                continue
            text = f"transaction {one.number} read {read.key} = {read.value} of transaction {writer.number}"
            if write.is_void or writer.number not in self._committed:
                self._found["aborted_read"].append(text)
            elif any(other.key == read.key and not other.is_void for other in _after(writer, write)):
                self._found["intermediate_read"].append(text)

    def _check_own_view(self, one: Transaction) -> None:
        """A transaction sees what it wrote, and else, in a snapshot, what it saw before."""
        known: dict[str, Read | Write] = {}
        for step in one.steps:
            match step:
                case Forgotten(keys):
                    known = {key: value for key, value in known.items() if key not in keys}
                case Write(refused=False):
                    known[step.key] = step
                case Read(key, value):
                    before = known.setdefault(key, step)
                    text = f"transaction {one.number} read {key} = {value} after {before}"
                    if before.value != value:
                        self._found["internal" if isinstance(before, Write) else "non_repeatable_read"].append(text)
                        known[key] = step
                case _:
                    pass

    def _check_updates(self, one: Transaction) -> None:
        """P4: between what a transaction read of a document and what it then wrote, nobody else wrote."""
        if one.number not in self._committed:
            return
        seen: dict[str, int] = {}
        for step in one.steps:
            if isinstance(step, Read):
                seen[step.key] = _name(step.value)
            elif isinstance(step, Forgotten):
                seen = {key: name for key, name in seen.items() if key not in step.keys}
            elif not step.is_void:
                name = _name(step.value)
                if step.key in seen and self._before.get(name, seen[step.key]) != seen[step.key]:
                    text = f"transaction {one.number} read {step.key} up to {seen[step.key]} and wrote {name} after {self._before[name]}"
                    self._found["held_lost_update" if step.held else "lost_update"].append(text)
                seen[step.key] = name

    # --- cycles ----------------------------------------------------------------------------------------------------------

    def _check_cycles(self) -> None:
        ww, wr, rw = self._dependencies()
        sessions = self._sessions()
        for component in components(_union(ww)):
            self._report("G0", component)
        direct = _union(ww, wr)
        for component in components(direct):
            self._report("G1c", component)
        if components(direct):
            return
        ordered = _union(ww, wr, sessions)
        everything = _union(ordered, rw)
        for component in components(everything):
            single = [(a, b) for a in component for b in rw.get(a, ()) if b in component and has_path(ordered, b, a, component)]
            for pair in single:
                self._report("G-single", pair)
            inside = {a: {b for b in ordered.get(a, ()) if b in component} for a in component}
            snapshot = _union(inside, {a: {c for b in targets for c in rw.get(b, ()) if c in component} for a, targets in inside.items()})
            if not single:
                self._report("G-nonadjacent" if components(snapshot) else "G2", component)

    def _report(self, anomaly: Anomaly, numbers: Iterable[int]) -> None:
        self._found[anomaly].append(f"transactions {sorted(numbers)[:20]}")

    def _dependencies(self) -> tuple[dict[int, set[int]], dict[int, set[int]], dict[int, set[int]]]:
        """Who wrote over whom (ww), read from whom (wr), and read what whom then wrote over (rw)."""
        ww, wr, rw = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
        following: dict[tuple[str, int], int] = {}
        for key, order in self._order.items():
            writers = [self._writer(name) for name in order if name == FIRST or name in self._written]
            names = [name for name in order if name == FIRST or name in self._written]
            for place, (one, other) in enumerate(itertools.pairwise(writers)):
                if one != other:
                    ww[one].add(other)
                later = next((writer for writer in writers[place + 1 :] if writer != one), None)
                if later is not None:
                    following[key, names[place]] = later
        for number, transaction in self._committed.items():
            for read in transaction.reads():
                name = _name(read.value)
                if name != FIRST and name not in self._installed:
                    continue  # an aborted read, which has been told
                if self._writer(name) != number:
                    wr[self._writer(name)].add(number)
                    if following.get((read.key, name), number) != number:
                        rw[number].add(following[read.key, name])
        return dict(ww), dict(wr), dict(rw)

    def _sessions(self) -> dict[int, set[int]]:
        """A client's transaction comes after the one that was answered to it before."""
        by_client: defaultdict[int, list[int]] = defaultdict(list)
        for number, one in sorted(self._committed.items()):
            by_client[one.session].append(number)
        return {one: {other} for numbers in by_client.values() for one, other in itertools.pairwise(numbers)}


def _after(one: Transaction, write: Write) -> list[Write]:
    """The writes of a transaction that came after one of them."""
    writes = list(one.writes())
    return writes[writes.index(write) + 1 :]


def _union(*graphs: dict[int, set[int]]) -> dict[int, set[int]]:
    together: defaultdict[int, set[int]] = defaultdict(set)
    for graph in graphs:
        for node, targets in graph.items():
            together[node] |= targets
    return dict(together)
