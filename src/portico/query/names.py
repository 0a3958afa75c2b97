"""Resolves names of a request against a collection: fields, places inside JSON, relations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from portico.errors import AmbiguousRelation, HiddenField, InvalidParameter, PorticoError, UnknownField, UnknownRelation, WrongType
from portico.model.collection import Collection, Relation
from portico.model.field import Base, Field, FieldType, parse_type
from portico.query.ast import Parsed, Path
from portico.query.bound import Embedded
from portico.query.nearest import nearest


@dataclass(frozen=True, slots=True)
class Reached:
    """Another collection, as a caller reaches it.

    Attributes:
        hidden: fields that the caller does not see there, besides the collection's own.
        row_filters: what its documents must match for this caller, as the operator wrote it.
        refusal, uncounted: why the caller may not read it, though it may know of it, and why it may not aggregate it.
    """

    collection: Collection
    hidden: frozenset[str] = frozenset()
    row_filters: tuple[Parsed, ...] = ()
    refusal: PorticoError | None = None
    uncounted: PorticoError | None = None


Resolve = Callable[[str], Reached | None]
"""Finds another collection of the database by name; None where there is none that the caller may know of."""

_CASTS = {
    "text": "text",
    "varchar": "text",
    "int": "integer",
    "int4": "integer",
    "integer": "integer",
    "bigint": "bigint",
    "int8": "bigint",
    "float": "float",
    "float8": "float",
    "double precision": "float",
    "numeric": "decimal",
    "decimal": "decimal",
    "bool": "boolean",
    "boolean": "boolean",
    "uuid": "uuid",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "datetime",
    "timestamptz": "datetime",
    "json": "json",
    "jsonb": "json",
}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one collection as one caller sees them. `hidden` includes the collection's own hidden fields.

    `embeds` are the relations that the select includes, by the names that it gives them.
    """

    collection: Collection
    hidden: frozenset[str]
    embeds: Mapping[str, Embedded] = dataclasses.field(default_factory=dict)

    def visible(self) -> list[Field]:
        """The fields that the caller sees, in order."""
        return [field for field in self.collection.fields if field.name not in self.hidden]

    def field(self, path: Path) -> Field:
        """The field of `path`. Raises HiddenField, UnknownField, WrongType (a place inside a field that is not JSON)."""
        field = self.collection.by_name.get(path.name)
        if path.name in self.hidden and field is not None:
            raise HiddenField(f"The field {path.name!r} of {self.collection.name!r} is hidden.", details={"field": path.name})
        if field is None:
            raise self._unknown(path.name)
        if path.steps and (field.type.base is not Base.JSON or field.type.array):
            raise WrongType(f"The field {path.name!r} is {field.type}, not JSON, so it has nothing inside.", details={"field": path.name})
        return field

    def relation(self, name: str, hint: str | None, known: Callable[[Relation], bool]) -> Relation:
        """The relation that callers mean by `name`: its own name, else its collection's, its constraint's or its field's.

        Args:
            hint: decides between several: a constraint, a join collection or a field (the join's, towards the other).
            known: which relations the caller may know of.
        Raises:
            UnknownRelation: there is none. AmbiguousRelation: several fit.
        """
        relations = [relation for relation in self.collection.relations if known(relation)]
        found = [relation for relation in relations if relation.name == name]
        if not found or hint is not None:
            found = [relation for relation in relations if _is_called(relation, name)]
        if hint is not None:
            found = [relation for relation in found if _is_hinted(relation, hint)]
        if not found:
            details = {"relation": _short(name), "collection": self.collection.name}
            near = nearest(name, [relation.name for relation in relations])
            message = f"The collection {self.collection.name!r} has no relation {_short(name)!r}"
            message += f" by {_short(hint)!r}." if hint is not None else "."
            raise UnknownRelation(message, hint=near, details=details)
        if len(found) > 1:
            names = ", ".join(sorted({relation.name for relation in found}))
            raise AmbiguousRelation(
                f"More than one relation of {self.collection.name!r} leads to {_short(name)!r}.",
                hint=f"Name one of: {names}.",
                details={"relation": _short(name), "collection": self.collection.name, "choices": [_described(item) for item in found]},
            )
        return found[0]

    def _unknown(self, name: str) -> UnknownField:
        near = nearest(name, [field.name for field in self.visible()])
        return UnknownField(
            f"The collection {self.collection.name!r} has no field {_short(name)!r}.", hint=near, details={"field": _short(name)}
        )


def cast_type(cast: str) -> FieldType:
    """The type that a cast names. Raises InvalidParameter for any other than Portico's and the common SQL names."""
    name = _CASTS.get(cast.strip().lower())
    if name is None:
        known = ", ".join(_CASTS)
        raise InvalidParameter(f"There is no cast to {_short(cast)!r}.", hint=f"Casts: {known}.", details={"cast": _short(cast)})
    return parse_type(name)


def _is_called(relation: Relation, name: str) -> bool:
    return name in {relation.name, relation.collection, relation.constraint} or (not relation.many and relation.local == (name,))


def _described(relation: Relation) -> dict[str, object]:
    """A relation as the choices of an ambiguity tell of it."""
    cardinality = "many-to-many" if relation.through else "to-many" if relation.many else "to-one"
    through = {"through": relation.through[0]} if relation.through else {}
    fields = {"local": list(relation.local), "foreign": list(relation.foreign), "constraint": relation.constraint}
    return {"name": relation.name, "collection": relation.collection, "cardinality": cardinality, **fields, **through}


def _is_hinted(relation: Relation, hint: str) -> bool:
    through = relation.through[0] if relation.through else None
    towards = {relation.through[2]} if relation.through else {relation.local, relation.foreign}
    return hint in {relation.name, relation.constraint, through} or (hint,) in towards


def _short(name: str) -> str:
    return name if len(name) <= 64 else name[:61] + "..."
