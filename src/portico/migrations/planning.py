"""Makes the plan of a migration: its steps for the engine, its way back, and what is remembered of the collections it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from portico.catalog.declare import declare
from portico.catalog.describe import describe
from portico.catalog.evolve import changes, evolve, way_back
from portico.catalog.operations import write_operations
from portico.engines.postgres.operations import OPERATIONS as POSTGRES
from portico.engines.sql.operations import Operations
from portico.engines.sqlite.operations import OPERATIONS as SQLITE
from portico.errors import MigrationError
from portico.migrations.journal import Plan
from portico.model import migration as m
from portico.model.collection import Collection
from portico.model.migration import Checks, Migration, Operation, collection_of

ENGINES: dict[str, Operations] = {"postgresql": POSTGRES, "sqlite": SQLITE}
"""What each engine registered, by dialect."""

Collections = Mapping[str, Collection]


@dataclass(frozen=True, slots=True)
class Target:
    """The database that is migrated.

    Attributes:
        database: its configured name. dialect: ``postgresql`` or ``sqlite``.
        known: gives its collections as they are now, by name, from the check constraints that it has (None: it cannot say); asked once
            the lock is held.
        configured: the names that the configuration declares: what it says of them is not kept in the database.
        schemas: PostgreSQL's schemas that are served; empty where there are none.
    """

    database: str
    dialect: str
    known: Callable[[Checks | None], Collections]
    configured: frozenset[str] = frozenset()
    schemas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with the operations up and down as plain data, as the journal keeps them; `down` is None where there is no way back."""

    plan: Plan
    up: list[dict[str, object]]
    down: list[dict[str, object]] | None


def plan_up(target: Target, migration: Migration, known: Collections, stored: Collections, checks: Checks | None = None) -> Planned:
    """The way up. Raises MigrationError where an operation does not fit the collections, or the engine cannot do it."""
    _check(target, migration.operations)
    made = changes(migration.operations, known, checks)
    steps = ENGINES[target.dialect].steps(made)
    down = None if migration.irreversible else migration.down if migration.down is not None else way_back(made)
    documents = remembered(target, migration.operations, known, stored)
    plan = Plan(tuple(steps), documents, migration.by)
    return Planned(plan, write_operations(migration.operations), write_operations(down) if down is not None else None)


def plan_down(
    target: Target, operations: Sequence[Operation], known: Collections, stored: Collections, checks: Checks | None, by: str
) -> Plan:
    """The way down, asked for by `by`."""
    steps = ENGINES[target.dialect].steps(changes(operations, known, checks))
    return Plan(tuple(steps), remembered(target, operations, known, stored), by, down=True)


def after(operations: Sequence[Operation], known: Collections) -> Collections:
    """The collections after operations."""
    for operation in operations:
        known = evolve(operation, known)
    return known


def _check(target: Target, operations: Sequence[Operation]) -> None:
    for operation in operations:
        if not isinstance(operation, m.CreateCollection):
            continue
        made = operation.collection
        if made.database not in ("", target.database):
            raise MigrationError(f"{made.name} names the database {made.database}, but the migration is for {target.database}.")
        if made.schema is not None and target.schemas and made.schema not in target.schemas:
            raise MigrationError(
                f"The schema {made.schema} of {made.name} is not served.", hint=f"Served are {', '.join(target.schemas)}; see discover."
            )


def remembered(
    target: Target, operations: Sequence[Operation], known: Collections, stored: Collections
) -> dict[str, dict[str, object] | None]:
    """The schema documents that are kept in the database afterwards, of collections that the configuration does not declare."""
    now, kept, touched = dict(known), dict(stored), set[str]()
    for operation in operations:
        name = collection_of(operation)
        if name is not None and name not in target.configured:
            touched |= _remember(operation, name, now, kept)
        now = dict(evolve(operation, now))
    return {name: _document(target, kept[name]) if name in kept else None for name in sorted(touched)}


def _remember(operation: Operation, name: str, now: dict[str, Collection], kept: dict[str, Collection]) -> set[str]:
    if isinstance(operation, m.CreateCollection):
        kept[name] = operation.collection
    elif isinstance(operation, m.DropCollection):
        if kept.pop(name, None) is None:
            return set()
    elif name in kept or isinstance(operation, m.SetSecurity | m.AddRelation):
        base = kept.get(name) or replace(now[name], relations=())
        kept[name] = evolve(operation, {**now, name: base})[name]
    else:
        return set()
    return {name}


def _document(target: Target, collection: Collection) -> dict[str, object]:
    return describe(replace(collection, database=target.database))


def stored_collections(documents: Mapping[str, Mapping[str, object]], database: str) -> dict[str, Collection]:
    """The collections of stored documents."""
    return {name: declare(document, source="portico.collections", database=database) for name, document in documents.items()}
