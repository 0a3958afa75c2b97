"""Tells patterns that could take exponential time in a matcher that backtracks.

Such a pattern can match one text in exponentially many ways: in its automaton of positions (Glushkov) some state comes back to itself by
two different paths over the same text (Weber and Seidl, "On the degree of ambiguity of finite automata", 1991).
"""

from __future__ import annotations

from itertools import pairwise

from portico.query.folding import folded
from portico.query.pattern_tree import Group, Pattern, Piece, Ranges

MAX_EDGES = 100_000
"""Steps of the comparison of paths; a pattern that needs more counts as catastrophic."""
MAX_POSITIONS = 300
"""Counts are written out up to so many characters; beyond, they are taken for loops."""
_FEW = 3
"""So many repetitions of a group cost little, whatever is in it."""


class _TooAmbiguousError(Exception):
    """The pattern was found out while its automaton was built."""


def is_catastrophic(pattern: Pattern) -> bool:
    """Whether some text could be matched in exponentially many ways."""
    automaton = _Automaton(ignore_case=pattern.ignore_case)
    try:
        automaton.alternatives(pattern.branches)
        return automaton.is_ambiguous()
    except _TooAmbiguousError:
        return True


class _Automaton:
    """Positions are the pattern's characters in order; `follow` says which may come next."""

    def __init__(self, *, ignore_case: bool) -> None:
        self.ignore_case = ignore_case
        self.ranges: list[Ranges] = []
        self.follow: list[set[int]] = []

    def alternatives(self, branches: tuple[tuple[Piece, ...], ...]) -> tuple[bool, set[int], set[int]]:
        """Add branches; gives whether they match nothing at all, their first positions, and their last."""
        empty, first, last = False, set[int](), set[int]()
        for branch in branches:
            branch_empty, branch_first, branch_last = self._branch(branch)
            empty = empty or branch_empty
            first |= branch_first
            last |= branch_last
        return empty, first, last

    def _branch(self, pieces: tuple[Piece, ...]) -> tuple[bool, set[int], set[int]]:
        empty, first, last = True, set[int](), set[int]()
        for piece in pieces:
            piece_empty, piece_first, piece_last = self._piece(piece)
            for position in last:
                self.follow[position] |= piece_first
            first = first | piece_first if empty else first
            last = last | piece_last if piece_empty else piece_last
            empty = empty and piece_empty
        return empty, first, last

    def _piece(self, piece: Piece) -> tuple[bool, set[int], set[int]]:
        if piece.low == piece.high and piece.low > 1 and _is_fixed(piece) and len(self.ranges) + piece.low <= MAX_POSITIONS:
            return self._branch((Piece(piece.atom),) * piece.low)
        if isinstance(piece.atom, Ranges):
            self.ranges.append(folded(piece.atom) if self.ignore_case else piece.atom)
            self.follow.append(set())
            position = len(self.ranges) - 1
            empty, first, last = False, {position}, {position}
        elif isinstance(piece.atom, Group):
            empty, first, last = self.alternatives(piece.atom.branches)
        else:
            return True, set(), set()
        if piece.high is None or piece.high > _FEW:
            for position in last:
                if self.follow[position] & first:
                    raise _TooAmbiguousError  # the same step, by one round of the repetition or by two
                self.follow[position] |= first
        return empty or piece.low == 0, first, last

    def is_ambiguous(self) -> bool:
        """Whether a state comes back to itself by two paths over the same text."""
        edges = self._pairs()
        backward: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for source, targets in edges.items():
            for target in targets:
                backward.setdefault(target, []).append(source)
        for position in range(len(self.ranges)):
            start = (position, position)
            if start in edges:
                there = _reachable(start, edges)
                back = _reachable(start, backward)
                if any(left != right for left, right in there & back):
                    return True
        return False

    def _pairs(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """Two paths side by side over one text, from every position that stands in a loop."""
        looping = [position for position in range(len(self.ranges)) if position in self._after(position)]
        if all(self.follow[position] <= {position} for position in looping):
            return {}
        edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
        waiting = [(position, position) for position in looping]
        count = 0
        inside = set(looping)
        while waiting:
            pair = waiting.pop()
            if pair in edges:
                continue
            targets: list[tuple[int, int]] = []
            for left in self.follow[pair[0]] & inside:
                for right in self.follow[pair[1]] & inside:
                    count += 1
                    if count > MAX_EDGES:
                        raise _TooAmbiguousError
                    if left == right or _overlap(self.ranges[left], self.ranges[right]):
                        targets.append((left, right) if left <= right else (right, left))
            edges[pair] = targets
            waiting.extend(targets)
        return edges

    def _after(self, position: int) -> set[int]:
        seen: set[int] = set()
        waiting = list(self.follow[position])
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting.extend(self.follow[current])
        return seen


def _is_fixed(piece: Piece) -> bool:
    """Whether nothing inside of the piece repeats a varying number of times, so that its copies can be written out."""
    if piece.low != piece.high:
        return False
    return not isinstance(piece.atom, Group) or all(_is_fixed(inner) for branch in piece.atom.branches for inner in branch)


def _reachable(start: tuple[int, int], edges: dict[tuple[int, int], list[tuple[int, int]]]) -> set[tuple[int, int]]:
    seen: set[tuple[int, int]] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        pair = waiting.pop()
        if pair not in seen:
            seen.add(pair)
            waiting.extend(edges.get(pair, ()))
    return seen


def _overlap(one: Ranges, other: Ranges) -> bool:
    """Whether a character is in both."""
    return any(low <= end and start <= high for low, high in _spans(one) for start, end in _spans(other))


def _spans(ranges: Ranges) -> list[tuple[int, int]]:
    if not ranges.negated:
        return list(ranges.pairs)
    ends = sorted(ranges.pairs)
    edges = [(-1, -1), *ends, (0x110000, 0x110000)]
    return [(high + 1, low - 1) for (_, high), (low, _) in pairwise(edges) if high + 1 <= low - 1]
