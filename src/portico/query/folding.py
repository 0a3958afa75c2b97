"""Which characters are one when case is ignored: Unicode's simple folding, without what only Turkic languages fold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cache

from portico.query.pattern_tree import Ranges

_LAST_CASED = 0x1E943
_TURKIC = frozenset({0x130, 0x131})


def folded(ranges: Ranges) -> Ranges:
    """`ranges` with every case variant of its characters."""
    codes, orbits = _cased()
    added: set[int] = set()
    for low, high in ranges.pairs:
        for code in codes[bisect_left(codes, low) : bisect_right(codes, high)]:
            added.update(orbits[code])
    inside = {code for code in added if any(low <= code <= high for low, high in ranges.pairs)}
    return Ranges(ranges.pairs + tuple((code, code) for code in sorted(added - inside)), ranges.negated)


@cache
def _cased() -> tuple[list[int], dict[int, frozenset[int]]]:
    """The characters that have case variants, ascending, and the variants of each."""
    groups: dict[int, set[int]] = {}
    for code in range(_LAST_CASED + 1):
        character = chr(code)
        lower, upper = character.lower(), character.upper()
        if code in _TURKIC or (lower == character and upper == character):
            continue
        group = {code}
        for variant in (lower, upper):
            if len(variant) == 1 and ord(variant) not in _TURKIC:
                group |= groups.get(ord(variant), {ord(variant)})
        group |= groups.get(code, set())
        for member in tuple(group):
            group |= groups.get(member, set())
        for member in group:
            groups[member] = group
    orbits = {code: frozenset(group) for code, group in groups.items() if len(group) > 1}
    return sorted(orbits), orbits
