"""Resolves names of a request against a collection: fields, places inside JSON, relations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from portico.errors import HiddenField, InvalidParameter, InvalidRequest, UnknownField, WrongType
from portico.model.collection import Collection, Relation
from portico.model.field import Base, Field, FieldType, parse_type
from portico.query.ast import Path

Resolve = Callable[[str], tuple[Collection, frozenset[str]] | None]
"""Finds another collection of the database by name, with the fields that the caller does not see there; None where it may not read it."""

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
    """The names of one collection as one caller sees them. `hidden` includes the collection's own hidden fields."""

    collection: Collection
    hidden: frozenset[str]

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

    def relation(self, name: str, hint: str | None = None) -> Relation:
        """The relation that callers mean by `name`: its own name, else its collection's, its constraint's or its field's.

        Raises:
            UnknownField: there is none. InvalidRequest: several fit; `hint` (a constraint, a join collection or a field) decides.
        """
        relations = self.collection.relations
        found = [relation for relation in relations if relation.name == name]
        if not found or hint is not None:
            found = [relation for relation in relations if _is_called(relation, name)]
        if hint is not None:
            found = [relation for relation in found if _is_hinted(relation, hint)]
        if not found:
            details = {"relation": name, "collection": self.collection.name}
            near = _nearest(name, [relation.name for relation in relations])
            raise UnknownField(f"The collection {self.collection.name!r} has no relation {_short(name)!r}.", hint=near, details=details)
        if len(found) > 1:
            names = ", ".join(sorted({relation.name for relation in found}))
            raise InvalidRequest(
                f"More than one relation of {self.collection.name!r} leads to {name!r}.",
                hint=f"Name one of: {names}.",
                details={"relation": name},
            )
        return found[0]

    def _unknown(self, name: str) -> UnknownField:
        near = _nearest(name, [field.name for field in self.visible()])
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


def _is_hinted(relation: Relation, hint: str) -> bool:
    through = relation.through[0] if relation.through else None
    return hint in {relation.name, relation.constraint, through} or (hint,) in {relation.local, relation.foreign}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(name[:64], list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else None


def _short(name: str) -> str:
    return name if len(name) <= 64 else name[:61] + "..."
