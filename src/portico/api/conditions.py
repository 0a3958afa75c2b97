"""Conditional requests (RFC 9110, section 13): what If-Match and If-None-Match say of a document's ETag."""

from __future__ import annotations

import re

from portico.errors import InvalidParameter

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')


def entity_tags(header: bytes) -> list[tuple[bool, str]] | None:
    """The entity tags of a header, each with whether it is weak; None is ``*``.

    Raises:
        InvalidParameter: the header is malformed.
    """
    text = header.decode("latin-1").strip()
    if text == "*":
        return None
    tags: list[tuple[bool, str]] = []
    place = 0
    while place < len(text):
        match = _TAG.match(text, place)
        if match is None:
            raise InvalidParameter("An entity tag is malformed.", hint='Send it as it was received, with its quotes: If-Match: "…".')
        tags.append((match[1] is not None, match[2]))
        place = match.end()
    if not tags:
        raise InvalidParameter("An entity tag is missing.")
    return tags


def wanted(header: bytes | None) -> tuple[str, ...] | None:
    """The hashes of which the stored document must have one (`If-Match`); None is no condition. Weak tags never match."""
    if header is None:
        return None
    tags = entity_tags(header)
    if tags is None:
        return ()
    return tuple(tag for weak, tag in tags if not weak) or ("",)


def is_known(header: bytes | None, etag: str | None) -> bool:
    """Whether the caller has the document already (`If-None-Match` on a read)."""
    if header is None or etag is None:
        return False
    if header == b'"' + etag.encode() + b'"':
        return True
    tags = entity_tags(header)
    return tags is None or any(tag == etag for _, tag in tags)
