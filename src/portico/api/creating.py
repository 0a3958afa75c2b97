"""What a create asks for beside its body: `on_conflict`, `columns`, and the preferences `resolution` and `missing`; and its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

from portico.api.exchange import JSON, VARY, Exchange
from portico.api.render import Header, envelope
from portico.errors import InvalidParameter
from portico.model.page import Document
from portico.query.scoped import Resolution
from portico.service.conflicts import OnConflict
from portico.service.members import Members, Missing

PARAMETERS = frozenset({"on_conflict", "columns"})
_RESOLUTIONS: dict[str, Resolution] = {"merge-duplicates": "merge", "ignore-duplicates": "ignore"}
MOST_NAMES = 1_000


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """What a create asks for. `how` is None where it only creates."""

    how: OnConflict | None
    members: Members
    applied: tuple[str, ...]

    @property
    def applied_header(self) -> tuple[Header, ...]:
        """Which preferences were followed (RFC 7240)."""
        return ((b"preference-applied", ", ".join(self.applied).encode()),) if self.applied else ()


def asked(exchange: Exchange, known: frozenset[str] | None = PARAMETERS) -> CreateOptions | None:
    """What the request asks for; None for a plain create, which costs nothing to tell.

    Args:
        known: the parameters that it takes; None where the caller has seen to that.

    Raises:
        UnknownParameter: a parameter that a create does not take. InvalidParameter: a preference that it does not know.
    """
    if not exchange.scope["query_string"] and exchange.headers.get(b"prefer") is None:
        return None
    if known is not None:
        exchange.takes(*known)
    return read(exchange.parameters(PARAMETERS), exchange.prefer())


def read(parameters: Mapping[str, str], prefer: Mapping[str, str]) -> CreateOptions:
    """What parameters and preferences say of a create. Raises InvalidParameter."""
    resolution = _preference(prefer, "resolution", tuple(_RESOLUTIONS))
    missing = _preference(prefer, "missing", ("default", "null"))
    fields = _names(parameters, "on_conflict")
    if fields is not None and resolution is None:
        raise InvalidParameter(
            "on_conflict needs to be told what becomes of the document that is there.",
            hint="Send Prefer: resolution=merge-duplicates or resolution=ignore-duplicates.",
        )
    how = OnConflict(_RESOLUTIONS[resolution], fields) if resolution is not None else None
    applied = [f"{name}={value}" for name, value in (("resolution", resolution), ("missing", missing)) if value is not None]
    return CreateOptions(how, Members(_names(parameters, "columns"), cast("Missing | None", missing)), tuple(applied))


def _preference(prefer: Mapping[str, str], name: str, known: tuple[str, ...]) -> str | None:
    value = prefer.get(name)
    if value is not None and value not in known:
        raise InvalidParameter(f"The preference {name} is {' or '.join(known)}.", details={"preference": name})
    return value


def _names(parameters: Mapping[str, str], parameter: str) -> tuple[str, ...] | None:
    """Field names by commas, each plain or in double quotes, as PostgREST writes them."""
    text = parameters.get(parameter)
    if text is None:
        return None
    names = tuple(dict.fromkeys(_unquoted(part.strip()) for part in text.split(",")))
    if "" in names or len(names) > MOST_NAMES:
        raise InvalidParameter(f"The parameter {parameter} is a list of fields.", hint="Separate them by commas.")
    return names


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name


def location(base: str, document: Document) -> bytes:
    """The address of a document below `base`."""
    return f"{base}/{quote(document.key or '', safe=',%')}".encode()


async def upserted(exchange: Exchange, documents: Sequence[Document | None], asked_for: CreateOptions) -> None:
    """Answer the documents of an array that were created or merged, in order: 201 where any was created, else 200."""
    written = [document for document in documents if document is not None]
    created = sum(document.created for document in written)
    message = f"{created} documents created, {len(written) - created} merged, {len(documents) - len(written)} ignored"
    text = "[" + ",".join(document.body for document in written) + "]"
    body = envelope(text, message, exchange.correlation_id)
    await exchange.answer(201 if created else 200, body, JSON, VARY, *asked_for.applied_header)


async def merged(exchange: Exchange, document: Document | None, asked_for: CreateOptions) -> None:
    """Answer one document that was there already: as it is now, or null where it was left as it is."""
    if document is None:
        body = envelope(b"null", "The document exists already and was left as it is", exchange.correlation_id)
        await exchange.answer(200, body, JSON, VARY, *asked_for.applied_header)
        return
    tag = (b"etag", b'"' + (document.etag or "").encode() + b'"')
    body = envelope(document.body, "Document merged successfully", exchange.correlation_id)
    await exchange.answer(200, body, JSON, tag, VARY, *asked_for.applied_header)
