"""How `portico migrate` shows migrations: records as JSON's data and as a table, steps with their SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import typer

from portico.model.migration import Record


def described(record: Record) -> dict[str, object]:
    """A record as plain data."""
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status.value,
        "database": record.database,
        "created_at": record.created_at,
        "executed_at": record.executed_at,
        "description": record.description,
        "version": record.version,
        "collection_or_table": record.collection_or_table,
        "dependencies": list(record.dependencies),
        "error": record.error,
        "unrecorded": list(record.unrecorded),
    }


def lines(plan: Mapping[str, object]) -> Iterator[str]:
    """A plan for people: a comment for each step, its SQL below."""
    back = "" if plan["reversible"] else " (cannot be undone)"
    yield f"-- {plan['id']} on {plan['database']}{back}"
    for number, step in enumerate(cast("Sequence[Mapping[str, object]]", plan["steps"]), 1):
        how = {"index": " (beside the traffic)", "batches": " (in batches)"}.get(str(step["kind"]), "")
        yield f"-- {number}. {step['title']}{how}"
        for statement in cast("Sequence[str]", step["sql"]):
            yield f"{statement.rstrip(';')};"


def status_table(records: Sequence[Mapping[str, object]]) -> None:
    """Print a line for each migration."""
    if not records:
        typer.echo("There are no migrations.")
    width = max((len(str(record["id"])) for record in records), default=0)
    for record in records:
        when = str(record.get("executed_at") or "")[:19].replace("T", " ")
        error = f"  {record['error']}" if record.get("error") else ""
        typer.echo(f"{record['id']!s:<{width}}  {record['status']!s:<11}  {record['database']}  {when}{error}".rstrip())
