"""Connections that last: asked again every few seconds whether they may still be here.

    await watched(app, scope, receive, send, check=check, every_s=2.0)

A request is let in once, but a conversation, an event stream or a long answer goes on for minutes. When the login has
ended, the key was revoked or the role taken away, `check` says so, and the connection ends: a WebSocket is closed with
4401 (not logged in any more), 4403 (not allowed any more) or 4404 (no such workspace for you any more); an event stream
ends with an `error` event, an answer that has not begun becomes that refusal, any other stream breaks off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import LecternError, NotFoundError

log = logging.getLogger(__name__)

Check = Callable[[bool], Awaitable[LecternError | None]]  # (used since the last look) -> why it must end
Answer = Callable[[LecternError], Response]

NOT_LOGGED_IN, FORBIDDEN, NOT_FOUND = 4401, 4403, 4404
_TO_LEAVE_S = 5.0  # for the application to tidy up before it is cancelled


async def watched(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, check: Check, answer: Answer, every_s: float
) -> LecternError | None:
    """Run `app`; why it was ended early, or None. `answer` makes the refusal of a request not answered yet."""
    kind = _Socket if scope["type"] == "websocket" else _Stream
    connection = kind(receive, send, answer, scope)
    task = asyncio.ensure_future(app(scope, connection.receive, connection.send))
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=every_s)
            if done:
                task.result()
                return None
            used, connection.used = connection.used, False
            error = await check(used)
            if error is not None and not task.done():
                break
        await connection.end(error)
        with contextlib.suppress(Exception):  # what it thinks of being interrupted matters to nobody
            await asyncio.wait_for(task, _TO_LEAVE_S if scope["type"] == "websocket" else 0)
        await connection.finish(error)
        return error
    finally:
        if not task.done():  # we are cancelled ourselves: the server stops
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


def close_code(error: LecternError) -> int:
    if isinstance(error, NotFoundError):
        return NOT_FOUND
    return NOT_LOGGED_IN if getattr(error, "status", 403) == 401 else FORBIDDEN


class _Socket:
    """A WebSocket: closed, and its application told that it is."""

    def __init__(self, receive: Receive, send: Send, answer: Answer, scope: Scope) -> None:
        self._receive, self._send = receive, send
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._next: asyncio.Future[Message] | None = None
        self.used = False  # the client has sent something

    async def receive(self) -> Message:
        if self._next is None:
            self._next = asyncio.ensure_future(self._receive())
        waiting: set[asyncio.Future[Any]] = {self._next, self._over}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            self._next.cancel()
            return {"type": "websocket.disconnect", "code": self._over.result()}
        message, self._next = self._next.result(), None
        self.used = True
        return message

    async def send(self, message: Message) -> None:
        if not self._over.done():
            await self._send(message)

    async def end(self, error: LecternError) -> None:
        code = close_code(error)
        self._over.set_result(code)
        with contextlib.suppress(Exception):  # it may have gone by itself this moment
            await self._send({"type": "websocket.close", "code": code, "reason": _reason(error)})

    async def finish(self, error: LecternError) -> None:
        if self._next is not None:
            self._next.cancel()


class _Stream:
    """An HTTP response: refused if it has not begun, else ended as its kind can."""

    used = False  # that an answer is being read is no use of the login

    def __init__(self, receive: Receive, send: Send, answer: Answer, scope: Scope) -> None:
        self.receive, self._send, self._answer, self._scope = receive, send, answer, scope
        self._media_type: str | None = None  # of the response, once it has begun
        self._complete = self._over = False

    async def send(self, message: Message) -> None:
        if self._over:
            return
        if message["type"] == "http.response.start":
            self._media_type = Headers(raw=message["headers"]).get("content-type", "")
        self._complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end(self, error: LecternError) -> None:
        self._over = True  # from here on only `finish` speaks

    async def finish(self, error: LecternError) -> None:
        if self._complete:
            return
        if self._media_type is None:
            await self._answer(error)(self._scope, self.receive, self._send)
            return
        told = {"message": error.message[:1].upper() + error.message[1:] + ".", "remedy": f"{error.remedy}."}
        if self._media_type.startswith("text/event-stream"):
            last = f"event: error\ndata: {json.dumps({'error': told})}\n\n".encode()
        elif self._media_type.startswith("application/x-ndjson"):
            last = json.dumps({"type": "error", "error": told}).encode() + b"\n"
        else:  # sound, a file: what is cut short must not look whole, so the server breaks the connection
            log.warning("a response was cut off: %s", error.message)
            return
        await self._send({"type": "http.response.body", "body": last, "more_body": False})


def _reason(error: LecternError) -> str:
    """At most 123 bytes, RFC 6455, 5.5.1."""
    return f"{error.message}. {error.remedy}".encode()[:120].decode(errors="ignore")
