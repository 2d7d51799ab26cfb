"""Several readings of one question: each is searched, and a chunk is worth what it is expected to be worth."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ingest.types import Chunk
from rag.types import Hit
from rag.wordings import Wording, WordingsRetriever, search_wordings, with_wordings


class Store:
    """Scores by question and chunk."""

    def __init__(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        self.scores = scores
        self.asked: list[str] = []

    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        self.asked.append(question)
        found = sorted(self.scores.get(question, {}).items(), key=lambda item: -item[1])[:top_k]
        return [Hit(Chunk(name, "d", "d.pdf", 1, 0, 9, "text", ""), score) for name, score in found]


def test_a_chunk_is_worth_its_expectation_over_the_readings() -> None:
    store = Store({"clean the impeller": {"a": 0.8, "b": 0.2}, "clean the propeller": {"b": 0.6, "c": 0.5}})
    readings = [Wording("clean the impeller", 0.75), Wording("clean the propeller", 0.25)]
    hits = search_wordings(store, readings, 3)
    assert [hit.chunk.chunk_id for hit in hits] == ["a", "b", "c"]
    assert [hit.score for hit in hits] == pytest.approx([0.6, 0.3, 0.125])
    assert len(search_wordings(store, readings, 1)) == 1


def test_hearings_are_not_added_up() -> None:
    """What the likeliest hearing found goes only where another found something more surely, however many others are."""
    store = Store({
        "clean the impeller": {"a": 0.8, "b": 0.3, "c": 0.2},
        "clean the propeller": {"d": 0.35},
        "glean the propeller": {"d": 0.35},
        "clean the pro pillar": {"d": 0.3, "e": 0.1},
    })  # fmt: skip
    heard = [Wording(text, 0.4 if text == "clean the impeller" else 0.2, heard=True) for text in store.scores]
    assert [hit.chunk.chunk_id for hit in search_wordings(store, heard, 3)] == ["a", "b", "d"]
    hits = search_wordings(store, heard, 10)
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.3, 0.35 * 0.5**0.5, 0.2, 0.1 * 0.5**0.5])
    through = WordingsRetriever(store, heard).search("clean the impeller", 3)
    assert [hit.chunk.chunk_id for hit in through] == ["a", "b", "d"]
    meant = [Wording(wording.text, wording.weight) for wording in heard]  # exclusive meanings are
    assert [hit.chunk.chunk_id for hit in search_wordings(store, meant, 3)] == ["a", "d", "b"]


def test_readings_with_the_same_content_are_searched_once() -> None:
    store = Store({"what is the pump": {"a": 0.5}})
    readings = [Wording("what is the pump", 0.6), Wording("what was a pump", 0.3), Wording("was the lamp", 0.001)]
    assert search_wordings(store, readings)[0].score == pytest.approx(0.5)
    assert store.asked == ["what is the pump"]
    assert search_wordings(store, []) == []


def test_the_misheard_word_still_finds_its_page_and_the_question_keeps_its_share() -> None:
    store = Store({"the quill on pump": {"noise": 0.2}, "the quillon pump": {"manual": 0.9}})
    both = WordingsRetriever(store, [Wording("the quill on pump", 0.7), Wording("the quillon pump", 0.3)])
    assert [hit.chunk.chunk_id for hit in both.search("the quill on pump", 5)] == ["manual", "noise"]
    assert [hit.chunk.chunk_id for hit in both.search("the quillon pump", 5)] == ["manual", "noise"]


def test_an_engine_with_readings_is_another_one() -> None:
    class Engine:
        retriever = Store({})
        cache = object()

    engine = Engine()
    changed = with_wordings(engine, [Wording("the pump", 0.5), Wording("the lamp", 0.5)])  # type: ignore[arg-type]
    assert changed is not engine and isinstance(changed.retriever, WordingsRetriever)
    assert changed.cache is None and engine.cache is not None and isinstance(engine.retriever, Store)
    assert with_wordings(engine, [Wording("the pump", 1.0)]) is engine  # type: ignore[arg-type,comparison-overlap]
