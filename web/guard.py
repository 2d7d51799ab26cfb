"""What every answer of the server carries, and which callers it refuses: the page talks to its own server only.

Two directions. Outwards: the content security policy makes the browser itself refuse any other address, whatever a
theme, a library or a document's name may try. Inwards: another web site open in the same browser must not upload to,
ask or empty this server, neither by a cross-site request nor by pointing a name of its own at 127.0.0.1.
"""

from __future__ import annotations

import ipaddress

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio compiles its components' templates in the browser, hence 'unsafe-eval'; its styles and start are inline.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    ]
)


class Guard:
    """ASGI middleware; `local_only`: the server listens on loopback, so only loopback names may address it."""

    def __init__(self, app: ASGIApp, *, local_only: bool) -> None:
        self.app = app
        self.local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            headers = Headers(scope=scope)
            # A browser lets any site open a WebSocket anywhere: its Origin, which a handshake always has, is all there is.
            if (self.local_only and not is_loopback(headers.get("host", ""))) or is_foreign(headers):
                await receive()
                await send({"type": "websocket.close", "code": 1008})  # before it was accepted: HTTP 403
                return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self.local_only and not is_loopback(headers.get("host", "")):
            await _refuse("This server answers only to this computer's own names")(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_foreign(headers):
            await _refuse("Another web site may not use this server")(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
                out["X-Content-Type-Options"] = "nosniff"
                out["Referrer-Policy"] = "same-origin"
            await send(message)

        await self.app(scope, receive, send_with_policy)


def is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names this computer."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a request comes from another site; programs, which say nothing, may pass."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _refuse(message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "remedy": "Open the address that Lectern printed"}}, 403)
