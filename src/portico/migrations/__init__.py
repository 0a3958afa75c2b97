"""Runs migrations of collections: the journal, the runners of both SQL engines, migration files, and what `migrate new` finds to do."""
