"""The statement of an aggregation on PostgreSQL: its rows, counted and bounded, as one answer."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from portico.engines.postgres.embedding import among
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.pipelines import ZERO, PostgresDialect
from portico.engines.postgres.reads import parameters_of, slice_of
from portico.engines.postgres.rows import alone
from portico.engines.postgres.statement import Statement, statement
from portico.engines.sql.pipelines import OVER, Compiler
from portico.query.limits import MOST_AGGREGATED_BYTES
from portico.query.scoped import Aggregate


def aggregate(plan: Aggregate, grammar: PostgresGrammar, kind: str) -> Statement:
    """One call's statement: one row (body, count, more, tenants, over). The body is NULL where it would be too large."""
    ready, frame = alone(kind)
    dialect = PostgresDialect(among(plan.embedded, frame).grammar if plan.embedded else grammar, frame)
    compiler = Compiler(plan.query, plan.rule, plan.lookups, dialect)
    rows = compiler.rows().subquery("i")
    limit = cast("Any", dialect.bind(plan.query.limit))
    counted = sa.func.count()
    bodies = sa.func.array_agg(sa.cast(rows.c.body, sa.Text))
    joined = sa.func.coalesce(sa.func.array_to_string(slice_of(bodies, limit), sa.literal_column("','")), sa.literal_column("''"))
    size = sa.func.coalesce(sa.func.sum(sa.func.octet_length(sa.cast(rows.c.body, sa.Text))), ZERO)
    fits = size <= sa.literal_column(str(MOST_AGGREGATED_BYTES))
    tenants: list[Any] = []
    for least, most in compiler.tenants:
        tenants += [sa.func.min(rows.c[least]), sa.func.max(rows.c[most])]
    over = sa.func.coalesce(sa.func.max(rows.c[OVER]), ZERO) if compiler.bounded else ZERO
    found = sa.select(
        sa.case((fits, sa.literal_column("'['").op("||")(joined).op("||")(sa.literal_column("']'")))).label("body"),
        sa.func.least(counted, limit).label("count"),
        (counted > limit).label("more"),
        sa.cast(pg.array(tenants), pg.ARRAY(sa.Text)).label("tenants"),
        over.label("over"),
    )
    result = found.select_from(rows).correlate(*frame.outer).lateral("r")
    return statement(sa.select(*result.c).select_from(ready, result), parameters_of(plan))
