"""`portico serve`: starts the workers, says where everything is, and ends them in order."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated

import typer

from portico import __version__
from portico.cli.common import ConfigOption, ExitCode, load_settings, print_error
from portico.cli.embedded import needs_preparing, prepare
from portico.errors import ConfigurationError, PorticoError
from portico.settings import Settings, unsafe_reasons

if TYPE_CHECKING:
    from portico.api.render import App

HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on, instead of http.host.")]
PortOption = Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="Port to listen on, instead of http.port.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, max=256, help="Worker processes, instead of http.workers.")]

_RESPAWN_SECONDS = 0.0
_PROBE_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("serve")(serve)


def serve(config: ConfigOption = None, host: HostOption = None, port: PortOption = None, workers: WorkersOption = None) -> None:
    """Serve the API until SIGTERM or SIGINT; calls that run then are finished first."""
    settings = _with_options(load_settings(config), host, port, workers)
    reasons = unsafe_reasons(settings)
    if reasons:
        raise ConfigurationError("Portico does not start on unsafe settings.\n" + "\n".join(f"  - {reason}" for reason in reasons))
    _check_free(settings.http.host, settings.http.port)
    _prepare(settings)
    _announce(settings)
    sys.exit(_run(settings))


def _with_options(settings: Settings, host: str | None, port: int | None, workers: int | None) -> Settings:
    given = {"host": host, "port": port, "workers": workers}
    http = settings.http.model_copy(update={name: value for name, value in given.items() if value is not None})
    return settings.model_copy(update={"http": http})


def _check_free(host: str, port: int) -> None:
    """Refuse an address at which somebody answers: the server would share the port, and each of the two get some of the calls."""
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except OSError:
        return
    raise ConfigurationError(
        f"Port {port} of {host} is in use: something else answers there.",
        hint="End that, or choose another port: portico serve --port, or PORTICO_HTTP__PORT.",
    )


def _prepare(settings: Settings) -> None:
    """Make the embedded database of a development machine where it is new, in a process of its own that gives its memory back."""
    if not needs_preparing(settings):
        return
    child = get_context("fork").Process(target=_prepare_or_say_why, args=(settings,), name="portico-prepare")
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(ExitCode.CONFIGURATION)


def _prepare_or_say_why(settings: Settings) -> None:
    try:
        prepare(settings)
    except PorticoError as error:
        print_error(error)
        sys.exit(ExitCode.CONFIGURATION)


def _announce(settings: Settings) -> None:
    scheme = "https" if settings.http.tls_certificate else "http"
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    base = f"{scheme}://{host}:{settings.http.port}"
    lines = [f"Portico {__version__} ({settings.environment.value})", f"  API      {base}/api/db"]
    if settings.http.docs:
        lines.append(f"  Docs     {base}/docs")
    lines.append(f"  Health   {base}/health")
    if settings.anonymous_service is not None:
        lines.append(f"Calls without a credential act as the service {settings.anonymous_service}: this is a development machine.")
    for line in lines:
        typer.echo(line)
    sys.stdout.flush()


def _run(settings: Settings) -> int:
    """Run the workers to their end; gives the exit code."""
    from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols  # noqa: PLC0415 - nothing else needs the server
    from granian.log import LogLevels  # noqa: PLC0415

    from portico.cli.supervisor import Supervisor  # noqa: PLC0415

    http = settings.http
    refusals = _Refusals()
    server = Supervisor(
        "portico.app:create_app",
        address=http.host,
        port=http.port,
        interface=Interfaces.ASGI,
        workers=http.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        log_level=LogLevels.error,
        log_dictconfig=_server_log(settings),
        respawn_failed_workers=True,
        respawn_interval=_RESPAWN_SECONDS,
        workers_kill_timeout=int(http.shutdown_seconds) or 1,
        ssl_cert=Path(http.tls_certificate) if http.tls_certificate else None,
        ssl_key=Path(http.tls_key) if http.tls_key else None,
        ssl_protocol_min=SSLProtocols.tls12,
        factory=True,
    )
    refusals.watch(server.signal_handler_interrupt)
    # The workers of this node reach each other here, and nobody else.
    run_directory = Path(mkdtemp(prefix="portico-"))
    try:
        server.serve(target_loader=partial(_load, settings, refusals, run_directory), wrap_loader=False)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else ExitCode.PROBLEM
    else:
        code = ExitCode.OK
    finally:
        shutil.rmtree(run_directory, ignore_errors=True)
    return ExitCode.CONFIGURATION if refusals.heard else code


def _server_log(settings: Settings) -> dict[str, object]:
    """What the process that keeps the workers says of them (one that ended, a loop of crashes), in the form of the other lines."""
    as_text = settings.observe.log_format == "text" or (settings.observe.log_format == "auto" and sys.stdout.isatty())
    fields = {
        "timestamp": "%(asctime)s",
        "level": "error",
        "logger": "server",
        "event": "%(message)s",
        "service_name": settings.service_name,
    }
    line = {"format": "%(levelname)s %(message)s" if as_text else json.dumps(fields), "datefmt": "%Y-%m-%dT%H:%M:%S"}
    return {
        "formatters": {"line": line},
        "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
        "loggers": {"_granian": {"handlers": ["line"], "level": "ERROR", "propagate": False}},
    }


def _load(settings: Settings, refusals: _Refusals, run_directory: Path) -> App:
    """In a worker: the application, with the settings that were loaded already."""
    from portico.cli.draining import Draining, begin_worker  # noqa: PLC0415

    begin_worker()
    from portico.app import create_app  # noqa: PLC0415 - in the worker alone

    ends: list[Callable[[], None]] = []
    return Draining(create_app(settings, refused=refusals.tell, run_directory=run_directory, ends=ends.append), ends)


class _Refusals:
    """How a worker that cannot start tells the process that keeps it: by a pipe, so that the reason is said once, without respawns."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.heard = False

    def tell(self, error: PorticoError) -> None:
        """In a worker: say why it does not start."""
        text = "\n".join([error.message, error.hint or ""])
        os.write(self._write, text.encode()[:4000])

    def watch(self, stop: Callable[[], object]) -> None:
        """In the parent: print the first reason, and call `stop`."""
        threading.Thread(target=self._listen, args=(stop,), daemon=True, name="portico-refusals").start()

    def _listen(self, stop: Callable[[], object]) -> None:
        text = os.read(self._read, 4096).decode("utf-8", "replace")
        self.heard = True
        message, _, hint = text.partition("\n")
        print_error(ConfigurationError(message, hint=hint or None))
        stop()
