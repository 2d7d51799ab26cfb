"""BM25 against another library, and growing against building anew."""

from __future__ import annotations

import numpy as np
import pytest

from rag.lexical_index import LexicalIndex

bm25s = pytest.importorskip("bm25s")


def corpus(count: int, seed: int = 0) -> list[list[str]]:
    """Texts of Zipf-distributed words."""
    rng = np.random.default_rng(seed)
    return [[f"w{word}" for word in rng.zipf(1.4, rng.integers(1, 60)) if word < 500] or ["w1"] for _ in range(count)]


def test_scores_are_those_of_bm25s() -> None:
    texts = corpus(300)
    index = LexicalIndex.build(texts)
    judge = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    judge.index(texts, show_progress=False)
    for query in (["w1", "w7"], ["w3"], ["w2", "w40", "w11", "w200"]):
        expected = judge.get_scores([word for word in query if word in index.vocabulary])
        # Lucene leaves out the constant factor k1 + 1 since its version 8; the ranking is the same.
        assert np.allclose(index.score(query).bm25, 2.2 * expected, rtol=1e-4, atol=1e-5)


def test_coverage_is_the_share_of_idf_found() -> None:
    index = LexicalIndex.build([["cash", "flow"], ["cash"], ["net", "cash", "flow"]])
    scores = index.score(["cash", "net", "nowhere"])
    idf = [np.log(1 + (3 - df + 0.5) / (df + 0.5)) for df in (3, 1)]
    assert scores.idf == pytest.approx([*idf, 0.0], rel=1e-5)
    share = idf[0] / sum(idf)
    assert scores.coverage == pytest.approx([share, share, 1.0], rel=1e-5)


def test_growing_and_shrinking_equal_building_anew() -> None:
    first, second = corpus(80, seed=1), corpus(50, seed=2)
    keep = np.random.default_rng(3).random(len(first)) < 0.6
    grown = LexicalIndex.build(first).extended(second, keep=keep)
    anew = LexicalIndex.build([text for text, kept in zip(first, keep, strict=True) if kept] + second)
    for query in (["w1"], ["w2", "w5", "w9"], ["w77", "w3"]):
        assert np.allclose(grown.score(query).bm25, anew.score(query).bm25, atol=1e-6)
    assert len(grown) == len(anew)
    words = {number: word for word, number in grown.vocabulary.items()}
    assert [words[number] for number in grown.sequence_of(len(grown) - 1)] == second[-1]


def test_stored_arrays_give_the_same_index() -> None:
    index = LexicalIndex.build(corpus(40))
    again = LexicalIndex.from_arrays(list(index.vocabulary), index.arrays())
    assert np.array_equal(index.score(["w1", "w4"]).bm25, again.score(["w1", "w4"]).bm25)


def test_an_empty_index_and_unknown_words_score_nothing() -> None:
    assert len(LexicalIndex.build([]).score(["anything"]).bm25) == 0
    assert LexicalIndex.build([["a"], []]).score(["b"]).bm25.tolist() == [0.0, 0.0]
