"""Whether the passages speak of the matter and do not say what is asked: "Who audits Adobe?" of pages that do not tell.

Such pages look as good as those that answer (rag/support.py): the same subject, the same words. The trained reader was
trained on questions whose paragraph had been taken away, and says how likely nothing in its windows answers. It is
believed where it was trained: English questions that a few words answer, in prose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.lists import asks_for_several
from rag.types import Hit

_ASKS = re.compile(r"\b(?:who|whom|whose|when|where|what|which|how (?!do\b|does\b|did\b|can\b|to\b|should\b))", re.I)
# What is told in sentences: several things that the asker knows no name for, and what somebody said.
_ENUMERATES = re.compile(
    r"\bwhat (?:specific|key|main|major|significant|important|primary|notable|particular)\b|"
    r"\bwhat (?:kinds|types|sorts|examples|reasons|factors|steps|measures|improvements|changes|actions|impacts|"
    r"effects)\b",
    re.I,
)
_REPORTS = re.compile(
    r"\bwhat (?:did|does|do|has|have|had) .{2,80}?\b(?:say|said|emphasi[sz]e|express|pledge|mention|argue|claim|"
    r"propose|announce|state|promise|suggest|describe|address|explain|point out|highlight|stress|warn|urge)(?:e?d)?\b",
    re.I,
)


def in_few_words(question: str) -> bool:
    """Whether a question asks for something that a few words answer.

    >>> asked = ("Who audits Adobe?", "What did the president say about prices?", "What specific steps were announced?")
    >>> [in_few_words(question) for question in asked]
    [True, False, False]
    """
    told = asks_for_several(question) or _ENUMERATES.search(question) or _REPORTS.search(question)
    return bool(_ASKS.search(question)) and not told


def unanswered(question: str, hits: Sequence[Hit]) -> float:
    """The probability that nothing in the passages answers, 0..1; 0 where the reader is no judge of it.

    `hits`: located, the best first.
    """
    stated = hits[0].no_answer if hits else None
    if stated is None or not in_few_words(question):
        return 0.0
    best = max((span for hit in hits for span in hit.spans), key=lambda span: span.score, default=None)
    if best is not None and "|" in best.text:  # a row of a table: the reader knows none
        return 0.0
    return stated
