"""What is said is written as the documents write it: in Roman numerals, figures, symbols or words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from omni.language_bias import read_part
from omni.moonshine_text import written
from omni.transcript_text import words_of
from omni.written_forms import Counts, WrittenForms, merged

REPORT = """World War II ended in 1945, and after World War II came others. Henry VIII followed Henry VII, Elizabeth I
ended the line. Malcolm X spoke. See Chapter IV and Section 12(b) of Form 10-K, Item 1A, Item 7 and Rule 10b-5. P&G,
AT&T and 3M held 5% each, or $1.2 million, and spent it on R&D. COVID-19 was told by e-mail, over Wi-Fi. A Boeing 747
and the F-35 flew. He had type 2 diabetes, vitamin B12, a 401(k) plan. The 21st century began; July 4 was in Q3.
The twelve apostles. A4 paper. BBC Two.
"""
NOTES = """World War Two ended; World War Two began. The first man, the 1st man, the first of all. Send an email, not an
email again. Five percent, ten percent. Chapter four, chapter four.
"""


def counts_of(*passages: str) -> Counts:
    return read_part(passages).forms


def forms_of(*documents: Sequence[str]) -> WrittenForms:
    return WrittenForms(merged(counts_of(*passages) for passages in documents))


@pytest.mark.parametrize(
    ("heard", "line"),
    [
        ("How did World War two end?", "How did World War II end?"),
        ("who was Henry the eighth's father", "Who was Henry VIII's father?"),
        ("When did Elizabeth the first die?", "When did Elizabeth I die?"),
        ("What does chapter four say?", "What does Chapter IV say?"),
        ("what is in section twelve b", "What is in section 12(b)?"),
        ("what are the risks in item one a", "What are the risks in Item 1A?"),
        ("Read item seven.", "Read Item 7."),
        ("What is rule ten b five?", "What is Rule 10b-5?"),
        ("who holds five percent of p and g", "Who holds 5% of P&G?"),
        ("What did A. T. and T. pay?", "What did AT&T pay?"),
        ("What did three M spend on R and D?", "What did 3M spend on R&D?"),
        ("Was it one point two million dollars?", "Was it $1.2 million?"),
        ("Who told of COVID nineteen by e mail over wifi?", "Who told of COVID-19 by e-mail over Wi-Fi?"),
        ("How big is a Boeing seven forty seven?", "How big is a Boeing 747?"),
        ("Is the F thirty five new?", "Is the F-35 new?"),
        ("Does vitamin b twelve help type two diabetes?", "Does vitamin B12 help type 2 diabetes?"),
        ("Who has a four oh one k plan?", "Who has a 401(k) plan?"),
        ("What came in the twenty first century?", "What came in the 21st century?"),
        ("What was on July fourth?", "What was on July 4?"),
        ("Who were the twelve apostles?", "Who were the twelve apostles?"),
        ("What is on BBC 2?", "What is on BBC Two?"),
    ],
)
def test_what_was_heard_is_written_as_in_the_documents(heard: str, line: str) -> None:
    assert forms_of([REPORT]).applied(written(heard)) == line


@pytest.mark.parametrize(
    "line",
    [
        "Who works in a four day week?",  # no A4
        "What was sold in the third quarter?",
        "Who is Malcolm X?",
        "Were there two, or three, M. Pauls?",
        "What is the World War's second year?",
        "Item one, a list.",
    ],
)
def test_what_only_sounds_alike_stays(line: str) -> None:
    assert forms_of([REPORT]).applied(line) == line


def test_nothing_is_written_that_the_documents_do_not_write() -> None:
    line = "How did World War two end for P and G in chapter four?"
    assert WrittenForms({}).applied(line) == line
    assert forms_of(["The pump is cleaned once a week."]).applied(line) == line
    assert forms_of([NOTES]).applied("How did World War II end?") == "How did World War Two end?"
    assert forms_of([NOTES]).applied("Was the first e-mail of chapter four about five percent?") == (
        "Was the first email of chapter four about five percent?"
    )


def test_most_documents_decide() -> None:
    report, notes = counts_of(REPORT), counts_of(NOTES)
    assert merged([report, notes])["wartwo"] in ("War II", "War Two")
    assert merged([report, report, notes, report])["wartwo"] == "War II"
    assert merged([report, notes, notes])["wartwo"] == "War Two"


def test_what_is_written_so_sounds_as_before() -> None:
    """Word errors count what is said, and spoken answers read it: neither may change."""
    forms = forms_of([REPORT])
    for heard in (
        "what did a t and t pay in item seven",
        "did henry the eighth see world war two",
        "is it five percent",
    ):
        assert words_of(forms.applied(written(heard))) == heard.split()


def test_numbers_that_words_go_with() -> None:
    assert written("what was in the nineteen sixties") == "What was in the 1960s?"
    assert written("what was in the eighteen hundreds") == "What was in the 1800s?"
    assert written("the twenty first century and twenty one") == "The twenty-first century and 21."
    assert words_of("7 years") == ["seven", "years"]
    assert words_of("2nd place") == ["second", "place"]
