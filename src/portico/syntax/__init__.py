"""The ways to write a query: each module turns one syntax into the same tree."""
