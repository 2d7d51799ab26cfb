"""Clients of live conversation that are broken, hostile or out of luck are told so, and nobody loses anything."""

# ruff: noqa: F811 (fixtures are imported, and tests name them)

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect, WebSocketState
from test_live_socket import FRAME, LIVE, QUESTION, assistant, client, connect, filled_home  # noqa: F401

from omni.live import outbox
from omni.live.outbox import Outbox
from web import live as web_live
from web.live_messages import Hello
from web.live_sessions import LiveSessions
from web.wiring import Assistant


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (b"\0\0" * 512, "hello"),
        ("{", "no JSON"),
        (json.dumps({"type": "hello", "protocol": 1, "sample_rate": 48_000}), "16000 Hz"),
        (json.dumps({"type": "hello", "protocol": 1, "last_event": -1}), "last_event"),
        (json.dumps({"type": "command", "name": "stop"}), "hello"),
    ],
    ids=["sound", "rubbish", "sample-rate", "number", "control"],
)
def test_what_comes_in_place_of_a_hello_is_refused_with_a_reason(
    client: TestClient, first: str | bytes, told: str
) -> None:
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(first) if isinstance(first, bytes) else socket.send_text(first)
        event = json.loads(socket.receive_text())
        assert event["type"] == "error" and event["fatal"] and told in event["message"] + event["remedy"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4400


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "hello", "protocol": 1}', '{"type": "ping", "id": NaN}', '{"type": "ping", "id": 1e999}',
        '{"type": "ask", "text": "\\ud800"}', '"ask"', "null", "1e999",
        '{"type": "ask", "text": {"a": [[[[]]]]}}', '{"type": "speak", "on": "perhaps"}',
        '{"type": "gap", "samples": -5}',
        '{"type": "played", "speech": 1, "samples": Infinity}', '{"type": "command", "name": "__class__"}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_told_in_valid_json_and_the_next_is_heard(client: TestClient, text: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    with connect(client) as live:
        live.socket.send_text(text)
        live.send(type="ping", id=2**60)
        while True:
            event = json.loads(live.socket.receive_text(), parse_constant=refuse)
            live.events.append(event)
            if event["type"] == "pong":
                break
        assert event["id"] == 2**60
        assert [event["code"] for event in live.events if event["type"] == "error"] == ["bad_message"]


@pytest.mark.parametrize("text", ["   ", "\0\0", "\u202e?!", "x" * 8000, "'; DROP TABLE turns; --", "😀" * 500])
def test_a_question_that_is_none_gets_an_answer_or_an_error_and_the_next_is_answered(
    client: TestClient, text: str
) -> None:
    with connect(client, speak=False) as live:
        live.send(type="ask", text=text)
        live.until("transcript", turn=1)
        live.until("latency", turn=1)
        assert {event["type"] for event in live.events} & {"answer", "error"}
        live.send(type="ask", text=QUESTION)
        assert live.until("answer", turn=2)["answer"]["citations"]


def test_sound_of_another_kind_is_noise_and_does_no_harm(client: TestClient) -> None:
    """float32 taken for int16, single samples, the largest frames, NaN."""
    with connect(client) as live:
        wave = np.sin(np.arange(5120) / 9).astype("<f4")
        for part in np.split(wave, 10):
            live.socket.send_bytes(part.tobytes())
        for _ in range(40):
            live.socket.send_bytes(b"\1\0")
        live.socket.send_bytes(b"\xff\x7f" * 8192)
        live.socket.send_bytes(np.full(512, np.nan, "<f4").tobytes())
        live.say(frames=0, silence=40)
        live.send(type="gap", samples=16_000 * 3600)
        live.send(type="ask", text=QUESTION)
        live.until("answer")


def test_a_flood_is_taken_in_order_and_loses_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more than anybody says: the client is made to wait, what it said last is done."""
    monkeypatch.setattr(web_live, "MAX_BACKLOG", 20)
    with connect(client, speak=False) as live:
        for number in range(300):
            live.socket.send_bytes(FRAME)
            live.send(type="command", name="stop")
            if number % 30 == 0:
                live.send(type="ask", text=f"{QUESTION} {number}")
        live.send(type="ask", text=QUESTION)
        assert live.until("answer", turn=11)["answer"]["citations"]
        session, stops = live.welcome["session"], [e for e in live.events if e["type"] == "recognised"]
        assert len(stops) == 300
    with connect(client, session=session, last_event=live.last_event) as again:
        assert again.welcome["resumed"] and again.welcome["next_sample"] == 300 * 512


def test_messages_from_the_future_do_not_push_out_what_was_said(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "KEPT_EVENTS", 60)
    with connect(client, speak=False) as live:
        live.send(type="ask", text=QUESTION)
        live.until("answer")
        for _ in range(100):
            live.send(type="of the future")
        live.send(type="ping", id="x")
        live.until("pong")
        session = live.welcome["session"]
    with connect(client, session=session, last_event=0) as again:
        assert again.welcome["missed"] is False
        again.until("transcript")
        again.until("answer")


def test_what_is_kept_for_a_lost_client_is_bounded_and_its_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEPT_BYTES", 10_000)
    box = Outbox()
    for _ in range(100):
        last = box.event("text", text="x" * 1000)
    assert box.kept_bytes < 12_000
    reader, missed = box.attach(last_event=last - 3, wake=lambda: None)
    assert not missed and len(reader.take()) == 3
    reader, missed = box.attach(last_event=1, wake=lambda: None)
    assert missed and 5 < len(reader.take()) < 12


def test_reconnecting_again_and_again_leaves_one_session_and_no_thread(client: TestClient) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with connect(client, speak=False) as live:
        session = live.welcome["session"]
        live.send(type="ask", text=QUESTION)
        live.until("transcript")
    for _ in range(30):
        with connect(client, session=session) as live:
            assert live.welcome["resumed"]
    with connect(client, session=session, speak=False) as live:
        live.until("answer")
        assert len(client.app.state.live) == 1  # type: ignore[attr-defined]
        ours = [t.name for t in threading.enumerate() if t.ident not in before and t.name.startswith("live-")]
        assert [name for name in ours if "work" not in name] == [f"live-{session[:6]}"]


def test_a_session_that_was_taken_over_outlives_the_connection_before(client: TestClient) -> None:
    """However the end of the one and the beginning of the other fall together."""
    with connect(client) as live:
        session = live.welcome["session"]
        sessions: LiveSessions = client.app.state.live  # type: ignore[attr-defined]
        assert client.portal is not None
        taken = client.portal.call(sessions.resume, session, "default", "")  # the newer one, not reading yet
    assert taken is not None
    client.portal.call(lambda: None)  # the older one has been left by now
    assert taken.expiry is None and len(sessions) == 1
    client.portal.call(sessions.leave, taken)
    assert taken.expiry is not None  # now nobody has it


def test_a_session_is_not_for_others(client: TestClient) -> None:
    with connect(client) as live:
        sessions: LiveSessions = client.app.state.live  # type: ignore[attr-defined]
        assert client.portal is not None
        resume: Callable[..., Any] = lambda *who: client.portal.call(sessions.resume, *who)  # type: ignore[union-attr]  # noqa: E731
        assert resume(live.welcome["session"], "default", "somebody/else") is None
        assert resume(live.welcome["session"], "other", "") is None


class Deaf:
    """A socket whose client never reads: nothing can be sent, a farewell neither."""

    application_state = WebSocketState.CONNECTED

    def __init__(self) -> None:
        self.closing = False

    async def send_text(self, text: str) -> None:
        await asyncio.Event().wait()

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def close(self, code: int) -> None:
        self.closing = code == web_live.TOO_SLOW
        await asyncio.Event().wait()


def test_a_client_that_never_reads_is_left_and_may_come_back(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_live, "STALL_S", 0.05)
    monkeypatch.setattr(web_live, "CLOSE_S", 0.05)

    async def serve() -> None:
        sessions, deaf = LiveSessions(assistant), Deaf()
        session = await sessions.open("default", "", "")
        connection: Any = web_live._Connection(deaf, sessions, session)  # type: ignore[arg-type]
        await asyncio.wait_for(connection.serve(Hello(type="hello", protocol=1), resumed=False), 60)
        assert deaf.closing and not session.outbox.attached
        assert sessions.resume(session.id, "default", "") is session
        assert len(asyncio.all_tasks()) == 1
        sessions.close()

    asyncio.run(serve())
