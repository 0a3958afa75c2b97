"""Portico beside its hand-written floor, an idiomatic service and its peers, measured in one run."""
