"""How well a question's hits support an answer: the features that decide between an answer and a refusal.

Calibrated on SQuAD train by `rag.train_calibration`: questions whose article is in the store against questions whose
article is not, and small talk. A word that the whole store does not know, or that the best passage does not hold, tells
more than any similarity: meaning alone always finds something that sounds alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from rag.query import understand
from rag.types import Hit

FEATURES = (
    "span_score",  # of the best span
    "span_margin",  # best span over the best one of any other window
    "cosine",  # of question and best window
    "cosine_margin",  # over the mean of the hits
    "coverage_span",  # question words in the best span, IDF-weighted
    "coverage_window",  # in its window and context
    "coverage_best",  # in any one window
    "rarest_missing",  # 1: the question's rarest word is not in the best window
    "unknown",  # IDF share of question words that stand nowhere in the store
)


class Counts(Protocol):
    def document_frequency(self, terms: Sequence[str]) -> dict[str, int]: ...
    def chunk_count(self) -> int: ...


def support_features(question: str, hits: Sequence[Hit], counts: Counts) -> dict[str, float]:
    """FEATURES of a question and its located hits; {} if there are none. Cosines only where there are vectors."""
    from ingest.tokens import index_terms, query_terms

    if not hits:
        return {}
    terms = query_terms(understand(question).core)
    frequency, count = counts.document_frequency(terms), max(1, counts.chunk_count())
    idf = {term: math.log(1 + count / (1 + frequency.get(term, 0))) for term in terms}
    total = sum(idf.values()) or 1.0

    def covered(text: str) -> float:
        found = set(index_terms(text))
        return sum(weight for term, weight in idf.items() if term in found) / total

    best = max(hits, key=lambda hit: hit.spans[0].score if hit.spans else -1.0)
    scores = sorted((hit.spans[0].score for hit in hits if hit.spans), reverse=True) or [0.0]
    window = f"{best.chunk.context} {best.chunk.text}"
    coverage = [covered(f"{hit.chunk.context} {hit.chunk.text}") for hit in hits[:5]]
    rarest = max(idf, key=lambda term: idf[term], default="")
    features = {
        "span_score": scores[0],
        "span_margin": scores[0] - (scores[1] if len(scores) > 1 else 0.0),
        "coverage_span": covered(best.spans[0].text) if best.spans else 0.0,
        "coverage_window": covered(window),
        "coverage_best": max(coverage),
        "rarest_missing": float(rarest not in set(index_terms(window))),
        "unknown": sum(weight for term, weight in idf.items() if not frequency.get(term)) / total,
    }
    cosines = [hit.dense for hit in hits if hit.dense]
    if cosines:
        features["cosine"] = max(cosines)
        features["cosine_margin"] = max(cosines) - sum(cosines) / len(cosines)
    return features
