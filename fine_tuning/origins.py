"""Who may speak with a server of ours: the pages that it served itself, under the names of this
machine.

LLaMA Board reads and writes files for whoever asks, reports hold rows of the data, and a model may
know them by heart. A page of
somebody else, open in the same browser, can send requests to 127.0.0.1; and by DNS rebinding, a
name of its own that suddenly means 127.0.0.1, it could read the answers too. The browser says which
name it asked for (Host) and which page asks (Origin, Sec-Fetch-Site), and no page can change that.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL = ("localhost", "127.0.0.1", "::1")
READING = ("GET", "HEAD")


class Guard:
    """Judges requests to a server that listens on `host`.

    Under a loopback address only this machine is answered; under another one whoever writes an
    address in numbers, its name, or that of the machine.
    """

    def __init__(self, host: str) -> None:
        self.host = host.lower()
        self.names = {*LOCAL, self.host}
        if self.host not in LOCAL:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def refusal(self, headers: Mapping[str, str], method: str) -> str:
        """Why a request is not answered, or nothing; names of headers are in lower case."""
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return (
                f"Nothing is served under the name {host!a}. Open it by the address that "
                "was printed, or start it with --host and that name."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin.lower()).netloc != host:
            return f"A page of {origin!a} may not use this server."
        if headers.get("sec-fetch-site") == "cross-site" and method not in READING:
            return "A page of another site may not use this server."
        return ""

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self.names:
                return True
            ipaddress.ip_address(name)  # an address in numbers: nobody can rebind it
        except ValueError:
            return False
        return self.host not in LOCAL


class OwnOriginOnly:
    """ASGI middleware that answers 403 to what the guard of `host` refuses."""

    def __init__(self, app: App, host: str) -> None:
        self.app = app
        self.guard = Guard(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        why = self.guard.refusal(headers, scope.get("method", "GET"))
        if not why:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": plain})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})
