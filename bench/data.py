"""The documents every target holds: one deterministic set, so that each target answers the same data."""

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass

DOCUMENTS = 100_000
TENANTS = 100
COLUMNS = (
    "id",
    "client_id",
    "filename",
    "file_size",
    "file_type",
    "content_type",
    "upload_timestamp",
    "file_path",
    "summary",
    "metadata",
)
_FIRST_UPLOAD = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_TYPES = (("pdf", "application/pdf"), ("txt", "text/plain"), ("png", "image/png"), ("csv", "text/csv"))


@dataclass(frozen=True, slots=True)
class Document:
    """One row of ``document_metadata``; ``uploaded_by`` is null in all of them."""

    id: int
    client_id: str
    filename: str
    file_size: int
    file_type: str
    content_type: str
    upload_timestamp: datetime.datetime
    file_path: str
    summary: str
    metadata: str

    def row(self) -> tuple[object, ...]:
        """The values in the order of ``COLUMNS``, metadata as JSON text."""
        return tuple(getattr(self, column) for column in COLUMNS)

    def body(self) -> dict[str, object]:
        """The document as a JSON body for an API."""
        values = dict(zip(COLUMNS, self.row(), strict=True))
        values["upload_timestamp"] = rfc3339(self.upload_timestamp)
        values["metadata"] = json.loads(self.metadata)
        return values


def rfc3339(moment: datetime.datetime) -> str:
    """A UTC moment with six digits and ``Z``."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def client_of(document_id: int) -> str:
    """The tenant that holds a document; `load.lua` says the same. Tenants are interleaved, as in a table that grew."""
    return f"client-{document_id % TENANTS:03d}"


def clients() -> list[str]:
    """The tenants."""
    return [f"client-{number:03d}" for number in range(TENANTS)]


def document(number: int, client_id: str | None = None) -> Document:
    """The document with this id, of ``client_id`` or of the tenant its id falls to."""
    extension, content_type = _TYPES[number % len(_TYPES)]
    client = client_id or client_of(number)
    name = f"report-{number:07d}.{extension}"
    return Document(
        id=number,
        client_id=client,
        filename=name,
        file_size=1000 + number * 37 % 5_000_000,
        file_type=extension,
        content_type=content_type,
        upload_timestamp=_FIRST_UPLOAD + datetime.timedelta(seconds=number * 61, microseconds=number),
        file_path=f"/uploads/{client}/{name}",
        summary=f"Quarterly figures number {number}, as the department sent them in, with notes on what changed.",
        metadata=json.dumps({"pages": number % 90 + 1, "lang": "en", "tags": ["finance", "draft"], "reviewed": number % 3 == 0}),
    )


def documents(first: int = 1, last: int = DOCUMENTS, client_id: str | None = None) -> Iterator[Document]:
    """The documents ``first`` to ``last``, both included."""
    return (document(number, client_id) for number in range(first, last + 1))
