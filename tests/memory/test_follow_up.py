"""Follow-ups become self-contained questions; questions that stand for themselves are left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from core.errors import ModelError
from memory.facts import asks_about_conversation
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


RENT_OF_2019 = [
    ("How much is the rent?", "The annual rent is 31,200 pounds [1]."),
    ("How much is the rent in the 2019 lease?", "The annual rent is 24,600 pounds, payable quarterly [1]."),
]
FERRIES = [("Which ferries were converted?", "Two ferries, the Aurora and the Meridian, were converted [1].")]
MODES = [
    ("What modes does the heat pump have?", "It has three modes: Comfort, Eco and Holiday [1]."),
    ("What does Eco do?", "Eco lets the rooms cool at night and saves about 12 percent of the electricity [1]."),
]
REVENUE = [("What was Tarnfield's revenue in 2023?", "Revenue was 412 million pounds in 2023 [1].")]
PEOPLE = [
    ("Who is the chief executive?", "Chief executive: Ingeborg Salthouse [1]."),
    ("What was Ingeborg Salthouse before?", "Ingeborg Salthouse was finance director; she joined in 2016 [1]."),
]
CHAIR = [*PEOPLE, ("What was the chair before?", "Dominic Abara was elected chair in 2021; he was a judge [1].")]
PUMP = [("Why: What must be installed – The flood of 2021 damaged the basement?", "The flood of 2021 damaged it [1].")]
STAFF = [("How many employees are there?", "We had 2,940 employees, led by Ingeborg Salthouse [1].")]
FAULT = [("What does E27 mean?", "E27 means that the water pressure is too low [1].")]


@pytest.mark.parametrize(
    "question, turns, query",
    [
        ("no, I mean the 2019 lease", RENT_OF_2019[:1], "How much is the rent in the 2019 lease?"),
        ("How is it paid?", RENT_OF_2019, "How is the rent paid in the 2019 lease?"),
        ("And the deposit?", RENT_OF_2019, "How much is the deposit in the 2019 lease?"),
        ("And under the 2022 lease?", RENT_OF_2019, "How much is the rent in the 2022 lease?"),
        ("What about the 2022 one?", [("When does the 2019 lease end?", "In 2022.")], "When does the 2022 lease end?"),
        ("May I sublet under the lease?", RENT_OF_2019, "May I sublet under the 2019 lease?"),
        ("I am interested in the lease. What are its premises?", FERRIES, "What are the lease's premises?"),
        ("Sorry, I meant the roof: how old is it?", FERRIES, "How old is the roof?"),
        (
            "As I said earlier, what about the Meridian?",
            [("How long is the Aurora?", "90 m.")],
            "How long is the Meridian?",
        ),
        ("And the deposit?", [("How is the rent paid?", "In cash [1].")], "How is the deposit paid?"),
        ("How much did the first one cost?", FERRIES, "How much did the Aurora cost?"),
        (
            "And the other?",
            [*FERRIES, ("How much did the Aurora cost?", "14 million [1].")],
            "How much did the Meridian cost?",
        ),
        ("and the last one?", MODES, "What does Holiday do?"),
        ("Why did it rise?", REVENUE, "Why did the revenue rise?"),
        ("And the chair?", PEOPLE, "What was the chair before?"),
        ("When was he elected?", CHAIR, "When was Dominic Abara elected?"),
        ("When did she join?", CHAIR, "When did Ingeborg Salthouse join?"),
        ("by when?", PUMP, "What must be installed by when?"),
        ("How many of them work at sea?", STAFF, "How many of the employees work at sea?"),
        ("and a year earlier?", STAFF, "How many employees are there a year earlier?"),
        ("What should it be?", FAULT, "What should the water pressure be?"),
        ("And the landlord, may he end it?", [("May the tenant sublet?", "No [1].")], "May the landlord end it?"),
        ("and the second?", [("What is the largest risk?", "Fuel [1].")], "What is the second largest risk?"),
        ("When does it end?", [("When does it start?", "On 3 April 2022 [1].")], "When does it end?"),
    ],
)
def test_what_the_talk_is_about_is_kept(question: str, turns: Sequence[tuple[str, str]], query: str) -> None:
    assert understand(question, turns).query == query


def test_what_was_said_before_is_no_question_about_the_talk() -> None:
    assert not asks_about_conversation("As I said earlier, when does the lease end?")
    assert asks_about_conversation("What did I say about the lease?")


def test_a_year_in_a_name_scopes_questions_that_name_no_other() -> None:
    """In both readings, unless the question has a year or names another of its kind."""
    scoped = understand("What are the premises?", RENT_OF_2019)
    assert scoped.query == "What are the premises?"
    assert any("2019 lease" in other.text for other in scoped.others)
    for other in ("What are the premises in 2021?", "What are the premises in the other lease?"):
        assert not any("2019 lease" in reading.text for reading in understand(other, RENT_OF_2019).others)
