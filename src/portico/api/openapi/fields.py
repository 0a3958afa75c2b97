"""Fields and collections as JSON Schema (2020-12, as OpenAPI 3.1 has it)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType

Schema = dict[str, object]

_BASES: dict[Base, Schema] = {
    Base.STRING: {"type": "string"},
    Base.TEXT: {"type": "string"},
    Base.INTEGER: {"type": "integer", "format": "int32"},
    Base.BIGINT: {"type": "integer", "format": "int64"},
    Base.FLOAT: {"type": "number", "format": "double"},
    Base.DECIMAL: {"type": "number"},
    Base.BOOLEAN: {"type": "boolean"},
    Base.UUID: {"type": "string", "format": "uuid"},
    Base.DATE: {"type": "string", "format": "date"},
    Base.DATETIME: {"type": "string", "format": "date-time"},
    Base.JSON: {},
    Base.BINARY: {"type": "string", "contentEncoding": "base64"},
    Base.ENUM: {"type": "string"},
    Base.NATIVE: {"type": "string"},
}


_PASSWORD: Schema = {
    "type": ["string", "null"],
    "format": "password",
    "maxLength": 1024,
    "writeOnly": True,
    "description": "Kept as a hash (argon2id) that never comes back; common and short passwords are refused. Null for none.",
}


def document_schema(collection: Collection, hidden: frozenset[str], *, selected: bool = False) -> Schema:
    """A document of the collection as it is answered; `selected`: with the fields that the read asked for."""
    shown = [field for field in collection.fields if field.name not in hidden]
    schema: Schema = {"type": "object", "properties": {field.name: field_schema(field) for field in shown}}
    if selected:
        schema["description"] = "With `select` or `fields`, what they ask for (a cast answers its own type); otherwise every field."
    else:
        schema["required"] = [field.name for field in shown]
    return schema


def written_schema(collection: Collection, hidden: frozenset[str], read_only: frozenset[str], *, whole: bool) -> Schema:
    """The body of a create or replace (`whole`), or of a change, which names what it changes."""
    fields = [field for field in collection.fields if field.name not in hidden | read_only and not field.generated]
    properties: dict[str, object] = {field.name: field_schema(field) for field in fields}
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": collection.additional_fields,
    }
    security = collection.security
    taken = hidden | read_only
    properties |= {member: dict(_PASSWORD) for member, _ in security.passwords if member not in taken}
    # The tenant and user of a call that has one are filled in, and so are the times.
    given = {security.tenant_field, security.owner_field} | ({"created_at", "updated_at"} if collection.timestamps else set())
    required = [field.name for field in fields if not field.nullable and field.default is None and field.name not in given]
    if whole and required:
        schema["required"] = required
    if not whole:
        schema["minProperties"] = 1
    return schema


def field_schema(field: Field) -> Schema:
    """One field with its constraints; null is allowed where it may be stored."""
    schema = type_schema(field.type)
    target = schema if not field.type.array else {}
    rules = field.constraints
    numbers = {"minimum": rules.minimum, "maximum": rules.maximum} if "number" in str(schema.get("type")) + _integer(schema) else {}
    texts = {"minLength": rules.min_length, "maxLength": rules.max_length, "pattern": rules.pattern}
    target |= {key: plain(value) for key, value in {**numbers, **texts}.items() if value is not None}
    if rules.choices:
        target["enum"] = [plain(value) for value in rules.choices] + ([None] if field.nullable else [])
    if field.nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if field.type.base is Base.ENUM and not field.type.array:
            schema["enum"] = [*field.type.values, None]
    if field.default is not None and field.default.kind == "literal":
        schema["default"] = plain(field.default.value)
    if field.generated:
        schema["readOnly"] = True
    if field.references is not None:
        schema["description"] = f"The {field.references.field} of a document of {field.references.collection}."
    return schema


def type_schema(kind: FieldType) -> Schema:
    """A field type."""
    if kind.array:
        return {"type": "array", "items": type_schema(kind.element)}
    schema = dict(_BASES[kind.base])
    if kind.length is not None:
        schema["maxLength"] = kind.length
    if kind.base is Base.ENUM:
        schema["enum"] = list(kind.values)
    if kind.base is Base.DECIMAL and kind.precision is not None:
        schema["description"] = f"Up to {kind.precision} digits, {kind.scale or 0} of them after the point."
    if kind.base is Base.NATIVE:
        schema["description"] = f"The database's own type {kind.native}, as text."
    return schema


def plain(value: object) -> object:
    """A value of the model as JSON has it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else value


def _integer(schema: Schema) -> str:
    return "number" if schema.get("type") == "integer" else ""
