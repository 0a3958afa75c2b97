"""The settings that are checked and do nothing yet, because what they are for is not there. `portico doctor` and the reference say so."""

from fnmatch import fnmatchcase

from portico.settings.describe import describe
from portico.settings.root import DEFAULT, Settings

PENDING = (
    "databases.*.read_preference",
    "databases.*.replicas",
    "databases.*.echo",
    "cache.*",
    "auth.session_seconds",
    "limits.rate.*",
    "observe.otel_endpoint",
    "observe.trace_ratio",
    "observe.metrics",
    "observe.client_label",
    "files.*",
)
"""Dotted keys; `*` stands for any name."""


def is_pending(key: str) -> bool:
    """Whether the setting of this dotted key has no effect yet."""
    return any(fnmatchcase(key, pattern) for pattern in PENDING)


def set_in_vain(settings: Settings) -> list[str]:
    """The dotted keys of settings that somebody gave a value and that have no effect yet."""
    return [entry.key for entry in describe(settings) if is_pending(entry.key) and not entry.source.startswith(DEFAULT)]
