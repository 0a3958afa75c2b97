"""Functions registered with each connection: the content's hash, patterns, containment, and the forms that SQLite's own functions lack.

None of them raises: a value that does not fit is answered as NULL (in comparisons) or as it is (in output).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import sqlite3
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import re2

from portico.engines.sql.types import stored_datetime
from portico.engines.sqlite.storage import Stored, canonical_json, infinity, jsonb_text, read_json, sortable_json
from portico.query.moments import UTC, offset_text, shown_in
from portico.query.patterns import like_to_re2, to_re2

ETAG_BYTES = 16
_PATTERN_MEMORY = 1 << 20
_JULIAN_UNIX = 2440587.5
_STORED_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{6})Z")
_MOST_EPOCH_SECONDS = 253402300799


def register(connection: sqlite3.Connection, secret: bytes) -> None:
    """Make every function known to `connection`. `secret` keys the content's hash (at most 64 bytes are used)."""
    connection.create_function("portico_etag", -1, etag_function(secret), deterministic=True)
    for name, arity, function in _FUNCTIONS:
        connection.create_function(name, arity, function, deterministic=True)


def etag_function(secret: bytes) -> Callable[..., str]:
    """The keyed hash of a row: all of its values, with their types, in the order of the columns."""
    start = hashlib.blake2b(digest_size=ETAG_BYTES, key=secret[:64])

    def etag(*values: Stored) -> str:
        state = start.copy()
        state.update(repr(values).encode("utf-8", "backslashreplace"))
        return state.hexdigest()

    return etag


def float_json(value: Stored) -> Stored:
    """A float as JSON, with all the digits that tell it from its neighbours; infinities as strings."""
    if not isinstance(value, float):
        return json_of(value)
    return f'"{infinity(value)}"' if value - value != 0 else repr(value)


def json_of(value: Stored) -> str:
    """Any stored value as JSON, bytes as base64: never an error."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f'"{base64.b64encode(value).decode()}"'
    if isinstance(value, float):
        return str(float_json(value))
    return str(value) if isinstance(value, int) else canonical_json(value.encode("utf-8", "replace").decode())


def base64_text(value: Stored) -> str | None:
    """Bytes as base64; texts as their bytes in UTF-8."""
    if value is None:
        return None
    return base64.b64encode(value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")).decode()


def clean(value: Stored, kind: str) -> Stored:
    """A value of SQLite's type `kind`, whose text was handed over as bytes because it may not be UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) and kind == "text" else value


def document_json(value: Stored) -> str | None:
    """A JSON column as JSON: its own where it is valid, else what is stored, as a JSON value."""
    if isinstance(value, str):
        try:
            return canonical_json(read_json(value))
        except (ValueError, RecursionError):
            return json_of(value)
    return None if value is None else json_of(value)


@lru_cache(maxsize=512)
def _like(pattern: str, fold: bool) -> Callable[[str], bool]:
    """What tells whether a text matches a LIKE pattern: `%` any text, `_` one character, a backslash makes the next one plain."""
    return _searching(like_to_re2(pattern, ignore_case=fold))


def _searching(expression: str) -> Callable[[str], bool]:
    """What tells whether an expression is found in a text; one that is too large to be compiled is found in none."""
    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY * 8
    options.log_errors = False
    try:
        compiled = re2.compile(expression, options)
    except re2.error:
        return lambda _text: False
    return lambda text: compiled.search(text) is not None


def like(pattern: Stored, value: Stored) -> bool | None:
    """``value LIKE pattern``, by case."""
    return None if pattern is None or value is None else _like(str(pattern), False)(_text(value))


def ilike(pattern: Stored, value: Stored) -> bool | None:
    """``value ILIKE pattern``: both are folded as Unicode says."""
    return None if pattern is None or value is None else _like(str(pattern), True)(_text(value))


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Callable[[str], bool]:
    return _searching(to_re2(pattern))


def match(pattern: Stored, value: Stored) -> bool | None:
    """Whether a caller's pattern, which was checked, is found in a text, in time linear in the text."""
    return None if pattern is None or value is None else _compiled(str(pattern))(_text(value))


def _text(value: Stored) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def contains(document: Stored, part: Stored) -> bool | None:
    """Whether one JSON text holds another, as PostgreSQL's ``@>`` on `jsonb` says."""
    if document is None or part is None:
        return None
    try:
        return _holds(read_json(_text(document)), read_json(_text(part)), top=True)
    except (ValueError, RecursionError):
        return None


def _holds(whole: object, part: object, *, top: bool = False) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(_holds(item, wanted) for item in whole) for wanted in part)
    if top and isinstance(whole, list):
        return any(_same(item, part) for item in whole)
    return _same(whole, part)


def _same(left: object, right: object) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def overlaps(left: Stored, right: Stored) -> bool | None:
    """Whether two JSON arrays share a member."""
    if left is None or right is None:
        return None
    try:
        mine, theirs = read_json(_text(left)), read_json(_text(right))
    except (ValueError, RecursionError):
        return None
    if not isinstance(mine, list) or not isinstance(theirs, list):
        return None
    return any(_same(item, other) for item in mine for other in theirs)


def json_at(document: Stored, steps: Stored) -> str | None:
    """The JSON text of a place inside of a document. `steps` is a JSON array; NULL where there is no such place.

    A step that is a whole number is a member of an array, counted from the end where it is negative, or an object's key.
    """
    try:
        value, path = read_json(_text(document)), read_json(_text(steps))
    except (ValueError, RecursionError):
        return None
    if not isinstance(path, list):
        return None
    for step in path:
        if isinstance(value, dict) and str(step) in value:
            value = value[str(step)]
        elif isinstance(value, list) and _is_index(str(step)) and -len(value) <= int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return canonical_json(value)


def _is_index(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}", text) is not None


_MOMENT = re.compile(
    r"\s*(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d)?)?\s*", re.IGNORECASE
)


def datetime_text(value: Stored) -> Stored:
    """A moment in any of SQLite's forms (ISO texts, seconds since 1970, a Julian day) in Portico's; anything else as it is."""
    try:
        if isinstance(value, str):
            return _moment_of(value)
        if isinstance(value, int | float) and abs(value) <= _MOST_EPOCH_SECONDS * 1000:
            return _day_count(value) if isinstance(value, float) and 1_000_000 < value < 6_000_000 else _epoch(value)
    except (ValueError, OverflowError):
        # It has the form of a moment and is none, such as a thirteenth month: the file's owner sees what is stored.
        return value
    return value


def own_moment(value: Stored, zone: str) -> Stored:
    """Each moment of a text as PostgreSQL shows it in a zone: fractions without the zeros at their end, and the offset."""
    if not isinstance(value, str):
        return value
    return _STORED_MOMENT.sub(_as_postgres if zone == UTC else lambda found: _shown(found[0], zone, "json"), value)


def moment_as(value: Stored, zone: str, kind: str) -> Stored:
    """A moment cast to ``text`` or ``date``, as PostgreSQL does in a zone; anything else as it is."""
    whole = isinstance(value, str) and _STORED_MOMENT.fullmatch(value) is not None
    return _shown(str(value), zone, kind) if whole else value


def _as_postgres(found: re.Match[str]) -> str:
    return found[1] + found[2].rstrip("0").rstrip(".") + "+00:00"


def _shown(moment: str, zone: str, kind: str) -> str:
    try:
        day, clock, offset = shown_in(moment, zone)
    except (ValueError, OverflowError):
        # It is in no year there that has a name: in UTC it is.
        day, clock, offset = shown_in(moment, UTC)
    if kind == "date":
        return day
    clock = clock.rstrip("0") if "." in clock else clock
    return f"{day}{'T' if kind == 'json' else ' '}{clock}{offset_text(offset, minutes=kind == 'json')}"


def _moment_of(text: str) -> str:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return text
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    micro = int((fraction or "0").ljust(6, "0")[:6])
    moment = dt.datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), micro)  # noqa: DTZ001  # UTC
    if zone and zone.upper() != "Z":
        digits = zone[1:].replace(":", "")
        offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        moment = moment - offset if zone[0] == "+" else moment + offset
    return stored_datetime(moment)


def _day_count(value: float) -> str:
    return _epoch((value - _JULIAN_UNIX) * 86400)


def _epoch(value: float) -> str:
    if abs(value) > 100_000_000_000:
        value = value / 1000  # milliseconds
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=value)  # noqa: DTZ001  # UTC
    return stored_datetime(moment)


def date_text(value: Stored) -> Stored:
    """A day in any of SQLite's forms as ``YYYY-MM-DD``; anything else as it is."""
    moment = datetime_text(value)
    return moment[:10] if isinstance(moment, str) and moment != value else value


def boolean_value(value: Stored) -> Stored:
    """0 or 1 for anything that says true or false; anything else as it is."""
    if isinstance(value, str):
        word = value.strip().lower()
        return 1 if word in {"true", "t", "yes", "on", "1"} else 0 if word in {"false", "f", "no", "off", "0"} else value
    return int(value) if value in {0, 1} else value


def uuid_text(value: Stored) -> Stored:
    """A UUID's 36 lower-case characters, from text of any form or 16 bytes; anything else as it is."""
    try:
        if isinstance(value, bytes) and len(value) == 16:
            return str(uuid.UUID(bytes=value))
        return str(uuid.UUID(value)) if isinstance(value, str) else value
    except ValueError:
        return value


def decimal_json(value: Stored, scale: int | None) -> str | None:
    """A decimal of any storage as a JSON number with its declared scale; anything else as JSON."""
    if value is None:
        return None
    try:
        exact = Decimal(str(value)) if not isinstance(value, bytes) else Decimal("NaN")
        if not exact.is_finite():
            return json_of(value)
        return format(exact.quantize(Decimal(1).scaleb(-scale)) if scale is not None else exact, "f")
    except InvalidOperation:
        return json_of(value)


def sortable(value: Stored) -> str | None:
    """A JSON text as one by which it sorts; NULL for a JSON null and for what is not JSON."""
    if value is None:
        return None
    try:
        parsed = read_json(_text(value))
    except (ValueError, RecursionError):
        return None
    return None if parsed is None else sortable_json(parsed)


def place_text(value: Stored) -> str | None:
    """The JSON text of a place as a text, in the form that PostgreSQL gives it."""
    if value is None:
        return None
    try:
        return jsonb_text(read_json(_text(value)))
    except (ValueError, RecursionError):
        return None


def canonical(value: Stored) -> str | None:
    """A JSON text in its one canonical form, for comparisons; NULL for a JSON null and for what is not JSON."""
    if value is None:
        return None
    try:
        parsed = read_json(_text(value))
    except (ValueError, RecursionError):
        return None
    return None if parsed is None else canonical_json(parsed)


def cast_value(value: Stored, kind: str) -> Stored:
    """A value read as another type; NULL where it cannot be."""
    if value is None:
        return None
    text = _text(value).strip()
    try:
        if kind in {"integer", "bigint"}:
            return int(Decimal(text).to_integral_value())
        if kind in {"float", "decimal"}:
            return float(text)
    except (ValueError, InvalidOperation, OverflowError):
        return None
    if kind == "boolean":
        truth = boolean_value(text)
        return truth if isinstance(truth, int) else None
    return {"datetime": datetime_text, "date": date_text, "uuid": uuid_text}.get(kind, _text)(_text(value))


_FUNCTIONS: tuple[tuple[str, int, Callable[..., Stored | bool]], ...] = (
    ("portico_float_json", 1, float_json),
    ("portico_json_of", 1, json_of),
    ("portico_base64", 1, base64_text),
    ("portico_document_json", 1, document_json),
    ("portico_clean", 2, clean),
    ("portico_like", 2, like),
    ("portico_ilike", 2, ilike),
    ("portico_match", 2, match),
    ("portico_contains", 2, contains),
    ("portico_overlaps", 2, overlaps),
    ("portico_json_at", 2, json_at),
    ("portico_datetime", 1, datetime_text),
    ("portico_own_moment", 2, own_moment),
    ("portico_moment_as", 3, moment_as),
    ("portico_date", 1, date_text),
    ("portico_boolean", 1, boolean_value),
    ("portico_uuid", 1, uuid_text),
    ("portico_decimal_json", 2, decimal_json),
    ("portico_canonical", 1, canonical),
    ("portico_place_text", 1, place_text),
    ("portico_sortable", 1, sortable),
    ("portico_cast", 2, cast_value),
)
