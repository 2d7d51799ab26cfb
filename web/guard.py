"""What every answer of the server carries, and which callers it refuses: the page talks to its own server only.

Two directions. Outwards: the content security policy makes the browser itself refuse any other address, whatever a
theme, a library or a document's name may try. Inwards: another web site open in the same browser must not upload to,
ask or empty this server, neither by a cross-site request nor by pointing a name of its own at 127.0.0.1. WebSockets
are no exception: browsers let any site open one anywhere, so it is their Origin that has to be right.

Of what Gradio serves only what the page needs gets through: its upload, queue, proxy and file routes take requests of
anybody, have no limits of ours, and are used by nothing here.
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


PERMISSIONS_POLICY = "microphone=(self), camera=(), geolocation=(), payment=(), usb=(), interest-cohort=()"

# Below /gradio_api/: what its page asks for when it starts. Elsewhere: what it serves beside its page.
_GRADIO_USED = ("/gradio_api/heartbeat/", "/gradio_api/startup-events", "/gradio_api/info", "/gradio_api/app_id")
_GRADIO_UNUSED = ("/monitoring", "/custom_component", "/svelte/", "/dev/", "/runs", "/pwa_icon", "/manifest.json")


class Guard:
    """ASGI middleware; `local_only`: the server listens on loopback, so only loopback names may address it."""

    def __init__(self, app: ASGIApp, *, local_only: bool) -> None:
        self.app = app
        self.local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if reason := self._reason_to_refuse(scope):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": reason})  # not accepted: HTTP 403
            else:
                await _refuse(reason)(scope, receive, send)
            return
        if scope["type"] == "http" and is_unused(scope["path"]):
            nothing = {"error": {"message": "There is nothing here.", "remedy": ""}}
            await JSONResponse(nothing, 404)(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)  # a page may have a stricter one
                out["X-Content-Type-Options"] = "nosniff"
                out["Referrer-Policy"] = "same-origin"
                out["X-Frame-Options"] = "SAMEORIGIN"
                out["Cross-Origin-Opener-Policy"] = "same-origin"
                out["Cross-Origin-Resource-Policy"] = "same-origin"
                out["Permissions-Policy"] = PERMISSIONS_POLICY
                if scope["scheme"] == "https":
                    out["Strict-Transport-Security"] = "max-age=31536000"
                for name in [name for name in out if name.startswith("access-control-")]:
                    del out[name]  # no other origin reads an answer, whatever a library thinks of CORS
            await send(message)

        await self.app(scope, receive, send_with_policy)

    def _reason_to_refuse(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        if self.local_only and not is_loopback(headers.get("host", "")):
            return "This server answers only to this computer's own names"
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and is_foreign(headers):
            return "Another web site may not use this server"
        return ""


def is_unused(path: str) -> bool:
    """Whether a path is one of Gradio's that the page does not need."""
    if path.startswith("/gradio_api/"):
        return not path.startswith(_GRADIO_USED)
    return path.startswith(_GRADIO_UNUSED)


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
