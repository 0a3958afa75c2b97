"""Partitioned tables on PostgreSQL: how a table is split, and the partitions that exist from the start.

PostgreSQL wants the partition's key in every primary key and unique constraint, so it is added to them; Portico's key stays as declared.
"""

from __future__ import annotations

from portico.engines.sql.identifiers import APP_SCHEMA, quote
from portico.errors import ConfigurationError
from portico.model.collection import Collection

_METHODS = {"hash": "HASH", "range": "RANGE", "time": "RANGE", "list": "LIST"}
_DEFAULT_PARTITIONS = 8
_MOST_PARTITIONS = 1024


def is_partitioned(collection: Collection, dialect: str) -> bool:
    """Whether the database itself splits the table; a distributed one is split by another engine."""
    return dialect == "postgresql" and collection.partitioning is not None and collection.partitioning.strategy in _METHODS


def partition_key(collection: Collection, dialect: str) -> tuple[str, ...]:
    """The column that every unique constraint must hold; none where the table is not partitioned."""
    parts = collection.partitioning
    return (collection.by_name[parts.key].column,) if parts is not None and is_partitioned(collection, dialect) else ()


def partition_by(collection: Collection) -> str:
    """What follows ``PARTITION BY``."""
    assert collection.partitioning is not None, "the collection is partitioned"
    return f"{_METHODS[collection.partitioning.strategy]} ({quote(*partition_key(collection, 'postgresql'))})"


def create_partitions(collection: Collection, *, default_schema: str = APP_SCHEMA) -> list[str]:
    """Statements that create a hash's partitions, or else the partition for what no other takes.

    A partition is reached through its table alone: forced row-level security without a policy closes it to whoever names it.

    Raises:
        ConfigurationError: the number of partitions is not one.
    """
    parts = collection.partitioning
    if parts is None or not is_partitioned(collection, "postgresql"):
        return []
    schema = collection.schema or default_schema
    parent = f"{quote(schema)}.{quote(collection.table)}"
    bounds = {"default": "DEFAULT"}
    if parts.strategy == "hash":
        count = dict(parts.options).get("partitions", _DEFAULT_PARTITIONS)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_PARTITIONS:
            raise ConfigurationError(f"{collection.name}: partitioning.partitions must be a whole number from 1 to {_MOST_PARTITIONS}.")
        bounds = {f"p{number}": f"FOR VALUES WITH (MODULUS {count}, REMAINDER {number})" for number in range(count)}
    statements: list[str] = []
    for suffix, bound in bounds.items():
        name = f"{quote(schema)}.{quote(f'{collection.table}_{suffix}')}"
        statements += [
            f"CREATE TABLE {name} PARTITION OF {parent} {bound}",
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        ]
    return statements
