"""The audit over HTTP: `/api/db/audit`."""

from __future__ import annotations

from dataclasses import asdict

import orjson
from fastapi import APIRouter, Request, Response

from portico.api.control import Caller, Parts, page_of
from portico.errors import InvalidParameter
from portico.model.positions import AuditRow
from portico.service.scope import choose_scope
from portico.syntax import postgrest

router = APIRouter()


@router.get("/api/db/audit")
async def get_audit(request: Request, control: Parts, caller: Caller) -> Response:
    """Who changed what: audit rows, the newest first."""
    parameters: dict[str, str] = {}
    for name, value in postgrest.decode_pairs(request.scope["query_string"]):
        if name in parameters:
            raise InvalidParameter(f"The parameter {name[:100]} stands twice.")
        parameters[name] = value
    headers: dict[bytes, bytes] = request.state.headers
    client, user = (headers.get(name) for name in (b"x-client-id", b"x-user-id"))
    scope = choose_scope(
        caller,
        header_client=client.decode("latin-1") if client is not None else None,
        header_user=user.decode("latin-1") if user is not None else None,
    )
    page = await control.audit.page(caller, scope, parameters)
    rows = [_shown(row) for row in page.rows]
    return page_of(request, rows, "Audit rows found", limit=page.limit, next_cursor=page.next_cursor)


def _shown(row: AuditRow) -> dict[str, object]:
    """A row with its documents as the JSON that they are."""
    documents = {name: None if text is None else orjson.Fragment(text) for name, text in (("before", row.before), ("after", row.after))}
    return {**asdict(row), **documents}
