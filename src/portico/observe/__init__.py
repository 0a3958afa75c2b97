"""What becomes of events: one `emit` for the whole process, which hands each event to every subscriber and never fails."""

from __future__ import annotations

from collections.abc import Sequence

from portico.events import Emit, Event


def fan_out(subscribers: Sequence[Emit]) -> Emit:
    """An `emit` that hands each event to all subscribers, in order.

    A subscriber that raises keeps the event from nobody else, and never from the caller: what is observed must go on.
    """
    kept = tuple(subscribers)

    def emit(event: Event) -> None:
        for subscriber in kept:
            try:
                subscriber(event)
            except Exception:  # noqa: BLE001, S112 - there is nobody left to tell
                continue

    return emit
