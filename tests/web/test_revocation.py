"""What lasts ends soon after its login, key or role is taken away: conversations, event streams, answers under way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from core.settings import ServerSettings
from web.accounts import passwords
from web.accounts.accounts import Accounts
from web.accounts.middleware import AccountsMiddleware

PASSWORD = "correct horse battery"
WAIT_S = 20.0  # far more than a busy machine needs; what never ends fails by this


def in_fresh_thread(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Where browser tests ran before, this thread has a running loop already."""
    with ThreadPoolExecutor(1) as fresh:
        fresh.submit(lambda: asyncio.run(run())).result()


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accounts]:
    """anna: admin; mia: member of lease. Looked at twenty times a second instead of every two seconds."""
    monkeypatch.setattr(passwords, "COST", 16)  # what is tried here does not depend on it
    accounts = Accounts(tmp_path, ServerSettings(recheck_s=0.05))
    accounts.users.add("anna", PASSWORD, admin=True)
    accounts.users.add("mia", PASSWORD, grants={"lease": "member"})
    yield accounts
    accounts.close()


class Endless:
    """An application whose answers never end by themselves, whatever they are."""

    def __init__(self, media_type: str, *, begins: bool = True) -> None:
        self.media_type, self.begins = media_type, begins
        self.left = False  # it has tidied up behind itself

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                while (await receive())["type"] != "websocket.disconnect":
                    pass
                return
            if self.begins:
                headers = [(b"content-type", self.media_type.encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            while True:
                if self.begins:
                    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            self.left = True


class Client:
    """One request or WebSocket to the middleware, without a server in between."""

    def __init__(
        self, accounts: Accounts, app: Endless, path: str, cookie: str = "", key: str = "", kind: str = "http"
    ):
        self.heard: list[Message] = []
        self._changed = asyncio.Event()
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"})
        headers = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")]
        headers += [(b"cookie", f"lectern_login={cookie}".encode())] if cookie else []
        headers += [(b"authorization", f"Bearer {key}".encode())] if key else []
        scope = {
            "type": kind, "path": path, "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1),
            "scheme": "http" if kind == "http" else "ws", **({"method": "GET"} if kind == "http" else {}),
        }  # fmt: skip
        middleware = AccountsMiddleware(app, accounts=accounts)
        self.task = asyncio.ensure_future(middleware(scope, self.inbox.get, self._hear))

    async def _hear(self, message: Message) -> None:
        self.heard.append(message)
        self._changed.set()

    async def begun(self) -> None:
        await asyncio.wait_for(self._changed.wait(), WAIT_S)

    async def ended(self) -> None:
        await asyncio.wait_for(self.task, WAIT_S)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)


def cookie_of(accounts: Accounts, name: str) -> str:
    return accounts.logins.start(accounts.users.get(name))


def test_an_event_stream_ends_with_the_reason_when_its_login_ends(accounts: Accounts) -> None:
    async def run() -> None:
        cookie, app = cookie_of(accounts, "mia"), Endless("text/event-stream; charset=utf-8")
        client = Client(accounts, app, "/v1/workspaces/lease/documents/lease.txt/events", cookie)
        await client.begun()
        accounts.logins.end(cookie)
        await client.ended()
        assert app.left and client.heard[-1]["more_body"] is False
        event, data = client.body.decode().strip().split("\n")[-2:]
        assert event == "event: error"
        assert "login has ended" in json.loads(data.removeprefix("data: "))["error"]["message"]

    in_fresh_thread(run)


def test_a_stream_of_lines_ends_with_an_error_line(accounts: Accounts) -> None:
    async def run() -> None:
        text, key = accounts.keys.add("mia", role="reader")
        client = Client(accounts, Endless("application/x-ndjson"), "/api/workspaces/lease/documents", key=text)
        await client.begun()
        accounts.keys.revoke(key.id)
        await client.ended()
        last = json.loads(client.body.splitlines()[-1])
        assert last["type"] == "error" and "not valid any more" in last["error"]["message"]

    in_fresh_thread(run)


def test_sound_that_is_cut_short_does_not_look_whole(accounts: Accounts) -> None:
    async def run() -> None:
        cookie = cookie_of(accounts, "mia")
        client = Client(accounts, Endless("audio/wav"), "/api/workspaces/lease/documents", cookie)
        await client.begun()
        accounts.users.remove("mia")
        await client.ended()
        assert all(message.get("more_body", True) for message in client.heard)

    in_fresh_thread(run)


def test_an_answer_that_has_not_begun_becomes_a_refusal(accounts: Accounts) -> None:
    async def run() -> None:
        text, key = accounts.keys.add("mia", role="reader")
        app = Endless("text/plain", begins=False)
        client = Client(accounts, app, "/mcp", key=text)
        await asyncio.sleep(0.2)
        assert not client.heard
        accounts.keys.revoke(key.id)
        await client.ended()
        assert client.heard[0]["status"] == 401 and app.left

    in_fresh_thread(run)


@pytest.mark.parametrize(
    ("how", "code"), [("login", 4401), ("user", 4401), ("role", 4404), ("key", 4401), ("password", 4401)]
)
def test_a_websocket_is_closed_and_its_application_told(accounts: Accounts, how: str, code: int) -> None:
    async def run() -> None:
        app, cookie, (text, key) = Endless(""), cookie_of(accounts, "mia"), accounts.keys.add("mia")
        who = {"key": text} if how == "key" else {"cookie": cookie}
        client = Client(accounts, app, "/api/workspaces/lease/live", kind="websocket", **who)
        await client.begun()
        {
            "login": lambda: accounts.logins.end(cookie),
            "user": lambda: accounts.users.remove("mia"),
            "role": lambda: accounts.users.change("mia", grants={"vault": "reader"}),
            "key": lambda: accounts.keys.revoke(key.id),
            "password": lambda: accounts.users.set_password("mia", "another correct horse"),
        }[how]()
        await client.ended()
        assert [message["type"] for message in client.heard] == ["websocket.accept", "websocket.close"]
        assert client.heard[-1]["code"] == code and 0 < len(client.heard[-1]["reason"].encode()) <= 123
        assert app.left
        assert accounts.audit.latest(1)[0][1].outcome == f"ended: {code - 4000}"

    in_fresh_thread(run)


def test_what_may_stay_stays_and_looking_is_no_use_of_a_login(accounts: Accounts) -> None:
    """A stream that nobody reads keeps no login alive; a conversation in which somebody speaks does."""

    async def used_at(wanted: float) -> None:
        async with asyncio.timeout(WAIT_S):
            while accounts.database.row("SELECT MAX(seen_at) FROM logins")[0] != wanted:
                await asyncio.sleep(0.01)

    async def run() -> None:
        clock = [accounts.logins._clock()]
        accounts.logins._clock = lambda: clock[0]
        cookie = cookie_of(accounts, "mia")
        stream = Client(accounts, Endless("text/event-stream"), "/api/workspaces/lease/documents", cookie)
        talk = Client(accounts, Endless(""), "/api/workspaces/lease/live", cookie, kind="websocket")
        await talk.begun()
        for _ in range(3):
            clock[0] += 11 * 3600.0
            talk.inbox.put_nowait({"type": "websocket.receive", "text": "{}"})
            await used_at(clock[0])
            assert not talk.task.done() and not stream.task.done()
        clock[0] += 13 * 3600.0
        await talk.ended()
        await stream.ended()

    in_fresh_thread(run)
