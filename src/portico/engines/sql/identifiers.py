"""Names in PostgreSQL's DDL, and the schema of tables that name none."""

from __future__ import annotations

APP_SCHEMA = "app"
"""PostgreSQL's schema of built-in collections, and of declared ones that name no other."""


def quote(name: str) -> str:
    """A name as an identifier of PostgreSQL's SQL."""
    return '"' + name.replace('"', '""') + '"'
