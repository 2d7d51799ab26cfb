"""One score for a chunk from what words, meaning and the documents' names say about it.

Every signal is evidence, and evidence adds up in log-odds: a chunk's score is a weighted sum, the weights those of a
conditional logit (McFadden, 1974: softmax over the candidates of a question) fitted by `python -m rag.train_fusion`.
The balance between words and meaning is therefore not a fixed number but follows the question. BM25 is not scaled to
0..1 per question: rare words that match bring ten points of evidence, common ones hardly any, and then meaning decides;
on top of that `word_information` moves the weights themselves. Scaling each list to 0..1 and mixing with one constant
(or by rank alone) throws exactly this away; the benchmark shows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

WINDOW_TERMS = 30  # span in which matching words support each other: a long sentence
NEAR_TERMS = 3  # two neighbours of the question are neighbours in the text if at most so far apart


@dataclass(frozen=True)
class FusionWeights:
    """Log-odds per unit of each signal. Refit with `python -m rag.train_fusion`; keep to the printed values."""

    cosine: float = 13.007  # per unit of cosine similarity
    bm25: float = 0.035  # per point of BM25
    coverage: float = 4.792  # share of the question's idf mass in the chunk, 0..1
    pairs: float = 3.488  # share of idf mass in neighbouring words that stay neighbours, 0..1
    window: float = 6.15  # share of idf mass inside the best WINDOW_TERMS terms, 0..1
    cosine_information: float = -6.309  # times (word_information - 1): the more the words tell, the less meaning counts
    bm25_information: float = 0.111
    window_information: float = 5.543
    document: float = 4.0  # a document that the question names (chosen on SQuAD train: more costs R@1 there)
    extra: float = 2.0  # per unit of another retriever's score
    slope: float = 0.471  # score -> probability that the chunk answers
    intercept: float = -7.653


def word_information(idf: np.ndarray) -> float:
    """How much the words of a question can tell: sum of idf over 20 (a typical question has 1), at most 2."""
    return float(min(idf.sum() / 20.0, 2.0))


@dataclass(frozen=True)
class Signals:
    """What is known of m candidates of one question; (m,) float32 each, 0 where nothing is known."""

    cosine: np.ndarray
    bm25: np.ndarray
    coverage: np.ndarray
    pairs: np.ndarray
    window: np.ndarray
    document: np.ndarray  # 0..1, DocumentMatch.score of its document
    extra: np.ndarray

    @classmethod
    def zeros(cls, m: int) -> Signals:
        return cls(*(np.zeros(m, np.float32) for _ in fields(cls)))


def fused_score(signals: Signals, information: float, weights: FusionWeights) -> np.ndarray:
    """Log-odds (m,) of the candidates, up to a constant of the question."""
    w, shift = weights, information - 1.0
    return (
        (w.cosine + w.cosine_information * shift) * signals.cosine
        + (w.bm25 + w.bm25_information * shift) * signals.bm25
        + (w.window + w.window_information * shift) * signals.window
        + w.coverage * signals.coverage
        + w.pairs * signals.pairs
        + w.document * signals.document
        + w.extra * signals.extra
    ).astype(np.float32)


def probability(score: np.ndarray, weights: FusionWeights) -> np.ndarray:
    """Fused scores as probabilities 0..1 that the chunk holds the answer (logistic, fitted on SQuAD train)."""
    return 1.0 / (1.0 + np.exp(-(weights.slope * np.asarray(score, np.float64) + weights.intercept)))


def proximity(terms: np.ndarray, idf: np.ndarray, sequence: np.ndarray) -> tuple[float, float]:
    """(pairs, window), 0..1 each, of a question's `terms` (numbers) with their `idf`, and a text's in reading order.

    pairs: neighbours in the question that stand within NEAR_TERMS in the text, weighed by the rarer side's poorer half;
    window: the most idf mass of different terms found inside WINDOW_TERMS consecutive terms. Both over the question's
    idf mass. (Term proximity in ranking: Tao and Zhai, SIGIR 2007.)
    """
    mass = float(idf.sum())
    if mass <= 0.0:
        return 0.0, 0.0
    by_number = np.argsort(terms, kind="stable")
    found = np.minimum(np.searchsorted(terms[by_number], sequence), len(terms) - 1)
    at = np.flatnonzero(terms[by_number[found]] == sequence)
    if not len(at):
        return 0.0, 0.0
    events = list(zip(at.tolist(), by_number[found[at]].tolist(), strict=True))
    places: list[list[int]] = [[] for _ in terms]
    for place, i in events:
        places[i].append(place)
    pairs = sum(
        float(min(idf[i], idf[i + 1]))
        for i in range(len(terms) - 1)
        if places[i] and places[i + 1] and _gap(places[i], places[i + 1]) <= NEAR_TERMS
    )
    best = current = 0.0
    inside = [0] * len(terms)
    first = 0
    for place, i in events:  # slide over the matches; a term counts once however often it stands inside
        if inside[i] == 0:
            current += float(idf[i])
        inside[i] += 1
        while place - events[first][0] > WINDOW_TERMS:
            old = events[first][1]
            inside[old] -= 1
            if inside[old] == 0:
                current -= float(idf[old])
            first += 1
        best = max(best, current)
    return pairs / mass, min(best / mass, 1.0)


def _gap(a: Sequence[int], b: Sequence[int]) -> int:
    """Smallest distance between two ascending lists of places."""
    i = j = 0
    gap = abs(a[0] - b[0])
    while i < len(a) and j < len(b):
        gap = min(gap, abs(a[i] - b[j]))
        if a[i] < b[j]:
            i += 1
        else:
            j += 1
    return gap


def min_max_fusion(dense: np.ndarray, lexical: np.ndarray, dense_share: float) -> np.ndarray:
    """The usual fixed mixture, (n,) each, for comparison in the benchmark: both lists scaled to 0..1, then mixed."""

    def scaled(values: np.ndarray) -> np.ndarray:
        low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        return (values - low) / (high - low) if high > low else np.zeros_like(values)

    return dense_share * scaled(dense) + (1.0 - dense_share) * scaled(lexical)


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]], k: int = 60) -> list[tuple[str, float]]:
    """Fuse best-first rankings of ids into one, best first; ties keep first-seen order. For comparison.

    score(d) = sum over rankings of 1 / (k + rank(d)), rank from 1 (Cormack et al., SIGIR 2009).
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + rank)
    return sorted(scores.items(), key=lambda pair: pair[1], reverse=True)
