"""Names that a request has wrong: the hint that says the nearest one that there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import overload

from portico.errors import UnknownParameter

COMPARED = 64
"""How many characters of a name are compared: the time that takes grows with their square."""


@overload
def nearest(name: str, known: Iterable[str]) -> str | None: ...
@overload
def nearest(name: str, known: Iterable[str], otherwise: str) -> str: ...
def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """The hint for a name that is none of `known`; `otherwise` where none of them is near."""
    near = get_close_matches(name[:COMPARED], list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else otherwise


def refuse_unknown(members: Iterable[str], known: Sequence[str]) -> None:
    """Raise UnknownParameter for a member of a body that is none of `known`: an ignored one would mislead."""
    for name in members:
        if name not in known:
            hint = nearest(name, known, f"It takes {', '.join(known)}.")
            raise UnknownParameter(f"There is no member {name[:64]!r} here.", hint=hint, details={"parameter": name[:64]})
