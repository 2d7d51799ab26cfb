"""Answers that arrive in pieces: an iterator that blocks, as server-sent events or raw bytes.

The first item is made before the response begins, so that what fails at once (no such model, too many waiting) has a
status of its own; a later failure is the stream's last event. A visitor who leaves ends the work.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import anyio
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from core.errors import LecternError
from web.v1.errors import error_detail

log = logging.getLogger(__name__)
T = TypeVar("T")

KEEP_ALIVE_S = 15.0  # proxies close connections that are silent for longer
_END: Any = object()


def sse(data: Any, event: str = "") -> bytes:
    """One server-sent event; `data` becomes JSON, which has no line breaks."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


async def server_sent(
    path: str,
    events: Iterator[T],
    encode: Callable[[T], bytes],
    *,
    last: bytes = b"",
    fail: Callable[[dict[str, Any]], bytes] = lambda detail: sse({"error": detail}, "error"),
) -> StreamingResponse:
    """Stream `events`, each turned to bytes by `encode`, then `last`; `fail` writes an error ({"message", ...})."""
    first = await _first(events)
    return event_stream(path, _follow(events, first), encode, last=last, fail=fail)


def event_stream(
    path: str,
    events: AsyncIterator[T | None],
    encode: Callable[[T], bytes],
    *,
    last: bytes = b"",
    fail: Callable[[dict[str, Any]], bytes] = lambda detail: sse({"error": detail}, "error"),
) -> StreamingResponse:
    """The same of an iterator that does not block; None among its items only keeps the connection alive."""

    async def body() -> AsyncIterator[bytes]:
        try:
            async for event in events:
                yield b": waiting\n\n" if event is None else encode(event)
            if last:
                yield last
        except Exception as error:
            if not isinstance(error, LecternError):
                log.exception("in the middle of %s", path)
            yield fail(error_detail(path, error))
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # at once, not when it is collected

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body(), media_type="text/event-stream", headers=headers)


async def raw(pieces: Iterator[bytes], media_type: str, **headers: str) -> StreamingResponse:
    """Stream bytes. A failure after the first piece can only break the connection, so it does."""
    first = await _first(pieces)

    async def body() -> AsyncIterator[bytes]:
        async for piece in _follow(pieces, first):
            if piece:
                yield piece

    return StreamingResponse(body(), media_type=media_type, headers={"Cache-Control": "no-store", **headers})


async def _first(items: Iterator[T]) -> T:
    try:
        return await run_in_threadpool(next, items, _END)
    except BaseException:
        await _close(items)
        raise


async def _follow(items: Iterator[T], first: T) -> AsyncIterator[T | None]:
    """`first` and the rest of `items`, made on threads; None whenever nothing has come for a while."""
    item: T | None = first
    waiting: asyncio.Task[T] | None = None
    try:
        while item is not _END:
            yield item
            waiting = asyncio.create_task(run_in_threadpool(next, items, _END))
            while not (await asyncio.wait({waiting}, timeout=KEEP_ALIVE_S))[0]:
                yield None
            item, waiting = waiting.result(), None
    finally:
        with anyio.CancelScope(shield=True):
            if waiting is not None and not waiting.done():  # an iterator cannot be closed while it computes
                await asyncio.wait({waiting})
            await _close(items)


async def _close(items: Iterator[Any]) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        await run_in_threadpool(close)
