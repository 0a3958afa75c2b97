"""Collections that the tests of queries speak about: invoices with a field of every kind, their lines, and their owner."""

from __future__ import annotations

from portico.model.collection import Collection, Relation, Search, Security
from portico.model.field import Constraints, Field, parse_type
from portico.query.bind import bind
from portico.query.bound import Bound
from portico.query.json_text import read_json
from portico.query.limits import DEFAULT_LIMITS, Limits
from portico.query.names import Reached
from portico.syntax import mongo, postgrest


def field(name: str, kind: str, *, nullable: bool = True, constraints: Constraints | None = None) -> Field:
    """A field of a type as schema documents write it."""
    return Field(name, parse_type(kind), nullable=nullable, constraints=constraints or Constraints())


INVOICES = Collection(
    "invoices",
    "main",
    "invoices",
    (
        field("id", "uuid", nullable=False),
        field("client_id", "string(255)", nullable=False),
        field("total", "decimal(12,2)"),
        field("status", "string(50)"),
        field("kind", "enum(draft,sent,paid)"),
        field("number", "integer"),
        field("big", "bigint"),
        field("rate", "float"),
        field("paid", "boolean"),
        field("due", "date"),
        field("created_at", "datetime"),
        field("metadata", "json"),
        field("tags", "text[]"),
        field("scores", "integer[]"),
        field("payload", "binary"),
        field("secret", "text"),
    ),
    ("id",),
    relations=(
        Relation("lines", "invoice_lines", ("id",), ("invoice_id",), many=True, constraint="lines_invoice_fkey"),
        Relation("credits", "invoice_lines", ("id",), ("credited_id",), many=True, constraint="lines_credited_fkey"),
        Relation("client", "clients", ("client_id",), ("id",), many=False),
    ),
    search=Search(("status", "metadata"), "english"),
    security=Security(hidden=frozenset({"secret"})),
)
LINES = Collection(
    "invoice_lines",
    "main",
    "invoice_lines",
    (field("id", "bigint", nullable=False), field("invoice_id", "uuid"), field("credited_id", "uuid"), field("total", "decimal(12,2)")),
    ("id",),
    relations=(Relation("invoice", "invoices", ("invoice_id",), ("id",), many=False),),
)
CLIENTS = Collection("clients", "main", "clients", (field("id", "string(255)", nullable=False), field("name", "text")), ("id",))
KEYLESS = Collection("log", "main", "log", (field("line", "text"), field("at", "datetime")), ())

_ALL = {collection.name: collection for collection in (INVOICES, LINES, CLIENTS, KEYLESS)}


def resolve(name: str) -> Reached | None:
    """Every sample collection, without further hidden fields."""
    return Reached(_ALL[name]) if name in _ALL else None


def from_query_string(text: str, collection: Collection = INVOICES, limits: Limits = DEFAULT_LIMITS) -> tuple[Bound, tuple[object, ...]]:
    """What a query string is bound to, and its values."""
    parsed = postgrest.parse(postgrest.decode_pairs(text.encode()))
    bound = bind(parsed.query, collection, resolve=resolve, limits=limits)
    return bound, bound.values(parsed.values)


def from_json(text: str, collection: Collection = INVOICES, limits: Limits = DEFAULT_LIMITS) -> tuple[Bound, tuple[object, ...]]:
    """What a JSON body is bound to, and its values."""
    parsed = mongo.parse(read_json(text))
    bound = bind(parsed.query, collection, resolve=resolve, limits=limits)
    return bound, bound.values(parsed.values)
