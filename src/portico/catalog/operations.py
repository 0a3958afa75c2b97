"""Operations of migrations between plain data, as YAML and JSON give it, and the model; anything unknown is an error that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from portico.catalog.declare import declare
from portico.catalog.describe import describe
from portico.catalog.names import nearest
from portico.catalog.reading import Reader
from portico.errors import ConfigurationError
from portico.model import migration as m
from portico.model.collection import Collection, Partitioning, Relation, Security
from portico.model.field import Cascade, Field
from portico.model.migration import Operation

_ANYTHING = frozenset({"name"})


def read_operations(data: object, where: str) -> tuple[Operation, ...]:
    """The operations of a list of mappings, each with one key, the operation's name, and its arguments.

    Raises:
        ConfigurationError: an unknown operation or argument, or a value of a wrong type; it says where.
    """
    if not isinstance(data, list | tuple):
        raise ConfigurationError(f"{where} must be a list of operations.", hint="Write - add_field: {collection: …, field: {…}}.")
    return tuple(_read(item, f"{where}[{number}]") for number, item in enumerate(data))


def _read(data: object, where: str) -> Operation:
    if not isinstance(data, Mapping) or len(data) != 1:
        raise ConfigurationError(f"{where} must have one key, the operation's name.", hint=f"Operations are {', '.join(_READERS)}.")
    ((name, arguments),) = data.items()
    reader = _READERS.get(str(name))
    if reader is None:
        raise ConfigurationError(
            f"{where} has the unknown operation {str(name)[:100]!r}.", hint=nearest(str(name), _READERS), details={"operation": str(name)}
        )
    return reader(arguments, f"{where}.{name}")


def _declared(where: str, part: Mapping[str, object]) -> Collection:
    """A collection of which only one part matters: the schema document's reader reads that part."""
    return declare({"name": "collection", **part}, source=where)


def read_field(data: object, where: str) -> Field:
    """The field of a schema document's field. Raises ConfigurationError."""
    return _declared(where, {"fields": [data]}).fields[0]


def _create_collection(data: object, where: str) -> Operation:
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"{where} must be a schema document.")
    made = declare(data, source=where)
    if not made.primary_key:
        raise ConfigurationError(f"{where}: {made.name} has no primary key.", hint="Give one field the constraint primary_key.")
    return m.CreateCollection(made)


def _drop_collection(data: object, where: str) -> Operation:
    return m.DropCollection(Reader(data, where, _ANYTHING).required_text("name"))


def _add_field(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "field"}))
    return m.AddField(reader.required_text("collection"), _plain_field(reader))


def _alter_field(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "field"}))
    return m.AlterField(reader.required_text("collection"), _plain_field(reader))


def _plain_field(reader: Reader) -> Field:
    made = _declared(reader.where, {"fields": [reader.raw("field") or {}]})
    if made.primary_key:
        raise ConfigurationError(f"{reader.where}: a primary key can be declared only where the collection is created.")
    return made.fields[0]


def _drop_field(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "name"}))
    return m.DropField(reader.required_text("collection"), reader.required_text("name"))


def _rename_field(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "name", "to"}))
    to = reader.required_text("to")
    read_field({"name": to, "type": "text"}, where)
    return m.RenameField(reader.required_text("collection"), reader.required_text("name"), to)


def _add_index(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "index"}))
    collection = reader.required_text("collection")
    made = declare({"name": collection, "indexes": [reader.raw("index") or {}]}, source=where)
    return m.AddIndex(collection, made.indexes[0])


def _drop_index(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "name"}))
    return m.DropIndex(reader.required_text("collection"), reader.required_text("name"))


def _add_relation(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "relation", "on_delete"}))
    relation = _declared(where, {"relations": [reader.raw("relation") or {}]}).relations[0]
    on_delete = reader.text("on_delete") or "restrict"
    if on_delete not in {"restrict", "cascade", "set_null"}:
        raise ConfigurationError(f"{where}: on_delete cannot be {on_delete!r}.", hint="Write restrict, cascade or set_null.")
    return m.AddRelation(reader.required_text("collection"), relation, cast("Cascade", on_delete))


def _drop_relation(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "name"}))
    return m.DropRelation(reader.required_text("collection"), reader.required_text("name"))


def _set_security(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "security"}))
    return m.SetSecurity(reader.required_text("collection"), _declared(where, {"security": reader.raw("security") or {}}).security)


def _set_partitioning(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "partitioning"}))
    given = reader.raw("partitioning")
    made = _declared(where, {"partitioning": given}).partitioning if given is not None else None
    return m.SetPartitioning(reader.required_text("collection"), made)


def _update_data(data: object, where: str) -> Operation:
    reader = Reader(data, where, frozenset({"collection", "set", "where"}))
    values, conditions = reader.raw("set"), reader.raw("where") or {}
    if not isinstance(values, Mapping) or not values or not isinstance(conditions, Mapping):
        raise ConfigurationError(f"{where} needs set: {{field: value}}, and where: {{field: value}} for only some documents.")
    return m.UpdateData(reader.required_text("collection"), dict(values), dict(conditions))


def _run_sql(data: object, where: str) -> Operation:
    if isinstance(data, str) and data.strip():
        return m.RunSql(data)
    reader = Reader(data, where, frozenset({"sql", "down"}))
    return m.RunSql(reader.required_text("sql"), reader.text("down"))


_READERS: dict[str, Callable[[object, str], Operation]] = {
    "create_collection": _create_collection,
    "drop_collection": _drop_collection,
    "add_field": _add_field,
    "drop_field": _drop_field,
    "alter_field": _alter_field,
    "rename_field": _rename_field,
    "add_index": _add_index,
    "drop_index": _drop_index,
    "add_relation": _add_relation,
    "drop_relation": _drop_relation,
    "set_security": _set_security,
    "set_partitioning": _set_partitioning,
    "update_data": _update_data,
    "run_sql": _run_sql,
}


def write_operations(operations: Sequence[Operation]) -> list[dict[str, object]]:
    """The plain data that `read_operations` reads as these operations."""
    return [_write(operation) for operation in operations]


def _blank(**parts: object) -> dict[str, object]:
    return describe(replace(Collection("collection", "", "collection", (), ()), **parts))  # type: ignore[arg-type]


def write_field(field: Field) -> dict[str, object]:
    """The schema document's field."""
    return cast("list[dict[str, object]]", _blank(fields=(field,))["fields"])[0]


def _security(security: Security) -> object:
    return _blank(security=security)["security"]


def _partitioning(partitioning: Partitioning | None) -> object:
    return _blank(partitioning=partitioning).get("partitioning")


def _relation(relation: Relation) -> object:
    return cast("list[object]", _blank(relations=(relation,))["relations"])[0]


def _index(operation: m.AddIndex) -> object:
    return cast("list[object]", _blank(indexes=(operation.index,))["indexes"])[0]


def _write(operation: Operation) -> dict[str, object]:
    name = next(key for key, kind in _KINDS.items() if isinstance(operation, kind))
    return {name: _ARGUMENTS[name](operation)}


_KINDS: dict[str, type[object]] = {
    "create_collection": m.CreateCollection,
    "drop_collection": m.DropCollection,
    "add_field": m.AddField,
    "drop_field": m.DropField,
    "alter_field": m.AlterField,
    "rename_field": m.RenameField,
    "add_index": m.AddIndex,
    "drop_index": m.DropIndex,
    "add_relation": m.AddRelation,
    "drop_relation": m.DropRelation,
    "set_security": m.SetSecurity,
    "set_partitioning": m.SetPartitioning,
    "update_data": m.UpdateData,
    "run_sql": m.RunSql,
}
_ARGUMENTS: dict[str, Callable[[Any], object]] = {
    "create_collection": lambda one: describe(one.collection),
    "drop_collection": lambda one: {"name": one.name},
    "add_field": lambda one: {"collection": one.collection, "field": write_field(one.field)},
    "drop_field": lambda one: {"collection": one.collection, "name": one.name},
    "alter_field": lambda one: {"collection": one.collection, "field": write_field(one.field)},
    "rename_field": lambda one: {"collection": one.collection, "name": one.name, "to": one.to},
    "add_index": lambda one: {"collection": one.collection, "index": _index(one)},
    "drop_index": lambda one: {"collection": one.collection, "name": one.name},
    "add_relation": lambda one: {"collection": one.collection, "relation": _relation(one.relation), "on_delete": one.on_delete},
    "drop_relation": lambda one: {"collection": one.collection, "name": one.name},
    "set_security": lambda one: {"collection": one.collection, "security": _security(one.security)},
    "set_partitioning": lambda one: {"collection": one.collection, "partitioning": _partitioning(one.partitioning)},
    "update_data": lambda one: {"collection": one.collection, "set": dict(one.values), "where": dict(one.where)},
    "run_sql": lambda one: {"sql": one.sql, **({"down": one.down} if one.down is not None else {})},
}
