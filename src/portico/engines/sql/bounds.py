"""What an aggregation that makes too much is refused as, on every engine."""

from __future__ import annotations

from portico.errors import OutOfRange
from portico.query.limits import MOST_AGGREGATED_BYTES, MOST_GATHERED


def too_many_gathered() -> OutOfRange:
    """An array of more elements than there may be."""
    return OutOfRange(f"An array of the pipeline has more than {MOST_GATHERED} elements.", hint="Group by more, match less, or count.")


def answer_too_large() -> OutOfRange:
    """An answer of more bytes than there may be."""
    return OutOfRange(
        f"The answer of the pipeline is larger than {MOST_AGGREGATED_BYTES // 1024 // 1024} MiB.", hint="Project less, or add $limit."
    )
