"""Answers kept: the same while nothing changed, gone with any change, never a damaged one, no trace after a removal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.settings import Settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from rag.answer import AnswerEngine
from rag.answer_cache import AnswerCache, fingerprint
from rag.engine import build_engine

QUESTION = "How long is the notice period?"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "lease.txt").write_text("The notice period is three months. The rent is 900 euros a month.\n")
    settings = Settings(home=tmp_path / "home")
    with Workspace.open(settings.home) as opened:
        ingest_paths(opened, [tmp_path / "lease.txt"], settings=settings, embed=False)
        yield opened


def cached_engine(workspace: Workspace, *, state: str = "") -> AnswerEngine:
    engine = build_engine(workspace, Settings.model_validate({"locator": {"model": "sentence"}}))
    engine.cache = AnswerCache(lambda: workspace.derived, lambda: workspace.version, state)
    return engine


def text_of(engine: AnswerEngine, question: str = QUESTION) -> tuple[str, list[int]]:
    events = list(engine.stream(question))
    return "".join(event.text for event in events), [event.citation.n for event in events if event.citation]


def test_the_same_question_is_answered_from_memory_and_by_another_process_from_disk(workspace: Workspace) -> None:
    engine = cached_engine(workspace)
    first = engine.answer(QUESTION)
    assert not first.cached and "three months" in first.text
    for again in (engine.answer(f"  {QUESTION} "), cached_engine(workspace).answer(QUESTION)):
        assert again.cached
        assert replace(again, cached=False, timings_ms={}, question="") == replace(first, timings_ms={}, question="")


def test_a_kept_answer_streams_text_and_citations_as_the_first_did(workspace: Workspace) -> None:
    engine = cached_engine(workspace)
    assert text_of(engine) == text_of(engine)
    assert text_of(engine)[1] == [1]


def test_other_questions_settings_and_documents_are_other_answers(workspace: Workspace, tmp_path: Path) -> None:
    engine = cached_engine(workspace)
    engine.answer(QUESTION)
    assert not engine.answer("How much is the rent?").cached
    assert not cached_engine(workspace, state="other settings").answer(QUESTION).cached
    (tmp_path / "more.txt").write_text("The notice period of the garage is two weeks.\n")
    ingest_paths(workspace, [tmp_path / "more.txt"], settings=Settings(), embed=False)
    answer = engine.answer(QUESTION)
    assert not answer.cached
    assert {hit.chunk.document for hit in answer.hits} == {"lease.txt", "more.txt"}


def test_a_changed_file_is_a_miss(workspace: Workspace) -> None:
    cached_engine(workspace).answer(QUESTION)
    (kept,) = (workspace.derived / "answers").rglob("*.json")
    data = kept.read_bytes()
    kept.write_bytes(data.replace(b"three months", b"three  years"))
    answer = cached_engine(workspace).answer(QUESTION)
    assert not answer.cached and "three months" in answer.text


def test_a_removal_leaves_no_answer_behind(workspace: Workspace) -> None:
    engine = cached_engine(workspace)
    engine.answer(QUESTION)
    workspace.remove("lease.txt")
    assert not any(b"three months" in path.read_bytes() for path in workspace.path.rglob("*") if path.is_file())
    assert engine.answer(QUESTION).refused


def test_an_answer_for_documents_that_changed_meanwhile_is_not_kept(workspace: Workspace) -> None:
    cache = AnswerCache(lambda: workspace.derived, lambda: workspace.version, "")
    place = cache.place(QUESTION)
    answer = build_engine(workspace, Settings()).answer(QUESTION)
    cache.put(replace(place, version=place.version - 1), answer)
    assert cache.get(place) is None and cache.get(replace(place, version=place.version - 1)) is None


def test_the_key_of_a_chat_model_is_no_part_of_what_is_kept() -> None:
    one, two = (Settings.model_validate({"answer": {"api_key": key}}) for key in ("secret", "other"))
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one) != fingerprint(Settings.model_validate({"answer": {"max_sentences": 1}}))
