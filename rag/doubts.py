"""Why a located span may be wrong although the reader likes it: log-odds that it loses.

A small reader takes numbers, table rows and headings for much the same. What it cannot tell, rules can: another year or
article than the one asked for, another row of the same table, a heading, the names of columns, a span that runs from
one paragraph or row into the next.

    doubts("What is the rate of an engineer?", "| Principal engineer | 1,150 |\\n| Engineer | 820 |", [(0, 30), ...])
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rag.attributions import unattributed
from rag.contents import LEADERS
from rag.number_agreement import conflicts, other_units
from rag.table_rows import other_rows

CONFLICT = 1.75  # another year, another numbered thing
OTHER_UNIT = 1.5  # hours where days are asked for
UNATTRIBUTED = 2.5  # a sentence where another line sets a name beside the office asked for
CROSSING = 0.75  # runs over the end of a paragraph
OTHER_ROW = 4.0  # another row than that whose label the question spells out
NO_STATEMENT = 6.0  # a heading, the names of columns, parts of two rows, a line of contents: these answer nothing
SIGNATURE = 1.5  # how something is called, which a manual explains below
_ROW_END = re.compile(r"\|[ \t]*\n")
_MARK = r"[\s#.():;•*–—-]"
_HEADING = re.compile(rf"#+\s.*$|{_MARK}*(?:[ivxIVX]{{1,5}}|[A-Za-z])?{_MARK}*(?:\d{{1,2}}\.)*\d{{0,2}}{_MARK}*$")
_WITH_PAGE = re.compile(r"\d+(?:\.\d+)*\.?\s+[A-Z][^.!?|]*[^\W\d]\s\d{1,4}$")  # "9.3. Starting services 83"
_NUMBERED = re.compile(r"(?=(?:\S+\s+){1,7}\S+$)\d+(?:\.\d+)+\.?\s+[A-Z][^.!?:;|\d]*$")  # "3.1 Enabling features"
_SEE = re.compile(
    r"\(?see (?:also\b|(?:section|chapter|page|appendix|table|figure|note|item)\s+[\w.]+\W*$)", re.IGNORECASE
)
# "For further information, refer to Note 5": where to look, not what is asked; "Refer to a doctor" is an instruction.
_REFERS = re.compile(
    r"\W*(?:for\b[^.]{0,80}?,? )?(?:please )?(?:see|refer to)\b[^.]*?"
    r"\b(?:notes?|sections?|items?|pages?|parts?|chapters?|exhibits?|appendix|annex|schedules?) [\dIVXA-F][\w.-]*\b"
    r"(?!.*,? (?:which|who|where|but)\b)",  # "See note 5 for the rent, which is 1,200" tells something
    re.IGNORECASE,
)
_ASKS_WHERE = re.compile(
    r"\bwhere\b|\b(?:which|what) (?:notes?|sections?|items?|pages?|parts?|chapters?|exhibits?|appendix|annex|schedule)",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"(?:[\[\w][\w, \[\].]*=\s*)?[A-Za-z_][\w.:]*\s?\([^()]*(?:\([^()]*\)[^()]*)*\)?[;.]?$")
_RULE = re.compile(r"\s*\n[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*(?:\n|$)")


def doubts(question: str, texts: Sequence[str], places: Sequence[tuple[int, int]]) -> np.ndarray:
    """(n,) log-odds >= 0 against the sentence or row at characters [start, end) `places[i]` of passage `texts[i]`."""
    sentences = [text[start:end] for text, (start, end) in zip(texts, places, strict=True)]
    against = CONFLICT * np.array(conflicts(question, sentences), float)
    against += OTHER_UNIT * np.array(other_units(question, sentences), float)
    against += UNATTRIBUTED * np.array(unattributed(question, sentences), float)
    against += OTHER_ROW * np.array(other_rows(question, sentences), float)
    for i, (text, (start, end)) in enumerate(zip(texts, places, strict=True)):
        sentence = sentences[i].strip()
        line = text[text.rfind("\n", 0, start) + 1 : end]
        if "\n\n" in sentence:
            against[i] += CROSSING
        if (
            is_heading(sentence)
            or is_heading(line)
            or _ROW_END.search(sentence)
            or ("|" in sentence and _RULE.match(text, end))
            or LEADERS.search(sentence)
            or _WITH_PAGE.match(sentence)
            or _NUMBERED.match(sentence)
            or _SEE.match(sentence)
            or refers_elsewhere(question, sentence)
        ):
            against[i] += NO_STATEMENT
        elif all(_SIGNATURE.match(line.strip()) for line in sentence.split("\n")):
            against[i] += SIGNATURE
    return against


def is_heading(text: str) -> bool:
    """A Markdown heading, or nothing but an enumerator ("## 6.", "(b)", "iv."): it says where an answer stands.

    >>> [is_heading(text) for text in ("## 6. Liability", "## 6.", "(b)", "4.2", "1,150", "John", "999 Lake Drive")]
    [True, True, True, True, False, False, False]
    """
    return bool(_HEADING.match(text.strip()))


def refers_elsewhere(question: str, sentence: str) -> bool:
    """Whether a sentence only says where something is told, which was not the question.

    >>> refers_elsewhere("Whom did they acquire?", "For further information, refer to Note 5, Acquisitions.")
    True
    >>> refers_elsewhere("Where are acquisitions told?", "See Note 5."), refers_elsewhere("What then?", "See a doctor.")
    (False, False)
    """
    return bool(_REFERS.match(sentence)) and not _ASKS_WHERE.search(question)
