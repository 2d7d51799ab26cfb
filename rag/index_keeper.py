"""Keeps the coarse index of one workspace up to date: loads it from its cache, builds it, follows changes.

keeper = IndexKeeper(workspace, embedder_name="bundled:all-MiniLM-L6-v2", settings=settings.retrieval)
index = keeper.current()        # looked at before every question; costs one small query while nothing has changed
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from core.runtime import release_memory
from core.settings import RetrievalSettings
from rag import index_cache
from rag.coarse_index import CoarseIndex, VectorSide, WordSide, align

if TYPE_CHECKING:
    from ingest.types import DocumentInfo
    from ingest.workspace import Workspace
    from rag.faiss_index import FaissIndex

logger = logging.getLogger(__name__)

_LARGE = 10_000  # chunks whose indexing leaves so much behind that it is worth giving back


class IndexKeeper:
    """Safe to use from several threads; one of them refreshes, the others wait for it."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        embedder_name: str | None,
        settings: RetrievalSettings,
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        """`embedder_name` None: words only, vectors are not looked at."""
        self._workspace = workspace
        self._embedder_name = embedder_name
        self._settings = settings
        self._device, self._threads = device, threads
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._index: CoarseIndex | None = None

    def current(self) -> CoarseIndex:
        """The index of the workspace as it is now.

        Vectors that are just being made may lag behind (`CoarseIndex.may_read_vectors`); documents never do. Raises
        StoreError when the workspace was embedded with another model.
        """
        index = self._index
        if index is not None and index.version == self._workspace.version and not self._lagging(index):
            return index
        with self._lock:
            index = self._index
            version = self._workspace.version
            if index is None or index.version != version or self._lagging(index):
                before, index = index, self._next(index, version)
                self._index = index
                if len(index.words) > _LARGE and (before is None or before.words is not index.words):
                    release_memory()
            return index

    @staticmethod
    def _lagging(index: CoarseIndex) -> bool:
        return index.stale_vectors and index.may_read_vectors()

    def _next(self, old: CoarseIndex | None, version: int) -> CoarseIndex:
        if self._embedder_name is not None:
            self._workspace.require_embedder(self._embedder_name)
        if old is None:
            cached = self._from_cache(version)
            if cached is not None:
                return cached
        infos = [info for info in self._workspace.documents() if info.chunks]
        words = self._words(old, infos)
        embedded = sum(info.embedded for info in infos) if self._embedder_name is not None else 0
        same_words = old is not None and words is old.words
        if old is not None and same_words and embedded == old.embedded and not old.stale_vectors:
            return old.at_version(version)
        if old is not None and not old.may_read_vectors():
            vectors = old.vectors if same_words else _moved(old, words)
            return CoarseIndex(version, words, vectors, embedded, old.vectors_read_at, old.vectors_read_s, True)
        started = time.monotonic()
        vectors = self._vectors(words, old) if embedded else None
        took = time.monotonic() - started
        index = CoarseIndex(version, words, vectors, embedded, time.monotonic(), took)
        if len(words) and (vectors is None or vectors.complete) and (vectors is not None or not self._embedder_name):
            if old is None or len(words) < _LARGE:
                self._save(index)
            else:  # seconds on a slow disk, which no question should wait for
                threading.Thread(target=self._save_later, args=(index,), name="lectern-index", daemon=True).start()
        return index

    def _words(self, old: CoarseIndex | None, infos: list[DocumentInfo]) -> WordSide:
        words = old.words if old is not None else WordSide.empty()
        if [(entry.document_id, entry.name) for entry in words.documents] == [
            (info.document_id, info.name) for info in infos
        ]:
            return words
        return words.updated(self._workspace, infos)

    def _vectors(self, words: WordSide, old: CoarseIndex | None) -> VectorSide | None:
        many = self._workspace.chunk_count() > self._settings.flat_limit
        ids, matrix = self._workspace.vectors(np.float16 if many else np.float32)
        if not ids:
            return None
        rows = align(words, ids)
        if (rows < 0).any():  # of documents added or removed while this was read
            matrix, rows = matrix[rows >= 0], rows[rows >= 0]
        return self._vector_side(words, matrix, rows, old)

    def _vector_side(
        self, words: WordSide, matrix: np.ndarray, rows: np.ndarray, old: CoarseIndex | None
    ) -> VectorSide | None:
        from rag.faiss_index import FaissIndex

        if not len(rows):
            return None
        positions = np.full(len(words), -1, np.int64)
        positions[rows] = np.arange(len(rows))
        if len(rows) > self._settings.flat_limit:
            matrix = matrix.astype(np.float16, copy=False)  # rescoring reads few rows: half the memory
            grown = self._grown(words, matrix, rows, old)
            if grown is not None:
                return VectorSide(grown, rows, positions)
        else:
            matrix = matrix.astype(np.float32)
        cache = self._workspace.derived / index_cache.LISTS if len(rows) > self._settings.flat_limit else None
        index = FaissIndex(
            matrix, flat_limit=self._settings.flat_limit, device=self._device, threads=self._threads, cache=cache
        )
        return VectorSide(index, rows, positions)

    @staticmethod
    def _grown(words: WordSide, matrix: np.ndarray, rows: np.ndarray, old: CoarseIndex | None) -> FaissIndex | None:
        """The trained compressed index with the new vectors added, if all that it has stayed where it was."""
        if old is None or old.vectors is None or not old.vectors.index.compressed:
            return None
        count = len(old.vectors)
        unmoved = count <= len(rows) <= 2 * count and old.words.chunk_ids(old.vectors.rows) == words.chunk_ids(
            rows[:count]
        )
        return old.vectors.index.extended(matrix) if unmoved else None

    def _from_cache(self, version: int) -> CoarseIndex | None:
        found = index_cache.load(self._workspace.derived, version=version, embedder=self._embedder_name or "")
        if found is None:
            return None
        vectors = None
        if found.vectors is not None:
            vectors = self._vector_side(found.words, found.vectors, found.vector_rows, None)
        return CoarseIndex(version, found.words, vectors, found.embedded)

    def _save_later(self, index: CoarseIndex) -> None:
        try:
            self._save(index)
        except Exception as error:  # the workspace has been closed or deleted meanwhile: there will be no cache
            logger.info("no index cache of %s: %s", self._workspace.name, error)

    def _save(self, index: CoarseIndex) -> None:
        with self._saving:
            if self._workspace.version == index.version:
                self._write(index)

    def _write(self, index: CoarseIndex) -> None:
        folder = self._workspace.derived
        vectors, rows = None, np.zeros(0, np.int64)
        if index.vectors is not None:
            vectors, rows = index.vectors.index.vectors, index.vectors.rows
        index_cache.save(
            folder,
            version=index.version,
            embedder=self._embedder_name or "",
            words=index.words,
            vectors=vectors,
            vector_rows=rows,
        )
        if self._workspace.version != index.version:  # a removal may have emptied the folder meanwhile: leave no trace
            index_cache.drop(folder)


def _moved(old: CoarseIndex, words: WordSide) -> VectorSide | None:
    """The old vectors on the rows of a new word side; those of removed chunks point nowhere."""
    if old.vectors is None:
        return None
    rows = align(words, old.words.chunk_ids(old.vectors.rows))
    positions = np.full(len(words), -1, np.int64)
    positions[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    return VectorSide(old.vectors.index, rows, positions)
