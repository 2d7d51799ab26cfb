"""The API behind the page, with real workspaces and real documents; vectors by hashing, so that no model is loaded."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import ANSWER, PAGE_HEIGHT, PAGE_WIDTH, write_lease
from fastapi.testclient import TestClient
from PIL import Image

from core.errors import ModelError
from core.settings import load_settings
from omni.types import Waveform
from rag.types import Answer, AnswerEvent, Citation
from web import speech
from web.inbox import Inbox, safe_name
from web.server import build_app
from web.wiring import Assistant, build

WORKSPACE = "/api/workspaces/default"


@pytest.fixture
def assistant(lectern_home: Path) -> Assistant:
    return build(load_settings(lectern_home, embedder={"model": "hashing:256"}, ingest={"max_file_mb": 1}))


@pytest.fixture
def client(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(assistant, "_warm_up", assistant.ready.set)
    monkeypatch.setattr(assistant.inbox, "_settled", lambda workspace: None)
    with TestClient(build_app(assistant), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    write_lease(tmp_path / "lease.pdf")
    return tmp_path / "lease.pdf"


def put(client: TestClient, name: str, data: bytes) -> Any:
    return client.put(f"{WORKSPACE}/documents", params={"name": name}, content=data)


def wait(client: TestClient, name: str, *statuses: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = {row["name"]: row for row in client.get(f"{WORKSPACE}/documents").json()["documents"]}
        if name in rows and rows[name]["status"] in (statuses or ("embedded",)):
            return rows[name]
        time.sleep(0.05)
    pytest.fail(f"{name} did not become {statuses}: {rows}")


def ask(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    response = client.post(f"{WORKSPACE}/ask", json=body)
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


def test_upload_is_read_embedded_and_answered(client: TestClient, lease: Path) -> None:
    """Text and citation come before the finished answer, which holds both."""
    assert put(client, "lease.pdf", lease.read_bytes()).status_code == 202
    row = wait(client, "lease.pdf")
    assert (row["pages"], row["sheets"], row["embedded"]) == (3, True, row["chunks"])
    events = ask(client, question="How long is the notice period of the mill house?")
    kinds = [event["type"] for event in events]
    assert kinds[-1] == "answer" and kinds.count("answer") == 1 and "audio" not in kinds
    answer = events[-1]["answer"]
    assert "".join(event.get("text", "") for event in events) == answer["answer"]
    assert answer["citations"][0]["page"] == 2
    assert answer["citations"][0]["quote"] == ANSWER


def test_page_is_the_sheet_that_was_uploaded(client: TestClient, lease: Path) -> None:
    put(client, "lease.pdf", lease.read_bytes())
    wait(client, "lease.pdf", "searchable", "embedded")
    page = client.get(f"{WORKSPACE}/page", params={"document": "lease.pdf", "page": 2}).json()
    assert (page["page"], page["pages"], page["image"]) == (2, 3, True)
    assert (page["width"], page["height"]) == pytest.approx((PAGE_WIDTH, PAGE_HEIGHT), abs=0.5)
    response = client.get(f"{WORKSPACE}/page/image", params={"document": "lease.pdf", "page": 2})
    image = np.asarray(Image.open(io.BytesIO(response.content)).convert("L"))
    assert image.shape[1] / image.shape[0] == pytest.approx(PAGE_WIDTH / PAGE_HEIGHT, abs=0.01)
    assert image.min() < 80 < 200 < image.mean()  # black letters on white paper
    again = {"If-None-Match": response.headers["etag"]}
    where = {"document": "lease.pdf", "page": 2}
    assert client.get(f"{WORKSPACE}/page/image", params=where, headers=again).status_code == 304
    client.delete(f"{WORKSPACE}/documents", params={"document": "lease.pdf"})
    assert client.get(f"{WORKSPACE}/page/image", params=where, headers=again).status_code == 404


def test_pages_that_do_not_exist_are_told(client: TestClient, lease: Path) -> None:
    put(client, "lease.pdf", lease.read_bytes())
    wait(client, "lease.pdf", "searchable", "embedded")
    missing = client.get(f"{WORKSPACE}/page", params={"document": "lease.pdf", "page": 9})
    assert missing.status_code == 404 and "3" in missing.json()["error"]["remedy"]


def test_text_is_cut_around_the_passage_by_characters(client: TestClient) -> None:
    text = "🌿" * 9000 + "the passage" + "." * 9000
    put(client, "long.txt", text.encode())
    wait(client, "long.txt", "searchable", "embedded")
    where = {"document": "long.txt", "page": 1, "start": 9000, "end": 9011}
    page = client.get(f"{WORKSPACE}/page", params=where).json()
    assert page["image"] is False
    assert page["text"]["marked"] == "the passage"
    assert set(page["text"]["before"]) == {"🌿"} and len(page["text"]["before"]) < 9000
    assert page["more"] == {"before": True, "after": True}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/workspaces/nowhere/documents", 404),
        ("PUT", "/api/workspaces/..%2Fnowhere", 404),
        ("PUT", "/api/workspaces/_hidden", 400),
        ("GET", f"{WORKSPACE}/page?document=absent.pdf", 404),
        ("DELETE", f"{WORKSPACE}/documents?document=absent.pdf", 404),
        ("POST", f"{WORKSPACE}/ask", 400),
        ("POST", f"{WORKSPACE}/transcribe", 422),
    ],
)
def test_errors_have_a_status_a_message_and_no_traceback(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path, **({"content": b"not sound"} if path.endswith("transcribe") else {}))
    assert response.status_code == status
    assert "Traceback" not in response.text
    if path != "/api/workspaces/..%2Fnowhere":  # no such address at all
        assert response.json()["error"]["message"]


def test_unexpected_failures_say_nothing_of_the_inside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Assistant, "workspaces", fail)
    response = client.get("/api/workspaces")
    assert response.status_code == 500
    assert "secret" not in response.text and response.json()["error"]["remedy"]
    monkeypatch.setattr(Assistant, "stream", fail)
    assert [event["type"] for event in ask(client, question="anything?")] == ["error"]


def test_uploads_over_the_limit_are_refused_and_leave_nothing(client: TestClient, assistant: Assistant) -> None:
    """Both when the size is announced and when it only shows on the way."""
    big = b"x" * (2**20 + 1)
    assert put(client, "big.txt", big).status_code == 422
    streamed = client.put(f"{WORKSPACE}/documents", params={"name": "big.txt"}, content=iter([big[: 2**19]] * 3))
    assert streamed.status_code == 422 and "1 MiB" in streamed.json()["error"]["message"]
    assert not [path for path in assistant.inbox.root.rglob("*") if path.is_file()]


def test_same_file_twice_is_one_document_and_a_new_version_replaces(client: TestClient, lease: Path) -> None:
    for _ in range(2):
        put(client, "lease.pdf", lease.read_bytes())
    wait(client, "lease.pdf")
    put(client, "lease.pdf", b"")  # not readable: the good version stays, the failure is told
    time.sleep(0.5)
    rows = [row for row in client.get(f"{WORKSPACE}/documents").json()["documents"] if row["name"] == "lease.pdf"]
    assert len(rows) == 1


def test_failed_upload_can_be_taken_away(client: TestClient) -> None:
    put(client, "broken.pdf", b"%PDF-1.4 no")
    row = wait(client, "broken.pdf", "failed")
    assert row["reason"] and row["remedy"]
    assert client.delete(f"{WORKSPACE}/documents", params={"document": "broken.pdf"}).status_code == 204
    assert client.get(f"{WORKSPACE}/documents").json()["documents"] == []


def test_what_a_killed_process_left_is_taken_in_at_the_next_start(lectern_home: Path, lease: Path) -> None:
    """A complete upload is read; one that broke off while it came in is thrown away."""
    settings = load_settings(lectern_home, embedder={"model": "hashing:256"})
    before = build(settings).inbox
    complete = before.receive("default", "lease.pdf")
    complete.write_bytes(lease.read_bytes())
    before.accept(complete)  # queued, but no worker is running
    partial = before.receive("default", "partial.pdf")
    partial.write_bytes(lease.read_bytes()[:100])

    after = build(settings)
    after.inbox._settled = lambda workspace: None
    after.inbox.start()
    deadline = time.monotonic() + 60
    while not (documents := after.workspace("default").documents()) and time.monotonic() < deadline:
        time.sleep(0.05)
    after.close()
    assert [info.name for info in documents] == ["lease.pdf"]
    assert not [path for path in (lectern_home / "inbox").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("lease.pdf", "lease.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\papers\\lease.pdf", "lease.pdf"),
        ("a\x00b\n.pdf", "ab.pdf"),
        ("...", "document"),
        ("<img src=x onerror=alert(1)>.pdf", "<img src=x onerror=alert(1)>.pdf"),
        ("契約.pdf", "契約.pdf"),
    ],
)
def test_names_of_uploads_become_names_of_files(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept


def test_long_names_keep_their_suffix() -> None:
    name = safe_name("ß" * 300 + ".pdf")
    assert name.endswith("ß.pdf") and len(name.encode()) <= 200


# ---- speech ----------------------------------------------------------------------------------------------------


class Tone:
    """A voice that says every text as a tone of 0.1 s."""

    name, sample_rate = "tone", 16_000

    def __init__(self) -> None:
        self.said: list[str] = []

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        self.said.append(text)
        yield Waveform(np.full(1600, 0.5, np.float32), self.sample_rate)


class Broken(Tone):
    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        raise ModelError("the voice is broken", remedy="Choose another")


def slow_answer(*_: Any, **__: Any) -> Iterator[AnswerEvent]:
    """An answer whose second sentence takes its time."""
    citation = Citation(1, "lease.pdf", 2, "Eleven weeks.", 0, 13)
    first, second = "The period is eleven weeks [1]. ", "Nothing else is agreed."
    yield AnswerEvent(text=first, citation=citation)
    time.sleep(1.0)
    yield AnswerEvent(text=second)
    yield AnswerEvent(answer=Answer("?", first + second, False, (citation,), (), "slow"))


def test_speech_begins_before_the_answer_is_complete(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = Tone()
    monkeypatch.setattr(assistant, "synthesiser", lambda: voice)
    monkeypatch.setattr(assistant, "stream", slow_answer)
    events = list(speech.answer_events(assistant, "?", "default", speak=True))
    kinds = [event["type"] for event in events]
    assert kinds.index("audio") < kinds.index("answer")
    sound = next(event for event in events if event["type"] == "audio")
    assert sound["citations"] == [1] and "eleven weeks" in sound["sentence"]
    pcm = np.frombuffer(__import__("base64").b64decode(sound["pcm"]), "<i2")
    assert len(pcm) == 1600 and np.all(np.abs(pcm / 32767 - 0.5) < 0.001)
    assert len(voice.said) == 2


def test_a_broken_voice_leaves_the_written_answer(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assistant, "synthesiser", Broken)
    monkeypatch.setattr(assistant, "stream", slow_answer)
    events = list(speech.answer_events(assistant, "?", "default", speak=True))
    kinds = [event["type"] for event in events]
    assert kinds.count("silent") == 1 and kinds[-1] != "error" and "audio" not in kinds
    assert next(event for event in events if event["type"] == "answer")["answer"]["citations"]


def test_a_passage_without_boxes_of_its_own_is_found_on_its_sheet(client: TestClient, lease: Path) -> None:
    put(client, "lease.pdf", lease.read_bytes())
    wait(client, "lease.pdf")
    where = {"document": "lease.pdf", "page": 2}
    assert "boxes" not in client.get(f"{WORKSPACE}/page", params=where).json()
    boxes = client.get(f"{WORKSPACE}/page", params={**where, "start": 0, "end": 40}).json()["boxes"]
    assert boxes and all(0 <= x0 < x1 <= PAGE_WIDTH and 0 <= y0 < y1 <= PAGE_HEIGHT for x0, y0, x1, y1 in boxes)
    for start, end in ((40, 40), (-5, 10**9), (10**6, 10**6 + 1)):
        assert client.get(f"{WORKSPACE}/page", params={**where, "start": start, "end": end}).status_code == 200


def test_inbox_close_returns_soon(lectern_home: Path) -> None:
    inbox = Inbox(lectern_home, load_settings(lectern_home), open_workspace=None, embedder=None)  # type: ignore[arg-type]
    inbox.start()
    started = time.monotonic()
    inbox.close()
    assert time.monotonic() - started < 2


def test_the_server_carries_the_versioned_api_and_its_description(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert "/workspaces/{workspace}/ask" in described["paths"] and described["servers"] == [{"url": "/v1"}]
    assert client.get("/v1/workspaces").json() == {"workspaces": ["default"]}
    assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"  # not the page's own answer
