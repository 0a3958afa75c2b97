"""SQLAlchemy tables of the built-in collections, derived from their declarations: what the migrations must arrive at."""

from __future__ import annotations

import sqlalchemy as sa

from portico.builtin.declarations import SCHEMA, builtin_collections
from portico.engines.sql.ddl import build_metadata


def builtin_metadata(dialect: str) -> sa.MetaData:
    """The tables for ``postgresql`` (in schema `app`) or ``sqlite``."""
    schema = SCHEMA if dialect == "postgresql" else None
    return build_metadata(builtin_collections("", schema=schema), dialect=dialect)
