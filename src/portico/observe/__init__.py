"""Logs, metrics, traces and query statistics: subscribers of events."""
