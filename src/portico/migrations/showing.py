"""Steps as people read them: what each does, with its SQL."""

from __future__ import annotations

from collections.abc import Iterator

from portico.engines.sql.operations import Step
from portico.migrations.planning import Planned


def shown_steps(planned: Planned) -> list[dict[str, object]]:
    """The steps of a plan as plain data."""
    return [{"title": step.title, "kind": step.kind, "sql": list(sql_text(step))} for step in planned.plan.steps]


def sql_text(step: Step) -> Iterator[str]:
    """The SQL of a step, a statement each."""
    for statement in step.statements:
        yield f"UPDATE {step.table} {statement} WHERE {step.condition}" if step.kind == "batches" else statement
