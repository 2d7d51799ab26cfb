"""Years and numbered things of a question against those of sentences."""

from __future__ import annotations

import pytest

from rag.number_agreement import conflicts, other_units

RENT = ["The rent in 2020 was 48,500 pounds.", "The rent in 2021 was 52,000 pounds.", "It is paid in advance."]


def test_another_year_is_a_conflict_silence_is_not() -> None:
    assert conflicts("What was the rent in 2021?", RENT) == [True, False, False]
    assert conflicts("What was the rent in FY2020?", RENT) == [False, True, False]
    assert conflicts("How did the rent change from 2020 to 2021?", RENT) == [False, False, False]


def test_nothing_is_in_conflict_where_nothing_speaks_of_what_is_asked() -> None:
    assert conflicts("What was the rent in 1999?", RENT) == [False, False, False]
    assert conflicts("What was the rent?", RENT) == [False, False, False]


def test_numbered_things() -> None:
    articles = ["Article 5 governs notice.", "Article 6 governs rent.", "Notice is given in 3 months."]
    assert conflicts("What does Article 5 govern?", articles) == [False, True, False]


@pytest.mark.parametrize("question", ["Who paid 2,021 pounds?", "What costs $2021?", "Who owns about 20 mills?", ""])
def test_amounts_are_neither_years_nor_names(question: str) -> None:
    assert conflicts(question, ["He paid 2,020 pounds in 1999.", "She paid about 21 pounds in 2021."]) == [False, False]


def test_other_units_than_those_asked_for_are_doubted_where_one_sentence_has_them() -> None:
    sentences = ["Report theft within 24 hours.", "Tell us within 30 days of it.", "Write to us.", "Ten working days."]
    assert other_units("How many days do I have?", sentences) == [True, False, False, False]
    assert other_units("How many weeks do I have?", sentences) == [False] * 4
    assert other_units("When do I have to tell you?", sentences) == [False] * 4
