"""JSON Web Tokens: which are taken, and whom they make the caller."""

import base64
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from portico.errors import ConfigurationError, Unauthenticated, Unavailable
from portico.model.identity import Permission, Rule, Subject
from portico.service.authenticate import Authenticator
from portico.service.issuer_keys import IssuerKeys
from portico.service.tokens import Tokens, TrustedIssuer
from portico.store.connect import open_reader
from portico.store.readers import KeyReader
from portico.store.records import ServiceRecord
from portico.store.repositories import KeyRepository
from portico.store.schema import open_store

RSA = RSAKey.generate_key(2048, {"kid": "one"})
ISSUER, AUDIENCE = "https://issuer.example", "portico"
READ = (Rule("*", frozenset({Permission.READ})),)


class People:
    """Knows one active user."""

    async def find(self, provider: str, subject: str) -> Subject | None:
        return Subject("a", "user-1") if (provider, subject) == ("example", "ann") else None


class JwksServer:
    """An issuer's key set at an address, as it can be changed and counted."""

    def __init__(self) -> None:
        self.body, self.status, self.reads = b"{}", 200, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.reads += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def serve(self, *keys: RSAKey) -> None:
        self.body = key_set(*keys)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def jwks() -> Iterator[JwksServer]:
    server = JwksServer()
    server.serve(RSA)
    yield server
    server.stop()


@pytest_asyncio.fixture
async def reader(tmp_path: Path) -> AsyncIterator[KeyReader]:
    """A store that has the service `billing`, whose tokens may act for the clients a and b."""
    url = f"sqlite:///{tmp_path}/app.db"
    engine = open_store(url)
    KeyRepository(engine).replace_service(ServiceRecord("billing", READ, frozenset({"a", "b"}), statement_timeout=3.0))
    engine.dispose()
    opened = open_reader(lambda: url)
    yield opened
    await opened.close()


@pytest.fixture
def tokens(tmp_path: Path, reader: KeyReader) -> Tokens:
    return Tokens([issuer(key_file(tmp_path, RSA))], services=reader, users=People())


def key_set(*keys: RSAKey | ECKey | OctKey) -> bytes:
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


def key_file(folder: Path, *keys: RSAKey | ECKey | OctKey) -> str:
    path = folder / "jwks.json"
    path.write_bytes(key_set(*keys))
    return str(path)


def issuer(location: str, *, algorithms: tuple[str, ...] = ("RS256",), client_claim: str | None = "client") -> TrustedIssuer:
    return TrustedIssuer(ISSUER, AUDIENCE, algorithms, IssuerKeys(location), provider="example", client_claim=client_claim)


def claims(**changes: object) -> dict[str, object]:
    values = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "azp": "billing", "sub": "billing", "client": "a"}
    return {name: value for name, value in (values | changes).items() if value is not None}


def signed(payload: dict[str, object] | None = None, key: RSAKey | ECKey | OctKey = RSA, **header: object) -> bytes:
    head = {"alg": "RS256", "kid": "one"} | header
    return jwt.encode(head, claims() if payload is None else payload, key, algorithms=[str(head["alg"])]).encode()


async def test_a_token_of_a_service_acts_with_the_services_grants_for_the_named_client(tokens: Tokens) -> None:
    identity, _ = await tokens.verify(signed())
    assert (identity.service, identity.rules, identity.clients, identity.statement_timeout) == ("billing", READ, frozenset({"a", "b"}), 3.0)
    assert identity.subject == Subject("a", None)


async def test_a_persons_token_acts_for_the_user_and_client_linked_to_it(tokens: Tokens) -> None:
    identity, _ = await tokens.verify(signed(claims(sub="ann", client=None)))
    assert identity.subject == Subject("a", "user-1")
    assert identity.credential == "example:ann"


@pytest.mark.parametrize(
    "payload",
    [
        claims(aud="another"),
        claims(aud=None),
        claims(exp=None),
        claims(exp="soon"),
        claims(exp=int(time.time()) - 3600),
        claims(iss="https://evil.example"),
        claims(iss=None),
        claims(iss=["https://issuer.example"]),
        claims(nbf=int(time.time()) + 3600),
        claims(azp=None),
        claims(azp="unknown"),
        claims(sub="nobody"),
        claims(sub="ann", client="b"),
    ],
)
async def test_a_token_with_wrong_claims_is_refused(tokens: Tokens, payload: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.verify(signed(payload))


async def test_one_of_several_audiences_suffices(tokens: Tokens) -> None:
    assert await tokens.verify(signed(claims(aud=["other", AUDIENCE])))


def _unsigned() -> bytes:
    head, body, _ = signed().split(b".")
    del head
    return b"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + body + b"."


def _confused() -> bytes:
    # The oldest trick: the public key as the secret of an HMAC.
    _, body, _ = signed().split(b".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    signature = hmac.digest(RSA.as_pem(private=False), head + b"." + body, "sha256")
    return b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")])


def _changed() -> bytes:
    head, _, signature = signed().split(b".")
    _, body, _ = signed(claims(client="b")).split(b".")
    return b".".join([head, body, signature])


@pytest.mark.parametrize(
    "forge", [_unsigned, _confused, _changed, lambda: signed(None, RSAKey.generate_key(2048, {"kid": "one"})), lambda: signed(alg="RS512")]
)
async def test_a_forged_token_is_refused(tokens: Tokens, forge: "object") -> None:
    assert callable(forge)
    with pytest.raises(Unauthenticated):
        await tokens.verify(forge())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a.b",
        b"a.b.c",
        b"...",
        b"e30.e30.",
        b"W10.W10.W10",
        b"\xff.\xff.\xff",
        b"a" * 10_000,
        b"eyJhIjox" * 10 + b".e30.e30",
        b"1" * 5000 + b".e30.a",
    ],
)
async def test_what_is_no_token_is_refused(tokens: Tokens, text: bytes) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.verify(text)


async def test_other_algorithms_work_where_they_are_configured(tmp_path: Path, reader: KeyReader) -> None:
    curve = ECKey.generate_key("P-256", {"kid": "ec"})
    tokens = Tokens([issuer(key_file(tmp_path, curve), algorithms=("ES256",))], services=reader, users=None)
    assert await tokens.verify(signed(None, curve, alg="ES256", kid="ec"))
    with pytest.raises(Unauthenticated):
        await tokens.verify(signed())


async def test_a_public_key_is_no_shared_secret_even_where_both_kinds_are_accepted(tmp_path: Path, reader: KeyReader) -> None:
    tokens = Tokens([issuer(key_file(tmp_path, RSA), algorithms=("RS256", "HS256"))], services=reader, users=None)
    assert await tokens.verify(signed())
    with pytest.raises(Unauthenticated):
        await tokens.verify(_confused())


async def test_a_claim_inside_another_names_the_client(tmp_path: Path, reader: KeyReader) -> None:
    tokens = Tokens([issuer(key_file(tmp_path, RSA), client_claim="app.client")], services=reader, users=None)
    identity, _ = await tokens.verify(signed(claims(client=None, app={"client": "b"})))
    assert identity.subject == Subject("b", None)


async def test_a_token_is_not_remembered_beyond_its_end(tokens: Tokens) -> None:
    end = int(time.time()) + 20
    _, until = await tokens.verify(signed(claims(exp=end)))
    assert until <= end


async def test_a_user_who_was_deactivated_is_refused_within_two_seconds(tokens: Tokens) -> None:
    _, until = await tokens.verify(signed(claims(sub="ann", client=None)))
    assert until <= time.time() + 2


async def test_the_keys_are_read_once_and_again_when_the_issuer_rotates_them(jwks: JwksServer, reader: KeyReader) -> None:
    passed = 0.0
    keys = IssuerKeys(jwks.url, clock=lambda: time.monotonic() + passed)
    tokens = Tokens([TrustedIssuer(ISSUER, AUDIENCE, ("RS256",), keys, provider="example")], services=reader, users=None)
    await tokens.verify(signed())
    await tokens.verify(signed())
    assert jwks.reads == 1
    new = RSAKey.generate_key(2048, {"kid": "two"})
    jwks.serve(new)
    # A made-up key id does not send Portico to the issuer with every call.
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await tokens.verify(signed(None, new, kid="two"))
    assert jwks.reads == 1
    passed = 11
    await tokens.verify(signed(None, new, kid="two"))
    assert jwks.reads == 2
    await tokens.close()


async def test_an_issuer_that_is_away_locks_nobody_out_whose_key_is_known(jwks: JwksServer, reader: KeyReader) -> None:
    passed = 0.0
    keys = IssuerKeys(jwks.url, clock=lambda: time.monotonic() + passed)
    tokens = Tokens([TrustedIssuer(ISSUER, AUDIENCE, ("RS256",), keys, provider="example")], services=reader, users=None)
    await tokens.verify(signed())
    jwks.status, passed = 500, 3600.0
    assert await tokens.verify(signed())
    assert jwks.reads == 2
    await tokens.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": [{"kty": "RSA"}]}', b'{"keys": 1}', b"\xff", b" " * 2_000_000])
async def test_keys_that_cannot_be_read_are_unavailable(jwks: JwksServer, reader: KeyReader, body: bytes) -> None:
    jwks.body = body
    tokens = Tokens([issuer(jwks.url)], services=reader, users=None)
    with pytest.raises(Unavailable):
        await tokens.verify(signed())
    await tokens.close()


@pytest.mark.parametrize("location", ["http://issuer.example/jwks.json", "ftp://issuer.example/jwks.json"])
def test_keys_are_not_read_over_an_open_line(location: str) -> None:
    with pytest.raises(ConfigurationError):
        IssuerKeys(location)


async def test_a_bearer_token_is_remembered_until_the_services_grants_change(tokens: Tokens, reader: KeyReader, tmp_path: Path) -> None:
    authenticator = Authenticator(reader, pepper=b"p", required=True, tokens=tokens)
    await authenticator.refresh()
    headers = {b"authorization": b"Bearer " + signed()}
    identity = await authenticator.authenticate(headers)
    assert authenticator.lookup(headers) is identity
    engine = open_store(f"sqlite:///{tmp_path}/app.db")
    KeyRepository(engine).replace_service(ServiceRecord("billing", (), frozenset({"a"})))
    engine.dispose()
    await authenticator.refresh()
    assert authenticator.lookup(headers) is None
    assert (await authenticator.authenticate(headers)).rules == ()
