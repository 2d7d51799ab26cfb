"""Yes-or-no questions that the reader thinks unanswered in both of its ways find no answer."""

from __future__ import annotations

import pytest

from ingest.types import Chunk
from rag.types import Hit, Span
from rag.yes_no import is_yes_no, neither_likely


def hits(score: float, nothing: float | None) -> list[Hit]:
    chunk = Chunk("d:0", "d", "policy.pdf", 1, 0, 20, "Bicycles are insured", "")
    span = Span("policy.pdf", "d", 1, 0, 20, chunk.text, score, "d:0")
    return [Hit(chunk, 0.5, spans=(span,), no_answer=nothing), Hit(chunk, 0.4)]


@pytest.mark.parametrize(
    ("question", "yes_or_no"),
    [
        ("Are drones insured?", True),
        ("May I keep a cat?", True),
        ("Under the lease of 2022, may I keep a cat?", True),
        ("Doesn't the policy cover floods?", True),
        ("Is the fee due in May or in June?", False),
        ("Who is insured?", False),
        ("How do I claim?", False),
        ("Do", False),
    ],
)
def test_what_yes_or_no_answers(question: str, yes_or_no: bool) -> None:
    assert is_yes_no(question) is yes_or_no


def test_two_doubts_refuse_and_one_does_not() -> None:
    assert neither_likely("Are drones insured?", hits(0.05, 0.95))
    assert not neither_likely("Are drones insured?", hits(0.05, 0.5))
    assert not neither_likely("Are drones insured?", hits(0.6, 0.95))


def test_other_questions_and_readers_that_do_not_judge_are_left_alone() -> None:
    assert not neither_likely("What is insured?", hits(0.05, 0.95))
    assert not neither_likely("Are drones insured?", hits(0.05, None))
    assert not neither_likely("Are drones insured?", [])
