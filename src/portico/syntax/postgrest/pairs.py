"""Splits and decodes a raw query string."""

from __future__ import annotations

from urllib.parse import unquote_plus

from portico.errors import InvalidParameter


def decode_pairs(query_string: bytes) -> list[tuple[str, str]]:
    """The names and values of a raw query string, in order, percent-decoded as forms are (``+`` is a space).

    Raises:
        InvalidParameter: it is not UTF-8.
    """
    try:
        text = query_string.decode()
        parts = [part.partition("=") for part in text.split("&") if part]
        return [(decode(name), decode(value)) for name, _, value in parts]
    except UnicodeDecodeError:
        raise InvalidParameter("The query string is not valid UTF-8.") from None


def decode(text: str) -> str:
    """One percent-decoded name or value. Raises UnicodeDecodeError."""
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text
