"""How well a question's hits support an answer: the features that decide between an answer and a refusal.

Calibrated on SQuAD train by `rag.train_calibration`: questions whose article is in the store against questions whose
article is not, and small talk. A word that the whole store does not know, or that the best passage does not hold, tells
more than any similarity: meaning alone always finds something that sounds alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rag.query import understand
from rag.types import Hit

if TYPE_CHECKING:
    from ingest.embedders import Embedder

FEATURES = (
    "span_score",  # of the best span
    "hit_score",  # of the best window, as the coarse search puts it
    "cosine",  # of question and best window
    "cosine_span",  # of question and best of the leading spans: windows of short documents mix their subjects
    "coverage_span",  # question words in the best span, IDF-weighted
    "coverage_best",  # in the window, with its context, that has most of them
    "unknown",  # IDF share of question words that stand nowhere in the store
)
COVERAGE_WINDOWS = 5  # windows looked through for question words
SPANS = 3  # spans whose cosine is taken


class Counts(Protocol):
    def document_frequency(self, terms: Sequence[str]) -> dict[str, int]: ...
    def chunk_count(self) -> int: ...


def support_features(
    question: str, hits: Sequence[Hit], counts: Counts, embedder: Embedder | None = None
) -> dict[str, float]:
    """FEATURES of a question and its located hits; {} if there are none. Cosines only where there are vectors."""
    from ingest.tokens import index_terms, query_terms

    if not hits:
        return {}
    core = understand(question).core
    terms = query_terms(core)
    frequency, count = counts.document_frequency(terms), max(1, counts.chunk_count())
    idf = {term: math.log(1 + count / (1 + frequency.get(term, 0))) for term in terms}
    total = sum(idf.values()) or 1.0

    def covered(text: str) -> float:
        found = set(index_terms(text))
        return sum(weight for term, weight in idf.items() if term in found) / total

    best = max((span for hit in hits for span in hit.spans), key=lambda span: span.score, default=None)
    features = {
        "span_score": best.score if best else 0.0,
        "hit_score": max(hit.score for hit in hits),
        "coverage_span": covered(best.text) if best else 0.0,
        "coverage_best": max(covered(f"{hit.chunk.context} {hit.chunk.text}") for hit in hits[:COVERAGE_WINDOWS]),
        "unknown": sum(weight for term, weight in idf.items() if not frequency.get(term)) / total,
    }
    if cosines := [hit.dense for hit in hits if hit.dense]:
        features["cosine"] = max(cosines)
    leading = sorted((span for hit in hits for span in hit.spans), key=lambda span: -span.score)[:SPANS]
    if cosines and leading and embedder is not None:
        vectors = embedder.embed_passages([" ".join(span.text.split()) for span in leading])
        features["cosine_span"] = float((vectors @ embedder.embed_query(core)).max())
    return features
