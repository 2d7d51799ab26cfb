"""The REST API under /v1, over HTTP to a real server."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

import httpx
import pytest
import soundfile
from documents import ANSWER
from PIL import Image
from v1_server import QUESTION, WORKSPACE, Served, lease_bytes, served, wav  # noqa: F401

from rag.types import Answer, AnswerEvent
from web.v1.bounded import MAX_DEPTH, depth

LEASE = f"/workspaces/{WORKSPACE}"


@pytest.fixture
def http(served: Served) -> Any:  # noqa: F811
    with served.http() as client:
        yield client


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """(name, data) of a stream of server-sent events."""
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


def error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a response, in the one shape that there is."""
    assert response.status_code == status, response.text
    detail = response.json()["error"]
    assert set(detail) == {"message", "remedy", "type", "code", "param"}
    assert detail["code"] == code and detail["message"] and "Traceback" not in response.text
    return detail


# ---- workspaces and documents -----------------------------------------------------------------------------------


def test_workspaces_are_created_once_shown_and_deleted_with_everything(http: httpx.Client, lease_bytes: bytes) -> None:  # noqa: F811
    assert http.post("/workspaces", json={"name": "short"}).status_code == 201
    error(http.post("/workspaces", json={"name": "short"}), 409, "conflict")
    assert http.put("/workspaces/short").status_code == 200
    assert http.put("/workspaces/short/documents/lease.pdf", content=lease_bytes).status_code == 202
    http.get("/workspaces/short/documents/lease.pdf/events")
    assert http.get("/workspaces/short").json()["pages"] == 3
    assert "short" in http.get("/workspaces").json()["workspaces"]
    assert http.delete("/workspaces/short").status_code == 204
    assert "short" not in http.get("/workspaces").json()["workspaces"]
    error(http.get("/workspaces/short/documents"), 404, "not_found")
    assert http.put("/workspaces/short").status_code == 201
    assert http.get("/workspaces/short").json()["documents"] == 0


@pytest.mark.parametrize("form", [True, False])
def test_upload_is_followed_to_its_end_found_and_removed(
    http: httpx.Client,
    lease_bytes: bytes,  # noqa: F811
    form: bool,
) -> None:
    """By a form and as the body; the stream of states ends by itself when the document is embedded."""
    base = f"/workspaces/uploads-{form}"
    http.put(base)
    if form:
        sent = http.post(f"{base}/documents", files=[("file", ("lease.pdf", lease_bytes)), ("file", ("a.txt", b"A."))])
        assert [row["name"] for row in sent.json()["documents"]] == ["lease.pdf", "a.txt"]
    else:
        sent = http.put(f"{base}/documents/lease.pdf", content=lease_bytes)
        assert sent.json()["name"] == "lease.pdf"
    assert sent.status_code == 202
    states = events(http.get(f"{base}/documents/lease.pdf/events"))
    assert {name for name, _ in states} == {"status"}
    assert states[-1][1]["status"] == "embedded" and states[-1][1]["pages"] == 3
    row = http.get(f"{base}/documents/{states[-1][1]['document_id']}").json()
    assert (row["name"], row["media_type"], row["size"]) == ("lease.pdf", "application/pdf", len(lease_bytes))
    assert http.delete(f"{base}/documents/lease.pdf").status_code == 204
    error(http.delete(f"{base}/documents/lease.pdf"), 404, "not_found")
    hits = http.post(f"{base}/search", json={"question": "notice period"}).json()["hits"]
    assert not any(hit["document"] == "lease.pdf" for hit in hits)


def test_a_file_that_cannot_be_read_ends_its_stream_with_the_reason(http: httpx.Client) -> None:
    http.put("/workspaces/broken")
    http.put("/workspaces/broken/documents/broken.pdf", content=b"%PDF-1.4 no")
    last = events(http.get("/workspaces/broken/documents/broken.pdf/events"))[-1][1]
    assert last["status"] == "failed" and last["reason"] and last["remedy"]


def test_uploads_beyond_the_limit_are_413_and_leave_nothing(http: httpx.Client, served: Served) -> None:  # noqa: F811
    big = b"x" * (2**20 + 1)
    error(http.put(f"{LEASE}/documents/big.txt", content=big), 413, "too_large")
    error(http.put(f"{LEASE}/documents/big.txt", content=iter([big[: 2**19]] * 5)), 413, "too_large")
    error(http.post(f"{LEASE}/documents", files={"file": ("big.txt", big)}), 413, "too_large")
    error(http.post(f"{LEASE}/documents", files={"file": ("big.txt", big * 3)}), 413, "too_large")
    assert not [path for path in served.assistant.inbox.root.rglob("*") if path.is_file()]


# ---- pages ------------------------------------------------------------------------------------------------------


def test_pages_give_text_boxes_and_image_that_agree(http: httpx.Client) -> None:
    page = http.get(f"{LEASE}/documents/lease.pdf/pages/2").json()
    start = page["text"].index(ANSWER)
    where = {"start": start, "end": start + len(ANSWER)}
    boxes = http.get(f"{LEASE}/documents/lease.pdf/pages/2/boxes", params=where).json()
    assert boxes["text"] == ANSWER and len(boxes["boxes"]) == 1
    assert http.get(f"{LEASE}/documents/lease.pdf/pages/2", params=where).json()["text"] == ANSWER
    image = http.get(f"{LEASE}/documents/lease.pdf/pages/2/image")
    pixels = Image.open(io.BytesIO(image.content)).convert("L")
    scale = pixels.width / page["width"]
    left, bottom, right, top = (edge * scale for edge in boxes["boxes"][0])
    letters = pixels.crop((round(left), round(pixels.height - top), round(right), round(pixels.height - bottom)))
    around = pixels.crop((round(left), round(pixels.height - top) - 30, round(right), round(pixels.height - top)))
    assert min(letters.getdata()) < 80 and min(around.getdata()) > 200  # ink inside, paper above
    again = {"If-None-Match": image.headers["etag"]}
    assert http.get(f"{LEASE}/documents/lease.pdf/pages/2/image", headers=again).status_code == 304


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{LEASE}/documents/lease.pdf/pages/9", 404, "not_found"),
        (f"{LEASE}/documents/lease.pdf/pages/0", 422, "invalid_request"),
        (f"{LEASE}/documents/lease.pdf/pages/{10**30}", 422, "invalid_request"),
        (f"{LEASE}/documents/lease.pdf/pages/2/boxes?start=5&end=5", 400, "invalid_request"),
        (f"{LEASE}/documents/absent.pdf", 404, "not_found"),
        (f"{LEASE}/documents/absent.pdf/events", 404, "not_found"),
        ("/workspaces/nowhere", 404, "not_found"),
        ("/workspaces/..%2f..%2fetc", 404, "not_found"),
        ("/workspaces/_hidden/documents", 400, "invalid_request"),
        ("/nothing/here", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_told(http: httpx.Client, path: str, status: int, code: str) -> None:
    detail = error(http.get(path), status, code)
    assert detail["remedy"] and "/home" not in detail["message"]


# ---- questions --------------------------------------------------------------------------------------------------


def test_search_and_ask_point_at_the_same_words(http: httpx.Client) -> None:
    hits = http.post(f"{LEASE}/search", json={"question": QUESTION, "top_k": 1}).json()["hits"]
    assert hits[0]["page"] == 2 and hits[0]["spans"][0]["boxes"]
    answer = http.post(f"{LEASE}/ask", json={"question": QUESTION}).json()
    assert answer["citations"][0]["quote"] == ANSWER and not answer["refused"]
    assert answer["citations"][0]["boxes"] == hits[0]["spans"][0]["boxes"]


@pytest.mark.parametrize("by", ["header", "field"])
def test_streamed_answer_equals_the_whole_one(http: httpx.Client, by: str) -> None:
    headers = {"Accept": "text/event-stream"} if by == "header" else {}
    body = {"question": QUESTION} | ({"stream": True} if by == "field" else {})
    streamed = events(http.post(f"{LEASE}/ask", json=body, headers=headers))
    whole = http.post(f"{LEASE}/ask", json={"question": QUESTION}).json()
    assert streamed[-1][0] == "answer"
    assert "".join(data["text"] for name, data in streamed if name == "text") == whole["answer"]
    assert [data for name, data in streamed if name == "citation"] == whole["citations"]
    assert {**streamed[-1][1], "timings_ms": 0} == {**whole, "timings_ms": 0}


def test_earlier_messages_complete_the_question(http: httpx.Client) -> None:
    history = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Eleven weeks [1]."}]
    answer = http.post(f"{LEASE}/ask", json={"question": "And in winter?", "history": history}).json()
    assert "mill house" in answer["understood"] and answer["question"] == "And in winter?"


def test_all_that_a_follow_up_may_mean_is_searched(
    http: httpx.Client,
    served: Served,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a conversation that is kept: the likeliest reading need not be the one that was meant."""
    searched: list[set[str]] = []
    stream = served.assistant.stream

    def watched(question: str, workspace: str, **options: Any) -> Any:
        searched.append({wording.text for wording in options["wordings"]})
        return stream(question, workspace, **options)

    monkeypatch.setattr(served.assistant, "stream", watched)
    asked, told = "When did Chopin meet Liszt?", "Chopin met Liszt in Paris in 1832 [1]."
    history = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
    answer = http.post(f"{LEASE}/ask", json={"question": "Where was he born?", "history": history}).json()
    assert {"Where was Liszt born?", "Where was Chopin born?"} <= searched[0]
    assert answer["understood"] in searched[0] and answer["question"] == "Where was he born?"


def test_unanswerable_questions_are_refused_with_the_nearest_passages(http: httpx.Client) -> None:
    answer = http.post(f"{LEASE}/ask", json={"question": "Who won the chess championship of Norway?"}).json()
    assert answer["refused"]
    assert all(place["document"] == "lease.pdf" for place in answer["nearest"])


def test_a_recorded_question_is_heard_and_the_answer_spoken(http: httpx.Client, wav: bytes) -> None:  # noqa: F811
    import base64

    body = {"recording": base64.b64encode(wav).decode(), "speak": True, "stream": True}
    found = events(http.post(f"{LEASE}/ask", json=body))
    names = [name for name, _ in found]
    assert dict(found)["heard"]["text"] == QUESTION
    assert "audio" in names and names.index("text") < names.index("audio")
    assert next(data for name, data in found if name == "answer")["citations"][0]["page"] == 2


def test_sessions_keep_questions_and_what_is_remembered(http: httpx.Client) -> None:
    session = http.post(f"{LEASE}/sessions", json={"title": "The lease"}).json()
    base = f"{LEASE}/sessions/{session['session_id']}"
    answer = http.post(f"{LEASE}/ask", json={"question": QUESTION, "session": session["session_id"]}).json()
    assert (answer["session"], answer["turn"]) == (session["session_id"], 1)
    turns = http.get(f"{base}/turns").json()["turns"]
    assert turns[0]["question"] == QUESTION and turns[0]["answer"]["citations"][0]["quote"] == ANSWER
    assert http.post(f"{LEASE}/sessions/join", json={"code": session["code"]}).json()["turns"] == 1
    assert QUESTION in http.get(f"{base}/export").text
    memories = http.get(f"{LEASE}/memories").json()["memories"]
    pinned = http.patch(f"{LEASE}/memories/{memories[0]['memory_id']}", json={"pinned": True}).json()
    assert pinned["pinned"] is True
    assert http.patch(base, json={"title": "Other"}).json()["title"] == "Other"
    assert http.delete(base).status_code == 204
    error(http.get(f"{base}/turns"), 404, "not_found")
    error(http.post(f"{LEASE}/ask", json={"question": "x?", "session": session["session_id"]}), 404, "not_found")
    left = http.get(f"{LEASE}/memories").json()["memories"]
    assert session["session_id"] not in {memory["session_id"] for memory in left}


# ---- sound ------------------------------------------------------------------------------------------------------


def test_transcribe_takes_body_and_form(http: httpx.Client, wav: bytes) -> None:  # noqa: F811
    body = http.post(f"{LEASE}/transcribe", content=wav, headers={"Content-Type": "audio/wav"}).json()
    form = http.post(f"{LEASE}/transcribe", files={"file": ("q.wav", wav)}).json()
    assert body == form and body["text"] == QUESTION and body["seconds"] == 1.0
    error(http.post(f"{LEASE}/transcribe", content=b"no sound"), 422, "unprocessable")
    error(http.post(f"{LEASE}/transcribe", content=b""), 422, "unprocessable")
    error(http.post(f"{LEASE}/transcribe", json={}), 415, "unsupported_media_type")


def test_speech_as_wav_and_as_pcm_is_the_same_sound(http: httpx.Client, served: Served) -> None:  # noqa: F811
    text = "The period is eleven weeks [1]. Nothing else is agreed."
    citations = [{"n": 1, "document": "lease.pdf", "page": 2}]
    whole = http.post(f"{LEASE}/speak", json={"text": text, "citations": citations})
    samples, rate = soundfile.read(io.BytesIO(whole.content), dtype="int16")
    assert rate == 16_000 and "page two" in served.voice.said[-2]
    raw = http.post(f"{LEASE}/speak", json={"text": text, "citations": citations, "format": "pcm"})
    assert raw.headers["sample-rate"] == "16000" and raw.content == samples.astype("<i2").tobytes()
    error(http.post(f"{LEASE}/speak", json={"text": text, "citations": [{"n": "x"}]}), 422, "unprocessable")


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 500, "application/json", 400),
        (b'{"question": "x"' + b', "a": [' * 40 + b"]" * 40 + b"}", "application/json", 400),
        (b'{"question": "x", "topk": 3}', "application/json", 422),
        (b'{"question": "\\ud800"}', "application/json", 422),
        (b'{"question": ""}', "application/json", 422),
        (b'{"question": "x", "top_k": 1e400}', "application/json", 422),
        (b'{"question": "x"}', "text/plain", 415),
        (b"question=x", "application/x-www-form-urlencoded", 415),
        (b"", "application/json", 422),
        (b"null", "application/json", 422),
        (b" " * (2**20 + 1), "application/json", 413),
    ],
)
def test_malformed_bodies_have_a_status_and_a_remedy(
    http: httpx.Client, content: bytes, kind: str, status: int
) -> None:
    response = http.post(f"{LEASE}/search", content=content, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]


def test_head_is_get_without_body_and_options_names_the_methods(http: httpx.Client) -> None:
    got, head = http.get(f"{LEASE}/documents"), http.head(f"{LEASE}/documents")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["content-length"] == str(len(got.content))
    assert http.head("/workspaces/nowhere").status_code == 404
    assert http.head(f"{LEASE}/documents/lease.pdf/events").status_code == 200
    assert http.options(LEASE).headers["allow"] == "HEAD, GET, PUT, DELETE, OPTIONS"
    refused = http.patch(LEASE)
    error(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "HEAD, GET, PUT, DELETE, OPTIONS"


def test_unexpected_failures_say_nothing_of_the_inside(
    http: httpx.Client,
    served: Served,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before a stream has begun as a status, afterwards as its last event."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(served.assistant, "stream", fail)
    whole = http.post(f"{LEASE}/ask", json={"question": QUESTION})
    assert error(whole, 500, "internal") and "secret" not in whole.text

    def fail_later(*_: Any, **__: Any) -> Any:
        yield AnswerEvent(text="Eleven ")
        raise RuntimeError("secret detail")

    monkeypatch.setattr(served.assistant, "stream", fail_later)
    streamed = http.post(f"{LEASE}/ask", json={"question": QUESTION, "stream": True})
    assert "secret" not in streamed.text
    assert [name for name, _ in events(streamed)] == ["text", "error"]


def test_a_visitor_who_leaves_ends_the_work(
    http: httpx.Client,
    served: Served,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()

    def endless(*_: Any, **__: Any) -> Any:
        try:
            while True:
                yield AnswerEvent(text="word ")
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(served.assistant, "stream", endless)
    with http.stream("POST", f"{LEASE}/ask", json={"question": QUESTION, "stream": True}) as response:
        next(response.iter_raw())
        assert not ended.is_set()
    assert ended.wait(20)


def test_a_silent_stream_is_kept_alive_by_comments(
    http: httpx.Client,
    served: Served,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(*_: Any, **__: Any) -> Any:
        yield AnswerEvent(text="word ")
        time.sleep(0.3)
        yield AnswerEvent(answer=Answer("?", "word ", False, (), (), "slow"))

    monkeypatch.setattr(served.assistant, "stream", slow)
    monkeypatch.setattr("web.v1.streams.KEEP_ALIVE_S", 0.05)
    response = http.post(f"{LEASE}/ask", json={"question": QUESTION, "stream": True})
    assert response.text.count("\n: ") >= 1
    assert [name for name, _ in events(response)] == ["text", "answer"]


def test_every_route_is_described_and_errors_have_one_schema(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["servers"] == [{"url": "/v1"}]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation.get("description"), f"{method} {path}"
            assert operation["tags"], f"{method} {path}"
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")):
                    assert "ErrorBody" in json.dumps(answer), f"{method} {path} {status}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"[]", 1), (b'{"a": [1, {"b": 2}]}', 3), (b'"[[[["', 0), (b'"\\"[[["', 0), (b'["]]]]", [1]]', 2), (b'"[[[', 0)],
)
def test_depth_counts_brackets_outside_of_strings(text: bytes, expected: int) -> None:
    assert depth(text) == expected


def test_depth_of_a_hostile_body_is_found_in_linear_time() -> None:
    """Half-closed strings full of escapes make a naive expression quadratic: 2 MB would take hours."""
    assert depth(b'"' + b'\\"' * 1_000_000) == 0
    assert depth(b"[" * 1_000_000) == MAX_DEPTH + 1
