"""Bodies of writes: which fields they may set, what is filled in, and how each value is read. The database sees only typed values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from portico.errors import (
    ConstraintViolated,
    ForeignTenant,
    HiddenField,
    MissingValue,
    PorticoError,
    ReadOnlyField,
    UnknownField,
    WrongType,
)
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.model.scope import Scope
from portico.query.bound import Coercer, Parameter
from portico.query.coerce import json_coercer, text_coercer
from portico.query.constraints import write_coercer
from portico.query.limits import Limits
from portico.query.nearest import nearest
from portico.query.scoped import Assignment
from portico.service.authorize import Access
from portico.service.identifiers import uuid7
from portico.service.passwords import hashed

Body = Mapping[str, object]
CREATED_AT, UPDATED_AT = "created_at", "updated_at"


@dataclass(frozen=True, slots=True)
class Input:
    """Where a written field's value comes from: the body's member `name` read by `coerce`, `make`, or the members `joined`."""

    name: str | None
    coerce: Coercer
    make: Callable[[], object] | None = None
    joined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Writer:
    """How bodies of one shape become bound values, in the order of `assignments`.

    `tenant` is the field that must hold the scope's client, with the place of its value and whether the body gives it. `one_of` are
    fields with the places of their values, of which one at least must not be null.
    """

    assignments: tuple[Assignment, ...]
    inputs: tuple[Input, ...]
    tenant: tuple[str, int, bool] | None = None
    one_of: tuple[tuple[str, int], ...] = ()

    def values(self, body: Body, scope: Scope) -> tuple[object, ...]:
        """The bound values of one body.

        Raises:
            WrongType, ConstraintViolated, OutOfRange, MissingValue: a value breaks a rule of its field.
            ForeignTenant: the tenant's field names a client that the call does not act for.
        """
        moment: datetime | None = None
        values: list[object] = []
        for item in self.inputs:
            if item.name is not None:
                values.append(item.coerce(body[item.name]))
            elif item.make is now:
                # One moment for the whole document: created_at and updated_at of a new one are equal.
                moment = moment or now()
                values.append(moment)
            elif item.joined:
                values.append(item.coerce(joined(body, item.joined)))
            else:
                values.append(item.make() if item.make is not None else None)
        if self.one_of and all(values[place] is None for _, place in self.one_of):
            raise _none_of(tuple(name for name, _ in self.one_of))
        if self.tenant is not None:
            name, place, given = self.tenant
            if not given:
                values[place] = self._own_client(name, place, scope)
            elif not scope.everything and str(values[place]) not in scope.clients:
                raise ForeignTenant(f"The field {name} must be the client that the call acts for.", details={"field": name})
        return tuple(values)

    def _own_client(self, name: str, place: int, scope: Scope) -> object:
        if len(scope.clients) != 1:
            raise MissingValue(
                f"The field {name} is required.", hint="Name the client with X-Client-ID, or in the document.", details={"field": name}
            )
        return self.inputs[place].coerce(scope.clients[0])


def object_body(value: object) -> Body:
    """`value` as a JSON object. Raises WrongType."""
    if not isinstance(value, dict):
        raise WrongType("The body must be a JSON object.")
    return value


def check_writable(collection: Collection, access: Access, names: tuple[str, ...]) -> None:
    """Refuse fields that are unknown, hidden from the caller, not its to write, or made by the database alone."""
    passwords = collection.security.passwords
    for name in names:
        field = collection.by_name.get(name)
        if field is None and name in [member for member, _ in passwords]:
            _check_password(access, name)
            continue
        if field is None:
            seen = [known.name for known in collection.fields if known.name not in access.hidden]
            raise UnknownField(
                f"The collection {collection.name} has no field {name[:100]!r}.",
                hint=nearest(name, seen),
                details={"field": name[:100]},
            )
        if name in access.hidden:
            raise HiddenField(f"The field {name} is hidden.", details={"field": name})
        if name in access.read_only or field.generated:
            raise ReadOnlyField(f"The field {name} is not written by callers.", details={"field": name})


def _check_password(access: Access, name: str) -> None:
    # The stored field is hidden from everybody: what a rule takes away from a service, it takes away by the member's name.
    if name in access.hidden or name in access.read_only:
        raise ReadOnlyField(f"The member {name} is not written by this service.", details={"field": name})


def joined(body: Body, names: tuple[str, ...]) -> str:
    """The texts among the members `names`, with a space between them. Raises MissingValue where there is none."""
    text = " ".join(part for name in names if isinstance(part := body.get(name), str) and part)
    if not text:
        listed = " or ".join(names)
        raise MissingValue(f"The document needs {listed} where it has no value made of them.", details={"fields": list(names)})
    return text


def _none_of(names: tuple[str, ...]) -> ConstraintViolated:
    return ConstraintViolated(f"The document needs at least one of {', '.join(names)}.", details={"fields": list(names)})


def create_writer(collection: Collection, access: Access, names: tuple[str, ...], scope: Scope, limits: Limits) -> Writer:
    """How a new document's body with the members `names` is read. Raises as `check_writable` does, and MissingValue."""
    check_writable(collection, access, names)
    tenant = _tenant_field(collection, scope)
    given = set(names)
    if collection.at_least_one and not given.intersection(collection.at_least_one):
        raise _none_of(collection.at_least_one)
    members = {stored: member for member, stored in collection.security.passwords if member in given}
    assignments: list[Assignment] = []
    inputs: list[Input] = []
    own: tuple[str, int, bool] | None = None
    for field in collection.fields:
        made = _made(field)
        parts = _parts(field, given)
        if field.name in members:
            _assign(field, Input(members[field.name], hashed), assignments, inputs)
            continue
        if field.name == tenant:
            own = (field.name, len(inputs), field.name in given)
        elif field.name not in given and made is None and not parts:
            _require_default(collection, field)
            continue
        coerce = write_coercer(field, limits)
        here = Input(field.name, coerce) if field.name in given else Input(None, coerce, made, parts)
        _assign(field, here, assignments, inputs)
    return Writer(tuple(assignments), tuple(inputs), own, _one_of(collection, inputs))


def _assign(field: Field, source: Input, assignments: list[Assignment], inputs: list[Input], first: int = 0) -> None:
    assignments.append(Assignment(field.name, Parameter(first + len(inputs), field.type)))
    inputs.append(source)


def _parts(field: Field, given: set[str]) -> tuple[str, ...]:
    """The members that the field is made of, as far as the body gives them; none where it gives the field itself."""
    if field.name in given or field.default is None or field.default.kind != "joined":
        return ()
    return tuple(name for name in cast("tuple[str, ...]", field.default.value) if name in given)


def _one_of(collection: Collection, inputs: list[Input]) -> tuple[tuple[str, int], ...]:
    """The rule of `at_least_one` over the fields that a body names."""
    names = set(collection.at_least_one)
    return tuple((item.name, place) for place, item in enumerate(inputs) if item.name is not None and item.name in names)


def _require_default(collection: Collection, field: Field) -> None:
    joined_of_nothing = field.default is not None and field.default.kind == "joined"
    if not field.nullable and (field.default is None or joined_of_nothing) and not field.generated:
        raise MissingValue(f"The field {field.name} is required.", details={"field": field.name, "collection": collection.name})


def _made(field: Field) -> Callable[[], object] | None:
    """What makes the field's value where the body leaves it out; None leaves it to the database."""
    default = field.default
    if default is None or default.kind in {"database", "joined"}:
        return None
    if default.kind == "uuid7":
        return uuid7
    if default.kind == "now":
        return now
    coerce = write_coercer(field, Limits())
    value = coerce(default.value)
    return lambda: value


def now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


def _tenant_field(collection: Collection, scope: Scope) -> str | None:
    """The field that must hold the call's client; None where the caller may set any, or none is declared."""
    security = collection.security
    return security.tenant_field if security.access_control == "tenant" and not scope.everything else None


def change_writer(collection: Collection, access: Access, names: tuple[str, ...], scope: Scope, limits: Limits, first: int) -> Writer:
    """How a change with the members `names` is read; its parameters begin at `first`.

    Raises:
        ReadOnlyField: also for a field of the key, which never changes.
    """
    check_writable(collection, access, names)
    for name in names:
        if name in collection.primary_key:
            raise ReadOnlyField(f"The field {name} is the document's key, which does not change.", details={"field": name})
    tenant = _tenant_field(collection, scope)
    assignments: list[Assignment] = []
    inputs: list[Input] = []
    own: tuple[str, int, bool] | None = None
    stored = dict(collection.security.passwords)
    for name in names:
        own = (name, len(inputs), True) if name == tenant else own
        if name in collection.by_name:
            field = collection.by_name[name]
            _assign(field, Input(name, write_coercer(field, limits)), assignments, inputs, first)
        else:
            _assign(collection.by_name[stored[name]], Input(name, hashed), assignments, inputs, first)
    _touch(collection, set(names), assignments, inputs, first)
    rule = _one_of(collection, inputs)
    # What a change leaves out stays as it is stored, so the rule can be broken only where it names every field of it.
    return Writer(tuple(assignments), tuple(inputs), own, rule if len(rule) == len(collection.at_least_one) else ())


def _touch(collection: Collection, given: set[str], assignments: list[Assignment], inputs: list[Input], first: int) -> None:
    """Keep `updated_at`, where the collection has Portico keep it."""
    field = collection.by_name.get(UPDATED_AT)
    if collection.timestamps and field is not None and UPDATED_AT not in given:
        assignments.append(Assignment(UPDATED_AT, Parameter(first + len(inputs), field.type)))
        inputs.append(Input(None, write_coercer(field, Limits()), now))


def replaceable(collection: Collection, access: Access) -> tuple[Field, ...]:
    """The fields that a replace sets: all that the caller may write, but for the key and when it was created."""
    kept = access.hidden | access.read_only | set(collection.primary_key)
    if collection.timestamps:
        kept |= {CREATED_AT, UPDATED_AT}
    return tuple(field for field in collection.fields if field.name not in kept and not field.generated)


def replacement(collection: Collection, access: Access, body: Body) -> dict[str, object]:
    """The body of a replace, completed: what it leaves out becomes its literal default, or null. Raises MissingValue."""
    whole: dict[str, object] = dict(body)
    for field in replaceable(collection, access):
        if field.name in whole or field.name == collection.security.tenant_field:
            continue
        if field.default is not None and field.default.kind == "literal":
            whole[field.name] = field.default.value
        elif field.default is not None and field.default.kind == "joined":
            whole[field.name] = joined(body, cast("tuple[str, ...]", field.default.value))
        elif field.nullable:
            whole[field.name] = None
        elif field.default is None:
            raise MissingValue(f"The field {field.name} is required.", details={"field": field.name})
    return whole


def key_value(field: Field, part: str) -> object:
    """A part of an address as the JSON value that a body would give for the key's field."""
    if field.type.base in {Base.INTEGER, Base.BIGINT} and part.lstrip("-").isdigit():
        return int(part)
    if field.type.base in {Base.DECIMAL, Base.FLOAT}:
        return text_coercer(FieldType(Base.DECIMAL), field.name)(part)
    return part


def same_key_value(field: Field, part: str, given: object) -> bool:
    """Whether a body's value of a key field is the one that the address has, however each is written."""
    if given == part:
        return True
    try:
        return json_coercer(field.type, field.name)(given) == text_coercer(field.type, field.name)(part)
    except PorticoError:
        return False
