"""Follow-ups rewritten by the configured chat model: a real HTTP server that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from memory.session import Dialogue
from rag.engine import build_engine

REWRITTEN = "How much rent did Alder Holdings pay in 2020?"
LEASE = "The tenant is Alder Holdings. The rent in 2021 was 52,000 pounds.\n\nThe rent in 2020 was 48,500 pounds.\n"


class Model(BaseHTTPRequestHandler):
    """Rewrites a last question, or answers from what it is given; remembers what it was asked. May be out of order."""

    asked: ClassVar[list[list[dict[str, str]]]] = []
    rewrites: str | None = REWRITTEN

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        messages = body["messages"]
        Model.asked.append(messages)
        rewriting = "Rewrite" in messages[0]["content"]
        if rewriting and Model.rewrites is None:
            self.send_error(500)
            return
        text = Model.rewrites if rewriting else "It was 48,500 pounds [1]."
        choice: dict[str, Any] = {"index": 0, "finish_reason": None}
        parts = [{"delta": {"role": "assistant", "content": text}}, {"delta": {}, "finish_reason": "stop"}]
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
        lines = [f"data: {json.dumps({**chunk, 'choices': [{**choice, **part}]})}\n\n" for part in parts]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(("".join(lines) + "data: [DONE]\n\n").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dialogue(lectern_home: Path, tmp_path: Path) -> Iterator[Dialogue]:
    pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    Model.asked, Model.rewrites = [], REWRITTEN
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = load_settings(
        lectern_home, embedder={"model": "hashing:256"}, locator={"model": "sentence"}, device="cpu",
        answer={"model": "openai:tiny", "base_url": f"http://127.0.0.1:{server.server_port}/v1"},
    )  # fmt: skip
    (tmp_path / "lease.md").write_text(LEASE, encoding="utf-8")
    try:
        with Workspace.open(settings.home) as workspace:
            ingest_paths(workspace, [tmp_path / "lease.md"], settings=settings)
            with Dialogue(workspace.path, build_engine(workspace, settings), settings.memory) as opened:
                yield opened
    finally:
        server.shutdown()
        server.server_close()


def test_the_model_rewrites_a_follow_up_and_is_given_the_talk(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    list(talk.ask("What was the rent in 2021?"))
    assert not any("Rewrite" in messages[0]["content"] for messages in Model.asked)  # it stands for itself
    answer = list(talk.ask("And the year before?"))[-1].answer
    assert answer is not None and answer.understood == REWRITTEN  # type: ignore[attr-defined]
    assert talk.turns()[-1].understood == REWRITTEN and "48,500" in answer.text
    told = next(messages for messages in Model.asked if "Rewrite" in messages[0]["content"])[-1]["content"]
    assert "What was the rent in 2021?" in told and "And the year before?" in told
    answering = "\n".join(message["content"] for message in Model.asked[-1])
    assert "What was the rent in 2021?" in answering and REWRITTEN in answering  # the history, and what is searched


def test_rules_read_the_follow_up_where_the_model_fails(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    list(talk.ask("What was the rent in 2021?"))
    Model.rewrites = None
    answer = list(talk.ask("And the year before?"))[-1].answer
    assert answer is not None and answer.understood == "What was the rent in 2020?"  # type: ignore[attr-defined]
