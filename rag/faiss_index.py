"""Dense index: inner product of unit vectors, exact while that is quick, compressed above, always rescored exactly.

Up to `flat_limit` vectors FAISS compares the question with all of them (7 ms at 100,000 of 384 dimensions). Above it an
inverted file with 8-bit vectors (IVF-SQ8; Jegou et al., TPAMI 2011) picks candidates, and their scores are computed
again from the vectors themselves, so that a score means the same whichever index found it.

    index = FaissIndex(vectors)                     # (n, dim) unit vectors
    scores, rows = index.search(query, top_k=10)    # (10,), (10,), best first
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import MissingDependencyError, StoreError
from core.runtime import require
from core.seals import seal, sealed, unseal

logger = logging.getLogger(__name__)

RESCORE = 2  # candidates taken from the compressed index, per hit wanted
TRAIN_PER_LIST, MIN_TRAIN_PER_LIST = 64, 40  # training vectors per inverted list; FAISS warns under 39
PROBE_SHARE = 1 / 32  # of the lists, looked into per question; 1/64 to all gave one recall at 100,000 paragraphs
MIN_PROBES = 16


class FaissIndex:
    """n unit vectors, searched by inner product (= cosine)."""

    def __init__(
        self,
        vectors: np.ndarray,
        *,
        flat_limit: int = 100_000,
        device: str = "cpu",
        threads: int = 1,
        cache: Path | None = None,
    ) -> None:
        """`vectors` (n, dim), float32 or float16 (a memory map will do), unit length; row numbers are the ids.

        `device` "cuda" moves the index to the first GPU (MissingDependencyError without faiss-gpu), "auto" does so
        where there are both. `cache` is a file that keeps the trained compressed index (exact ones are quicker to fill
        than to read); a damaged or foreign file is built anew.
        """
        self.vectors = vectors
        self.compressed = len(vectors) > flat_limit
        self._faiss: Any = require("faiss", needed_for="dense search", package="faiss-cpu")
        if threads:
            self._faiss.omp_set_num_threads(threads)
        index = self._load(cache) if self.compressed and cache else None
        self._index: Any = index if index is not None else self._build()
        if index is None and self.compressed and cache:
            self._save(cache)
        if self._on_gpu(device):
            self._resources = self._faiss.StandardGpuResources()  # must outlive the index
            self._index = self._faiss.index_cpu_to_gpu(self._resources, 0, self._index)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Best rows for `queries`, (dim,) or (m, dim): cosines and rows, (k,) or (m, k), best first, k <= top_k."""
        batch = np.ascontiguousarray(np.atleast_2d(queries), np.float32)
        k = min(top_k, len(self))
        if k == 0:
            scores, rows = np.zeros((len(batch), 0), np.float32), np.zeros((len(batch), 0), np.int64)
        elif self.compressed:
            scores, rows = self._search_compressed(batch, k)
        else:
            scores, rows = self._index.search(batch, k)
        return (scores[0], rows[0]) if np.ndim(queries) == 1 else (scores, rows)

    def similarity(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Exact cosines (m,) of `query` (dim,) and the vectors of `rows` (m,)."""
        return _as_float32(np.asarray(self.vectors)[rows]) @ np.asarray(query, np.float32)

    def extended(self, vectors: np.ndarray, *, cache: Path | None = None) -> FaissIndex:
        """The same rows followed by more: `vectors` holds old and new ones. The trained lists are kept and filled.

        Only for a compressed index; an exact one is simply built again.
        """
        assert self.compressed and len(vectors) >= len(self), (self.compressed, len(vectors), len(self))
        grown = object.__new__(FaissIndex)
        grown.vectors, grown.compressed, grown._faiss = vectors, True, self._faiss
        grown._index = self._faiss.clone_index(self._index)
        for start in range(len(self), len(vectors), 50_000):
            grown._index.add(np.ascontiguousarray(vectors[start : start + 50_000], np.float32))
        if cache:
            grown._save(cache)
        return grown

    def _search_compressed(self, batch: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        _, found = self._index.search(batch, min(k * RESCORE, len(self)))
        scores = np.full((len(batch), k), -1.0, np.float32)
        rows = np.full((len(batch), k), -1, np.int64)
        for i, candidates in enumerate(found):
            candidates = np.sort(candidates[candidates >= 0])  # ascending: reads of a memory map stay local
            exact = self.similarity(batch[i], candidates)
            best = np.argsort(-exact, kind="stable")[:k]
            scores[i, : len(best)], rows[i, : len(best)] = exact[best], candidates[best]
        width = int((rows >= 0).sum(1).min()) if len(batch) == 1 else k
        return scores[:, :width], rows[:, :width]

    def _build(self) -> Any:
        faiss, (n, dim) = self._faiss, self.vectors.shape
        if not self.compressed:
            index = faiss.IndexFlatIP(dim)
            if n:
                index.add(np.ascontiguousarray(self.vectors, np.float32))
            return index
        lists = int(2 ** np.floor(np.log2(max(4.0, min(5 * np.sqrt(n), n / MIN_TRAIN_PER_LIST)))))
        logger.info("training a compressed index: %d vectors, %d lists", n, lists)
        index = faiss.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(n, min(n, lists * TRAIN_PER_LIST), replace=False)
        index.train(np.ascontiguousarray(self.vectors[np.sort(sample)], np.float32))
        for start in range(0, n, 50_000):
            index.add(np.ascontiguousarray(self.vectors[start : start + 50_000], np.float32))
        index.nprobe = max(MIN_PROBES, int(lists * PROBE_SHARE))
        return index

    def _load(self, cache: Path) -> Any | None:
        if not sealed(cache):
            return None
        try:
            index = self._faiss.read_index(str(cache))
        except RuntimeError as error:
            logger.warning("%s is damaged and is built anew: %s", cache, str(error).splitlines()[0])
            return None
        return index if index.ntotal == len(self.vectors) and index.d == self.vectors.shape[1] else None

    def _save(self, cache: Path) -> None:
        temporary = cache.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._faiss.write_index(self._index, str(temporary))
            unseal(cache)
            os.replace(temporary, cache)
            seal(cache)
        except (RuntimeError, OSError) as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(f"cannot write {cache}: {error}", remedy="Free some space on that disk") from error

    def _on_gpu(self, device: str) -> bool:
        able = hasattr(self._faiss, "StandardGpuResources")
        if device.startswith("cuda") and not able:
            raise MissingDependencyError(
                'dense search with device = "cuda" needs a GPU build of FAISS',
                remedy='Install it with `pip install faiss-gpu-cu12` (requirements-gpu.txt), or set device = "cpu"',
            )
        return device.startswith("cuda") or (device == "auto" and able and self._faiss.get_num_gpus() > 0)


def _as_float32(values: np.ndarray) -> np.ndarray:
    """Finite float16 exactly as float32: the bits moved over, all at once, where numpy converts one by one.

    200 vectors of 384: 16 instead of 106 us. (5 exponent bits to 8: a float16 read so is 2**112 too small.)
    """
    if values.dtype != np.float16:
        return np.asarray(values, np.float32)
    bits = values.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(~0x70000000)  # copies of the sign
    moved = bits.view(np.float32)
    moved *= np.float32(2.0**112)
    return moved
