"""The query string's syntax: PostgREST's grammar, with `cursor` and `count` besides."""

from portico.syntax.postgrest.pairs import decode_pairs
from portico.syntax.postgrest.parameters import CLAUSES, parse
from portico.syntax.postgrest.template import template

__all__ = ["CLAUSES", "decode_pairs", "parse", "template"]
