"""The unique values by which an upsert finds the document that is there, and the merge that a body asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from portico.errors import InvalidParameter, MissingValue
from portico.model.collection import Collection
from portico.query.bound import Parameter
from portico.query.constraints import write_coercer
from portico.query.limits import Limits
from portico.query.scoped import Assignment, Resolution
from portico.service.authorize import Access
from portico.service.validate import UPDATED_AT, Input, Writer, now


@dataclass(frozen=True, slots=True)
class OnConflict:
    """What a call says of documents that are there already: the unique fields that decide (None: the key), and what becomes of them."""

    resolution: Resolution
    fields: tuple[str, ...] | None = None


def unique_sets(collection: Collection, access: Access) -> tuple[tuple[str, ...], ...]:
    """The sets of fields whose values no two documents share, the key first; none with a field that is hidden from the caller."""
    found = [collection.primary_key]
    found += [tuple(item.name for item in index.fields) for index in collection.indexes if index.unique and index.kind == "btree"]
    if collection.partitioning is None:
        found += [(field.name,) for field in collection.fields if field.constraints.unique]
    seen = {frozenset(names): names for names in reversed(found) if not access.hidden.intersection(names)}
    return tuple(dict.fromkeys(seen[frozenset(names)] for names in found if frozenset(names) in seen))


def target(collection: Collection, access: Access, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The unique fields that `asked` names, in their index's order.

    Raises:
        InvalidParameter: they are no key and have no unique index; it lists the choices.
    """
    choices = unique_sets(collection, access)
    if asked is None and choices and choices[0] == collection.primary_key:
        return collection.primary_key
    found = next((names for names in choices if asked is not None and frozenset(names) == frozenset(asked)), None)
    if found is not None and asked is not None and len(asked) == len(found):
        return found
    written = [",".join(names) for names in choices]
    near = get_close_matches(",".join(asked or ())[:200], written, n=1)
    raise InvalidParameter(
        "The fields of on_conflict are not the key, nor together unique.",
        hint=f"Did you mean {near[0]!r}?" if near else "Choose one of: " + "; ".join(written) + "." if written else None,
        details={"on_conflict": [name[:100] for name in (asked or ())[:20]], "choices": [list(names) for names in choices]},
    )


def require_values(collection: Collection, names: Sequence[str], writer: Writer) -> None:
    """Refuse bodies that leave a unique value to the database, which would not be known before. A new key, or null, meets nothing."""
    assigned = {item.field for item in writer.assignments}
    for name in names:
        field = collection.by_name[name]
        meets_nothing = name in collection.primary_key or (field.nullable and field.default is None and not field.generated)
        if name not in assigned and not meets_nothing:
            raise MissingValue(f"The field {name} is one of on_conflict, and needs a value.", details={"field": name})


def merged_fields(collection: Collection, writer: Writer, named: Sequence[str], unique: Sequence[str]) -> tuple[str, ...]:
    """The fields that a merge sets: those that the body names, but for the unique ones and the key, which does not change."""
    stored = dict(collection.security.passwords)
    wanted = {stored.get(name, name) for name in named} - {*unique, *collection.primary_key}
    merge = tuple(item.field for item in writer.assignments if item.field in wanted)
    touches = merge and collection.timestamps and UPDATED_AT in collection.by_name and UPDATED_AT not in merge
    return (*merge, UPDATED_AT) if touches else merge


def keeping_time(collection: Collection, writer: Writer) -> Writer:
    """The writer, with a value for `updated_at` where Portico keeps it, since a merge sets it."""
    field = collection.by_name.get(UPDATED_AT)
    if not collection.timestamps or field is None or any(item.field == UPDATED_AT for item in writer.assignments):
        return writer
    assignment = Assignment(UPDATED_AT, Parameter(len(writer.inputs), field.type))
    made = Input(None, write_coercer(field, Limits()), now)
    return replace(writer, assignments=(*writer.assignments, assignment), inputs=(*writer.inputs, made))


def unique_value(names: Sequence[str], writer: Writer, values: Sequence[object]) -> tuple[object, ...] | None:
    """The unique values of one body, to be compared with those of others; None where they meet nothing."""
    places = {item.field: item.value.index for item in writer.assignments}
    found = [values[places[name]] if name in places else None for name in names]
    if any(value is None for value in found):
        return None
    return tuple(tuple(value) if isinstance(value, list) else value for value in found)
