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
HARD = [("How often is it descaled with hard water?", "Every six weeks [1].")]
BASKET = [("How much coffee does the single basket take?", "It takes 9 grams [1].")]
TANK = [("How big is the water tank?", "It holds 1.8 litres [1].")]
DEPOSIT = [("How much is the deposit?", "The Customer pays a deposit of EUR 30,000 [1].")]
DISPUTES = [("Where are disputes settled?", "In Rotterdam [1].")]
LAMP = [("What does a flashing steam lamp mean?", "Press the button. The boiler has become too hot [1].")]
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
        ("no, I meant 2019", SALES, "What were Nike's net sales in 2019?"),
        ("not 2021 but 2020", SALES, "What were Nike's net sales in 2020?"),
        ("sorry, Adidas", SALES, "What were Adidas's net sales in 2021?"),
        ("Compare that to 2020", SALES, "What were Nike's net sales in 2021, compared to 2020?"),
        ("And with soft water?", HARD, "How often is it descaled with soft water?"),
        ("And the double one?", BASKET, "How much coffee does the double basket take?"),
        ("And the boiler?", TANK, "How big is the boiler?"),
        ("When is it returned?", DEPOSIT, "When is the deposit returned?"),
        ("Under which rules?", DISPUTES, "Under which rules are disputes settled?"),
        ("Back to the carrier: is it liable?", DEPOSIT, "Is the carrier liable?"),
        ("And the deposit, when is that returned?", DISPUTES, "When is the deposit returned?"),
        ("What should I do then?", LAMP, "What should I do about the flashing steam lamp?"),
        ("How long does that take?", TANK, "How long does the water tank take?"),
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
     "How long does it take to file Form 10-K?", "How much is the monthly fee?", "What was net income in fiscal 2021?",
     "When did Netflix complete its initial public offering?"],
)  # fmt: skip
def test_what_stands_for_itself_is_left_alone(question: str) -> None:
    assert understand(question, SALES).query == question


def test_a_fragment_repeats_the_place_of_the_one_before() -> None:
    """ "and medium?" after "and with soft water?": the slot that the last fragment has filled."""
    turns = [*HARD, ("How often is it descaled with soft water?", "Every six months [1].")]
    assert understand("what about medium?", turns).query == "How often is it descaled with medium water?"


def test_a_parallel_is_found_in_an_earlier_question() -> None:
    turns = [("Who signs notices for the Customer?", "Helena Voss [1]."), ("How old is Helena Voss?", "She is 50 [1].")]
    assert understand("And for the Carrier?", turns).query == "Who signs notices for the Carrier?"
    turns = [("Is the Customer liable?", "Yes [1]."), ("Is the Carrier liable?", "Yes [1].")]
    assert understand("And the other party?", turns).query == "Is the Customer liable?"


def test_what_else_may_be_meant_is_searched_with_its_probability() -> None:
    turns = [("When did Chopin meet Liszt?", "Chopin met Liszt in Paris in 1832 [1].")]
    found = understand("Where was he born?", turns)
    readings = {found.query, *(other.text for other in found.others)}
    assert {"Where was Chopin born?", "Where was Liszt born?", "Where was he born?"} <= readings
    assert 0 < sum(other.weight for other in found.others) < 1
    alone = understand("Who wrote Moby Dick?", turns)
    assert alone.others == ()


def test_a_question_in_full_is_shown_as_asked_and_searched_with_the_topic_too() -> None:
    turns = [("Where was Marie Curie born?", "Marie Curie was born in Warsaw [1].")]
    found = understand("What was the first discovery?", turns)
    assert not found.changed
    assert any("Marie Curie" in other.text for other in found.others)


def test_verbs_that_begin_a_sentence_are_no_names() -> None:
    found = referents("What temperature should it reach?", [("How is milk frothed?", "Fill the jug with milk [1].")])
    assert "Fill" not in [referent.text for referent in found]


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
