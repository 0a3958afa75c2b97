"""Where calls need no credential, only names of this machine are answered: a page in a browser must not reach it by a name of its own."""

from __future__ import annotations

from ipaddress import ip_address

from portico.api.middleware.correlation import HEADER, CorrelationIds
from portico.api.middleware.faults import answer
from portico.api.render import App, Receive, Scope, Send
from portico.errors import Forbidden

_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]", b""})


class LoopbackOnly:
    """Refuses requests whose Host is not a name of this machine (DNS rebinding). `app` answers the others."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._ids = CorrelationIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if not is_loopback(headers.get(b"host", b"")):
                error = Forbidden(
                    "Without credentials, Portico answers only to a name of this machine.",
                    hint="Call localhost, or set auth.required to true and send a key.",
                )
                await answer(send, error, self._ids.choose(headers.get(HEADER)), with_header=True)
                return
        await self._app(scope, receive, send)


def is_loopback(host: bytes) -> bool:
    """Whether a Host header, with or without its port, names this machine."""
    name, colon, port = host.lower().rpartition(b":")
    name = name if colon and port.isdigit() else host.lower()
    if name in _NAMES or name.endswith(b".localhost"):
        return True
    try:
        return ip_address(name.decode("latin-1").strip("[]")).is_loopback
    except ValueError:
        return False
