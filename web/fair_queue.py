"""Questions wait their turn: as many at once as there are cores, visitors one after the other, a clear "busy" beyond.

    app.add_middleware(FairQueue, lanes=Lanes(at_once=2, waiting=64, each=16))

Many answers computed at once on few cores are all slow; one after the other, half of them are quick. Whoever asks most
does not push others aside: the next turn goes to the visitor who has been served least lately (round robin, as in fair
queueing; Nagle, RFC 970). A turn is held from the end of the request until the response is complete, though no longer
than HOLD_S: neither a slow sender nor a slow reader keeps others waiting. Beyond the limits: 429 with Retry-After.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOLD_S = 30.0
_HEAVY = re.compile(
    r"/(?:api|v1)/workspaces/[^/]+/(?:ask|search|speak|transcribe)/?|/v1/(?:chat/completions|completions|responses|embeddings|audio/\w+)/?|/mcp"
)


class Full(Exception):
    """No room to wait; `retry_after` s from now there probably is."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} questions are waiting")
        self.waiting, self.retry_after = waiting, retry_after


class Lanes:
    """Turns for the work of a process; used by one event loop.

    `at_once` run, `waiting` wait in all, `each` of one visitor.
    """

    def __init__(self, at_once: int, *, waiting: int = 64, each: int = 64) -> None:
        self.at_once, self.waiting_limit, self.each = at_once, waiting, each
        self.running = 0
        self._lanes: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the front one is served next
        self._usual_s = 0.2  # running mean of how long a turn takes

    @property
    def waiting(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def check_room(self, visitor: str) -> None:
        """Raises Full if a further question of this visitor could not even wait."""
        waiting = self.waiting
        if waiting >= self.waiting_limit or len(self._lanes.get(visitor, ())) >= self.each:
            raise Full(waiting, max(1, math.ceil(waiting * self._usual_s / self.at_once)))

    async def take(self, visitor: str) -> None:
        """Wait for a turn, which `release` gives back."""
        if self.running < self.at_once and not self._lanes:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(visitor, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it had just been granted
            elif visitor in self._lanes:
                self._lanes[visitor].remove(turn)
                if not self._lanes[visitor]:
                    del self._lanes[visitor]
            raise

    def release(self, seconds: float) -> None:
        """A turn is over; it took so long."""
        self._usual_s += 0.1 * (seconds - self._usual_s)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._lanes:
            visitor, lane = next(iter(self._lanes.items()))
            turn = lane.popleft()
            if lane:
                self._lanes.move_to_end(visitor)
            else:
                del self._lanes[visitor]
            if not turn.done():
                turn.set_result(None)  # the turn goes on to it: `running` stays
                return
        self.running -= 1


class FairQueue:
    """ASGI middleware in front of whatever computes answers, vectors or sound."""

    def __init__(self, app: ASGIApp, *, lanes: Lanes, waited: Callable[[float], Any] = lambda seconds: None) -> None:
        """`waited` is told how long each request waited, s."""
        self.app, self.lanes, self.waited = app, lanes, waited
        self._anonymous = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _HEAVY.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        visitor = self._visitor(scope)
        try:
            self.lanes.check_room(visitor)
        except Full as full:
            await _busy(full, scope["path"])(scope, receive, send)
            return
        held = _Held(self, visitor, receive, send)
        try:
            await self.app(scope, held.receive, held.send)
        finally:
            held.close()

    def _visitor(self, scope: Scope) -> str:
        """Who asks: the user or key where there is a login, else the address."""
        principal = scope.get("state", {}).get("principal")
        if principal is not None and principal.via in ("login", "key"):
            return f"user {principal.name}"
        client = scope.get("client")
        return client[0] if client else f"nobody {next(self._anonymous)}"


class _Held:
    """The turn of one request: taken once its body is here, so that a slow sender keeps nobody waiting."""

    def __init__(self, queue: FairQueue, visitor: str, receive: Receive, send: Send) -> None:
        self._queue, self._visitor = queue, visitor
        self._receive, self._send = receive, send
        self._next: asyncio.Future[Message] | None = None  # what comes after the body: that the sender has gone
        self._started: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def receive(self) -> Message:
        if self._next is not None:
            return await asyncio.shield(self._next)
        message = await self._receive()
        if message["type"] != "http.request" or message.get("more_body", False):
            return message
        loop = asyncio.get_running_loop()
        asked = loop.time()
        turn = asyncio.ensure_future(self._queue.lanes.take(self._visitor))
        self._next = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({turn, self._next}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            turn.cancel()
            raise
        if not turn.done():
            turn.cancel()
            return self._next.result()
        self._started = loop.time()
        self._timer = loop.call_later(HOLD_S, self.release)
        self._queue.waited(self._started - asked)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.release()  # before the last bytes are on their way: the next one need not wait for the network
        await self._send(message)

    def release(self) -> None:
        if self._started is not None:
            self._queue.lanes.release(asyncio.get_running_loop().time() - self._started)
            self._started = None
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        self.release()
        if self._next is not None:
            self._next.cancel()


def _busy(full: Full, path: str) -> JSONResponse:
    message, remedy = f"Lectern is busy: {full.waiting} questions are waiting.", f"Try again in {full.retry_after} s."
    headers = {"Retry-After": str(full.retry_after)}
    if path.startswith("/v1/"):
        from web.v1.errors import error_response

        return error_response(path, 429, message, remedy, headers=headers)
    return JSONResponse({"error": {"message": message, "remedy": remedy}}, 429, headers=headers)
