"""`portico status`: what state the databases are in, and whether the service answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Annotated
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import typer

from portico.cli.common import ConfigOption, ExitCode, JsonOption, load_settings, print_json
from portico.errors import ConfigurationError, DatabaseUnavailable, PorticoError
from portico.events import discard
from portico.settings import Settings
from portico.wiring import lacks_file, open_engine

_SECONDS = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to ask, not to listen on

ServiceOption = Annotated[
    bool, typer.Option("--service", help="Exit with 3 when the service does not answer, and with 1 when it is unhealthy.")
]

Found = dict[str, object]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("status")(status)


def status(config: ConfigOption = None, service: ServiceOption = False, as_json: JsonOption = False) -> None:
    """Say what state the databases are in, and whether the service answers. Nothing is changed.

    Exits with 0 when all is well, 1 when a database is not ready for Portico, 3 when one cannot be reached.
    """
    settings = load_settings(config)
    databases = asyncio.run(_databases(settings))
    answered = _service(settings)
    if as_json:
        print_json({"service": answered, "databases": databases})
    else:
        typer.echo(f"service {settings.service_name}: {answered['status']} ({answered['url']})")
        for name, found in databases.items():
            typer.echo(f"database {name}: {_said(found)}")
    codes = {_code(found) for found in databases.values()}
    if service:
        codes.add(
            {"healthy": ExitCode.OK, "degraded": ExitCode.OK, "not running": ExitCode.UNREACHABLE}.get(
                str(answered["status"]), ExitCode.PROBLEM
            )
        )
    raise typer.Exit(max(codes, default=ExitCode.OK))


async def _databases(settings: Settings) -> dict[str, Found]:
    return {name: await _database(settings, name) for name, database in settings.databases.items() if database.type != "redis"}


async def _database(settings: Settings, name: str) -> Found:
    database = settings.databases[name]
    if lacks_file(database):
        return {"status": "missing", "type": database.type, "error": "the file does not exist yet"}
    engine = open_engine(settings, name, secret=b"status", emit=discard)
    try:
        async with asyncio.timeout(_SECONDS):
            await engine.start()
            health = await engine.health()
            tables = await engine.reflect()
    except (DatabaseUnavailable, TimeoutError):
        return {"status": "unreachable", "type": database.type, "error": DatabaseUnavailable.code}
    except PorticoError as error:
        return {"status": "unhealthy", "type": database.type, "error": error.code}
    finally:
        await engine.close()
    return {
        "status": "healthy" if health.healthy else "unhealthy",
        "type": database.type,
        "latency_ms": round(health.latency_ms, 3),
        "tables": len(tables),
        "capabilities": sorted(engine.capabilities),
    }


def _service(settings: Settings) -> Found:
    http = settings.http
    host = _EVERYWHERE.get(http.host, http.host)
    address = f"{'https' if http.tls_certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{http.port}"
    found: Found = {"url": address, "status": "not running"}
    # The service's own certificate names how others call it, not this machine's address.
    context = ssl._create_unverified_context() if http.tls_certificate else None  # noqa: S323, SLF001 - nothing secret is sent
    try:
        with urlopen(Request(f"{address}/health"), timeout=_SECONDS, context=context) as answer:  # noqa: S310 - an address of ours
            return {**found, **_fields(answer.read())}
    except HTTPError as error:
        return {**found, "status": "unhealthy", **_fields(error.read())}
    except (URLError, OSError, ConfigurationError):
        return found


def _fields(body: bytes) -> Found:
    try:
        report = json.loads(body)
    except ValueError:
        return {"status": "not Portico"}
    return {key: report[key] for key in ("status", "version") if key in report} if isinstance(report, dict) else {}


def _code(found: Found) -> ExitCode:
    return {"healthy": ExitCode.OK, "unreachable": ExitCode.UNREACHABLE}.get(str(found["status"]), ExitCode.PROBLEM)


def _said(found: Found) -> str:
    if found["status"] == "healthy":
        return f"healthy ({found['type']}, {found['latency_ms']} ms, {found['tables']} tables)"
    return f"{found['status']} ({found['type']}): {found.get('error', 'see the log')}"
