"""Which collection a path and a profile mean: `Accept-Profile` and `Content-Profile` name the database's schema, as in PostgREST."""

from __future__ import annotations

from portico.api.rest.refusals import UnknownProfile
from portico.errors import CollectionNotFound, InvalidParameter
from portico.model.identity import Identity
from portico.service.schemas import Schemas

DEFAULT_PROFILE = "public"
"""What the official clients say where nobody told them otherwise: the collections with plain names."""


def profile_of(headers: dict[bytes, bytes], *, reading: bool) -> str | None:
    """The schema that a request names: `Accept-Profile` of a read, `Content-Profile` of a write. Raises InvalidParameter."""
    raw = headers.get(b"accept-profile" if reading else b"content-profile")
    if raw is None:
        return None
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        raise InvalidParameter("The profile is not valid UTF-8.") from None


def collection_name(schemas: Schemas, identity: Identity, name: str, profile: str | None) -> str:
    """The name under which the catalog has the collection `name` of a schema.

    Raises:
        UnknownProfile: the caller may read no collection of that schema. CollectionNotFound: the schema has no such collection.
    """
    if profile is None:
        return name
    served = {collection.name: collection.schema for collection, _ in schemas.readable(identity)}
    qualified = f"{profile}.{name}"
    if qualified in served:
        return qualified
    if profile == DEFAULT_PROFILE or served.get(name) == profile:
        return name
    if profile not in served.values():
        raise UnknownProfile(
            "Invalid schema", details={"schema": profile[:100]}, hint="Leave the profile out, or name a schema that is served."
        )
    raise CollectionNotFound(f"There is no collection {qualified[:200]}.", details={"collection": qualified[:200]})
