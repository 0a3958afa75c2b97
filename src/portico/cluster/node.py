"""This worker as a part of the cluster: where it is, its way in and its way out."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from portico.cluster.carrier import Carrier
from portico.cluster.frames import App, Receive, Scope, Send
from portico.cluster.links import Place
from portico.cluster.listener import Listener
from portico.errors import ConfigurationError
from portico.events import Emit

if TYPE_CHECKING:
    from portico.cluster.trust import Trust

MIN_SECRET_LENGTH = 32


class Cluster:
    """Carries requests to other workers, and takes those that they carry here.

    Args:
        directory: the node's private folder for sockets; a worker that is alone makes one of its own.
        advertise, listen, secret: as in the settings.
    Raises:
        ConfigurationError: an address without a secret, or a secret that is too short.
    """

    def __init__(self, directory: Path | None, *, advertise: str | None, listen: str | None, secret: str | None, emit: Emit) -> None:
        if advertise is not None and (secret is None or len(secret) < MIN_SECRET_LENGTH):
            raise ConfigurationError(
                f"cluster.advertise needs a cluster.secret of {MIN_SECRET_LENGTH} or more characters, the same on every node.",
                hint="Put it in a file, and name that in PORTICO_CLUSTER__SECRET_FILE.",
            )
        worker = os.urandom(8).hex()
        self._own_directory = directory is None
        self.place = Place(advertise or "", worker, directory or Path(tempfile.gettempdir()) / f"portico-{worker}")
        self._address = listen or advertise
        self._secret = secret if advertise is not None else None
        self._emit = emit
        self._app: App | None = None
        self._carrier: Carrier | None = None
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Begin to listen. Raises ConfigurationError."""
        if self._own_directory:
            self.place.directory.mkdir(mode=0o700)
        trust = self._trust()
        self._carrier = Carrier(self.place, trust, emit=self._emit)
        self._listener = Listener(self.place, self._answering, address=self._address, trust=trust)
        await self._listener.open()

    def _trust(self) -> Trust | None:
        if self._secret is None:
            return None
        from portico.cluster.trust import trust_of  # noqa: PLC0415 - certificates are for nodes that know others

        return trust_of(self._secret, self.place.directory)

    def serve(self, app: App) -> None:
        """Have `app` answer what is carried here."""
        self._app = app

    def _answering(self) -> App:
        assert self._app is not None, "nobody knows of this worker before it serves"
        return self._app

    async def carry(self, node: str, worker: str, scope: Scope, receive: Receive | None, send: Send) -> bool:
        """Carry a request; see `Carrier`."""
        return self._carrier is not None and await self._carrier(node, worker, scope, receive, send)

    async def close(self) -> None:
        """Let what was carried here come to its end, and stop listening."""
        if self._listener is not None:
            await self._listener.close()
        if self._own_directory:
            with contextlib.suppress(OSError):
                self.place.directory.rmdir()
