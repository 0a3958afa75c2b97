"""The tests: pure ones by package, and the rest against real servers."""
