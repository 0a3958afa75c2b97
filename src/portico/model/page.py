"""What comes back from an engine: documents and pages whose JSON the database made.

One is made for every call, so they are not frozen, which would treble the time that takes; nobody changes one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Document:
    """One document.

    Attributes:
        body: its JSON object as text. etag: the content's keyed hash, without quotes; None where it was not asked for.
        key: its key, as the path of its address writes it. created: whether this call made it.
    """

    body: str
    etag: str | None = None
    key: str | None = None
    created: bool = False


@dataclass(slots=True)
class Page:
    """A list of documents.

    Attributes:
        body: a JSON array as text. count: how many documents are in it.
        last: the ordering values of the last document, as a JSON array text, if more follow; else None.
        total: how many match in all, if that was asked for.
    """

    body: str
    count: int
    last: str | None = None
    total: int | None = None


@dataclass(slots=True)
class Changed:
    """The outcome of a change of many: how many documents, and their JSON array if it was asked for."""

    count: int
    body: str | None = None
