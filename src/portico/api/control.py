"""The control plane: typed routes for everything but the hot calls, with Portico's own answers to what no route takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.types import ASGIApp

from portico.api.exchange import VARY
from portico.api.openapi import OpenApi
from portico.api.render import JSON_TYPE, envelope, page_part, to_json
from portico.api.safe_writes import KEY, PREFER, WRITES
from portico.api.transactions import NAME
from portico.errors import InvalidParameter
from portico.model.identity import Identity
from portico.model.page import Page
from portico.service.audit import AuditTrail
from portico.service.authenticate import Authenticator
from portico.service.health import HealthChecks
from portico.service.migrations import Migrations
from portico.service.monitor import Monitor
from portico.service.schemas import Schemas


@dataclass(frozen=True, slots=True)
class Control:
    """What the routes work with.

    Attributes:
        service_name, version: of this installation. links: paths that `/` answers, by name. docs: whether `/docs` is served.
    """

    authenticator: Authenticator
    health: HealthChecks
    schemas: Schemas
    migrations: Migrations
    monitor: Monitor
    audit: AuditTrail
    openapi: OpenApi
    service_name: str
    version: str
    links: dict[str, str]
    docs: bool


def control_of(request: Request) -> Control:
    """The `Control` that the application was made with."""
    return cast("Control", request.app.state.control)


async def identity_of(request: Request) -> Identity:
    """Who calls. Raises Unauthenticated."""
    authenticator = control_of(request).authenticator
    headers: dict[bytes, bytes] = request.state.headers
    identity = authenticator.lookup(headers) or await authenticator.authenticate(headers)
    request.state.service = identity.service
    return identity


async def refuse_units(request: Request) -> None:
    """Refuse a call that asks for what only writes of documents have. Done all the same, it would be done twice, or not undone.

    Raises:
        InvalidParameter: it changes something, and has an `Idempotency-Key`, an `X-Transaction-ID` or `Prefer: tx=rollback`.
    """
    if request.method not in WRITES:
        return
    headers: dict[bytes, bytes] = request.state.headers
    asked = next((name for name in (KEY, NAME) if name in headers), None)
    if asked is None and b"tx=rollback" in headers.get(PREFER, b"").replace(b" ", b"").lower():
        asked = PREFER
    if asked is not None:
        raise InvalidParameter(
            f"This call changes no documents, and takes no {asked.decode().title()}.",
            hint="Send it without. A migration runs once under its name, and dry_run shows what it would do.",
            details={"header": asked.decode()},
        )


Parts = Annotated[Control, Depends(control_of)]
Caller = Annotated[Identity, Depends(identity_of)]


def answer(request: Request, data: object, message: str, *, status: int = 200) -> Response:
    """An answer in the envelope; `message` as `render.envelope` takes it."""
    body = envelope(to_json(data), message, str(request.state.correlation_id))
    return _response(body, status, VARY)


def page_of(request: Request, rows: list[dict[str, object]], message: str, *, limit: int, next_cursor: str | None) -> Response:
    """A page in the envelope."""
    page = page_part(Page("", len(rows)), limit, next_cursor)
    return _response(envelope(to_json(rows), message, str(request.state.correlation_id), page), 200, VARY)


def bare(data: object, *, status: int = 200) -> Response:
    """An answer whose shape is fixed elsewhere (probes, documents of other standards), without the envelope."""
    return _response(to_json(data), status, (b"cache-control", b"no-store"))


def _response(body: bytes, status: int, *headers: tuple[bytes, bytes]) -> Response:
    response = Response(body, status)
    response.raw_headers = [JSON_TYPE, (b"content-length", b"%d" % len(body)), *headers]
    return response


class _Application(FastAPI):
    """FastAPI without its own answers to errors: they go up to the middleware, which holds the only ones."""

    def build_middleware_stack(self) -> ASGIApp:
        """The router, with what FastAPI's routes need around it."""
        return AsyncExitStackMiddleware(self.router)


def create_control(control: Control, routers: Sequence[APIRouter]) -> FastAPI:
    """The application with the routes of `routers`. Its errors are left to the middleware around it, which answers them."""
    app = _Application(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, dependencies=[Depends(refuse_units)])
    app.state.control = control
    for router in routers:
        app.include_router(router)
    return app
