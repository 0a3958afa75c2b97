"""Bodies of requests: bytes that must be strict JSON."""

from __future__ import annotations

from portico.errors import InvalidJson
from portico.query.json_text import read_json


def parse_json(body: bytes) -> object:
    """The value of a JSON body; numbers with a point or an exponent are `Decimal`.

    Raises:
        InvalidJson: the body is empty, not UTF-8, begins with a byte order mark, nests deeper than 64, repeats a key, or has NaN,
            Infinity or a lone surrogate.
        OutOfRange: a number has more than 1,000 digits.
    """
    if not body:
        raise InvalidJson("The request has no body, where JSON is expected.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidJson("The body is not valid UTF-8.") from None
    if text.startswith("\ufeff"):
        raise InvalidJson("The body begins with a byte order mark.", hint="Send JSON as UTF-8 without it.")
    return read_json(text)
