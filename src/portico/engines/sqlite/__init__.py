"""The embedded SQLite engine."""
