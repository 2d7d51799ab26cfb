"""Two readings of the same passages as one: exact words by the trained reader, whole sentences by meaning and words.

The reader learned from questions with short answers. Of "How do I invert a matrix?" it makes much of nouns, little of
the sentence that tells how; the sentence locator (rag/sentence_locator.py) knows no short answers, but what a sentence
is about. Log-odds of both are added, as independent opinions are; who did not propose a sentence thinks little of it.
Weights were chosen on 220 questions about the texts of `benchmarks.answers`, all of them read twice: quotes overlapped
the references by .529 instead of .518. Few of those are of the kinds read twice here, which were chosen on manuals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from rag.question_type import expected
from rag.types import Hit, Span

WEIGHT = 0.7  # of either reading's log-odds
NOT_READ, NOT_LOCATED = 0.01, 0.01  # probability of a sentence that one of them did not propose
BASE = 1.0  # log-odds added: two readings that share their evidence are both too modest
_OPEN_KINDS = ("manner", "reason", "definition")
_PROCEEDS = re.compile(
    r"\bwhat (?:should|must|can|could|do|does|to|happens?|will)\b(?=.*\b(?:do|happen|if|when)\b)", re.I
)
_COMPARES = re.compile(r"\b(?:differences?|differ|compare[ds]?|distinguish\w*|advantages?|disadvantages?)\b", re.I)


def needs_both(question: str) -> bool:
    """Whether a question is answered by a sentence rather than by a few words.

    >>> [needs_both(q) for q in ("How do I invert a matrix?", "How many rows are there?", "What does FHS mean?")]
    [True, False, True]
    """
    open_kind = expected(question) in _OPEN_KINDS
    return open_kind or bool(_COMPARES.search(question)) or bool(_PROCEEDS.search(question))


def blend(read: Sequence[Hit], located: Sequence[Hit]) -> list[Hit]:
    """`read`: hits of the trained locator; `located`: the same hits of the sentence locator. Best span first."""
    others = [span for hit in located for span in hit.spans]
    used: set[int] = set()
    found: dict[str, list[Span]] = {}
    for hit in read:
        for span in hit.spans:
            twin = next((i for i, other in enumerate(others) if i not in used and _same(span, other)), None)
            used |= {twin} if twin is not None else set()
            score = _together(span.score, others[twin].score if twin is not None else NOT_LOCATED)
            found.setdefault(hit.chunk.chunk_id, []).append(replace(span, score=score))
    for i, other in enumerate(others):
        if i not in used:
            span = replace(other, score=_together(NOT_READ, other.score), sentence=(other.start, other.end))
            found.setdefault(other.chunk_id, []).append(span)
    hits = [
        replace(hit, spans=tuple(sorted(found.get(hit.chunk.chunk_id, ()), key=lambda span: -span.score)))
        for hit in read
    ]
    return sorted(hits, key=lambda hit: -(hit.spans[0].score if hit.spans else 0.0))


def _same(span: Span, other: Span) -> bool:
    start, end = span.sentence or (span.start, span.end)
    if (span.document_id, span.page) != (other.document_id, other.page):
        return False
    return min(end, other.end) - max(start, other.start) > 0.5 * min(end - start, other.end - other.start)


def _together(a: float, b: float) -> float:
    log_odds = WEIGHT * (_log_odds(a) + _log_odds(b)) + BASE
    return 1 / (1 + math.exp(-log_odds))


def _log_odds(p: float) -> float:
    return math.log(max(p, 1e-4) / max(1 - p, 1e-4))
