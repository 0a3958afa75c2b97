"""The health calls: reports for people and load balancers, and the three probes. They need no credential, but those below `/api/db`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from portico.api.control import Caller, Control, Parts, answer, bare
from portico.service.health import DatabaseHealth, PoolStatus, Report, Status

router = APIRouter()
V1 = {Status.HEALTHY: "healthy", Status.DEGRADED: "healthy", Status.UNHEALTHY: "unhealthy"}


@router.get("/health")
async def get_health(control: Parts) -> Response:
    """The whole report; 503 when the service cannot do its work."""
    report = await control.health.check()
    return bare(_report(report, control), status=_status(report.status))


@router.get("/health/live")
async def get_live() -> Response:
    """Whether the process runs. It asks no database."""
    return bare({"status": Status.HEALTHY})


@router.get("/health/ready")
async def get_ready(control: Parts) -> Response:
    """Whether calls can be served now."""
    return _probe(await control.health.ready())


@router.get("/health/startup")
async def get_startup(control: Parts) -> Response:
    """Whether the service has started: the collections were read once."""
    return _probe(control.health.started)


@router.get("/v1/health")
async def get_v1_health(control: Parts) -> Response:
    """The report in the shape of version 1."""
    report = await control.health.check()
    main = report.main
    pool = {"size": main.pool.size, "checked_in": main.pool.checked_in, "checked_out": main.pool.checked_out}
    database: dict[str, object] = {"status": V1[main.status], "response_time_ms": main.latency_ms, "connection_pool": pool}
    if main.status is Status.UNHEALTHY:
        database = {"status": V1[main.status], "error": main.error or "database_unavailable"}
    healthy = main.status is not Status.UNHEALTHY
    found = {"status": V1[main.status], "timestamp": report.timestamp, "services": {"database": database}}
    return bare(found, status=200 if healthy else 503)


@router.get("/api/db/health")
async def get_database_health(request: Request, control: Parts, caller: Caller) -> Response:
    """Every database, and each collection with its row count."""
    report = await control.health.check()
    sizes = await control.monitor.sizes(caller) if report.status is not Status.UNHEALTHY else []
    data = {
        "status": report.status,
        "timestamp": _moment(report.timestamp),
        "databases": {name: _database(found) for name, found in report.databases.items()},
        "tables": {
            size.collection: {"status": report.databases[size.database].status, "rows": size.rows, "exact": size.exact} for size in sizes
        },
    }
    return answer(request, data, "Health checked", status=_status(report.status))


def _report(report: Report, control: Control) -> dict[str, object]:
    main = report.main
    return {
        "status": report.status,
        "service": control.service_name,
        "timestamp": _moment(report.timestamp),
        "database": {"status": main.status, "latency_ms": main.latency_ms, "connection_pool": _pool(main.pool)},
        "tables": report.tables,
        "version": control.version,
    }


def _database(found: DatabaseHealth) -> dict[str, object]:
    pool = {**_pool(found.pool), **asdict(found.pool)}
    return {"kind": found.kind, "status": found.status, "latency_ms": found.latency_ms, "connection_pool": pool, "error": found.error}


def _pool(pool: PoolStatus) -> dict[str, int]:
    return {"active": pool.checked_out, "idle": pool.checked_in, "total": pool.size}


def _probe(good: bool) -> Response:
    return bare({"status": Status.HEALTHY if good else Status.UNHEALTHY}, status=200 if good else 503)


def _status(status: Status) -> int:
    return 503 if status is Status.UNHEALTHY else 200


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
