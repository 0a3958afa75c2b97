"""Errors made into answers: Portico's own by the status table, anything else as a fault that is logged and never shown."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from portico.api.errors import error_body, headers_of, status_of
from portico.api.middleware.correlation import HEADER
from portico.api.render import Send, send_json
from portico.errors import (
    BodyTooLarge,
    InternalError,
    InvalidParameter,
    InvalidRequest,
    MethodNotAllowed,
    PorticoError,
    RouteNotFound,
    UnsupportedMediaType,
)
from portico.events import Emit, InternalFault

CLIENT_GONE = 499
"""What is recorded as the status of a request whose caller left; nobody receives it."""


class ClientGone(ConnectionError):
    """The caller left before the answer; what ran for it may stop."""


GONE = (ClientGone, ClientDisconnect, ConnectionResetError, BrokenPipeError)


def translate(error: Exception, correlation_id: str, emit: Emit) -> PorticoError:
    """The error to answer with. What is no error of Portico's is emitted as an `InternalFault`, by class and place alone."""
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if isinstance(error, RequestValidationError):
        places = [".".join(str(part) for part in problem["loc"]) for problem in error.errors()]
        return InvalidParameter(f"Malformed: {', '.join(places)}.", details={"parameters": places})
    if isinstance(error, PorticoError):
        if status_of(error) == 500:
            emit(InternalFault(type(error).__name__, where(error), correlation_id))
        return error
    emit(InternalFault(type(error).__name__, where(error), correlation_id))
    return InternalError("An unexpected error.")


async def answer(send: Send, error: PorticoError, correlation_id: str, *, with_header: bool = False) -> None:
    """Send the answer of an error; `with_header` adds the correlation id's header where `send` does not."""
    headers = (*headers_of(error), (HEADER, correlation_id.encode())) if with_header else headers_of(error)
    await send_json(send, status_of(error), error_body(error, correlation_id), headers)


def where(error: BaseException) -> str:
    """The place that raised the error, innermost first, up to four: ``engine.py:120 < documents.py:80``. It holds no values."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def _of_framework(error: HTTPException) -> PorticoError:
    """What Starlette's router raises, in Portico's words."""
    if error.status_code == 404:
        return route_not_found()
    if error.status_code == 405:
        return method_not_allowed((error.headers or {}).get("Allow", ""))
    if error.status_code == 413:
        return BodyTooLarge("The body is larger than allowed.")
    if error.status_code == 415:
        return UnsupportedMediaType("The body's media type is not understood here.")
    return InvalidRequest("The request cannot be understood.")


def route_not_found() -> RouteNotFound:
    """The answer to an unknown path."""
    return RouteNotFound("There is no call with this path.", hint="GET /openapi.json lists the calls.")


def method_not_allowed(allow: str) -> MethodNotAllowed:
    """The answer to a method that the path does not have; `allow` lists those it has, by commas."""
    given = {name.strip() for name in allow.split(",")} - {""}
    names = sorted(given | ({"HEAD"} if "GET" in given else set()))
    return MethodNotAllowed("This path does not have this method.", hint=f"It has {', '.join(names)}.", details={"allow": names})
