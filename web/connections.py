"""Patience with connections has an end: headers that drip in, bodies that stop, more of either than anybody needs.

`PatientProtocol` is uvicorn's HTTP/1.1 with a clock for request headers; `PatientBodies` is an ASGI middleware with one
for bodies. uvicorn itself bounds the size of headers (`h11_max_incomplete_event_size`), idle connections and their
number.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 32 * 1024  # a request line and its headers together
DRAIN_S, DRAIN_BYTES = 2.0, 64 * 2**20  # how long, and how much, of a refused body is still taken off the line
SLOWEST_BYTES_PER_S = 512  # on average, of a body; a call over a bad telephone line has twice as much


def patient_protocol(header_timeout_s: float) -> type[H11Protocol]:
    """uvicorn's protocol, which closes a connection whose request headers are not complete after `header_timeout_s`."""

    class PatientProtocol(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wind()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._clock is None and self.transport.get_protocol() is self:  # the next request has begun
                self._wind()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._stop()
            super().handle_websocket_upgrade(event)

        def _wind(self) -> None:
            self._clock = self.loop.call_later(header_timeout_s, self._too_late)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _too_late(self) -> None:
            self._clock = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return PatientProtocol


class PatientBodies:
    """ASGI middleware: a request body that pauses for `timeout_s`, or crawls, is answered 408 and read no further.

    Headers that came quickly but are too many or too long are answered 431.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        self.app = app
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _header_bytes(scope) > MAX_HEADER_BYTES:
            said = {"message": "The request's address and headers are too long.", "remedy": "Send less in them."}
            await JSONResponse({"error": said}, 431, {"Connection": "close"})(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        began, received, complete, started, late = loop.time(), 0, False, False, False

        async def receive_soon() -> Message:
            nonlocal received, complete, late
            if complete:  # only the end of the connection is waited for
                return await receive()
            allowed = began + 2 * self.timeout_s + received / SLOWEST_BYTES_PER_S - loop.time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(self.timeout_s, allowed)))
            except TimeoutError:
                late = complete = True
                return {"type": "http.disconnect"}  # routes know what to do when a visitor has gone
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                complete = not message.get("more_body", False)
            return message

        async def send_unless_late(message: Message) -> None:
            nonlocal started
            if late and not started:
                return
            if not started and message["type"] == "http.response.start" and message["status"] >= 400:
                await drain()
            started = True
            await send(message)

        async def drain() -> None:
            """Read on for a while before a refusal: who is cut off in the middle of sending does not see the reason."""
            nonlocal received, complete
            until, most = loop.time() + DRAIN_S, received + DRAIN_BYTES
            while not complete and received < most and (rest := until - loop.time()) > 0:
                try:
                    message = await asyncio.wait_for(receive(), rest)
                except TimeoutError:
                    return
                received += len(message.get("body", b""))
                complete = not message.get("more_body", False)

        try:
            await self.app(scope, receive_soon, send_unless_late)
        except Exception:
            if not late:
                raise
        if late and not started:
            said = {"message": "The rest of the request did not come.", "remedy": "Send it again."}
            headers = {"Connection": "close", "Retry-After": str(math.ceil(self.timeout_s))}
            await JSONResponse({"error": said}, 408, headers)(scope, receive, send)


def _header_bytes(scope: Scope) -> int:
    lines = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    return lines + len(scope.get("raw_path") or b"") + len(scope["query_string"])
