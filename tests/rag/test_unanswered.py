"""Passages that speak of the matter and do not tell: who judges that, of what, and what the engine then does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.types import Chunk
from ingest.workspace import Workspace
from rag.answer import AnswerEngine
from rag.engine import build_engine
from rag.extractive import NOTHING_FOUND
from rag.types import Hit, Locator, Span
from rag.unanswered import unanswered

LEASE = """The monthly rent is $1,200 and is due on the first day of each month. The landlord, Margaret Hale, keeps a
second set of keys. Pets are not allowed without the written consent of the landlord.
"""


def hit(text: str, no_answer: float | None) -> Hit:
    chunk = Chunk("d:0", "d", "a.txt", 1, 0, len(text), text, "")
    return Hit(chunk, 0.9, spans=(Span("a.txt", "d", 1, 0, len(text), text, 0.8, "d:0"),), no_answer=no_answer)


@pytest.mark.parametrize(
    "question", ["Who keeps the keys?", "When is the rent due?", "In which city is it?", "How much is the rent?"]
)
def test_the_reader_is_believed_where_a_few_words_answer(question: str) -> None:
    assert unanswered(question, [hit("The landlord keeps them.", 0.9)]) == 0.9


@pytest.mark.parametrize(
    "question",
    [
        "Why is the rent due?",
        "How do I pay the rent?",
        "What does deposit mean?",
        "Wer hat die Schlüssel?",
        "the keys",
        "What did the landlord say about the keys?",
        "What specific rules were laid down for pets?",
        "What examples of repairs are given?",
    ],
)
def test_it_is_not_where_a_sentence_answers_or_in_other_languages(question: str) -> None:
    assert unanswered(question, [hit("The landlord keeps them.", 0.9)]) == 0.0


def test_it_is_not_of_tables_nor_where_nothing_was_read() -> None:
    assert unanswered("How much is the rent?", [hit("| Rent | 1,200 |", 0.9)]) == 0.0
    assert unanswered("How much is the rent?", [hit("The rent is 1,200.", None)]) == 0.0
    assert unanswered("How much is the rent?", []) == 0.0


class States:
    """A locator that finds what another does and says how likely there is no answer."""

    name, refuse_above = "sentence", 0.8

    def __init__(self, other: Locator, no_answer: float) -> None:
        self.other, self.no_answer = other, no_answer

    def locate(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        return [replace(found, no_answer=self.no_answer) for found in self.other.locate(question, hits)]


def test_the_engine_refuses_what_the_reader_does_not_find_and_shows_the_nearest_passages(tmp_path: Path) -> None:
    (tmp_path / "lease.txt").write_text(LEASE, encoding="utf-8")
    settings = load_settings(tmp_path / "home", locator={"model": "sentence"})
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path / "lease.txt"], settings=settings)
        usual = build_engine(workspace, settings)

        def ask(no_answer: float):
            locator = States(usual.locator, no_answer)
            engine = AnswerEngine(usual.retriever, locator, workspace=workspace, embedder=usual.embedder)
            return engine.answer("Who keeps the second set of keys?")

        told, silent = ask(0.5), ask(0.95)
        assert not told.refused and "Margaret Hale" in told.text
        assert silent.refused and silent.text.startswith(NOTHING_FOUND)
        assert silent.citations and silent.citations[0].document == "lease.txt"
        assert silent.confidence == pytest.approx(0.05)
