"""What functions raise, as PostgREST answers it: a status of its own by ``PTxyz``, a whole answer by ``PGRST``, else the SQLSTATE's.

https://docs.postgrest.org/en/v13/references/errors.html#raise-errors-with-http-status-codes is the contract.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from portico.model.function import Raised

_STATUS_STATE = re.compile("PT([1-9][0-9]{2})")
_WHOLE_STATE = "PGRST"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4000}")
# What frames an answer or belongs to the connection (RFC 9110, 6 and 7.6.1), or says who called, is not a function's to set.
_OWN_HEADERS = frozenset(
    {"content-length", "content-type", "content-encoding", "transfer-encoding", "trailer", "te", "connection", "keep-alive", "upgrade"}
    | {"date", "set-cookie", "x-correlation-id", "proxy-status"}
)
_STATUSES = {
    "08": 503, "09": 500, "0L": 403, "0P": 403, "23503": 409, "23505": 409, "25006": 405, "25": 500, "28": 403, "2D": 500, "38": 500,
    "39": 500, "3B": 500, "40": 500, "53400": 500, "53": 503, "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500,
    "P0001": 400, "P0": 500, "XX": 500, "42883": 404, "42P01": 404, "42P17": 500, "42501": 403,
}  # fmt: skip
"""PostgREST's statuses by SQLSTATE or by its class; 400 for any other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An error's status, its four members, and headers of the function's own."""

    status: int
    code: str
    message: str
    details: str | None
    hint: str | None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


def answer_of(error: Raised) -> Answer:
    """What a function's error is answered with."""
    state = error.sqlstate
    if state == _WHOLE_STATE:
        return _whole(error)
    status = _STATUS_STATE.fullmatch(state)
    if status is not None and 200 <= int(status[1]) <= 599:
        return Answer(int(status[1]), state, error.message, error.detail, error.hint)
    return Answer(_STATUSES.get(state) or _STATUSES.get(state[:2], 400), state, error.message, error.detail, error.hint)


def _whole(error: Raised) -> Answer:
    """An answer that the function wrote as JSON: the body as its message, status and headers as its detail."""
    try:
        body, frame = json.loads(error.message), json.loads(error.detail or "")
        texts = [_text(body, name) for name in ("code", "message", "details", "hint")]
        status = frame["status"]
        headers = tuple(_header(name, value) for name, value in dict(frame.get("headers") or {}).items())
        if texts[0] is None or texts[1] is None or type(status) is not int or not 200 <= status <= 599:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        said = "The message and detail of RAISE SQLSTATE 'PGRST' are JSON: {code, message, details, hint} and {status, headers}."
        return Answer(500, "PGRST121", "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error", None, said)
    return Answer(status, texts[0], texts[1], texts[2], texts[3], headers)


def _text(body: dict[str, object], name: str) -> str | None:
    found = body.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError
    return found


def _header(name: object, value: object) -> tuple[bytes, bytes]:
    good = isinstance(name, str) and isinstance(value, str) and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
    if not good or str(name).lower() in _OWN_HEADERS:
        raise ValueError
    return str(name).lower().encode(), str(value).encode()
