"""Vectors outside the window that a reader attends to: learned slots, and a store that documents write into.

    layer = ExternalMemory(dim=384)                                  # part of the reader, trained with it
    store = MemoryStore(workspace.derived / "memory.sqlite", dim=384)
    store.write("doc-1", {"doc-1:0": vector, ...})                   # at ingest: one summary vector a chunk
    entries = store.nearest_vectors("doc-1", question_vector, k=16)  # at reading time

    y = x + tanh(gate) * W_o softmax(q(x) k([slots; entries])') v([slots; entries])

(gated cross-attention as in Flamingo, arXiv 2204.14198; slots as in "External Attention", arXiv 2105.02358). The gate
starts at zero, so adding the layer leaves a reader exactly as it was. What a token reads costs O(slots + entries),
whatever the store holds.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import StoreError

log = logging.getLogger(__name__)


class ExternalMemory(nn.Module):
    """The layer. Stateless: entries come with each call."""

    def __init__(self, dim: int = 384, *, slots: int = 64, heads: int = 6, entry_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.slots = nn.Parameter(torch.empty(slots, dim).normal_(std=0.5))
        self.entry_in = nn.Linear(entry_dim or dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Parameter(torch.zeros(1))
        nn.init.normal_(self.entry_in.weight, std=(entry_dim or dim) ** -0.5)

    def forward(self, x: Tensor, entries: Tensor | None = None, entry_mask: Tensor | None = None) -> Tensor:
        """x (B, T, dim); entries (B, M, entry_dim) unit vectors or None; entry_mask (B, M) True where one stands."""
        batch, _, dim = x.shape
        table = self.slots.to(x.dtype).expand(batch, -1, -1)
        bias = None
        if entries is not None and entries.shape[1]:
            scale = entries.shape[-1] ** 0.5  # a unit vector's components are 1 / sqrt(d); give them variance one
            written = self.entry_in((entries * scale).to(self.entry_in.weight.dtype))
            table = torch.cat([table, written.to(x.dtype)], dim=1)
            if entry_mask is not None:
                keep = F.pad(entry_mask, (self.slots.shape[0], 0), value=True)
                bias = torch.zeros(keep.shape, device=x.device).masked_fill_(~keep, -1e4)[:, None, None].to(x.dtype)
        split = (batch, -1, self.heads, dim // self.heads)
        key, value = self.key_value(self.norm(table)).chunk(2, dim=-1)
        query = self.query(x).view(split).transpose(1, 2)
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.reshape(split).transpose(1, 2).transpose(-1, -2))
        weights = (scores if bias is None else scores + bias).softmax(dim=-1)
        read = torch.matmul(weights.to(value.dtype), value.reshape(split).transpose(1, 2))
        return x + torch.tanh(self.gate).to(x.dtype) * self.out(read.transpose(1, 2).reshape(x.shape))


_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    document TEXT NOT NULL, key TEXT NOT NULL, vector BLOB NOT NULL, read_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (document, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_read ON entries (read_at);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);
"""


class MemoryStore:
    """Entries of one workspace, on disk: (document, key) -> unit vector, float16. Thread-safe.

    When more than `capacity` are written, those of the documents that were read longest ago make room.
    """

    def __init__(self, path: Path, dim: int, *, capacity: int = 1_000_000, cached_documents: int = 64) -> None:
        """Open or create. Raises StoreError if the file is no store of vectors of this `dim`."""
        self.path, self.dim, self.capacity = path, dim, capacity
        self._lock = threading.RLock()
        self._blocks: OrderedDict[str, tuple[list[str], np.ndarray]] = OrderedDict()
        self._cached_documents = cached_documents
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES ('dim', ?), ('clock', '0')", (str(dim),))
            stored = int(self._meta("dim"))
        except sqlite3.Error as error:
            raise StoreError(
                f"the memory {path} cannot be opened ({error})", remedy="Delete the file: it is built again"
            ) from error
        if stored != dim:
            raise StoreError(
                f"the memory {path} holds vectors of {stored} dimensions, not {dim}",
                remedy="Delete the file: it is built again with the present embedder",
            )
        self._clock = int(self._meta("clock"))

    def close(self) -> None:
        self._connection.close()

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def _meta(self, key: str) -> str:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def write(self, document: str, entries: Mapping[str, np.ndarray]) -> None:
        """Insert or update entries of a document: key -> (dim,) vector."""
        with self._lock, self._connection:
            self._connection.execute("BEGIN")
            self._clock += 1
            self._connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET vector = excluded.vector",
                [(document, key, np.asarray(v, np.float16).tobytes(), self._clock) for key, v in entries.items()],
            )
            self._blocks.pop(document, None)
            self._evict()

    def remove(self, document: str) -> None:
        """Forget all entries of a document."""
        with self._lock:
            self._connection.execute("DELETE FROM entries WHERE document = ?", (document,))
            self._blocks.pop(document, None)

    def documents(self) -> set[str]:
        return {row[0] for row in self._connection.execute("SELECT DISTINCT document FROM entries")}

    def _evict(self) -> None:
        surplus = len(self) - self.capacity
        if surplus > 0:
            self._connection.execute(
                "DELETE FROM entries WHERE (document, key) IN "
                "(SELECT document, key FROM entries ORDER BY read_at, document, key LIMIT ?)",
                (surplus,),
            )
            self._blocks.clear()
            log.info("the memory is full: %d entries read longest ago were evicted", surplus)

    def nearest_vectors(self, document: str, query: np.ndarray, k: int, *, exclude: Sequence[str] = ()) -> np.ndarray:
        """(m, dim) float32 entries of a document by inner product with `query` (dim,), m <= k, nearest first."""
        with self._lock:
            keys, vectors = self._block(document)
            self._clock += 1
            self._connection.execute("UPDATE entries SET read_at = ? WHERE document = ?", (self._clock, document))
        if not keys:
            return np.zeros((0, self.dim), np.float32)
        left_out = set(exclude)
        order = _nearest(vectors, query, k + len(left_out))
        return vectors[[i for i in order if keys[i] not in left_out][:k]].astype(np.float32)

    def _block(self, document: str) -> tuple[list[str], np.ndarray]:
        if document not in self._blocks:
            rows = self._connection.execute(
                "SELECT key, vector FROM entries WHERE document = ? ORDER BY key", (document,)
            ).fetchall()
            packed = np.frombuffer(b"".join(row[1] for row in rows), np.float16).reshape(len(rows), self.dim)
            self._blocks[document] = ([row[0] for row in rows], packed.astype(np.float32))
            if len(self._blocks) > self._cached_documents:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(document)
        return self._blocks[document]

    def save_clock(self) -> None:
        """Remember when what was read; called at closing time, losing it costs only the order of eviction."""
        self._connection.execute("UPDATE meta SET value = ? WHERE key = 'clock'", (str(self._clock),))


def _nearest(vectors: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    """Exact inner-product search inside one document; FAISS where it is large enough to matter."""
    k = min(k, len(vectors))
    if len(vectors) < 2048:
        return np.argsort(-(vectors @ query), kind="stable")[:k].tolist()
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return [int(i) for i in index.search(query[None].astype(np.float32), k)[1][0] if i >= 0]


class ChunkVectors(Protocol):
    """What of a workspace the memory is written from."""

    @property
    def version(self) -> int: ...
    @property
    def derived(self) -> Path: ...
    def vectors(self) -> tuple[list[str], np.ndarray]: ...


class WorkspaceMemory:
    """The memory of a workspace as a locator's EntrySource: written from its chunk vectors whenever these change."""

    def __init__(
        self, workspace: ChunkVectors, embed_query: Callable[[str], np.ndarray], dim: int, *, capacity: int = 1_000_000
    ) -> None:
        self.workspace, self.embed_query = workspace, embed_query
        self.store = MemoryStore(workspace.derived / "memory.sqlite", dim, capacity=capacity)
        self._version = -1
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Write what is new, forget documents that are gone."""
        with self._lock:
            version = self.workspace.version
            if version == self._version:
                return
            keys, vectors = self.workspace.vectors()
            by_document: dict[str, dict[str, np.ndarray]] = {}
            for key, vector in zip(keys, vectors, strict=True):
                by_document.setdefault(key.rsplit(":", 1)[0], {})[key] = vector
            for gone in self.store.documents() - by_document.keys():
                self.store.remove(gone)
            for document, entries in by_document.items():
                self.store.write(document, entries)
            self._version = version

    def nearest(self, document_id: str, question: str, k: int, *, exclude: Sequence[str]) -> np.ndarray:
        """Entries of the document nearest to the question, without those of the chunks in `exclude`."""
        self.sync()
        return self.store.nearest_vectors(document_id, self.embed_query(question), k, exclude=exclude)
