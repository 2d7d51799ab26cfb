"""Words that sound alike: what was misheard is offered as the documents write it, and searched for."""

from __future__ import annotations

import pytest

from omni.arpabet import phones, pronunciations
from omni.close_terms import TermIndex, apply, wordings
from omni.question_patterns import SLOT, questions
from omni.transcript_text import tidy, words_of
from omni.types import Hypothesis, Transcript

TERMS = {"quillon": 12, "pump": 30, "impeller": 8, "amcor": 9, "gasket": 5, "technician": 4, "fentanyl": 3}


@pytest.fixture(scope="module")
def index() -> TermIndex:
    return TermIndex(TERMS, phones)


@pytest.mark.parametrize(
    ("line", "heard", "term"),
    [
        ("Who services the quill on pump?", "quill on", "quillon"),
        ("What is am core's debt?", "am core's", "amcor"),
        ("Is fenton all mentioned?", "fenton all", "fentanyl"),
        ("Replace the casket.", "casket", "gasket"),
    ],
)
def test_a_misheard_term_is_found_where_it_stands(index: TermIndex, line: str, heard: str, term: str) -> None:
    best = index.corrections(line)[0]
    assert (best.heard, best.term, line[best.start : best.end]) == (heard, term, heard)
    assert 0 < best.weight <= 1 and not best.applied
    assert term in apply(line, best) and heard not in apply(line, best)


def test_what_sounds_like_nothing_in_the_documents_is_left_alone(index: TermIndex) -> None:
    assert index.corrections("What is the weather like in Boston?") == []
    assert index.corrections("") == [] and TermIndex({}, phones).corrections("the pump") == []
    assert all(c.heard.lower() != "pump" for c in index.corrections("Where is the pump?")), "it was understood"


def test_phones_that_sound_alike_are_nearer(index: TermIndex) -> None:
    from omni.close_terms import phone_numbers

    near = dict(index.nearest(phone_numbers(phones("basket"))))
    far = dict(index.nearest(phone_numbers(phones("ask"))))
    assert near["gasket"] < far.get("gasket", 1.0)
    assert index.nearest(phone_numbers(phones("gasket")))[0] == ("gasket", 0.0)


def test_readings_are_hypotheses_and_corrections_with_weights_that_sum_to_one(index: TermIndex) -> None:
    text = "Who services the quill on pump?"
    hypotheses = (Hypothesis(text, -0.5), Hypothesis("Who serves the quill on pump?", -1.5))
    transcript = Transcript(text, (), 2.0, 0.8, hypotheses, tuple(index.corrections(text)))
    readings = wordings(transcript)
    assert readings[0].text == text and sum(reading.weight for reading in readings) == pytest.approx(1)
    weights = {reading.text: reading.weight for reading in readings}
    assert weights["Who services the quillon pump?"] > 0.1
    assert weights[text] / weights["Who serves the quill on pump?"] == pytest.approx(2.718, rel=0.01)
    assert wordings(Transcript("", (), 1.0)) == []


# --- words, names and questions of the documents ----------------------------------------------------------------------


def test_possessives_of_new_names_are_said() -> None:
    assert all(said.endswith("S AH Z") for said in pronunciations("zorbex's"))
    assert pronunciations("amcor's")[0] == "AE M K AO R Z"
    assert pronunciations("'") == []


@pytest.mark.parametrize("line", ["What was AMD's revenue in 2015?", "Who audits Boeing's accounts?"])
def test_names_and_their_possessives_are_written_as_the_documents_write_them(line: str) -> None:
    assert tidy(" ".join(words_of(line)), {"amd": "AMD", "boeing": "Boeing"}) == line


def test_questions_are_about_the_text_in_learned_words_and_always_the_same() -> None:
    sentences = [words_of("The impeller of the Quillon pump is replaced."), words_of("Boeing builds the pump.")] * 5
    made = list(questions(sentences, [["boeing"], ["a", "m", "d"]], 500))
    assert made == list(questions(sentences, [["boeing"], ["a", "m", "d"]], 500)) and len(made) == 500
    assert not any(SLOT in question for question in made)
    flat = [" ".join(question) for question in made]
    assert sum("impeller" in line for line in flat) > 20
    assert any("boeing's" in line for line in flat) and any("a m d's" in line for line in flat)
    assert sum(line.startswith(("what", "how", "who", "when", "which", "where")) for line in flat) > 250
    assert list(questions([], [], 10)) == []
