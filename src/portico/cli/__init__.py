"""The command line: one module per verb, imported only when its verb is called."""

from portico.cli.program import VERBS, init_db_main, main

__all__ = ["VERBS", "init_db_main", "main"]
