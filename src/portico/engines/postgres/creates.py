"""Statements that create documents: one, several together, or those of many callers that wait at the same moment."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.companions import Happened, actor_columns, audit_insert, image, key_text, version_insert, whose_document
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.reads import content_hash, entire, is_entire, parameters_of
from portico.engines.postgres.rows import document_text, projection
from portico.engines.postgres.scoping import EachWhose, Whose, in_scope, references_in_scope, settings
from portico.engines.postgres.statement import Statement, each, fixed, statement
from portico.engines.postgres.types import Native, travels_as_text, typed
from portico.engines.sql.predicates import Columns
from portico.errors import InvalidParameter
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.query.bound import Parameter
from portico.query.scoped import Create, OwnerRule, ParentRule

ACTOR = (
    ("each_service", "service"),
    ("each_actor_client", "actor_client"),
    ("each_actor_user", "actor_user"),
    ("each_correlation", "correlation"),
)


def key_is_known(plan: Create) -> bool:
    """Whether every key value is known before the insert, so that returned rows can be matched with their calls.

    `RETURNING` cannot see the source row: the key is the caller's, Portico's, or the column's default, evaluated in the source.
    """
    given = {assignment.field for assignment in plan.assignments}
    return all(field.name in given or _default_text(field) is not None for field in plan.collection.key_fields)


def _default_text(field: Field) -> str | None:
    """The database's own expression for a key's default, as its catalog shows it."""
    default = field.default
    known = default is not None and default.kind == "database" and isinstance(default.value, str) and not field.generated
    return cast("str", default.value) if known and default is not None else None


class Creates:
    """Writes the statements of one `Create` plan. `secret` keys the ETag."""

    def __init__(self, grammar: PostgresGrammar, secret: bytes) -> None:
        self.grammar = grammar
        self.secret = secret

    def create(self, plan: Create, kind: str, *, skip_conflicts: bool, impatient: bool) -> Statement:
        """A statement for one call or more: rows (n, body, etag, tenant, key).

        Args:
            skip_conflicts: leave out the rows that conflict, so that one bad call does not fail the others; a call without a
                row then runs alone, without this, for its own error.
            impatient: wait for no lock longer than a few milliseconds.
        """
        ready = settings(kind, impatient=impatient)
        source = self._source(plan)
        inserted = self._insert(plan, source, ready, skip_conflicts=skip_conflicts)
        if plan.counted:
            return self._counted(plan, inserted)
        made = self._made(plan, source, inserted)
        ctes: list[sa.CTE] = []
        if plan.audit or plan.versioned:
            ctes.extend(self._companions(plan, made))
        tag = content_hash(made.c.body if "whole" not in made.c else made.c.whole, self.secret).label("etag")
        final = sa.select(made.c.n, made.c.body, tag, made.c.tenant, made.c.key).order_by(made.c.n)
        return statement(final.add_cte(*ctes) if ctes else final, parameters_of(plan))

    def _source(self, plan: Create) -> sa.CTE:
        """The calls as rows: values typed as their columns, keys that the database would make, who asks, and `n`."""
        arrays = [sent(assignment.value) for assignment in plan.assignments]
        names = [f"v{assignment.value.index}" for assignment in plan.assignments]
        if not plan.counted or not arrays:
            arrays += [fixed(name, pg.ARRAY(sa.Text())) for name, _ in ACTOR]
            names += [label for _, label in ACTOR]
        scope = ["client", "clients", *(["users"] if plan.references or plan.on_conflict else [])]
        if not plan.counted:
            arrays += [fixed(f"each_{name}", pg.ARRAY(sa.Text())) for name in scope]
            names += scope
        calls = sa.func.unnest(*arrays).table_valued(*names, with_ordinality="n").render_derived(name="q")
        columns: list[ColumnElement[Any]] = [calls.c.n]
        if plan.counted:
            # One caller's: who asks, and for whom, is the same in every row.
            columns += [fixed(name, sa.Text() if name == "client" else pg.ARRAY(sa.Text())).label(name) for name in scope]
        else:
            columns += [calls.c[label] for label in (*(label for _, label in ACTOR), *scope)]
        columns += [typed_value(calls.c[f"v{item.value.index}"], item.value.type).label(f"c_{item.field}") for item in plan.assignments]
        given = {assignment.field for assignment in plan.assignments}
        for field in plan.collection.key_fields:
            text = _default_text(field)
            if field.name not in given and text is not None:
                columns.append(sa.literal_column(text).label(f"c_{field.name}"))
        if not plan.assignments and not any(_default_text(field) for field in plan.collection.key_fields):
            columns.append(_filler(plan.collection))
        return sa.select(*columns).cte("src").prefix_with("MATERIALIZED", dialect="postgresql")

    def _insert(self, plan: Create, source: sa.CTE, ready: sa.CTE, *, skip_conflicts: bool) -> sa.CTE:
        collection = plan.collection
        target = sa.table(collection.table, *(sa.column(field.column) for field in collection.fields), schema=collection.schema)
        given = [column.key.removeprefix("c_") for column in source.c if column.key.startswith("c_")]
        chosen = sa.select(*(source.c[f"c_{name}"] for name in given)).select_from(source, ready).where(ready.c.v.is_not(None))
        chosen = chosen.where(
            *self._allowed(plan, source, ready), *self._refers(plan, source, ready, together=not skip_conflicts)
        ).order_by(source.c.n)
        insert = pg_insert(target).from_select([collection.by_name[name].column for name in given], chosen)
        if skip_conflicts:
            insert = insert.on_conflict_do_nothing()
        columns = [target.c[field.column].label(f"c_{field.name}") for field in collection.fields]
        return insert.returning(*columns).cte("ins")

    def _allowed(self, plan: Create, source: sa.CTE, ready: sa.CTE) -> list[ColumnElement[bool]]:
        """The new row must be in its call's scope: its tenant's field, or its owner or parent."""
        names = [field.name for field in plan.collection.fields]
        # Of what the document leaves out nothing is known yet: it names no owner or parent.
        columns = {name: source.c.get(f"c_{name}", sa.literal_column("NULL")) for name in names}
        scope = Whose(None, sa.cast(source.c.clients, pg.ARRAY(sa.Text)))
        return in_scope(plan.rule, plan.collection, cast("Columns", columns), scope, self.grammar, ready.c.v, source, ready)

    def _refers(self, plan: Create, source: sa.CTE, ready: sa.CTE, *, together: bool) -> list[ColumnElement[bool]]:
        """What the new row refers to must be in its call's scope, or, where all are made `together` or none, be one of the new rows."""
        if not plan.references:
            return []
        columns = cast(
            "Columns", {field.name: source.c[f"c_{field.name}"] for field in plan.collection.fields if f"c_{field.name}" in source.c}
        )
        scope = EachWhose(None, sa.cast(source.c.clients, pg.ARRAY(sa.Text)), users=sa.cast(source.c.users, pg.ARRAY(sa.Text)))
        found = references_in_scope(plan.references, plan.collection, columns, scope, self.grammar, ready.c.v, source, ready)
        others = source.alias("others")
        for place, rule in enumerate(plan.references):
            key = f"c_{rule.foreign[0]}"
            if together and rule.parent.table == plan.collection.table and key in source.c:
                found[place] = sa.or_(found[place], columns[rule.local[0]].in_(sa.select(others.c[key])))
        return found

    def _made(self, plan: Create, source: sa.CTE, inserted: sa.CTE) -> sa.CTE:
        """The new rows with their call's place, their JSON, their hash and their tenant."""
        collection = plan.collection
        columns = cast("Columns", {field.name: inserted.c[f"c_{field.name}"] for field in collection.fields})
        row = projection(plan.answer, inserted, columns, self.grammar)
        match = [inserted.c[f"c_{name}"] == source.c[f"c_{name}"] for name in collection.primary_key] if key_is_known(plan) else []
        tables: list[sa.FromClause] = [inserted, source, row]
        members = [source.c.n, *(source.c[label] for _, label in ACTOR), document_text(row).label("body")]
        members.append(self._tenant(plan, source, columns).label("tenant"))
        members.append(key_text(collection, columns).label("key"))
        if not is_entire(plan.answer):
            tables.append(entire(collection, columns, self.grammar, inserted))
            members.append(document_text(tables[-1]).label("whole"))
        if plan.audit or plan.versioned:
            client, user = whose_document(plan.belongs, columns, self.grammar, inserted)
            members += [client.label("of_client"), user.label("of_user")]
        if plan.audit and not self._shows_all(plan):
            kept = image(collection, columns, self.grammar, inserted)
            tables.append(kept)
            members.append(document_text(kept).label("after"))
        return sa.select(*members).select_from(*tables).where(*match).cte("made").prefix_with("MATERIALIZED", dialect="postgresql")

    def _counted(self, plan: Create, inserted: sa.CTE) -> Statement:
        """Of the new rows only their number and their tenants, as one row; companion rows are made of them as they are stored."""
        collection = plan.collection
        columns = cast("Columns", {field.name: inserted.c[f"c_{field.name}"] for field in collection.fields})
        key, belongs = key_text(collection, columns), whose_document(plan.belongs, columns, self.grammar, inserted)
        ctes: list[sa.CTE] = []
        if plan.audit:
            kept = image(collection, columns, self.grammar, inserted)
            happened = Happened(inserted, (kept,), collection, "create", actor_columns(None), key, belongs)
            ctes.append(audit_insert(happened, None, document_text(kept)))
        if plan.versioned:
            whole = entire(collection, columns, self.grammar, inserted)
            happened = Happened(inserted, (whole,), collection, "create", actor_columns(None), key, belongs)
            ctes.append(version_insert(happened, document_text(whole)))
        field = getattr(plan.rule, "field", None)
        tenant = sa.cast(columns[field], sa.Text) if field and not isinstance(plan.rule, OwnerRule | ParentRule) else sa.null()
        tenants = sa.func.array_agg(sa.distinct(sa.cast(tenant, sa.Text)))
        final = sa.select(sa.func.count().label("n"), tenants.label("tenants")).select_from(inserted)
        return statement(final.add_cte(*ctes) if ctes else final, parameters_of(plan))

    @staticmethod
    def _tenant(plan: Create, source: sa.CTE, columns: Columns) -> ColumnElement[Any]:
        """Whose the new row is. An owner's or parent's client was looked up by the insert itself."""
        if isinstance(plan.rule, OwnerRule | ParentRule):
            return source.c.client
        field = getattr(plan.rule, "field", None)
        return sa.cast(columns[field], sa.Text) if field else sa.literal_column("NULL::text")

    @staticmethod
    def _shows_all(plan: Create) -> bool:
        """Whether the answer is what the audit keeps as well: every field, none of them masked."""
        security = plan.collection.security
        return is_entire(plan.answer) and not security.hidden and not security.encrypted

    def _companions(self, plan: Create, made: sa.CTE) -> list[sa.CTE]:
        happened = Happened(made, (), plan.collection, "create", actor_columns(made), made.c.key, (made.c.of_client, made.c.of_user))
        rows: list[sa.CTE] = []
        if plan.audit:
            rows.append(audit_insert(happened, None, made.c.body if self._shows_all(plan) else made.c.after))
        if plan.versioned:
            rows.append(version_insert(happened, made.c.whole if "whole" in made.c else made.c.body))
        return rows


def _filler(collection: Collection) -> ColumnElement[Any]:
    """A column for an insert that would name none: what the first one that allows it has by default.

    Raises:
        InvalidParameter: there is none, so that a document has to say something.
    """
    for field in collection.fields:
        text = _default_text(field)
        if text is not None:
            return sa.literal_column(text).label(f"c_{field.name}")
        if field.nullable and field.default is None and not field.generated:
            return typed_value(sa.null(), field.type).label(f"c_{field.name}")
    raise InvalidParameter("The body holds no field.", hint="Name at least one.")


def sent(parameter: Parameter) -> ColumnElement[Any]:
    """The array that carries a value of each call; arrays travel as their text, since arrays of arrays have one shape."""
    if isinstance(parameter.type, FieldType) and parameter.type.array:
        return each(Parameter(parameter.index, FieldType(Base.TEXT)))
    return each(parameter)


def typed_value(value: ColumnElement[Any], kind: Any) -> ColumnElement[Any]:
    if isinstance(kind, FieldType) and kind.array:
        return sa.cast(value, Native(_array_name(kind)))
    if isinstance(kind, FieldType) and travels_as_text(kind):
        return sa.cast(value, Native(kind.native or "text"))
    return typed(value, kind)


_ARRAY_NAMES = {
    Base.STRING: "text",
    Base.TEXT: "text",
    Base.ENUM: "text",
    Base.INTEGER: "integer",
    Base.BIGINT: "bigint",
    Base.FLOAT: "double precision",
    Base.DECIMAL: "numeric",
    Base.BOOLEAN: "boolean",
    Base.UUID: "uuid",
    Base.DATE: "date",
    Base.DATETIME: "timestamp with time zone",
    Base.JSON: "jsonb",
    Base.BINARY: "bytea",
}


def _array_name(kind: FieldType) -> str:
    name = kind.native or _ARRAY_NAMES[kind.base]
    return name if name.endswith("[]") else name + "[]"
