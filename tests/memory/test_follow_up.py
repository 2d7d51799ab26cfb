"""Follow-ups become self-contained questions; questions that stand for themselves are left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from core.errors import ModelError
from memory.follow_up import list_items, understand
from memory.mentions import names
from memory.referents import referents

SALES = [("What were Nike's net sales in 2021?", "Net sales were $44.5 billion [1].")]
DUNANT = [("Who founded the Red Cross?", "Henry Dunant founded the Red Cross in 1863 [1].")]
DUTIES = [
    (
        "What must the tenant do?",
        "The tenant must pay the rent, keep the premises in repair and insure the building [1].",
    )
]


@pytest.mark.parametrize(
    ("question", "turns", "query"),
    [
        ("And the year before?", SALES, "What were Nike's net sales in 2020?"),
        ("what about the following year", SALES, "What were Nike's net sales in 2022?"),
        ("And two years earlier?", SALES, "What were Nike's net sales in 2019?"),
        ("and in 2018?", SALES, "What were Nike's net sales in 2018?"),
        ("What about Adidas?", SALES, "What were Adidas's net sales in 2021?"),
        ("What did it spend on marketing?", SALES, "What did Nike spend on marketing?"),
        ("How much did they earn the year before?", SALES, "How much did Nike earn in 2020?"),
        ("When was he born?", DUNANT, "When was Henry Dunant born?"),
    ],
)
def test_the_question_is_completed(question: str, turns: Sequence[tuple[str, str]], query: str) -> None:
    understood = understand(question, turns)
    assert understood.query == query
    assert understood.question == question and understood.because


def test_why_is_asked_of_what_was_said() -> None:
    query = understand("Why is that?", DUNANT).query
    assert query.startswith("Why") and "Henry Dunant" in query and "1863" in query


@pytest.mark.parametrize(
    ("which", "item"), [("the second one", "repair"), ("the last one", "insure"), ("the first", "rent")]
)
def test_an_item_of_the_list_before_is_meant(which: str, item: str) -> None:
    assert item in understand(f"What about {which}?", DUTIES).query


def test_lists_are_read_in_their_usual_forms() -> None:
    assert list_items("1. Pay\n2. Insure\n3. Repair") == ["Pay", "Insure", "Repair"]
    assert list_items("The colours are red, green and blue.") == ["red", "green", "blue"]
    assert list_items("It ends on Friday.") == []


@pytest.mark.parametrize(
    "question",
    ["What is the total revenue of Apple in 2020?", "Who wrote Moby Dick?", "thanks", "谁是总统?", "?!", "", "🏠",
     "How long does it take to file Form 10-K?"],
)  # fmt: skip
def test_what_stands_for_itself_is_left_alone(question: str) -> None:
    assert understand(question, SALES).query == question


def test_without_earlier_turns_nothing_changes() -> None:
    assert understand("And the year before?", []).query == "And the year before?"


def test_a_talk_over_several_turns_keeps_its_subject() -> None:
    """Each understood question is the history of the next."""
    turns: list[tuple[str, str]] = []
    for question, answer in (("Where was Marie Curie born?", "In Warsaw."), ("When did she die?", "In 1934.")):
        turns.append((understand(question, turns).query, answer))
    assert understand("What did she discover?", turns).query == "What did Marie Curie discover?"


def test_referents_are_probabilities_best_first() -> None:
    found = referents("When was he born?", DUNANT, pronoun="he")
    assert found[0].text == "Henry Dunant"
    assert all(0 <= r.probability <= 1 for r in found)
    assert [r.probability for r in found] == sorted((r.probability for r in found), reverse=True)


class Scripted:
    name = "scripted"

    def __init__(self, reply: str | Exception) -> None:
        self.reply = reply
        self.calls = 0

    def generate(self, system: str, messages: Sequence[tuple[str, str]]) -> Iterator[str]:
        self.calls += 1
        assert "Last question:" in messages[-1][1]
        if isinstance(self.reply, Exception):
            raise self.reply
        yield from self.reply


def test_a_chat_model_rewrites_follow_ups_and_is_not_asked_otherwise() -> None:
    model = Scripted("Why did Nike's sales grow in 2021?")
    understood = understand("Why is that?", SALES, generator=model)
    assert (understood.query, understood.kind) == ("Why did Nike's sales grow in 2021?", "model")
    understand("What is the total revenue of Apple in 2020?", SALES, generator=model)
    assert model.calls == 1


@pytest.mark.parametrize("reply", [ModelError("down"), "", "Sure!\nHere is a list:\n- one", "word " * 400])
def test_rules_stand_in_for_a_model_that_fails_or_rambles(reply: str | Exception) -> None:
    assert understand("And the year before?", SALES, generator=Scripted(reply)).query.endswith("in 2020?")


def test_what_only_looks_like_a_name_is_none() -> None:
    """A year after a preposition, the tail of "iTunes", the first word of a sentence."""
    assert names("By 1931, Ashkenazi Jews were 92 percent.") == ["Ashkenazi Jews"]
    assert "Tunes" not in names("When did iTunes become a sponsor?")
    assert names("Including Arsenal, how many teams had won?") == ["Arsenal"]
