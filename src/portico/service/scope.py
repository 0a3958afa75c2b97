"""Whose documents a call may touch: chosen from the path, the headers, the token and what the service may act for."""

from __future__ import annotations

import re
from functools import lru_cache

from portico.errors import ForeignTenant, InvalidParameter
from portico.model.identity import Identity, Subject
from portico.model.scope import EVERYTHING, Scope

_CLIENT_ID = re.compile(r"[A-Za-z0-9._:@-]{1,255}")
_USER_ID = re.compile(r"[!-~]{1,255}")


def choose_scope(
    identity: Identity, *, path_client: str | None = None, header_client: str | None = None, header_user: str | None = None
) -> Scope:
    """The scope of one call.

    Args:
        path_client: the client of `/clients/{id}`, decoded. header_client, header_user: `X-Client-ID` and `X-User-ID`.
    Raises:
        InvalidParameter: an id is malformed, path and header disagree, or a user is named without a client.
        ForeignTenant: the service, or its token, may not act for that client or user.
    """
    return _choose(identity.clients, identity.subject, path_client, header_client, header_user)


# Errors are not remembered by lru_cache, so what a caller makes up takes no room.
@lru_cache(maxsize=16_384)
def _choose(
    allowed: frozenset[str] | None, subject: Subject | None, path_client: str | None, header_client: str | None, header_user: str | None
) -> Scope:
    client = _named_client(path_client, header_client)
    if header_user is not None and not _USER_ID.fullmatch(header_user):
        raise InvalidParameter("X-User-ID is not a user id: 1 to 255 printable ASCII characters without spaces.")
    user = header_user
    if subject is not None:
        client = _agreed(client, subject.client, "client")
        user = _agreed(user, subject.user, "user")
    if client is not None:
        if allowed is not None and client not in allowed:
            raise ForeignTenant("The service may not act for this client.", details={"client": client})
        return Scope(clients=(client,), users=() if user is None else (user,))
    if allowed is None:
        return _every_client(subject, user)
    return Scope(clients=tuple(sorted(allowed)), users=() if user is None else (user,))


def _every_client(subject: Subject | None, user: str | None) -> Scope:
    if subject is not None and subject.user is not None:
        raise ForeignTenant("The token's user belongs to no client.")
    if user is not None:
        raise InvalidParameter("A user was named without a client.", hint="Send X-Client-ID as well, or call below /clients/{id}.")
    # Scope `*` is for keys alone: a token without a client reaches shared collections.
    return EVERYTHING if subject is None else Scope()


def _named_client(path_client: str | None, header_client: str | None) -> str | None:
    if path_client is not None and not _CLIENT_ID.fullmatch(path_client):
        raise InvalidParameter("The path does not hold a client id: 1 to 255 of A-Z a-z 0-9 . _ : @ -")
    if header_client is not None and not _CLIENT_ID.fullmatch(header_client):
        raise InvalidParameter("X-Client-ID is not a client id: 1 to 255 of A-Z a-z 0-9 . _ : @ -")
    if path_client is not None and header_client is not None and path_client != header_client:
        raise InvalidParameter("The path and X-Client-ID name different clients.")
    return path_client if path_client is not None else header_client


def _agreed(asked: str | None, fixed: str | None, what: str) -> str | None:
    if asked is not None and fixed is not None and asked != fixed:
        raise ForeignTenant(f"The token is for another {what}.", details={what: asked})
    return fixed if fixed is not None else asked
