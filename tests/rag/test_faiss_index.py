"""Exact search against numpy, compressed search against exact, and what a cache may suffer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import MissingDependencyError
from rag.faiss_index import FaissIndex, _as_float32


def clustered(count: int, dim: int = 48, seed: int = 0) -> np.ndarray:
    """Unit vectors in clusters, as texts are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, dim))
    vectors = centres[rng.integers(0, 40, count)] + 0.6 * rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exact(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    scores = vectors @ query
    rows = np.argsort(-scores, kind="stable")[:k]
    return scores[rows], rows


def test_every_finite_half_is_widened_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = np.ascontiguousarray(halves[np.isfinite(halves)].reshape(2, -1))
    widened = _as_float32(halves)
    assert widened.dtype == np.float32 and np.array_equal(widened, halves.astype(np.float32))
    assert np.array_equal(np.signbit(widened), np.signbit(halves))  # -0.0, too


def test_exact_search_is_numpys() -> None:
    vectors = clustered(500)
    index = FaissIndex(vectors)
    for query in clustered(10, seed=1):
        scores, rows = index.search(query, 7)
        expected_scores, expected_rows = exact(vectors, query, 7)
        assert rows.tolist() == expected_rows.tolist()
        assert scores == pytest.approx(expected_scores, abs=1e-5)


def test_compressed_search_finds_nearly_all_and_scores_exactly() -> None:
    vectors, queries = np.split(clustered(6050), [6000])
    vectors = vectors.astype(np.float16)
    index = FaissIndex(vectors, flat_limit=1000)
    assert index.compressed
    found = 0
    for query in queries:
        scores, rows = index.search(query, 10)
        assert scores == pytest.approx(vectors[rows].astype(np.float32) @ query, abs=1e-5)
        assert (np.diff(scores) <= 1e-6).all()
        found += len(set(rows.tolist()) & set(exact(vectors.astype(np.float32), query, 10)[1].tolist()))
    assert found / 500 >= 0.93


def test_vectors_added_later_are_found() -> None:
    vectors = clustered(4000).astype(np.float16)
    index = FaissIndex(vectors[:3000], flat_limit=1000).extended(vectors)
    for row in (3000, 3500, 3999):
        assert index.search(vectors[row].astype(np.float32), 1)[1].tolist() == [row]


def test_a_damaged_cache_is_built_anew_and_a_good_one_is_used(tmp_path: Path) -> None:
    vectors, cache = clustered(2000), tmp_path / "dense.faiss"
    before = FaissIndex(vectors, flat_limit=1000, cache=cache).search(vectors[5], 5)
    assert FaissIndex(vectors, flat_limit=1000, cache=cache).search(vectors[5], 5)[1].tolist() == before[1].tolist()
    cache.write_bytes(cache.read_bytes()[:100])
    assert FaissIndex(vectors, flat_limit=1000, cache=cache).search(vectors[5], 5)[1].tolist() == before[1].tolist()


def test_fewer_vectors_than_asked_for() -> None:
    assert FaissIndex(clustered(3)).search(clustered(1)[0], 10)[1].shape == (3,)
    assert FaissIndex(np.zeros((0, 48), np.float32)).search(clustered(1)[0], 10)[1].shape == (0,)


def test_a_gpu_that_faiss_cannot_use_is_said() -> None:
    import faiss

    if hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS can use GPUs")
    with pytest.raises(MissingDependencyError, match="faiss-gpu"):
        FaissIndex(clustered(3), device="cuda")
