"""JSON that is bounded before it is parsed, and addresses that answer HEAD and OPTIONS.

A body of a hundred thousand brackets is small, yet it exhausts the stack of whatever walks through it. `BoundedRoute`
counts the nesting with one regular expression that knows strings and never backtracks; sizes are bounded by FastAPI's
own `max_body_size`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.v1.errors import error_response

MAX_DEPTH = 32  # brackets within brackets; the deepest request that is understood has five

# A string is swallowed whole, closed or not (possessive: no way back, hence linear in the length of any body).
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def depth(body: bytes, limit: int = MAX_DEPTH) -> int:
    """How deep the brackets of a JSON text are nested; counting stops beyond `limit`."""
    deepest = now = 0
    for match in _TOKEN.finditer(body):
        token = body[match.start()]
        if token in b"[{":
            now += 1
            deepest = max(deepest, now)
            if deepest > limit:
                break
        elif token in b"]}":
            now -= 1
    return deepest


class BoundedRequest(Request):
    async def json(self) -> Any:
        if depth(await self.body()) > MAX_DEPTH:
            # FastAPI passes on an HTTPException only; anything else while a body is read becomes its own words.
            raise HTTPException(400, f"The JSON is nested deeper than {MAX_DEPTH} levels, which no request needs")
        return await super().json()


class BoundedRoute(APIRoute):
    """A route whose JSON body may not be nested deeper than MAX_DEPTH: `APIRouter(route_class=BoundedRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(BoundedRequest(request.scope, request.receive))

        return bounded


class HeadAndOptions:
    """ASGI middleware around the API: HEAD is GET without the body, OPTIONS names the methods of an address."""

    def __init__(self, app: ASGIApp, *, router: Router) -> None:
        self.app = app
        self.router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        allowed = self.methods(scope)
        if scope["method"] == "OPTIONS" and allowed:
            await Response(status_code=204, headers={"Allow": ", ".join(allowed)})(scope, receive, send)
            return

        replaced = False

        async def in_our_words(message: Message) -> None:
            nonlocal replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] == 405 and allowed:
                    headers["Allow"] = ", ".join(allowed)  # Starlette names one route's only
                if message["status"] == 413 and headers.get("content-type", "").startswith("text/plain"):
                    # A body whose announced length is too large is refused before any handler of errors sees it.
                    replaced = True
                    remedy = "Send less at once, or raise ingest.max_file_mb for documents"
                    answer = error_response(scope["path"], 413, "the body is larger than this address takes", remedy)
                    await answer(scope, receive, send)
                    return
            await send(message)

        if scope["method"] == "HEAD":
            await self._head(scope, receive, in_our_words)
        else:
            await self.app(scope, receive, in_our_words)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        finished = False

        async def send_head(message: Message) -> None:
            nonlocal finished
            if finished:
                raise OSError("a HEAD request has been answered")  # ends streams, as a visitor who has gone does
            if message["type"] == "http.response.body":
                finished = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self.app({**scope, "method": "GET"}, receive, send_head)
        except (ClientDisconnect, OSError):
            if not finished:
                raise

    def methods(self, scope: Scope) -> list[str]:
        """What the address of a request understands, HEAD and OPTIONS included; [] for no address of ours."""
        found = [
            method
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
            if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in self.router.routes)
        ]
        return [*(["HEAD"] if "GET" in found else []), *found, "OPTIONS"] if found else []
