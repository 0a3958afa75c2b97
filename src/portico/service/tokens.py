"""JSON Web Tokens: verified against the keys of the issuers that are trusted, and made into identities."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from portico.errors import Unauthenticated
from portico.model.identity import Identity, Subject
from portico.service.authorize import fingerprint
from portico.service.issuer_keys import IssuerKeys
from portico.store.readers import KeyReader

_MAX_TOKEN_BYTES = 8192
_LEEWAY_SECONDS = 30
_REMEMBERED_SECONDS = 300.0
_USER_REMEMBERED_SECONDS = 1.0
_INVALID = "The credential is not valid."


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose tokens are taken.

    Attributes:
        issuer, audience: what `iss` must be and `aud` must contain. algorithms: the signatures that are accepted, nothing else.
        keys: its key set. provider: under which name users are linked to it.
        service_claim, client_claim, user_claim: the claims that name the service, the client and the user. A claim inside another is
            written with a dot (``app_metadata.client``).
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    keys: IssuerKeys
    provider: str
    service_claim: str = "azp"
    client_claim: str | None = None
    user_claim: str = "sub"


class UserDirectory(Protocol):
    """Finds the person behind a token, in the collections `user_identities` and `users`."""

    async def find(self, provider: str, subject: str) -> Subject | None:
        """The client and user linked to `(provider, subject)`; None where there is none, or the user is not active. Raises Unavailable."""
        ...


class Tokens:
    """Verifies tokens. Implements `authenticate.TokenVerifier`.

    Args:
        issuers: those that are trusted. services: where a service's grants are read.
        users: finds users; None where the collections are not served, and then tokens of people are refused.
        clock: seconds since the epoch.
    """

    def __init__(
        self, issuers: Sequence[TrustedIssuer], *, services: KeyReader, users: UserDirectory | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._services = services
        self._users = users
        self._clock = clock

    async def close(self) -> None:
        """Give up the connections to issuers."""
        for issuer in self._issuers.values():
            await issuer.keys.close()

    async def verify(self, token: bytes) -> tuple[Identity, float]:
        """The identity of a token, and until when it may be remembered (seconds since the epoch).

        Raises:
            Unauthenticated: it is malformed, forged, expired, of an issuer or for an audience that is not ours, or of an unknown service
                or user. Which of these is not said, but for expiry.
            Unavailable: the issuer's keys, or the store, cannot be reached.
        """
        header, claimed = _peek(token)
        name = claimed.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        # Looked at before the keys are, so that a made-up algorithm or key id asks nobody.
        if issuer is None or header.get("alg") not in issuer.algorithms:
            raise Unauthenticated(_INVALID)
        key_id = header.get("kid")
        keys = await issuer.keys.get(key_id if isinstance(key_id, str) else None)
        claims = self._verified(token, issuer, keys)
        return await self._identity(issuer, claims)

    def _verified(self, token: bytes, issuer: TrustedIssuer, keys: KeySet) -> Mapping[str, object]:
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer.issuer},
            aud={"essential": True, "value": issuer.audience},
            exp={"essential": True},
        )
        try:
            decoded = jwt.decode(token, keys, algorithms=list(issuer.algorithms))
            registry.validate(decoded.claims)
        except ExpiredTokenError as error:
            raise Unauthenticated("The token has expired.") from error
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated(_INVALID) from error
        return decoded.claims

    async def _identity(self, issuer: TrustedIssuer, claims: Mapping[str, object]) -> tuple[Identity, float]:
        name = _text(claims, issuer.service_claim)
        service = await self._services.get_service(name) if name is not None else None
        if service is None:
            raise Unauthenticated(_INVALID, hint="`portico key grant --service` says what tokens of a service may do.")
        until = min(_seconds(claims["exp"]), self._clock() + _REMEMBERED_SECONDS)
        client = _text(claims, issuer.client_claim) if issuer.client_claim is not None else None
        subject = Subject(client=client)
        person = _text(claims, issuer.user_claim)
        # A token that a service got for itself names the service as its subject (RFC 9068, section 2.2).
        if person is not None and person != name:
            subject = await self._person(issuer, person, client)
            until = min(until, self._clock() + _USER_REMEMBERED_SECONDS)
        identity = Identity(
            service=service.name,
            credential=f"{issuer.provider}:{person or service.name}",
            rules=service.rules,
            clients=service.clients,
            statement_timeout=service.statement_timeout,
            rate_limit=service.rate_limit,
            fingerprint=fingerprint(service.rules, service.statement_timeout),
            subject=subject,
        )
        return identity, until

    async def _person(self, issuer: TrustedIssuer, person: str, client: str | None) -> Subject:
        found = await self._users.find(issuer.provider, person) if self._users is not None else None
        if found is None or (client is not None and found.client is not None and client != found.client):
            raise Unauthenticated(_INVALID)
        # A user of no client stays one, whatever the token says.
        return found


def _peek(token: bytes) -> tuple[Mapping[str, object], Mapping[str, object]]:
    parts = token.split(b".")
    if len(parts) != 3 or len(token) > _MAX_TOKEN_BYTES:
        raise Unauthenticated(_INVALID)
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))) for part in parts[:2])
    except (binascii.Error, ValueError, RecursionError) as error:
        raise Unauthenticated(_INVALID) from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unauthenticated(_INVALID)
    return header, claims


def _text(claims: Mapping[str, object], path: str) -> str | None:
    # A claim's own name may hold dots (`https://example.com/client`), so the whole name goes first.
    value = claims.get(path)
    if value is None and "." in path:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def _seconds(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise Unauthenticated(_INVALID)
