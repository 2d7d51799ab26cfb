"""The vectors of memories in ChromaDB: in this process and on disk, or on a Chroma server.

Chroma holds ids and vectors only. The words stay in the store of conversations (memory/dialogue_store.py), which is the
truth: a lost, damaged or foreign vector index is dropped and made again from it. Everything that goes wrong here is a
StoreError, on which recall falls back to words.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from core.errors import StoreError, UsageError
from core.runtime import require

log = logging.getLogger(__name__)

FOLDER = "chroma"  # inside the workspace's folder
_ADD = 5000  # vectors a call; Chroma refuses more than its own limit, 5461


class ChromaVectors:
    """Ids and vectors (dim float32) of one store of conversations, compared by inner product."""

    def __init__(self, folder: Path, name: str, *, url: str = "", inside: str = FOLDER) -> None:
        """`name`: of the collection, unique on a shared server. `url`: http://HOST:PORT, empty for `folder`/chroma."""
        self.path = Path(folder) / inside
        self.name = name
        self.url = url
        self._collection: Any = None
        self._client: Any = None
        self._lock = threading.RLock()

    def count(self) -> int:
        return self._call(lambda c: c.count())

    def put(self, ids: Sequence[int], vectors: np.ndarray) -> None:
        """Add or replace; vectors (n, dim)."""
        for first in range(0, len(ids), _ADD):
            part = slice(first, first + _ADD)
            rows = np.ascontiguousarray(vectors[part], np.float32)
            keys = [str(i) for i in ids[part]]
            self._call(lambda c, keys=keys, rows=rows: c.upsert(ids=keys, embeddings=rows))

    def remove(self, ids: Sequence[int]) -> None:
        if ids:
            self._call(lambda c: c.delete(ids=[str(i) for i in ids]))

    def nearest(self, vector: np.ndarray, limit: int) -> list[tuple[int, float]]:
        """(id, inner product) of the nearest, best first."""
        found = self._call(
            lambda c: c.query(query_embeddings=[vector.astype(np.float32)], n_results=limit, include=["distances"])
        )
        return [
            (int(key), 1.0 - float(distance))
            for key, distance in zip(found["ids"][0], found["distances"][0], strict=True)
        ]

    def get(self, ids: Sequence[int]) -> dict[int, np.ndarray]:
        """The vectors of these ids, as far as they are there."""
        if not ids:
            return {}
        found = self._call(lambda c: c.get(ids=[str(i) for i in ids], include=["embeddings"]))
        return {int(key): np.asarray(row) for key, row in zip(found["ids"], found["embeddings"], strict=True)}

    def rewrite(self, ids: Sequence[int]) -> None:
        """Make the index on disk anew with these vectors alone, and drop the files of the old one.

        Chroma marks what is deleted and goes on keeping it, in the graph's file and in its log. Reading goes on
        meanwhile; writing must wait. A crash leaves the old index or none, which is as good as a lost one. Not covered:
        hnswlib writes places that are not taken yet as this process's memory happens to be.
        """
        assert not self.url, "a server's files are its own"
        fresh = ChromaVectors(self.path.parent, self.name, inside=f"{FOLDER}.new")
        old = self.path.with_name(f"{FOLDER}.old")
        for leftover in (fresh.path, old):
            shutil.rmtree(leftover, ignore_errors=True)
        for first in range(0, len(ids), _ADD):
            kept = self.get(ids[first : first + _ADD])
            if kept:
                fresh.put(list(kept), np.stack(list(kept.values())))
        fresh.close()
        with self._lock:
            self.close()
            try:
                if self.path.exists():
                    self.path.rename(old)
                if fresh.path.exists():
                    fresh.path.rename(self.path)
                if old.exists():
                    shutil.rmtree(old)
            except OSError as error:
                raise StoreError(f"{old} cannot be deleted ({error.strerror})", remedy="Delete it by hand") from error

    def reset(self) -> None:
        """Drop everything; also a damaged index on disk."""
        with self._lock:
            try:
                self._open()
                self._client.delete_collection(self.name)
            except Exception as error:  # Chroma raises from a dozen libraries (sqlite, rust, http)
                log.info("dropping the vector index the hard way: %s", error)
                if not self.url:
                    self._forget_client()
                    shutil.rmtree(self.path, ignore_errors=True)
            self._collection = None
            self._client = None if self.url else self._client

    def close(self) -> None:
        with self._lock:
            self._collection = None
            self._forget_client()

    def _forget_client(self) -> None:
        """Chroma keeps one system per path in the process: without this a new client gets the broken one back."""
        self._client = None
        if self.url:
            return
        try:
            from chromadb.api.shared_system_client import SharedSystemClient

            system = SharedSystemClient._identifier_to_system.pop(str(self.path), None)
            if system is not None:
                system.stop()
        except Exception as error:  # private names: absent in other releases; the worst is a restart that is needed
            log.debug("Chroma's system was not stopped: %s", error)

    def _open(self) -> Any:
        if self._collection is None:
            chromadb = require("chromadb", needed_for="long-term memory")
            quiet = chromadb.config.Settings(anonymized_telemetry=False)
            if self.url:
                address = urlsplit(self.url)
                if address.scheme not in ("http", "https") or not address.hostname:
                    raise UsageError(f"memory.chroma_url = {self.url!r} is no address", remedy="Write http://HOST:PORT")
                secure = address.scheme == "https"
                port = address.port or (443 if secure else 8000)
                self._client = chromadb.HttpClient(host=address.hostname, port=port, ssl=secure, settings=quiet)
            elif self._client is None:
                self.path.mkdir(parents=True, exist_ok=True)
                self._client = chromadb.PersistentClient(path=str(self.path), settings=quiet)
            self._collection = self._client.get_or_create_collection(
                self.name, embedding_function=None, metadata={"hnsw:space": "ip", "hnsw:search_ef": 200}
            )
        return self._collection

    def _call(self, action: Any) -> Any:
        with self._lock:
            try:
                return action(self._open())
            except UsageError:
                raise
            except BaseException as error:  # pyo3 panics are no Exception
                if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                    raise
                self._collection = None
                where = self.url or str(self.path)
                first = next(iter(str(error).splitlines()), type(error).__name__)
                remedy = (
                    "Start that server, or empty memory.chroma_url"
                    if self.url
                    else f"Delete {self.path}: it is rebuilt"
                )
                raise StoreError(
                    f"the vectors of memories in {where} cannot be used ({first})", remedy=remedy
                ) from error
