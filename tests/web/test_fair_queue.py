"""Turns: as many at once as allowed, visitors in rotation, busy beyond the limits, nobody kept waiting by the slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from web.fair_queue import FairQueue, Full, Lanes

ASK = "/api/workspaces/default/ask"


class Service:
    """An app whose answers end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.end: dict[str, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        name = scope["query_string"].decode()
        self.begun.append(name)
        await self.end.setdefault(name, asyncio.Event()).wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})

    def finish(self, name: str) -> None:
        self.end.setdefault(name, asyncio.Event()).set()


class Caller:
    """One request."""

    def __init__(self, queue: FairQueue, name: str, *, address: str = "a", path: str = ASK, slow: bool = False) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        if not slow:
            self.complete()
        scope: dict[str, Any] = {
            "type": "http", "method": "POST", "path": path, "query_string": name.encode(), "headers": [],
            "client": (address, 1),
        }  # fmt: skip
        self.task = asyncio.ensure_future(queue(scope, self.messages.get, self._send))

    def complete(self) -> None:
        self.messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 10)

    with ThreadPoolExecutor(1) as fresh:  # where the browser tests ran before, this thread has a loop already
        fresh.submit(lambda: asyncio.run(bounded())).result()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_only_so_many_run_at_once_and_the_next_starts_when_one_is_done() -> None:
    async def scenario() -> None:
        service = Service()
        queue = FairQueue(service, lanes=Lanes(2))
        callers = [Caller(queue, str(n)) for n in range(4)]
        await settle()
        assert service.begun == ["0", "1"]
        service.finish("1")
        await settle()
        assert service.begun == ["0", "1", "2"]
        for n in "023":
            service.finish(n)
        await asyncio.gather(*(caller.task for caller in callers))
        assert [caller.status for caller in callers] == [200] * 4
        assert (queue.lanes.running, queue.lanes.waiting) == (0, 0)

    run(scenario)


def test_visitors_take_turns_however_much_one_of_them_asks() -> None:
    async def scenario() -> None:
        service = Service()
        queue = FairQueue(service, lanes=Lanes(1))
        callers = [Caller(queue, f"a{n}", address="a") for n in range(4)]
        await settle()
        callers += [Caller(queue, f"b{n}", address="b") for n in range(2)]
        for _ in range(6):
            await settle()
            service.finish(service.begun[-1])
        await asyncio.gather(*(caller.task for caller in callers))
        assert service.begun == ["a0", "a1", "b0", "a2", "b1", "a3"]

    run(scenario)


@pytest.mark.parametrize("path", [ASK, "/v1/chat/completions", "/v1/workspaces/default/search"])
def test_beyond_the_limit_it_says_busy_and_when_to_come_back(path: str) -> None:
    async def scenario() -> None:
        service = Service()
        queue = FairQueue(service, lanes=Lanes(1, waiting=2))
        callers = [Caller(queue, str(n), path=path) for n in range(3)]
        await settle()
        late = Caller(queue, "late", path=path)
        await late.task
        assert late.status == 429
        headers = {key.decode().lower(): value.decode() for key, value in late.sent[0]["headers"]}
        assert int(headers["retry-after"]) >= 1
        assert b"busy" in late.sent[1]["body"]
        for n in "012":
            service.finish(n)
        await asyncio.gather(*(caller.task for caller in callers))
        assert service.begun == ["0", "1", "2"]

    run(scenario)


def test_one_visitor_cannot_fill_the_queue() -> None:
    async def scenario() -> None:
        lanes = Lanes(1, waiting=10, each=1)
        await lanes.take("a")
        waiting = asyncio.ensure_future(lanes.take("a"))
        await settle()
        with pytest.raises(Full):
            lanes.check_room("a")
        lanes.check_room("b")
        lanes.release(0.1)
        await waiting

    run(scenario)


def test_a_slow_sender_holds_no_turn() -> None:
    async def scenario() -> None:
        service = Service()
        queue = FairQueue(service, lanes=Lanes(1))
        slow, quick = Caller(queue, "slow", slow=True), Caller(queue, "quick")
        service.finish("quick")
        await quick.task
        assert service.begun == ["quick"]
        slow.complete()
        service.finish("slow")
        await slow.task
        assert slow.status == 200

    run(scenario)


def test_who_leaves_while_waiting_frees_the_place() -> None:
    async def scenario() -> None:
        service = Service()
        queue = FairQueue(service, lanes=Lanes(1))
        first, leaver, last = (Caller(queue, name) for name in ("first", "leaver", "last"))
        await settle()
        leaver.leave()
        await leaver.task
        for name in ("first", "last"):
            service.finish(name)
        await asyncio.gather(first.task, last.task)
        assert service.begun == ["first", "last"]
        assert (queue.lanes.running, queue.lanes.waiting) == (0, 0)

    run(scenario)


def test_what_costs_little_never_waits() -> None:
    async def scenario() -> None:
        service = Service()
        queue = FairQueue(service, lanes=Lanes(1))
        asked = Caller(queue, "ask")
        listed = Caller(queue, "list", path="/api/workspaces/default/sessions")
        await settle()
        assert set(service.begun) == {"ask", "list"}
        for name in ("ask", "list"):
            service.finish(name)
        await asyncio.gather(asked.task, listed.task)

    run(scenario)
