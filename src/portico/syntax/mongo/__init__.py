"""The JSON body's syntax: MongoDB's operators, and the body of a query around them."""

from portico.syntax.mongo.body import parse
from portico.syntax.mongo.filters import parse_filter, parse_path

__all__ = ["parse", "parse_filter", "parse_path"]
