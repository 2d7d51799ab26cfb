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
    """(pairs, window), 0..1 each, of a question's `terms` and one text: `proximities`."""
    pairs, window = proximities(terms, idf, sequence, np.array([len(sequence)]))
    return float(pairs[0]), float(window[0])


def proximities(
    terms: np.ndarray, idf: np.ndarray, sequence: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How close together a question's words stand in each of m texts: (pairs, window), (m,) float32 in 0..1 each.

    `terms` are term numbers (-1: in no text), each once, with their `idf`; `sequence` the texts' term numbers in
    reading order, end to end, `lengths` (m,) how many each has.
    pairs: neighbours in the question that stand within NEAR_TERMS in the text, weighed by the rarer side's poorer half;
    window: the most idf mass of different terms found inside WINDOW_TERMS consecutive terms. Both over the question's
    idf mass. (Term proximity in ranking: Tao and Zhai, SIGIR 2007.)
    """
    pairs, window = np.zeros(len(lengths), np.float32), np.zeros(len(lengths), np.float32)
    mass = float(idf.sum())
    known = np.flatnonzero(np.asarray(terms) >= 0)
    if mass <= 0.0 or not len(sequence) or not len(known):
        return pairs, window
    number_of = np.full(max(int(sequence.max()), int(terms.max())) + 1, -1, np.int16)
    number_of[terms[known]] = known
    at = np.flatnonzero(number_of[sequence] >= 0)
    if not len(at):
        return pairs, window
    term = number_of[sequence[at]]
    text = np.repeat(np.arange(len(lengths)), lengths)[at]
    place = at + text * (WINDOW_TERMS + 1)  # nothing in one text is near anything in the next
    # (events, terms): where each term was last seen, up to and with this event.
    last = np.where(term[:, None] == np.arange(len(terms)), place[:, None], -WINDOW_TERMS - 1)
    since = place[:, None] - np.maximum.accumulate(last, axis=0)
    inside = (since <= WINDOW_TERMS) @ idf.astype(np.float64)
    np.maximum.at(window, text, np.minimum(inside / mass, 1.0))
    if len(terms) > 1:  # at a word, its neighbour was just seen
        close = since <= NEAR_TERMS
        close = close[:, 1:] & close[:, :-1]
        touching = np.zeros((len(lengths), len(terms) - 1), bool)
        np.logical_or.at(touching, text, close & _either(term, len(terms)))
        pairs[:] = touching @ np.minimum(idf[:-1], idf[1:]).astype(np.float64) / mass
    return pairs, window


def _either(term: np.ndarray, count: int) -> np.ndarray:
    """(events, count - 1) bool: the event is one of the two neighbours i, i + 1."""
    first = np.arange(count - 1)
    return (term[:, None] == first) | (term[:, None] == first + 1)


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
