"""Conversations over REST: follow-ups, two devices, memories, restart. Vectors by hashing: no model is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from web.server import build_app
from web.wiring import Assistant, build

AT = "/api/workspaces/default"
LEASE = """# Lease of the mill

The tenant is Alder Holdings. The landlord is Bramble Estates.

The lease ends on 30 June 2031. The rent in 2021 was 52,000 pounds. The rent in 2020 was 48,500 pounds.

The tenant must insure the building against fire. The deposit is three months of rent.
"""
FIRST, FOLLOW_UP = "What was the rent in 2021?", "And the year before?"


@pytest.fixture
def assistant(lectern_home: Path, tmp_path: Path) -> Assistant:
    settings = load_settings(
        lectern_home, embedder={"model": "hashing:256"}, locator={"model": "sentence"}, device="cpu"
    )
    (tmp_path / "lease.md").write_text(LEASE, encoding="utf-8")
    with Workspace.open(lectern_home) as workspace:
        ingest_paths(workspace, [tmp_path / "lease.md"], settings=settings)
    return build(settings)


def serve(assistant: Assistant) -> TestClient:
    assistant._warm_up = assistant.ready.set  # type: ignore[method-assign]
    assistant.inbox._settled = lambda workspace: None
    return TestClient(build_app(assistant), base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def client(assistant: Assistant) -> Iterator[TestClient]:
    with serve(assistant) as client:
        yield client


def start(client: TestClient, title: str = "") -> str:
    response = client.post(f"{AT}/sessions", json={"title": title})
    assert response.status_code == 201
    return response.json()["session_id"]


def ask(client: TestClient, session: str, question: str, **more: Any) -> dict[str, dict[str, Any]]:
    """The events by type; of several the last."""
    response = client.post(f"{AT}/ask", json={"question": question, "session": session, **more})
    assert response.status_code == 200, response.text
    return {event["type"]: event for event in map(json.loads, response.text.splitlines())}


def test_a_follow_up_is_understood_and_every_turn_kept(client: TestClient) -> None:
    session = start(client)
    assert "52,000" in ask(client, session, FIRST)["answer"]["answer"]["answer"]
    events = ask(client, session, FOLLOW_UP)
    assert events["understood"]["query"] == "What was the rent in 2020?" and events["understood"]["changed"]
    assert list(events).index("understood") < list(events).index("text")
    assert events["answer"]["turn"] == 2 and events["answer"]["session"] == session
    kept = client.get(f"{AT}/sessions/{session}/turns").json()["turns"]
    assert [turn["question"] for turn in kept] == [FIRST, FOLLOW_UP]
    for field in ("answer", "shown", "refused", "citations", "nearest", "model", "notice"):
        assert kept[1]["answer"][field] == events["answer"]["answer"][field], field
    assert client.get(f"{AT}/sessions").json()["sessions"][0]["title"] == FIRST


def test_the_visitors_correction_is_what_is_asked(client: TestClient) -> None:
    session = start(client)
    ask(client, session, FIRST)
    answer = ask(client, session, "And before?", understood="Who is the landlord?")["answer"]["answer"]
    assert "Bramble Estates" in answer["answer"]
    read = client.post(f"{AT}/sessions/{session}/understand", json={"question": "Why is that?"}).json()
    assert "landlord" in read["query"] and client.get(f"{AT}/sessions/{session}").json()["turns"] == 2


def test_without_a_session_nothing_is_kept(client: TestClient) -> None:
    response = client.post(f"{AT}/ask", json={"question": FIRST})
    events = [json.loads(line) for line in response.text.splitlines()]
    assert "turn" not in events[-1] and not [e for e in events if e["type"] == "understood"]
    assert client.get(f"{AT}/sessions").json()["sessions"] == []


def test_two_devices_share_a_session_by_its_code(client: TestClient, assistant: Assistant) -> None:
    session = start(client, "Lease")
    code = client.get(f"{AT}/sessions/{session}").json()["code"]
    assert "code" not in client.get(f"{AT}/sessions").json()["sessions"][0]
    assert client.post(f"{AT}/sessions/join", json={"code": code.lower()}).json()["session_id"] == session
    assert client.post(f"{AT}/sessions/join", json={"code": "AAAA-AAAA-AAAA"}).status_code == 404
    ask(client, session, FIRST)
    other = Assistant(assistant.settings)  # another process would see it the same way
    try:
        list(other.talk("default", session).ask(FOLLOW_UP))
    finally:
        other.close()
    new = client.get(f"{AT}/sessions/{session}/turns", params={"after": 1}).json()
    assert [(turn["number"], turn["question"]) for turn in new["turns"]] == [(2, FOLLOW_UP)]


def test_turns_survive_a_restart(assistant: Assistant) -> None:
    with serve(assistant) as client:
        session = start(client)
        ask(client, session, FIRST)
    with serve(build(assistant.settings)) as again:
        assert "48,500" in ask(again, session, FOLLOW_UP)["answer"]["answer"]["answer"]
        assert again.get(f"{AT}/sessions/{session}").json()["turns"] == 2


def test_sessions_are_renamed_searched_exported_and_deleted(client: TestClient) -> None:
    rent, landlord = start(client), start(client, "Landlord matters")
    ask(client, rent, FIRST)
    ask(client, landlord, "Who is the landlord?")
    renamed = client.patch(f"{AT}/sessions/{rent}", json={"title": "Pacht 契約 🏠", "remember": False}).json()
    assert (renamed["title"], renamed["remember"]) == ("Pacht 契約 🏠", False)
    found = client.get(f"{AT}/sessions", params={"query": "52,000"}).json()["sessions"]
    assert [(s["session_id"], s["found"]["number"]) for s in found] == [(rent, 1)]
    found = client.get(f"{AT}/sessions", params={"query": "matters"}).json()["sessions"]
    assert [(s["session_id"], s["found"]) for s in found] == [(landlord, None)]
    markdown = client.get(f"{AT}/sessions/{rent}/export")
    assert "52,000" in markdown.text and "attachment" in markdown.headers["content-disposition"]
    assert client.get(f"{AT}/sessions/{rent}/export", params={"format": "json"}).json()["turns"][0]["question"] == FIRST
    assert client.delete(f"{AT}/sessions/{rent}").status_code == 204
    for path in ("", "/turns", "/export"):
        assert client.get(f"{AT}/sessions/{rent}{path}").status_code == 404
    gone = client.post(f"{AT}/ask", json={"question": FIRST, "session": rent})
    assert gone.status_code == 404 and "deleted" in gone.json()["error"]["remedy"]


def test_memories_are_seen_edited_pinned_and_forgotten(client: TestClient) -> None:
    session = start(client)
    ask(client, session, "My lawyer is Ingrid Vasquez.")
    ask(client, session, "My lawyer is Tom Okafor.")
    facts = client.get(f"{AT}/memories", params={"kind": "fact"}).json()["memories"]
    assert [(m["text"], bool(m["superseded_at"])) for m in facts] == [
        ("My lawyer is Tom Okafor", False), ("My lawyer is Ingrid Vasquez", True),
    ]  # fmt: skip
    assert facts[0]["session_title"] == "My lawyer is Ingrid Vasquez."
    first = f"{AT}/memories/{facts[0]['memory_id']}"
    changed = client.patch(first, json={"text": "My lawyer is Tom Okafor of Leeds", "pinned": True}).json()
    assert changed["memories"][0]["pinned"] and changed["memories"][0]["edited_at"]
    assert "Leeds" in ask(client, start(client), "Who is my lawyer?")["answer"]["answer"]["answer"]
    older = client.get(f"{AT}/memories", params={"before": facts[0]["memory_id"]}).json()["memories"]
    assert older and all(m["memory_id"] < facts[0]["memory_id"] for m in older)
    assert client.delete(first).status_code == 204
    assert client.get(f"{AT}/memories", params={"query": "Leeds", "kind": "fact"}).json()["memories"] == []
    assert client.delete(first).status_code == 404


def test_turns_come_in_pages(client: TestClient, assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    store = assistant.dialogue("default").store
    session = store.create("Long").session_id
    store.append_many(session, [{"question": f"Q{n}", "understood": f"Q{n}", "answer": "A"} for n in range(1, 13)])
    monkeypatch.setattr("web.sessions.MAX_TURNS", 5)

    def numbers(**query: int) -> list[int]:
        found = client.get(f"{AT}/sessions/{session}/turns", params=query).json()
        assert found["session"]["turns"] == 12
        return [turn["number"] for turn in found["turns"]]

    assert numbers() == [1, 2, 3, 4, 5] and numbers(after=5) == [6, 7, 8, 9, 10]
    assert numbers(last=2) == [11, 12] and numbers(before=11, last=3) == [8, 9, 10]
    text = client.get(f"{AT}/sessions/{session}/export").text
    assert text.count("## ") == 12 and "## 12. Q12" in text


def test_a_visitor_who_leaves_early_keeps_what_was_written(client: TestClient, assistant: Assistant) -> None:
    from web.speech import answer_events

    session = start(client)
    events = answer_events(assistant, FIRST, "default", session=session)
    text = next(event["text"] for event in events if event["type"] == "text")
    events.close()  # type: ignore[attr-defined]
    [turn] = client.get(f"{AT}/sessions/{session}/turns").json()["turns"]
    assert turn["interrupted"] and turn["answer"]["answer"] == text


def test_the_command_line_continues_a_conversation(
    assistant: Assistant, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from web.one_shot import ask_once

    assistant.close()
    for question in (FIRST, FOLLOW_UP):
        assert ask_once(assistant.settings, question, session="Rent talk", as_json=True) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (second["understood"], second["turn"]) == ("What was the rent in 2020?", 2)
    assert second["session"] == first["session"] and "48,500" in second["answer"]
