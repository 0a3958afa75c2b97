"""Migrations over HTTP: `/api/db/migrations`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from portico.api.control import Caller, Parts, answer
from portico.service.json_body import parse_json

router = APIRouter()


@router.post("/api/db/migrations")
async def create_migration(request: Request, control: Parts, caller: Caller) -> Response:
    """Run a migration, or show what it would do."""
    data, ran = await control.migrations.create(caller, parse_json(await request.body()))
    message = "Migration applied successfully" if ran else "This is what the migration would do"
    return answer(request, data, message, status=201 if ran else 200)


@router.get("/api/db/migrations")
async def list_migrations(request: Request, control: Parts, caller: Caller) -> Response:
    """Every migration that was run."""
    return answer(request, await control.migrations.list(caller), "Migrations retrieved successfully")


@router.get("/api/db/migrations/status")
async def get_status(request: Request, control: Parts, caller: Caller) -> Response:
    """How many migrations are in which state."""
    return answer(request, await control.migrations.status(caller), "Migration status retrieved successfully")


@router.post("/api/db/migrations/{key}/rollback")
async def roll_back(request: Request, control: Parts, caller: Caller, key: str) -> Response:
    """Run the way down of a migration."""
    return answer(request, await control.migrations.rollback(caller, key), "Migration rolled back successfully")
