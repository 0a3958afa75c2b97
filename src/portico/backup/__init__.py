"""Backups of the SQL databases: taken while writers run, proven by reading them again, and restored all or not at all."""
