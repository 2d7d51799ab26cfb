"""A question whose wording is not certain: every reading of it is searched, and each chunk gets what it may be worth.

    readings = [Wording("how is the impeller cleaned", 0.6), Wording("how is the propeller cleaned", 0.4)]
    hits = search_wordings(retriever, readings, top_k=10)
    engine = with_wordings(engine, readings)              # whose answers look for all of them

P(chunk answers) = sum over readings of P(reading) * P(chunk answers | reading): hits' scores are probabilities, so the
mixture is the expectation over what may have been meant.

Hearings of one sound are not added up: they share most of their words, right and wrong ones, so that what several of
them find is no surer for it, and one that makes sense finds by itself that it is the right one. There a chunk has the
score of the best reading that finds it, less how much likelier the likeliest one is. What the likeliest one found
keeps its whole score, and gives way only to what another reading finds more surely.
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
# Power of a hearing's odds against the likeliest; of 0.25, 0.33, 0.5, 0.67, 1 and 2 the best on 513 spoken questions.
DISCOUNT = 0.5


@dataclass(frozen=True)
class Wording:
    """One reading of a question."""

    text: str
    weight: float  # its probability, or anything proportional to it within one list
    heard: bool = False  # it is one hearing of a sound, of which there are others


def search_wordings(retriever: Retriever, wordings: Sequence[Wording], top_k: int = 10) -> list[Hit]:
    """The best chunks over all readings, best first; scores fall along the list and stay in 0..1.

    Readings that differ in stop words only are searched once, as the likeliest of them is worded. [] without readings.
    """
    chosen = _distinct(wordings)
    total = sum(wording.weight for wording in chosen)
    likeliest = max((wording.weight for wording in chosen), default=1.0)
    best_of = any(wording.heard for wording in chosen)
    found: dict[str, Hit] = {}
    scores: dict[str, float] = {}
    for wording in chosen:
        for hit in retriever.search(wording.text, top_k):
            key = hit.chunk.chunk_id
            if best_of:
                score = (wording.weight / likeliest) ** DISCOUNT * hit.score
                scores[key] = max(scores.get(key, 0.0), score)
            else:
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
        heard = any(wording.heard for wording in self.wordings)
        return search_wordings(self.retriever, [Wording(question, own, heard), *others], top_k)


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
        groups[key] = replace(known or wording, weight=weight)
    ranked = sorted(groups.values(), key=lambda wording: wording.weight, reverse=True)[:MAX_SEARCHED]
    total = sum(wording.weight for wording in ranked)
    return [wording for wording in ranked if wording.weight >= NEGLIGIBLE * total]
