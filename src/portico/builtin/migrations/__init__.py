"""Alembic migrations of the built-in collections. Revisions are never changed once released."""
