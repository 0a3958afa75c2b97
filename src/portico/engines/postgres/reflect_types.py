"""Field types of PostgreSQL's column types, with the native name of those that Portico would not have created."""

from __future__ import annotations

from collections.abc import Mapping

from portico.model.field import Base, FieldType

_OWN: dict[str, Base] = {
    "int4": Base.INTEGER,
    "int8": Base.BIGINT,
    "float8": Base.FLOAT,
    "bool": Base.BOOLEAN,
    "uuid": Base.UUID,
    "date": Base.DATE,
    "timestamptz": Base.DATETIME,
    "jsonb": Base.JSON,
    "bytea": Base.BINARY,
    "text": Base.TEXT,
    "varchar": Base.STRING,
    "numeric": Base.DECIMAL,
}
"""Types that Portico itself would create."""

_ALIKE: dict[str, tuple[Base, str]] = {
    "int2": (Base.INTEGER, "smallint"),
    "float4": (Base.FLOAT, "real"),
    "timestamp": (Base.DATETIME, "timestamp"),
    "json": (Base.JSON, "json"),
    "name": (Base.TEXT, "name"),
}
"""Types that hold the same values as one of those, under a name of their own."""

_MODIFIER_HEADER = 4
"""What PostgreSQL adds to the length, or to precision and scale, in a type's modifier."""


def field_type(row: Mapping[str, object]) -> FieldType:
    """The type of a column of the reflection's query: by its base type where it is a domain, by its element where it is an array."""
    modifier = row["modifier"] if isinstance(row["modifier"], int) else -1
    labels = tuple(row["labels"]) if isinstance(row["labels"], list) else ()
    if row["is_array"] and row["is_nested"]:
        # An array's type does not say how deep it is; what is declared as an array of arrays is given and taken as its text.
        return FieldType(Base.NATIVE, native=f"{row['declared']}[]")
    if row["is_array"]:
        declared = str(row["element_declared"])
        return _scalar(str(row["element"]), declared, modifier, labels if row["element_is_enum"] else (), array=True)
    return _scalar(str(row["type"]), str(row["declared"]), modifier, labels if row["is_enum"] else (), domain=bool(row["is_domain"]))


def _scalar(name: str, declared: str, modifier: int, labels: tuple[str, ...], *, array: bool = False, domain: bool = False) -> FieldType:
    native = declared if domain else None
    if labels:
        return FieldType(Base.ENUM, values=labels, array=array, native=declared)
    if name in _OWN:
        return _own(_OWN[name], modifier, native, array=array)
    if name == "bpchar":
        return FieldType(Base.STRING, length=_length(modifier), array=array, native=declared)
    if name == "citext":
        return FieldType(Base.TEXT, array=array, native=declared)
    if name in _ALIKE:
        base, alike = _ALIKE[name]
        return FieldType(base, array=array, native=native or alike)
    return FieldType(Base.NATIVE, array=array, native=declared)


def _own(base: Base, modifier: int, native: str | None, *, array: bool) -> FieldType:
    if base is Base.STRING:
        return FieldType(base, length=_length(modifier), array=array, native=native)
    if base is Base.DECIMAL and modifier >= _MODIFIER_HEADER:
        packed = modifier - _MODIFIER_HEADER
        # Eleven bits of scale, which is signed since PostgreSQL 15.
        scale = ((packed & 0x7FF) ^ 1024) - 1024
        return FieldType(base, precision=packed >> 16, scale=max(scale, 0), array=array, native=native)
    return FieldType(base, array=array, native=native)


def _length(modifier: int) -> int | None:
    return modifier - _MODIFIER_HEADER if modifier >= _MODIFIER_HEADER else None
