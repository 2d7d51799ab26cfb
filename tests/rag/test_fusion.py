"""Fusion by hand, and the fit on questions whose answer is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from rag.fusion import (
    FusionWeights,
    Signals,
    fused_score,
    min_max_fusion,
    probability,
    proximities,
    proximity,
    reciprocal_rank_fusion,
    word_information,
)
from rag.train_fusion import Example, fit, recall


def test_proximity_by_hand() -> None:
    idf = np.array([2.0, 1.0, 1.0], np.float32)  # terms 10, 11, 12
    near = np.array([10, 11, 5, 12, *[0] * 5], np.int32)  # 10-11 and 11-12 within three places, all in one window
    assert proximity(np.array([10, 11, 12]), idf, near) == pytest.approx(((1.0 + 1.0) / 4.0, 1.0))
    far = np.array([10, *[0] * 40, 11, 12], np.int32)  # 10 stands alone, 11 and 12 together
    assert proximity(np.array([10, 11, 12]), idf, far) == pytest.approx((1.0 / 4.0, 2.0 / 4.0))
    assert proximity(np.array([10, -1]), np.array([1.0, 0.0], np.float32), near) == pytest.approx((0.0, 1.0))
    assert proximity(np.array([7]), np.array([1.0], np.float32), near) == (0.0, 0.0)
    assert proximity(np.array([], np.int32), np.array([], np.float32), near) == (0.0, 0.0)


def test_window_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        terms, idf = np.arange(1, 5), rng.random(4).astype(np.float32)
        text = rng.integers(0, 12, 200).astype(np.int32)
        best = max(sum(idf[t - 1] for t in terms if t in text[i : i + 31]) for i in range(len(text)))
        assert proximity(terms, idf, text)[1] == pytest.approx(best / idf.sum(), abs=1e-5)


def test_texts_end_to_end_are_judged_as_each_alone() -> None:
    rng = np.random.default_rng(1)
    terms, idf = np.array([3, -1, 5, 7]), np.array([1.5, 0.0, 0.5, 1.0], np.float32)
    texts = [rng.integers(0, 9, n).astype(np.int32) for n in (1, 40, 0, 3, 90, 2)]
    texts += [np.array([3], np.int32), np.array([5], np.int32)]  # near each other only across the border
    lengths = np.array([len(text) for text in texts])
    pairs, window = proximities(terms, idf, np.concatenate(texts), lengths)
    alone = [proximity(terms, idf, text) for text in texts]
    assert list(zip(pairs, window, strict=True)) == [pytest.approx(found, abs=1e-6) for found in alone]
    assert pairs[-1] == pairs[-2] == 0.0 and window[-2] == pytest.approx(0.5)


def test_fused_score_by_hand_and_meaning_counts_less_the_more_the_words_tell() -> None:
    one = Signals(*(np.array([value], np.float32) for value in (0.5, 10.0, 0.8, 0.1, 0.4, 1.0, 0.0)))
    w = FusionWeights()
    expected = w.cosine * 0.5 + w.bm25 * 10 + w.coverage * 0.8 + w.pairs * 0.1 + w.window * 0.4 + w.document
    assert fused_score(one, 1.0, w) == pytest.approx([expected], rel=1e-5)
    similar, worded = Signals.zeros(1), Signals.zeros(1)
    similar.cosine[:], worded.window[:] = 0.6, 0.9
    assert fused_score(similar, 0.2, w) > fused_score(worded, 0.2, w)  # common words only: meaning decides
    assert fused_score(similar, 2.0, w) < fused_score(worded, 2.0, w)  # rare words found together: they decide


def test_information_grows_with_rare_words_up_to_a_limit() -> None:
    assert word_information(np.array([5.0, 5.0])) == pytest.approx(0.5)
    assert word_information(np.full(30, 9.0)) == 2.0


def test_probability_rises_with_the_score() -> None:
    chances = probability(np.array([-50.0, 10.0, 20.0, 60.0]), FusionWeights())
    assert (np.diff(chances) > 0).all() and chances[0] < 0.01 and chances[-1] > 0.99


def test_fit_recovers_which_signal_tells_the_truth() -> None:
    rng = np.random.default_rng(0)
    data = []
    for _ in range(400):
        signals = Signals(*(rng.random(10).astype(np.float32) for _ in range(7)))
        score = 20 * signals.cosine + 8 * signals.coverage
        data.append(Example(signals, 1.0, int(np.argmax(score + rng.gumbel(size=10)))))
    weights = fit(data, ridge=1e-6)
    assert weights.cosine == pytest.approx(20, rel=0.15) and weights.coverage == pytest.approx(8, rel=0.2)
    assert abs(weights.pairs) < 1.5 and abs(weights.window) < 1.5
    assert recall(data, weights, 1) > recall(data, FusionWeights(cosine=0, coverage=0), 1)


def test_fixed_mixtures_by_hand() -> None:
    fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=60)
    assert fused == [("b", pytest.approx(1 / 61 + 1 / 62)), ("a", pytest.approx(1 / 61)), ("c", pytest.approx(1 / 62))]
    mixed = min_max_fusion(np.array([0.0, 1.0, 0.5]), np.array([10.0, 0.0, 5.0]), 0.25)
    assert mixed.tolist() == [0.75, 0.25, 0.5]
