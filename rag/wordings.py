"""A question whose wording is not certain: every reading of it is searched, and each chunk gets what it may be worth.

    readings = [Wording("how is the impeller cleaned", 0.6), Wording("how is the propeller cleaned", 0.4)]
    hits = search_wordings(retriever, readings, top_k=10)
    engine = with_wordings(engine, readings)              # whose answers look for all of them

P(chunk answers) = sum over readings of P(reading) * P(chunk answers | reading): hits' scores are probabilities, so the
mixture is the expectation over what may have been meant. Where readings come from (speech, handwriting, a keyboard's
corrections) is not known here.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ingest.tokens import query_terms
from rag.types import Hit, Retriever

if TYPE_CHECKING:
    from rag.answer import AnswerEngine

MAX_SEARCHED = 5  # readings with different content words, the likeliest; each costs a search
NEGLIGIBLE = 0.02  # share of a reading that is not searched for


@dataclass(frozen=True)
class Wording:
    """One reading of a question."""

    text: str
    weight: float  # its probability, or anything proportional to it within one list


def search_wordings(retriever: Retriever, wordings: Sequence[Wording], top_k: int = 10) -> list[Hit]:
    """The best chunks over all readings, best first; scores fall along the list and stay in 0..1.

    Readings that differ in stop words only are searched once, as the likeliest of them is worded. [] without readings.
    """
    chosen = _distinct(wordings)
    total = sum(wording.weight for wording in chosen)
    found: dict[str, Hit] = {}
    scores: dict[str, float] = {}
    for wording in chosen:
        for hit in retriever.search(wording.text, top_k):
            key = hit.chunk.chunk_id
            scores[key] = scores.get(key, 0.0) + wording.weight / total * hit.score
            known = found.get(key)
            if known is not None:
                hit = replace(known, dense=max(known.dense, hit.dense), lexical=max(known.lexical, hit.lexical))
            found[key] = hit
    best = sorted(found, key=lambda key: scores[key], reverse=True)[:top_k]
    return [replace(found[key], score=scores[key]) for key in best]


class WordingsRetriever(Retriever):
    """Searches for a question and for other readings of it. The question itself has what weight they leave."""

    def __init__(self, retriever: Retriever, wordings: Sequence[Wording]) -> None:
        """`wordings`: with probabilities that sum to at most one; the question that is searched may be among them."""
        self.retriever = retriever
        self.wordings = tuple(wordings)

    @property
    def timings_ms(self) -> dict[str, float]:
        """Of the last reading that was searched."""
        return getattr(self.retriever, "timings_ms", {})

    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        others = [wording for wording in self.wordings if wording.text != question]
        own = max(1.0 - sum(wording.weight for wording in others), NEGLIGIBLE)
        return search_wordings(self.retriever, [Wording(question, own), *others], top_k)


def with_wordings(engine: AnswerEngine, wordings: Sequence[Wording]) -> AnswerEngine:
    """The engine with other readings of the next question among what it searches; it is not changed."""
    if len(_distinct(wordings)) < 2:
        return engine
    changed = copy.copy(engine)
    changed.retriever = WordingsRetriever(engine.retriever, wordings)
    if getattr(changed, "cache", None) is not None:
        changed.cache = None  # what it finds does not depend on the question's text alone
    return changed


def _distinct(wordings: Sequence[Wording]) -> list[Wording]:
    """One per set of content words, with their weights summed, likeliest first; the negligible ones left out."""
    groups: dict[frozenset[str], Wording] = {}
    for wording in sorted(wordings, key=lambda wording: wording.weight, reverse=True):
        if wording.weight <= 0.0 or not wording.text.strip():
            continue
        key = frozenset(query_terms(wording.text))
        known = groups.get(key)
        weight = wording.weight + (known.weight if known else 0.0)
        groups[key] = Wording(known.text if known else wording.text, weight)
    ranked = sorted(groups.values(), key=lambda wording: wording.weight, reverse=True)[:MAX_SEARCHED]
    total = sum(wording.weight for wording in ranked)
    return [wording for wording in ranked if wording.weight >= NEGLIGIBLE * total]
