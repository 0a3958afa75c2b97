"""How large a request may be: pages, offsets, filters, includes and lists of values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that `bind` and the coercers hold.

    Attributes:
        default_limit, max_limit: rows of a page that asks for no limit, and at most. max_offset: rows that may be skipped.
        included_limit: rows of one included to-many relation that asks for no limit.
        max_expressions, max_depth: conditions of a filter, and how deep they nest. max_include_depth: how deep includes nest.
        max_values: values of one `in` list or array.
        max_aggregated: rows of an aggregation that says how many it wants; without a `$limit` a page's `max_limit`.
    """

    default_limit: int = 50
    max_limit: int = 1_000
    included_limit: int = 1_000
    max_offset: int = 100_000
    max_expressions: int = 200
    max_depth: int = 20
    max_include_depth: int = 5
    max_values: int = 1_000
    max_aggregated: int = 10_000


DEFAULT_LIMITS = Limits()

MOST_CASCADED = 10_000
"""Documents that one delete may touch through its cascades, where nothing else is configured."""

MOST_GATHERED = 1_000
"""Elements of an array that an aggregation makes: of a group's values, or of related documents."""

MOST_AGGREGATED_BYTES = 16 * 1024 * 1024
"""How large the answer of an aggregation may be."""
