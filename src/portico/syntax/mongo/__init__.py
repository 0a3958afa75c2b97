"""The JSON body's syntax: MongoDB's operators, the body of a query around them, and aggregation pipelines."""

from portico.syntax.mongo.body import parse
from portico.syntax.mongo.filters import parse_filter, parse_path
from portico.syntax.mongo.pipeline import parse_pipeline

__all__ = ["parse", "parse_filter", "parse_path", "parse_pipeline"]
