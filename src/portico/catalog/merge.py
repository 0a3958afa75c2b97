"""Merges what is declared with what the databases have into the collections that are served, under their final names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from portico.catalog.check import field_problems, find_parent, scope_problems
from portico.catalog.names import RESERVED
from portico.catalog.overlay import foreign_keys, overlay
from portico.catalog.relations import relate
from portico.errors import ConfigurationError
from portico.model.collection import Collection
from portico.model.field import Field

APP_SCHEMA = "app"
"""The schema of built-in collections, and of declared ones that name no other."""


@dataclass(frozen=True, slots=True)
class Source:
    """One database, as it was reflected.

    Attributes:
        database: its configured name. schemas: those that `discover` names, in order; empty serves declared collections only.
        tables: what reflection found, with the engine's names (``schema.table``, or the plain name where there are no schemas).
        schemaless: declared collections are there before anything is stored in them (MongoDB).
    """

    database: str
    schemas: tuple[str, ...]
    tables: tuple[Collection, ...]
    schemaless: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """The served collections; the declared ones whose table does not exist yet; and what does not fit, a sentence each."""

    collections: tuple[Collection, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def merge(declared: Sequence[Collection], sources: Sequence[Source], *, strict: bool) -> Merged:
    """The collections that are served.

    Declared collections have their name. Built-in ones do where their table exists, and win over a discovered table of that name.
    Discovered tables of the first schema have plain names, others ``schema.table``; a name that is taken or reserved is qualified too.

    Args:
        declared: built-in and declared collections, of any of the databases.
        strict: refuse what does not fit, as at start. Otherwise serve what can be served safely, and report it.

    Raises:
        ConfigurationError: a problem, where `strict`, with every other one.
    """
    merging = _Merging()
    for collection in declared:
        merging.add_declared(collection, sources)
    for source in sources:
        for table in source.tables:
            merging.add_discovered(table, source)
    related = relate(merging.finish())
    collections, problems = _checked(related)
    problems = [*merging.problems, *problems]
    if strict and problems:
        raise ConfigurationError(" ".join(problems), details={"problems": problems})
    return Merged(tuple(collections), tuple(merging.missing), tuple(problems))


class _Merging:
    """What is collected while merging: served collections by name, and the final name of each reflected table."""

    def __init__(self) -> None:
        self.served: dict[str, Collection] = {}
        self.final: dict[tuple[str, str], str] = {}
        self.missing: list[str] = []
        self.problems: list[str] = []

    def add_declared(self, declared: Collection, sources: Sequence[Source]) -> None:
        if declared.name in self.served:
            self.problems.append(f"The collection {declared.name} is declared twice.")
            return
        source = next((source for source in sources if source.database == declared.database), None)
        if source is None:
            self.problems.append(f"The collection {declared.name} names the database {declared.database!r}, which is not configured.")
            return
        found = _find(declared, source)
        if found is None:
            if source.schemaless and declared.origin != "builtin":
                self.served[declared.name] = declared
            else:
                self.missing.append(declared.name)
            return
        laid = overlay(declared, found)
        if laid.missing:
            columns = ", ".join(laid.missing)
            self.problems.append(f"The collection {declared.name} declares fields that its table lacks: {columns}.")
        self.served[declared.name] = laid.collection
        self.final[source.database, found.name] = declared.name

    def add_discovered(self, table: Collection, source: Source) -> None:
        exposed = bool(source.schemas) and table.schema in (None, *source.schemas)
        if not exposed or (source.database, table.name) in self.final:
            return
        plain = table.schema is None or table.schema == source.schemas[0]
        qualified = f"{table.schema or source.database}.{table.table}"
        candidates = ([table.table] if plain and table.table not in RESERVED else []) + [qualified, f"{source.database}.{table.table}"]
        name = next((candidate for candidate in candidates if candidate not in self.served), None)
        if name is None:
            self.problems.append(f"The table {qualified} of the database {source.database} has a name that is taken.")
            return
        self.served[name] = replace(table, name=name)
        self.final[source.database, table.name] = name

    def finish(self) -> list[Collection]:
        """The collections, with references and foreign keys under the final names; those to tables that are not served are left out."""
        return [self._renamed(collection) for collection in self.served.values()]

    def _renamed(self, collection: Collection) -> Collection:
        keys = foreign_keys(collection)
        kept = [
            replace(relation, collection=target, foreign=self._names(target, relation.foreign)) if relation in keys else relation
            for relation in collection.relations
            if (target := self._target(collection, relation.collection, reflected=relation in keys)) is not None
        ]
        return replace(collection, fields=tuple(self._field(field, collection) for field in collection.fields), relations=tuple(kept))

    def _field(self, field: Field, collection: Collection) -> Field:
        reference = field.references
        if reference is None or (reference.collection in self.served and (collection.database, reference.collection) not in self.final):
            return field
        target = self.final.get((collection.database, reference.collection))
        if target is None:
            # A declared reference to what is not served is a problem that the check names; a reflected one is none.
            return field if collection.origin != "discovered" else replace(field, references=None)
        (name,) = self._names(target, (reference.field,))
        return replace(field, references=replace(reference, collection=target, field=name))

    def _target(self, collection: Collection, name: str, *, reflected: bool) -> str | None:
        return self.final.get((collection.database, name)) if reflected else name

    def _names(self, target: str, columns: tuple[str, ...]) -> tuple[str, ...]:
        names = {field.column: field.name for field in self.served[target].fields}
        return tuple(names.get(column, column) for column in columns)


def _find(declared: Collection, source: Source) -> Collection | None:
    """The table of a declared collection: in the schema it names, else in the discovered schemas in order, else in `app`."""
    tables = {(table.schema, table.table): table for table in source.tables}
    schemas: Iterable[str | None] = (declared.schema,) if declared.schema else (*source.schemas, APP_SCHEMA)
    # Where there are no schemas, a declaration that names one means the same table.
    return next((tables[schema, declared.table] for schema in (*schemas, None) if (schema, declared.table) in tables), None)


def _checked(collections: Sequence[Collection]) -> tuple[list[Collection], list[str]]:
    """The collections whose tenancy can be followed, and every problem. Parents are dropped before what depends on them."""
    served: Mapping[str, Collection] = {collection.name: collection for collection in collections}
    problems = [
        problem for collection in collections if collection.origin != "discovered" for problem in field_problems(collection, served)
    ]
    while True:
        broken = {name: found for name, collection in served.items() if (found := scope_problems(collection, served))}
        if not broken:
            break
        problems += [problem for found in broken.values() for problem in found]
        served = {
            name: replace(collection, relations=tuple(relation for relation in collection.relations if relation.collection not in broken))
            for name, collection in served.items()
            if name not in broken
        }
    return [_with_parent(collection) for collection in served.values()], problems


def _with_parent(collection: Collection) -> Collection:
    if collection.security.access_control != "relation":
        return collection
    return replace(collection, security=replace(collection.security, relation=find_parent(collection)))
