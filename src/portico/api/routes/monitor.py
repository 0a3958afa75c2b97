"""Reports for who runs Portico: pools in `/api/db/connections`, capabilities and sizes in `/api/db/stats`."""

from __future__ import annotations

import os
import resource
import shutil
import time
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from portico.api.control import Caller, Parts, answer
from portico.service.health import PoolStatus, Status

router = APIRouter()
_STARTED = time.time()


@router.get("/api/db/connections")
async def get_connections(request: Request, control: Parts, caller: Caller) -> Response:
    """The pool of each database in the worker that answers."""
    del caller  # who may call at all may see this: it names nobody's documents
    pools = {name: {**asdict(pool), "states": _states(pool)} for name, pool in control.monitor.pools().items()}
    return answer(request, {"worker": os.getpid(), "pools": pools}, "Connections retrieved successfully")


@router.get("/api/db/stats")
async def get_stats(request: Request, control: Parts, caller: Caller) -> Response:
    """What each database can do, how large the collections are, and what the service itself uses."""
    sizes = await control.monitor.sizes(caller)
    health = await control.health.check()
    databases = {
        name: {
            "kind": kind,
            "capabilities": capabilities,
            "status": health.databases[name].status if name in health.databases else Status.UNHEALTHY,
            "collections": {size.collection: _size(asdict(size)) for size in sizes if size.database == name},
        }
        for name, (kind, capabilities) in control.monitor.capabilities().items()
    }
    return answer(request, {"databases": databases, "service": _service()}, "Statistics retrieved successfully")


def _states(pool: PoolStatus) -> dict[str, int]:
    return {"available": pool.checked_in, "active": pool.checked_out, "creating": 0, "closing": pool.invalid, "failed": 0}


def _size(size: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in size.items() if name not in {"collection", "database"}}


def _service() -> dict[str, object]:
    """What this worker uses: seconds of processor time, bytes of memory at its highest, bytes free where it runs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "worker": os.getpid(),
        "uptime_seconds": round(time.time() - _STARTED, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "memory_peak_bytes": usage.ru_maxrss * 1024,
        "disk_free_bytes": shutil.disk_usage(".").free,
    }
