"""Whether the passages speak of the matter and do not say what is asked: "Who audits Adobe?" of pages that do not tell.

Such pages look as good as those that answer (rag/support.py): the same subject, the same words. The trained reader was
trained on questions whose paragraph had been taken away, and says how likely nothing in its windows answers. It is
believed where it was trained: English questions that a few words answer, in prose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.question_type import wants_several_sentences
from rag.two_readings import needs_both
from rag.types import Hit

_ASKS = re.compile(r"\b(?:who|whom|whose|when|where|what|which|how (?!do\b|does\b|did\b|can\b|to\b|should\b))", re.I)


def unanswered(question: str, hits: Sequence[Hit]) -> float:
    """The probability that nothing in the passages answers, 0..1; 0 where the reader is no judge of it.

    `hits`: located, the best first.
    """
    stated = hits[0].no_answer if hits else None
    if stated is None or not _ASKS.search(question) or needs_both(question) or wants_several_sentences(question):
        return 0.0
    best = max((span for hit in hits for span in hit.spans), key=lambda span: span.score, default=None)
    if best is not None and "|" in best.text:  # a row of a table: the reader knows none
        return 0.0
    return stated
