"""`engine = "omni"` through the whole app, with the tiny golden model: its words are nonsense; what it is given, and
what becomes of its answer, is not."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import app
from core.errors import AudioError, ModelError
from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from omni.download import LICENCE
from omni.engine import OmniEngine, load_engine
from omni.espeak import espeak
from omni.types import Transcript, Waveform
from web import speech
from web.server import build_app
from web.wiring import Assistant, build

GOLDEN = Path(__file__).parents[1] / "golden" / "llama_omni_tiny"
OMNI = {
    "checkpoint": str(GOLDEN / "checkpoint"),
    "whisper": str(GOLDEN / "whisper_encoder_openai.safetensors"),  # no decoder: speech.recogniser writes down
    "vocoder": str(GOLDEN),
    "tokenizer": str(GOLDEN / "tokenizer"),
    "max_new_tokens": 24,
    "context_tokens": 1200,  # the toy tokenizer has a token for each byte
    "real_length": True,
    "repetition_penalty": 1.5,  # else it says one word for ever, whatever it is given
}
EMBEDDER = {"model": "hashing:256"}
LEASE = "The rent is due on the first of June. The deposit is 900 euros and is paid back in July.\n"
QUESTION = "When is the rent due?"


class Ears:
    """Hears what it is told to, whatever the recording."""

    name = "ears"

    def __init__(self, text: str = QUESTION) -> None:
        self.text = text

    def transcribe(self, waveform: Waveform, *, vocabulary: Any = ()) -> Transcript:
        return Transcript(self.text, (), waveform.seconds)


def spoken(words: str, seconds: float = 1.6) -> Waveform:
    samples = espeak().synthesise(words, voice="en-us", rate=1.0)
    return Waveform(samples[: int(seconds * espeak().sample_rate)], espeak().sample_rate)


def wav(waveform: Waveform) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(waveform.sample_rate)
        out.writeframes((waveform.samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OmniEngine:
    return load_engine(load_settings(tmp_path_factory.mktemp("home"), engine="omni", device="cpu", omni=OMNI))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, engine: OmniEngine) -> Iterator[Callable[..., Assistant]]:
    """An assistant over a workspace that holds one text; the model is loaded once for all of them."""
    made: list[Assistant] = []

    def make_one(text: str = LEASE, heard: str = QUESTION) -> Assistant:
        home = tmp_path_factory.mktemp("home")
        settings = load_settings(
            home, engine="omni", device="cpu", omni=OMNI, embedder=EMBEDDER, locator={"model": "sentence"}
        )
        with Workspace.open(home) as workspace:
            if text:
                (home / "lease.txt").write_text(text)
                ingest_paths(workspace, [home / "lease.txt"], settings=settings)
        assistant = build(settings)
        assistant._once("omni", "", lambda: engine)
        assistant._once("recogniser", "", lambda: Ears(heard))
        made.append(assistant)
        return assistant

    yield make_one
    for assistant in made:
        assistant.close()


@pytest.fixture(scope="module")
def client(make: Callable[..., Assistant]) -> Iterator[TestClient]:
    assistant = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assistant, "_warm_up", assistant.ready.set)
        patch.setattr(assistant.inbox, "_settled", lambda workspace: None)
        with TestClient(build_app(assistant), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            yield client


def talk(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    """Ask through the page's route; the events of its stream."""
    response = client.post("/api/workspaces/default/ask", json=body)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def said(events: list[Any]) -> str:
    return "".join(event.text for event in events)


# ---- the page


def test_recording_becomes_streamed_text_sound_and_a_cited_answer(client: TestClient) -> None:
    recording = base64.b64encode(wav(spoken(QUESTION))).decode()
    events = talk(client, recording=recording, speak=True, history=[["user", "Hello"], ["assistant", "Hello."]])
    kinds = [event["type"] for event in events]
    assert events[0] == {"type": "heard", "text": QUESTION}
    assert kinds[-1] == "answer" and kinds.count("answer") == 1 and kinds.count("audio") > 1
    assert kinds.index("audio") < len(kinds) - 1 - kinds[::-1].index("text"), "sound waited for the text"
    answer = events[-1]["answer"]
    assert (answer["question"], answer["model"]) == (QUESTION, "omni:checkpoint")
    assert answer["answer"] and answer["answer"] == "".join(e["text"] for e in events if e["type"] == "text")
    assert answer["citations"] == [e["citation"] for e in events if e["type"] == "citation"]
    assert all(citation["document"] == "lease.txt" for citation in answer["citations"])
    samples = sum(len(base64.b64decode(e["pcm"])) // 2 for e in events if e["type"] == "audio")
    assert samples > events[kinds.index("audio")]["sample_rate"] // 2


def test_page_tells_the_licence_and_takes_one_kind_of_question(client: TestClient, lectern_home: Path) -> None:
    page = client.get("/").text
    assert "research only" in page and "research only" in LICENCE
    for body in ({}, {"question": "a", "recording": "UklGRg=="}, {"recording": "abc"}):
        response = client.post("/api/workspaces/default/ask", json=body)
        assert response.status_code == 400 and response.json()["error"]["remedy"]
    assert talk(client, recording="UklGRg==")[-1]["type"] == "error"  # no sound
    cascade = build(load_settings(lectern_home))
    assert cascade.licence == ""
    assert "research only" not in TestClient(build_app(cascade), base_url="http://127.0.0.1").get("/").text


def test_written_questions_are_answered_by_the_model_too(client: TestClient) -> None:
    for speak in (False, True):
        events = talk(client, question=QUESTION, speak=speak)
        assert events[-1]["answer"]["model"] == "omni:checkpoint"
        assert any(event["type"] == "audio" for event in events) is speak


def test_answers_are_read_aloud_by_the_models_voice(client: TestClient, engine: OmniEngine) -> None:
    body = {"answer": "The rent is due."}
    response = client.post("/api/workspaces/default/speak", json=body)
    events = [json.loads(line) for line in response.text.splitlines()]
    assert events and {event["type"] for event in events} == {"audio"}
    assert {event["sample_rate"] for event in events} == {engine.sample_rate}


# ---- what the model is given


def test_sound_and_documents_both_reach_the_model(make: Callable[..., Assistant]) -> None:
    """The same words heard: another recording, and another document, make another answer."""
    first = make()
    one = said(list(first.converse(spoken(QUESTION), "default", speak=False)))
    assert one and one == said(list(first.converse(spoken(QUESTION), "default", speak=False)))
    assert one != said(list(first.converse(spoken("Tell me of the sea, and of boats."), "default", speak=False)))
    other = make("Rent: the sum of 12 guineas is due when the geese fly south in the autumn of each year.")
    assert one != said(list(other.converse(spoken(QUESTION), "default", speak=False)))


def test_empty_workspace_is_told_not_guessed(make: Callable[..., Assistant]) -> None:
    empty = make("")
    events = list(empty.converse(spoken(QUESTION), "default", speak=False))
    assert events[0].transcript is not None and "no documents" in said(events)
    assert next(event.answer for event in events if event.answer).refused


def test_nothing_heard_is_an_error(make: Callable[..., Assistant]) -> None:
    with pytest.raises(AudioError, match="no speech"):
        list(make(heard="").converse(spoken(QUESTION), "default"))


def test_one_object_takes_every_part(make: Callable[..., Assistant], monkeypatch: pytest.MonkeyPatch) -> None:
    """Generator, voice and, where its Whisper is whole, ears: loaded once."""
    assistant = make()
    omni = assistant.omni()
    assert assistant.omni() is omni and assistant.synthesiser() is omni
    assert assistant.engine("default").generator is omni
    assert isinstance(assistant.recogniser(), Ears)
    monkeypatch.setattr(omni, "transcriber", Ears())
    assert assistant.recogniser() is omni


# ---- stopping


def test_leaving_stops_at_once_and_frees_the_model(
    make: Callable[..., Assistant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The visitor leaves after the first piece of text: nothing is computed any more, and the next one is served."""
    assistant = make()
    llm = assistant.omni().pipeline.llm
    steps, logits = 0, llm.logits

    def counting(hidden: Any) -> Any:
        nonlocal steps
        steps += 1
        return logits(hidden)

    monkeypatch.setattr(llm, "logits", counting)
    events = speech.answer_events(assistant, "", "default", speak=True, recording=wav(spoken(QUESTION)))
    for event in events:
        if event["type"] == "text":
            break
    started = time.perf_counter()
    events.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - started < 1
    stopped_at = steps
    assert 0 < stopped_at < 10  # of 24
    time.sleep(0.2)
    assert steps == stopped_at
    assert list(assistant.converse(QUESTION, "default", speak=False))[-1].done


def test_cancel_ends_the_stream(make: Callable[..., Assistant]) -> None:
    cancel, events = threading.Event(), []
    for event in make().converse(QUESTION, "default", cancel=cancel):
        events.append(event)
        if event.text:
            cancel.set()
    assert events[-1].done and not any(event.waveform for event in events)


# ---- the command line, with the setting in lectern.toml


def write_toml(home: Path, **omni: Any) -> None:
    home.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {json.dumps(value)}" for key, value in omni.items()]
    (home / "lectern.toml").write_text(
        'engine = "omni"\ndevice = "cpu"\nembedder.model = "hashing:256"\nlocator.model = "sentence"\n[omni]\n'
        + "\n".join(lines)
    )


def test_app_ask_hears_finds_answers_and_speaks(
    lectern_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything real but the weights: a recording, the default recogniser, retrieval, answer, sound in a file."""
    write_toml(lectern_home, **OMNI)
    (tmp_path / "lease.txt").write_text(LEASE)
    with Workspace.open(lectern_home) as workspace:
        ingest_paths(workspace, [tmp_path / "lease.txt"], settings=load_settings(lectern_home))
    (tmp_path / "in.wav").write_bytes(wav(spoken(QUESTION, seconds=10)))
    out = tmp_path / "out.wav"
    assert app.main(["ask", "--audio", str(tmp_path / "in.wav"), "--speak", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert answer["transcript"] and answer["question"] == answer["transcript"]
    assert answer["model"] == "omni:checkpoint" and answer["answer"] and isinstance(answer["citations"], list)
    timings = answer["timings_ms"]
    assert 0 < timings["transcribe"] < timings["first_audio"] < timings["total"]
    with wave.open(str(out)) as sound:
        seconds = sound.getnframes() / sound.getframerate()
        assert sound.getframerate() == answer["audio"]["sample_rate"]
    assert seconds == pytest.approx(answer["audio"]["seconds"], abs=0.01) and seconds > 0.5
    assert printed.err.count(LICENCE) == 1


@pytest.mark.parametrize("arguments", [["Why?"], ["Why?", "--speak", "out.wav"], ["--audio", "in.wav"]])
def test_missing_checkpoint_is_one_clear_line(
    arguments: list[str],
    lectern_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.wav").write_bytes(wav(spoken(QUESTION)))
    write_toml(lectern_home)
    assert app.main(["ask", *arguments]) == 1
    printed = capsys.readouterr()
    [line] = printed.err.strip().splitlines()
    assert line.startswith("error: ") and "python -m omni download" in line and printed.out == ""


def test_page_without_checkpoint_says_what_to_do(lectern_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page comes up; the question is answered by a remedy; documents can still be listed."""
    assistant = build(load_settings(lectern_home, engine="omni", device="cpu", embedder={"model": "hashing:256"}))
    with TestClient(build_app(assistant), base_url="http://127.0.0.1") as client:
        assert "research only" in client.get("/").text
        lines = client.post("/api/workspaces/default/ask", json={"question": "Why?", "speak": True}).text.splitlines()
        assert client.get("/api/workspaces/default/documents").json() == {"documents": []}
    last = json.loads(lines[-1])
    assert last["type"] == "error" and "python -m omni download" in last["error"]["remedy"]
    with pytest.raises(ModelError, match="no speech language model"):
        assistant.engine("default")


@pytest.mark.browser
def test_page_shows_licence_and_remedy(start_server: Callable[..., Any], chromium: Any) -> None:
    """In the browser, without the checkpoint: the terms stand below the composer, the question meets a remedy."""
    server = start_server(LECTERN_ENGINE="omni", LECTERN_EMBEDDER__MODEL="hashing:256", LECTERN_DEVICE="cpu")
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    faults: list[Any] = []
    page.on("pageerror", lambda error: faults.append(error))
    page.goto(server.url)
    note = page.wait_for_selector(".lec-licence").bounding_box()
    composer = page.locator(".lec-composer").bounding_box()
    assert page.inner_text(".lec-licence") == LICENCE
    assert composer["y"] + composer["height"] <= note["y"] and note["y"] + note["height"] <= 800
    page.fill("#lec-question", QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector(".lec-notice-problem")
    assert "python -m omni download" in page.inner_text(".lec-notice-problem")
    page.close()
    assert faults == []
