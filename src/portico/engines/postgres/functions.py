"""Functions: what PostgreSQL says of one, and the statements that call it inside of a transaction that has set the scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import sqlalchemy as sa

from portico.engines.base import Call
from portico.engines.postgres.embedding import among
from portico.engines.postgres.errors import LOST, reported
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.reads import Reads, parameters_of
from portico.engines.postgres.reflect_types import field_type
from portico.engines.postgres.rows import ONE, Frame
from portico.engines.postgres.scoping import whose
from portico.engines.postgres.statement import Statement, plain, statement
from portico.engines.postgres.types import wire_type
from portico.engines.sql.identifiers import quote
from portico.engines.sql.predicates import Columns
from portico.errors import MethodNotAllowed, PorticoError, WrongType
from portico.model.collection import Collection
from portico.model.field import Field
from portico.model.function import Argument, Function, Raised, Returns
from portico.model.page import Page
from portico.query.scoped import CallFunction, ListPage

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

_FUNCTIONS = """
SELECT p.oid, p.proname AS name, n.nspname AS schema, p.provolatile = 'v' AS writes, p.prosecdef AS definer, p.proretset AS many,
       p.pronargs AS takes, p.pronargdefaults AS defaults, p.proargnames AS names, p.proargmodes::text[] AS modes,
       coalesce(p.proallargtypes, p.proargtypes::oid[]) AS types, p.prorettype AS result, t.typtype::text AS kind, t.typname AS result_name,
       c.relname AS table_name, c.relkind IN ('r', 'p', 'v', 'm', 'f') AS is_table, cn.nspname AS table_schema, t.typrelid AS relation
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_type t ON t.oid = p.prorettype
LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN pg_namespace cn ON cn.oid = c.relnamespace
WHERE p.prokind = 'f' AND n.nspname = $1 AND p.proname = $2
  AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE')
ORDER BY p.oid"""

_TYPES = """
SELECT w.place, t.typname AS type, format_type(w.oid, w.modifier) AS declared, t.typtype = 'e' AS is_enum, d.typtype = 'd' AS is_domain,
       t.typcategory = 'A' AND t.typelem <> 0 AS is_array, false AS is_nested, w.modifier, e.typname AS element,
       e.typtype = 'e' AS element_is_enum,
       format_type(e.oid, w.modifier) AS element_declared,
       (SELECT array_agg(v.enumlabel::text ORDER BY v.enumsortorder) FROM pg_enum v WHERE v.enumtypid IN (t.oid, e.oid)) AS labels
FROM unnest($1::oid[], $2::int[]) WITH ORDINALITY AS w (oid, modifier, place) JOIN pg_type d ON d.oid = w.oid
JOIN pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
ORDER BY w.place"""

_MEMBERS = """
SELECT attname AS name, atttypid AS type, atttypmod AS modifier FROM pg_attribute
WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""

_WHOLE = frozenset({"json", "jsonb", "text", "bytea"})
"""Types of a single argument without a name, which takes a whole body."""

_VOID, _RECORD = "void", "record"
# The name holds a space, so that no caller's savepoint can have it.
_READING = '"portico reading"'
_RAISE = "exec_stmt_raise"
"""Where in the server an error begins that PL/pgSQL's RAISE made: its texts are the function's author's."""

_MOST_TEXT = 4_000
VALUE = "value"
"""The name of the one column of a function that gives a value."""


async def functions(connection: Connection, schema: str, name: str) -> Sequence[Function]:
    """The functions of that name that the role may execute and whose arguments are named, or which take one whole body."""
    found = [await _function(connection, row) for row in await connection.fetch(_FUNCTIONS, schema, name)]
    return [function for function in found if function is not None]


async def _function(connection: Connection, row: asyncpg.Record) -> Function | None:
    modes = row["modes"] or ["i"] * row["takes"]
    names = row["names"] or [""] * len(modes)
    kinds = await _types(connection, row["types"], [-1] * len(modes))
    taken = [place for place, mode in enumerate(modes) if mode in {"i", "b", "v"}]
    whole = len(taken) == 1 and not names[taken[0]] and kinds[taken[0]].column in _WHOLE and modes[taken[0]] == "i"
    if not whole and any(not names[place] or kinds[place].column == '"any"' for place in taken):
        return None
    first_optional = len(taken) - row["defaults"]
    arguments = tuple(
        Argument(names[place], kinds[place].type, kinds[place].column, number >= first_optional, variadic=modes[place] == "v")
        for number, place in enumerate(taken)
    )
    given = tuple(Field(names[place], kinds[place].type) for place, mode in enumerate(modes) if mode in {"o", "t", "b"} and names[place])
    returns: Returns = "row"
    columns = given
    table = None
    if row["result_name"] == _VOID:
        returns, columns = "nothing", ()
    elif row["kind"] == "c":
        members = await connection.fetch(_MEMBERS, row["relation"])
        shown = await _types(connection, [member["type"] for member in members], [member["modifier"] for member in members])
        columns = tuple(Field(member["name"], kind.type) for member, kind in zip(members, shown, strict=True))
        table = (row["table_schema"], row["table_name"]) if row["is_table"] else None
    elif row["result_name"] != _RECORD:
        returns, columns = "value", (Field(VALUE, (await _types(connection, [row["result"]], [-1]))[0].type),)
    elif not given:
        return None
    return Function(row["schema"], row["name"], arguments, returns, row["many"], columns, table, row["writes"], row["definer"])


async def _types(connection: Connection, types: Sequence[int], modifiers: Sequence[int]) -> list[Field]:
    """Types as fields: of each its type, and as the column how the database writes it."""
    rows = await connection.fetch(_TYPES, list(types), list(modifiers))
    return [Field(VALUE, field_type(dict(row)), column=row["declared"]) for row in rows]


@dataclass(slots=True)
class FunctionPlan:
    """A call made ready: it is one's own, so that it never shares a statement, and its text is written once for each kind of scope."""

    query: CallFunction
    grammar: PostgresGrammar
    joint: bool = False
    statements: dict[str, Statement] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return not self.query.read_only

    def statement(self, kind: str) -> Statement:
        """The statement of a caller whose scope is of this kind."""
        found = self.statements.get(kind)
        if found is None:
            found = self.statements[kind] = compile_call(self.query, self.grammar, kind)
        return found


class _Results(Reads):
    """Reads whose table is what a function gives. It is called once, however often the statement looks at it."""

    def __init__(self, grammar: PostgresGrammar, called: sa.CTE) -> None:
        super().__init__(grammar, b"")
        self._called = called

    def table(self, collection: Collection) -> tuple[sa.FromClause, Columns]:
        """The function's rows as `t`, and its columns."""
        source = sa.select(*self._called.c).subquery("t")
        return source, self.grammar.columns(collection, source)


def compile_call(query: CallFunction, grammar: PostgresGrammar, kind: str) -> Statement:
    """The statement of one call: a row with `body`, `count`, `total`. The transaction around it sets the scope."""
    function = query.function
    text = _called(query)
    parameters = parameters_of(query)
    if function.returns == "nothing":
        return statement(sa.select(text.cte("called")), parameters)
    called = text.cte("called")
    if function.returns == "value":
        return statement(_values(query, called), parameters)
    # The transaction has set the scope, so that related documents need not wait for it.
    frame = among(query.embedded, Frame(whose(kind), plain, ONE, ()))
    page = _Results(grammar, called)._page(ListPage(query.query, query.rule, query.embedded), frame)  # noqa: SLF001 - a page like any other
    return statement(sa.select(page.c.body, page.c["count"], page.c.total).select_from(page), parameters)


def _called(query: CallFunction) -> sa.TextualSelect:
    """``SELECT … FROM schema.function(a => $1, …)``; each argument is cast to the type that the function declares."""
    function = query.function
    declared = {argument.name: argument.declared for argument in function.arguments}
    given: list[str] = []
    bound: list[sa.BindParameter[Any]] = []
    variadic = {argument.name for argument in function.arguments if argument.variadic}
    for name, parameter in query.arguments:
        target = f"{'VARIADIC ' if name in variadic else ''}{_plainly(quote(name))} => " if name else ""
        given.append(f"{target}CAST(:value_{parameter.index} AS {_plainly(declared[name])})")
        bound.append(sa.bindparam(f"value_{parameter.index}", type_=wire_type(parameter.type)))
    call = f"{_plainly(quote(function.schema))}.{_plainly(quote(function.name))}({', '.join(given)})"
    names = [field.column for field in function.columns] or [VALUE]
    listed = ", ".join(_plainly(quote(name)) for name in names)
    text = sa.text(f"SELECT {listed} FROM {call} AS r ({listed})").bindparams(*bound)  # noqa: S608 - quoted names of the catalog's
    return text.columns(*(sa.column(name) for name in names))


def _plainly(text: str) -> str:
    """A colon in a text clause would begin a parameter."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _values(query: CallFunction, called: sa.CTE) -> sa.Select[Any]:
    """The JSON of a value, or of an array of them."""
    if not query.function.many:
        shown = sa.cast(sa.func.to_json(called.c[VALUE]), sa.Text)
        value = sa.func.coalesce(shown, sa.literal_column("'null'"))
        return sa.select(value.label("body"), ONE.label("count"), sa.literal_column("NULL::bigint").label("total"))
    assert query.query.limit is not None, "a page has a limit"
    rows = sa.select(called.c[VALUE]).limit(plain(query.query.limit))
    if query.query.offset is not None:
        rows = rows.offset(plain(query.query.offset))
    found = rows.subquery("x")
    body = sa.cast(sa.func.coalesce(sa.func.json_agg(found.c[VALUE]), sa.literal_column("'[]'::json")), sa.Text)
    total: Any = sa.select(sa.func.count()).select_from(called).scalar_subquery()
    counted = total if query.query.count is not None else sa.literal_column("NULL::bigint")
    return sa.select(body.label("body"), sa.func.count().label("count"), counted.label("total")).select_from(found)


async def run_call(connection: Connection, plan: FunctionPlan, call: Call, timeout: float | None, *, confined: bool) -> Page:
    """Run a call in a transaction that has set the scope. Raises PorticoError; what the function itself raised is as its author wrote it.

    Args:
        confined: the transaction is not the call's own, so that what it sets ends with it. One that may change nothing stands between
            savepoints, since a transaction that was made read-only within one is no longer so after it.
    """
    query, text = plan.query, plan.statement(call.scope.kind)
    reading = confined and query.read_only
    try:
        if reading:
            await connection.execute(f"SAVEPOINT {_READING}; SET LOCAL transaction_read_only = on")
        if query.zone != "UTC":
            await connection.execute("SELECT set_config('TimeZone', $1, true)", query.zone)
        page = await _run_call(connection, query, text, call, timeout)
        if confined:
            await connection.execute(f"SET LOCAL TimeZone = 'UTC'{f'; RELEASE SAVEPOINT {_READING}' if reading else ''}")
    except LOST:
        raise
    except asyncpg.PostgresError as error:
        raise reported(error, None) from error
    return page


async def _run_call(connection: Connection, query: CallFunction, text: Statement, call: Call, timeout: float | None) -> Page:
    try:
        rows = await connection.fetch(text.text, *text.bind([call]), timeout=timeout)
    except LOST as error:
        if isinstance(error, ValueError):
            raise WrongType("A value is not of its argument's type.") from error
        raise
    except asyncpg.PostgresError as error:
        raise _refused(error, query) from error
    if query.function.returns == "nothing":
        return Page("null", 0, None, None)
    return Page(rows[0]["body"], rows[0]["count"], None, rows[0]["total"])


def _refused(error: asyncpg.PostgresError, query: CallFunction) -> PorticoError:
    if error.server_source_function == _RAISE or error.sqlstate == "P0001":
        texts = [None if text is None else text[:_MOST_TEXT] for text in (error.message, error.hint, error.detail)]
        return Raised(texts[0] or "The function refused the call.", error.sqlstate, hint=texts[1], detail=texts[2])
    if error.sqlstate == "25006" and query.read_only:
        return MethodNotAllowed("The function changes something, so it is called by POST.", details={"allow": ["POST"]})
    return reported(error, None)
