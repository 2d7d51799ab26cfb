"""Names beside an office, as signatures and lists have them, answer who holds it."""

from __future__ import annotations

import pytest

from rag.attributions import attributes, office_asked, unattributed
from rag.doubts import doubts


@pytest.mark.parametrize(
    ("question", "office"),
    [
        ("Which auditor signed the report?", "auditor"),
        ("Who is the company secretary of Brightwater?", "company secretary"),
        ("Who was the chair?", "chair"),
        ("What is the name of the managing director?", "managing director"),
        ("Which town is the largest?", ""),
        ("Who was absent from the meeting?", ""),
        ("What is the rent?", ""),
        ("Who signed the report?", ""),
    ],
)
def test_the_office_that_is_asked_for(question: str, office: str) -> None:
    assert office_asked(question) == office


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Hale & Moss LLP, Statutory Auditor, Leeds", True),
        ("Fiona Carmody, Senior Statutory Auditor", True),
        ("Ida Voss (auditor), Samir Haddad (treasurer)", True),
        ("Auditor: Hale & Moss", True),
        ("We have audited the statements of Acme plc.", False),
        ("The auditor has to be told of it.", False),
        (f"Hale & Moss, auditor, {'said that it had looked into all of this; ' * 4}", False),
    ],
)
def test_names_beside_an_office(text: str, told: bool) -> None:
    assert attributes("auditor", text) is told


def test_sentences_without_are_doubted_only_where_a_line_has_one() -> None:
    lines = ["We have audited the statements of Acme plc.", "Hale & Moss LLP, Statutory Auditor, Leeds"]
    assert unattributed("Which auditor signed?", lines) == [True, False]
    assert unattributed("Which auditor signed?", lines[:1]) == [False]
    text = "\n".join(lines)
    places = [(0, len(lines[0])), (len(lines[0]) + 1, len(text))]
    first, second = doubts("Which auditor signed?", [text, text], places)
    assert first > second == 0
