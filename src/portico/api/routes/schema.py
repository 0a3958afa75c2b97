"""The schema documents of the collections: `/api/db/schema`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from portico.api.control import Caller, Parts, answer

router = APIRouter()


@router.get("/api/db/schema")
async def list_schemas(request: Request, control: Parts, caller: Caller) -> Response:
    """The schema documents of every collection that the caller may read."""
    return answer(request, control.schemas.list(caller), "Schemas retrieved successfully")


@router.get("/api/db/schema/{collection:path}")
async def get_schema(request: Request, control: Parts, caller: Caller, collection: str) -> Response:
    """One collection's schema document."""
    return answer(request, control.schemas.get(caller, collection), "Schema retrieved successfully")
