"""The tables of control data: services, their API keys, and the generation counter by which workers see a change."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, Float, ForeignKey, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

SCHEMA = "portico"
KEYS_GENERATION = "keys"


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` where the database has it, else ISO 8601 text, which sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Text on SQLite, which has no type of its own for a moment."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """A moment as the database keeps it."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:
        """What the database kept, as a moment."""
        del dialect
        return datetime.fromisoformat(value) if isinstance(value, str) else value


metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
    },
)

services = Table(
    "services",
    metadata,
    Column("name", String(255), primary_key=True),
    # What a caller with a token of this service may do. A key has its own.
    Column("rules", JSON, nullable=False),
    Column("clients", JSON(none_as_null=True)),
    Column("statement_timeout", Float),
    Column("rate_limit", Text),
    Column("created_at", Instant, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("service", String(255), ForeignKey(services.c.name), nullable=False, index=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("rules", JSON, nullable=False),
    # NULL is every client (`*`).
    Column("clients", JSON(none_as_null=True)),
    Column("label", Text, nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
)

# A counter, raised in the transaction of every change, which each worker reads once a second.
generations = Table(
    "generations",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
