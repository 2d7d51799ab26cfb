"""The WebSocket of live conversation over real documents, with scripted ears and voice: protocol, resuming, limits."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import write_lease
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from omni.live import conversation
from omni.live.outbox import HEADER
from omni.types import Hypothesis, Transcript, Waveform
from web import wiring
from web.guard import Guard
from web.live import router
from web.live_answerer import TalkAnswerer
from web.wiring import Assistant, build

LIVE = "ws://127.0.0.1/api/workspaces/default/live"
LIGHT: dict[str, Any] = {"embedder": {"model": "hashing:256"}, "locator": {"model": "sentence"}}
QUESTION = "how long is the notice period of the mill house"
FRAME = np.zeros(512, "<i2").tobytes()
SPEECH = np.full(512, 8000, "<i2").tobytes()


class Ears:
    """Understands the question that the test expects, whatever is said."""

    name = "scripted"
    says = QUESTION

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        return Transcript(self.says, (), waveform.seconds, 0.9)


class Voice:
    name = "scripted"
    sample_rate = 16_000

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        for _ in text.split():
            yield Waveform(np.full(4800, 0.1, np.float32), self.sample_rate)


class Level:
    def __call__(self, frame: np.ndarray) -> float:
        return 0.95 if abs(float(frame[0])) > 0.04 else 0.02


@pytest.fixture(scope="module")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose workspace holds the lease."""
    folder = tmp_path_factory.mktemp("live")
    settings = load_settings(folder / "home", **LIGHT)
    write_lease(folder / "lease.pdf")
    with Workspace.open(settings.home, "default", create=True) as workspace:
        ingest_paths(workspace, [folder / "lease.pdf"], settings=settings)
    return settings.home


@pytest.fixture
def assistant(filled_home: Path, lectern_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Assistant]:
    shutil.copytree(filled_home, lectern_home)
    assistant = build(load_settings(lectern_home, **LIGHT, live={"conversations": 3}))
    ears, voice = Ears(), Voice()
    monkeypatch.setattr(assistant, "recogniser", lambda: ears)
    monkeypatch.setattr(assistant, "synthesiser", lambda: voice)
    monkeypatch.setattr(assistant, "vocabulary", lambda workspace: ())
    monkeypatch.setattr(conversation, "SpeechProbability", Level)
    assistant.ready.set()
    yield assistant
    assistant.close()


@pytest.fixture
def client(assistant: Assistant) -> Iterator[TestClient]:
    app = FastAPI()
    app.state.assistant = assistant
    app.add_middleware(Guard, local_only=True)
    app.include_router(router)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
        if getattr(app.state, "live", None) is not None:
            app.state.live.close()


class Live:
    """One client: sends, and keeps what it receives."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.chunks: list[tuple[int, int, int]] = []  # speech, chunk, start
        self.samples: dict[int, int] = {}
        self.welcome: dict[str, Any] = {}

    def say(self, frames: int = 20, silence: int = 25) -> None:
        for _ in range(frames):
            self.socket.send_bytes(SPEECH)
        for _ in range(silence):
            self.socket.send_bytes(FRAME)

    def send(self, **message: Any) -> None:
        self.socket.send_text(json.dumps(message))

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next event of this kind; what is played is reported at once."""
        while True:
            frame = self.socket.receive()
            if frame["type"] == "websocket.close":
                raise WebSocketDisconnect(frame["code"], "closed")
            if frame.get("bytes") is not None:
                _, _, _, speech, chunk, _, start = HEADER.unpack_from(frame["bytes"])
                self.chunks.append((speech, chunk, start))
                self.samples[speech] = start + (len(frame["bytes"]) - HEADER.size) // 2
                continue
            event = json.loads(frame["text"])
            self.events.append(event)
            if event["type"] == "speech_end":
                self.send(type="played", speech=event["speech"], samples=event["samples"], playing=False)
            if event["type"] == kind and all(event.get(name) == value for name, value in fields.items()):
                return event

    @property
    def last_event(self) -> int:
        return max(event.get("n", 0) for event in self.events)


@contextmanager
def connect(client: TestClient, url: str = LIVE, **hello: Any) -> Iterator[Live]:
    with client.websocket_connect(url) as socket:
        live = Live(socket)
        live.send(type="hello", protocol=1, **hello)
        live.welcome = json.loads(socket.receive_text())
        assert live.welcome["type"] == "welcome", live.welcome
        yield live


def test_a_spoken_question_is_answered_aloud_from_the_documents(client: TestClient) -> None:
    with connect(client) as live:
        assert live.welcome["resumed"] is False and live.welcome["next_sample"] == 0
        live.say(silence=6)  # 160 ms: what is said so far is looked up
        assert live.until("looking")["hits"][0]["document"] == "lease.pdf"
        live.say(frames=0)
        answer = live.until("answer")["answer"]
        assert answer["citations"][0]["page"] == 2 and answer["citations"][0]["sheets"] is True
        assert live.until("heard")["complete"]
        kinds = [event["type"] for event in live.events]
        for earlier, later in [("hearing", "end_of_turn"), ("end_of_turn", "transcript"), ("transcript", "answer")]:
            assert kinds.index(earlier) < kinds.index(later)
        assert [chunk for _, chunk, _ in live.chunks] == list(range(len(live.chunks)))
        record = live.until("latency") if "latency" not in kinds else live.events[kinds.index("latency")]
        assert record["speculation"] == "kept"
        live.send(type="ping", id=5)
        assert live.until("pong")["id"] == 5


def test_the_turn_is_kept_in_a_stored_conversation(client: TestClient, assistant: Assistant) -> None:
    with connect(client) as live:
        live.say()
        stored = live.until("conversation")["id"]
        live.until("heard")
    turns = assistant.talk("default", stored).turns()
    assert [turn.question for turn in turns] == [QUESTION] and not turns[0].details.get("interrupted")
    with connect(client, conversation=stored) as live:
        assert live.welcome["conversation"] == stored


def test_what_was_looked_up_is_the_answer_to_all_that_asks_the_same(assistant: Assistant) -> None:
    """The last pass of a recogniser writes names and endings otherwise than what was looked up before it."""
    asked = "What is the notice period of the Mill House?"
    other = Hypothesis("What is the notice period of the Will How?", 0.0)
    for heard, cached in (
        (Transcript(asked, (), 2.0, 0.9, (Hypothesis(asked, 0.0),)), True),
        (Transcript(asked, (), 2.0, 0.9, (Hypothesis(asked, 0.0), replace(other, score=-3.0))), True),
        (Transcript(asked, (), 2.0, 0.9, (Hypothesis(asked, 0.0), other)), False),  # it may as well have been that
        (Transcript("Who may end the notice period of the Mill House?", (), 2.0), False),
    ):
        answerer = TalkAnswerer(assistant, "default")
        assert answerer.look(Transcript("what was the notice periods of a mill house", (), 2.0))
        [answer] = [event.answer for event in answerer.ask(heard) if event.answer is not None]
        assert answer.cached is cached and answer.question == heard.text, heard


def test_free_memory_is_given_back_after_answers_that_were_said(
    client: TestClient, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(wiring, "TIDY_S", 0.05)
    monkeypatch.setattr(wiring, "release_memory", released.set)
    threading.Thread(target=assistant._tidy, daemon=True).start()  # until the assistant is closed
    with connect(client) as live:
        live.say()
        live.until("latency", turn=1)
        assert released.wait(60)


def test_a_corrected_turn_leaves_the_stored_conversation(client: TestClient, assistant: Assistant) -> None:
    with connect(client) as live:
        live.say()
        stored = live.until("conversation")["id"]
        live.until("heard")
        live.send(type="correct", turn=1, text="How long is the lease?")
        live.until("heard", turn=2)
    assert [turn.question for turn in assistant.talk("default", stored).turns()] == ["How long is the lease?"]


def test_an_interrupted_answer_is_kept_as_far_as_it_was_played(client: TestClient, assistant: Assistant) -> None:
    with connect(client) as live:
        live.say()
        spoken = live.until("sentence")["text"]
        live.until("answer")
        live.send(type="played", speech=1, samples=3 * 4800, playing=True)
        live.send(type="command", name="stop")
        heard = live.until("heard")
        assert not heard["complete"] and spoken.startswith(heard["text"]) and 1 <= len(heard["text"].split()) <= 4
        stored = next(event["id"] for event in live.events if event["type"] == "conversation")
    assert assistant.talk("default", stored).turns()[0].answer == heard["text"]


def test_a_lost_connection_is_resumed_where_it_was(client: TestClient) -> None:
    with connect(client) as live:
        live.say(silence=4)  # lost in the middle of a turn
        live.until("hearing")
        session, last = live.welcome["session"], live.last_event
        live.send(type="ping", id=1)
        live.until("pong")
    with connect(client, session=session, last_event=last) as again:
        assert again.welcome["resumed"] and again.welcome["session"] == session
        assert again.welcome["next_sample"] == 24 * 512
        again.say(frames=0)
        again.until("transcript")
        again.until("heard")
        assert again.until("state", state="listening")
        numbers = [event["n"] for event in again.events if event["type"] not in ("state", "pong")]
        assert min(numbers) > last and numbers == sorted(set(numbers))


def test_after_a_reload_everything_is_told_again(client: TestClient) -> None:
    with connect(client) as live:
        live.say()
        live.until("heard")
        session = live.welcome["session"]
    with connect(client, session=session, last_event=0) as again:
        assert again.until("transcript")["text"] == QUESTION
        again.until("answer")
        again.until("heard")


def test_a_session_belongs_to_its_newest_connection(client: TestClient) -> None:
    with connect(client) as live:
        session = live.welcome["session"]
        with connect(client, session=session) as newer:
            assert newer.welcome["resumed"]
            with pytest.raises(WebSocketDisconnect) as closed:
                live.until("never")
            assert closed.value.code == 4409
            newer.send(type="ask", text=QUESTION)
            newer.until("answer")


def test_an_unknown_session_is_a_new_one(client: TestClient) -> None:
    with connect(client, session="guessed", last_event=7) as live:
        assert not live.welcome["resumed"] and live.welcome["session"] != "guessed"


def test_a_session_that_was_ended_cannot_be_resumed(client: TestClient) -> None:
    with connect(client) as live:
        session = live.welcome["session"]
        live.send(type="bye")
        with pytest.raises(WebSocketDisconnect) as closed:
            live.until("never")
        assert closed.value.code == 1000
    with connect(client, session=session) as live:
        assert not live.welcome["resumed"]


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 16_386])
def test_bad_sound_frames_are_told_and_do_no_harm(client: TestClient, data: bytes) -> None:
    with connect(client) as live:
        live.socket.send_bytes(data)
        assert live.until("error")["code"] == "bad_frame"
        live.send(type="ask", text=QUESTION)
        live.until("answer")


@pytest.mark.parametrize(
    "text",
    [
        "no json", "[]", "{}", '{"type": "ask"}', '{"type": "ask", "text": ""}', "[" * 5000,
        '{"type": "played", "speech": -1, "samples": 0}', '{"type": "gap", "samples": 1e300}', '{"type": "talk"}',
        '{"type": "first_played", "speech": 1, "turn": 1, "after_speech_end_ms": NaN}',
        '{"type": "ask", "text": "' + "x" * 70_000 + '"}', '{"type": "mode", "mode": "loud"}',
    ],
)  # fmt: skip
def test_bad_messages_are_told_and_do_no_harm(client: TestClient, text: str) -> None:
    with connect(client) as live:
        live.socket.send_text(text)
        assert live.until("error")["code"] == "bad_message"
        live.send(type="ping")
        live.until("pong")


def test_messages_about_what_does_not_exist_do_no_harm(client: TestClient) -> None:
    with connect(client) as live:
        live.send(type="played", speech=99, samples=10**9)
        live.send(type="first_played", speech=99, turn=99, after_speech_end_ms=1.0)
        live.send(type="stopped", speech=99, after_speech_start_ms=1.0)
        live.send(type="talk", down=False)
        live.send(type="gap", samples=5000)
        live.send(type="of the future", x=1)
        assert live.until("error")["code"] == "unknown_message"
        live.send(type="correct", turn=99, text=QUESTION)
        live.until("answer")


def test_a_client_that_sends_nothing_but_rubbish_is_closed(client: TestClient) -> None:
    with connect(client) as live:
        for _ in range(20):
            live.socket.send_bytes(b"x")
        with pytest.raises(WebSocketDisconnect) as closed:
            live.until("never")
        assert closed.value.code == 1008


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"type": "ask", "text": "x"}, 4400),
        ({"type": "hello", "protocol": 2}, 4400),
        ({"type": "hello", "protocol": 1, "conversation": "unknown"}, 4404),
    ],
)
def test_a_wrong_beginning_is_refused_with_a_reason(client: TestClient, hello: dict[str, Any], code: int) -> None:
    with client.websocket_connect(LIVE) as socket:
        socket.send_text(json.dumps(hello))
        event = json.loads(socket.receive_text())
        assert event["type"] == "error" and event["fatal"] and event["message"] and event["remedy"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == code


def test_an_unknown_workspace_is_refused(client: TestClient) -> None:
    with client.websocket_connect(LIVE.replace("default", "nowhere")) as socket:
        socket.send_text(json.dumps({"type": "hello", "protocol": 1}))
        assert "nowhere" in json.loads(socket.receive_text())["message"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
    ],
)
def test_another_site_or_name_does_not_get_in(client: TestClient, headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(LIVE, headers=headers) as socket,
    ):
        socket.receive_text()


def test_the_pages_own_origin_gets_in(client: TestClient) -> None:
    with client.websocket_connect(LIVE, headers={"origin": "http://127.0.0.1"}) as socket:
        socket.send_text(json.dumps({"type": "hello", "protocol": 1}))
        assert json.loads(socket.receive_text())["type"] == "welcome"


def test_more_conversations_than_the_server_takes_are_told_so_and_absent_ones_make_room(client: TestClient) -> None:
    with connect(client), connect(client):
        with connect(client), client.websocket_connect(LIVE) as socket:
            socket.send_text(json.dumps({"type": "hello", "protocol": 1}))
            assert "Try again" in json.loads(socket.receive_text())["remedy"]
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_text()
            assert closed.value.code == 4429
        with connect(client) as live:  # one has left
            live.send(type="ask", text=QUESTION)
            live.until("answer")


def test_two_talk_at_once_and_get_their_own_answers(client: TestClient) -> None:
    answers: dict[int, str] = {}

    def talk(number: int) -> None:
        with connect(client) as live:
            question = f"{QUESTION} {'and who is the landlord' if number else ''}".strip()
            live.send(type="ask", text=question)
            live.until("answer")
            answers[number] = next(event["text"] for event in live.events if event["type"] == "transcript")

    threads = [threading.Thread(target=talk, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {0: QUESTION, 1: f"{QUESTION} and who is the landlord"}


def test_conversations_leave_no_thread_behind(client: TestClient) -> None:
    before = set(threading.enumerate())  # scenes of other tests in this process may still be speaking

    def ours() -> list[str]:
        new = [thread.name for thread in threading.enumerate() if thread not in before]
        return [name for name in new if name.startswith("live-") and "work" not in name]

    for _ in range(3):
        with connect(client) as live:
            live.say()
            live.until("answer")
            live.send(type="bye")
            with pytest.raises(WebSocketDisconnect):
                live.until("never")
    deadline = time.monotonic() + 5
    while ours() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ours() == []
