"""What an operator sees: metrics that count what happened, request numbers, JSON log lines without secrets, traces."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.settings import TelemetrySettings, load_settings
from rag.types import Answer
from web.observe import make_tracer, record_answer, request_id, set_up_server_logging
from web.server import build_app
from web.wiring import Assistant, build

WORKSPACE = "/api/workspaces/default"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    settings = load_settings(tmp_path / "home", embedder={"model": "hashing:256"}, locator={"model": "sentence"})
    assistant: Assistant = build(settings)
    monkeypatch.setattr(assistant, "_warm_up", assistant.ready.set)
    monkeypatch.setattr(assistant.inbox, "_settled", lambda workspace: None)
    with TestClient(build_app(assistant), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def metrics(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def add_lease(client: TestClient) -> None:
    text = b"The notice period is three months. The rent is due on the first day of each month.\n"
    client.put(f"{WORKSPACE}/documents", params={"name": "lease.txt"}, content=text)
    for _ in range(600):
        if client.get(f"{WORKSPACE}/documents").json()["documents"][0]["status"] == "embedded":
            return
        time.sleep(0.05)
    pytest.fail("the lease was not embedded")


def test_metrics_tell_requests_by_route_answers_and_what_is_stored(client: TestClient) -> None:
    add_lease(client)
    for _ in range(2):
        client.post(f"{WORKSPACE}/ask", json={"question": "How long is the notice period?"})
    client.get("/api/workspaces/missing/documents")
    client.get("/v1/workspaces")
    found = metrics(client)
    route = 'route="/api/workspaces/{workspace}/ask"'
    assert found[f'lectern_http_requests_total{{method="POST",{route},status="200"}}'] == 2
    assert found[f"lectern_http_request_seconds_count{{{route}}}"] == 2
    missing = 'method="GET",route="/api/workspaces/{workspace}/documents",status="404"'
    assert found[f"lectern_http_requests_total{{{missing}}}"] == 1
    assert found['lectern_http_requests_total{method="GET",route="/v1/workspaces",status="200"}'] == 1
    assert found['lectern_answers_total{cached="false",outcome="answered"}'] == 1
    assert found['lectern_answers_total{cached="true",outcome="answered"}'] == 1
    assert found['lectern_answer_stage_seconds_count{stage="coarse"}'] == 1
    assert found["lectern_queue_wait_seconds_count"] == 2
    assert found['lectern_documents{status="embedded",workspace="default"}'] == 1
    assert found['lectern_chunks{workspace="default"}'] == 1
    assert found["lectern_queue_running"] == 0


def test_no_path_becomes_a_label(client: TestClient) -> None:
    client.get("/api/secret-plans.pdf")
    client.request("BREW", "/v1/workspaces/secret-plans/documents")
    assert "secret" not in client.get("/metrics").text


def test_a_request_keeps_the_number_it_came_with_or_gets_one(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "proxy-17"}).headers["x-request-id"] == "proxy-17"
    given = {client.get("/health").headers["x-request-id"] for _ in range(3)}
    assert len(given) == 3
    forged = client.get("/health", headers={"X-Request-ID": "a" * 100}).headers["x-request-id"]
    assert len(forged) < 65


def test_json_logs_carry_the_request_number_and_nothing_that_was_asked(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = root.handlers[:], logging.getLogger("web.access").level
    try:
        set_up_server_logging(TelemetrySettings(log="json"))
        client.post(
            f"{WORKSPACE}/search",
            json={"question": "a private matter"},
            headers={"X-Request-ID": "n1", "Cookie": "c=x"},
        )
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:] = before[0]
        logging.getLogger("web.access").setLevel(before[1])
    (line,) = [line for line in lines if line["logger"] == "web.access"]
    assert (line["request_id"], line["status"], line["method"]) == ("n1", 200, "POST")
    assert "private" not in json.dumps(lines) and "c=x" not in json.dumps(lines)


def test_traces_are_off_by_default_and_tell_the_stages_of_an_answer_when_on() -> None:
    assert make_tracer(TelemetrySettings()) is None
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    simple = pytest.importorskip("opentelemetry.sdk.trace.export")
    kept = export.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(simple.SimpleSpanProcessor(kept))
    timings = {"embed": 10.0, "coarse": 5.0, "fine": 40.0, "total": 60.0}
    answer = Answer("q", "a", False, (), (), "extractive", timings_ms=timings)
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        record_answer(tracer, answer)
    spans = {span.name: span for span in kept.get_finished_spans()}
    assert set(spans) == {"request", "answer", "embed", "coarse", "fine"}
    assert spans["answer"].parent.span_id == request.get_span_context().span_id
    assert spans["fine"].parent.span_id == spans["answer"].context.span_id
    assert spans["fine"].end_time - spans["fine"].start_time == pytest.approx(40e6, rel=0.01)
    assert "q" not in str(spans["answer"].attributes.values())


def test_request_numbers_do_not_leak_out_of_requests() -> None:
    assert request_id.get() == ""
