"""Names of what an engine may or may not be able to do. Callers see them in 501 answers and in `GET /api/db/stats`."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """What an engine can do beyond plain reads and writes."""

    TRANSACTIONS = "transactions"
    INTERACTIVE_TRANSACTIONS = "interactive_transactions"
    JOINT_READS = "joint_reads"
    JOINT_CREATES = "joint_creates"
    ROW_LEVEL_SECURITY = "row_level_security"
    ARRAYS = "arrays"
    EMBEDDING = "embedding"
    RANGES = "ranges"
    FULL_TEXT = "full_text"
    SEARCH = "search"
    FUZZY_SEARCH = "fuzzy_search"
    PLANNED_COUNT = "planned_count"
    EXPLAIN = "explain"
    AUDIT = "audit"
    IDEMPOTENCY = "idempotency"
    VERSIONS = "versions"
    CHANGE_FEED = "change_feed"
    FUNCTIONS = "functions"
    CANCEL = "cancel"
    PARTITIONS = "partitions"
    SAVEPOINTS = "savepoints"
