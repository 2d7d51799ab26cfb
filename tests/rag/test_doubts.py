"""Rules against spans that a reader likes for the wrong reason."""

from __future__ import annotations

import numpy as np
import pytest

from rag.doubts import CONFLICT, CROSSING, NO_STATEMENT, OTHER_ROW, doubts, is_heading, refers_elsewhere

TABLE = "| Role | Rate |\n|---|---|\n| Principal engineer | 1,150 |\n| Engineer | 820 |\n"


def place(text: str, part: str) -> tuple[int, int]:
    return text.index(part), text.index(part) + len(part)


def test_another_row_the_names_of_columns_and_two_rows_at_once_lose() -> None:
    parts = ["| Engineer | 820 |", "| Principal engineer | 1,150 |", "| Role | Rate |"]
    parts.append("| Principal engineer | 1,150 |\n| Engineer | 820 |")
    found = doubts("What is the rate of an engineer?", [TABLE] * 4, [place(TABLE, part) for part in parts])
    assert found.tolist() == pytest.approx([0.0, OTHER_ROW, OTHER_ROW + NO_STATEMENT, NO_STATEMENT])
    longer = doubts("What is the rate of a principal engineer?", [TABLE] * 2, [place(TABLE, p) for p in parts[:2]])
    assert longer.tolist() == pytest.approx([OTHER_ROW, 0.0])


def test_another_year_or_code_and_a_crossed_paragraph_lose() -> None:
    text = "The rent was 48 in 2020.\n\nThe rent was 52 in 2021."
    parts = ["The rent was 48 in 2020.", "The rent was 52 in 2021.", text]
    found = doubts("What was the rent in 2021?", [text] * 3, [place(text, part) for part in parts])
    assert found.tolist() == pytest.approx([CONFLICT, 0.0, CROSSING])
    codes = "E-1 means a broken wire. E-4 means low voltage."
    found = doubts("What does E-4 mean?", [codes] * 2, [place(codes, p) for p in codes.split(". ")])
    assert found.tolist() == pytest.approx([CONFLICT, 0.0])


@pytest.mark.parametrize("text", ["## 6. Liability", "## 6.", "(b)", "4.2", "iv.", "•"])
def test_headings_and_enumerators(text: str) -> None:
    assert is_heading(text)


@pytest.mark.parametrize("text", ["1,150", "John", "999 Lake Drive, Issaquah", "四月", "No.", "$45"])
def test_short_answers_are_no_headings(text: str) -> None:
    assert not is_heading(text)


def test_nothing_to_doubt() -> None:
    assert not np.any(doubts("Who came?", ["Anna came."], [(0, 10)]))


@pytest.mark.parametrize(
    "text",
    [
        "See Notes 1C and 11.",
        "For further information, refer to Note 5, “Acquisitions and Divestitures.”",
        "Refer to CIB, CB and Corporate segment results on pages 27-32 for further details.",
    ],
)
def test_a_sentence_that_only_says_where_to_look_answers_nothing_else(text: str) -> None:
    assert refers_elsewhere("Which companies were acquired?", text)
    assert doubts("Which companies were acquired?", [text], [(0, len(text))])[0] == NO_STATEMENT
    assert not refers_elsewhere("Where are the acquisitions discussed?", text)


@pytest.mark.parametrize("text", ["Refer to a doctor if pain persists.", "See that the valve is closed.", "Note 5."])
def test_instructions_are_no_references(text: str) -> None:
    assert not refers_elsewhere("What should I do?", text)
