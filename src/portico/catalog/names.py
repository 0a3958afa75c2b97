"""Names of collections: which may be given, and which the API's own paths keep for themselves."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from portico.errors import ConfigurationError

RESERVED = frozenset({
    "transaction", "search", "schema", "migrations", "stats", "health", "performance", "connections", "jobs", "audit", "sessions",
})  # fmt: skip
"""Names that paths below `/api/db` use. A table of such a name is reached qualified, ``schema.table``."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}(\.[A-Za-z_][A-Za-z0-9_-]{0,62})?")


def check_name(name: str, *, source: str) -> str:
    """`name`, if a collection may have it.

    Raises:
        ConfigurationError: it is reserved, or has other characters than letters, digits, ``_`` and ``-``.
    """
    if name in RESERVED:
        raise ConfigurationError(
            f"{source}: {name!r} cannot name a collection, because the API uses that path.",
            hint="Name it differently, or write schema.table.",
        )
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{source}: {name!r} cannot name a collection.", hint="Use letters, digits and underscores, up to 63 of them."
        )
    return name


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of `known` to a name that is not known, or all of them."""
    names = sorted(known)
    found = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {found[0]}?" if found else f"Known are {', '.join(names)}."
