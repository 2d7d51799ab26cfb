"""The external memory of a workspace: what the trained locator knows of a document beyond the windows it reads.

    memory = DocumentMemory(workspace, embedder)
    memory.around("When does the lease end?", [hit.chunk for hit in hits])    # one table of entries per window

Its entries are the summary vectors that the workspace keeps of every chunk: written when a document is ingested, in the
transaction that makes it searchable; replaced with it; deleted with it and overwritten on disk; gone over a restart
never. A second copy beside them would have to be kept in step with all that and would hold nothing new. Here are only
the blocks of the documents read lately, in memory, the one read longest ago leaving first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from core.errors import NotFoundError
from ingest.types import Chunk
from rag.recent import Recent
from rag.surroundings import NEAREST, entries_around

CACHED_DOCUMENTS = 32


class VectorSource(Protocol):
    """What of a workspace the memory reads."""

    @property
    def version(self) -> int: ...
    def document_vectors(self, document: str) -> tuple[list[str], np.ndarray]: ...


class QueryEmbedder(Protocol):
    def embed_query(self, text: str) -> np.ndarray: ...


class DocumentMemory:
    """EntrySource of rag/locator.py. Thread-safe."""

    def __init__(self, workspace: VectorSource, embedder: QueryEmbedder, *, nearest: int = NEAREST) -> None:
        """`nearest`: entries of the document nearest to the question that a window gets beside its neighbours."""
        self.workspace, self.embedder, self.nearest = workspace, embedder, nearest
        self._blocks: Recent[tuple[dict[str, int], np.ndarray]] = Recent(CACHED_DOCUMENTS)

    def around(self, question: str, chunks: Sequence[Chunk]) -> list[np.ndarray]:
        """Entries (m, dim + ENTRY_FEATURES) for each chunk; m is 0 where its document is not embedded yet."""
        asked = self.embedder.embed_query(question)
        version = self.workspace.version
        blocks = {c.document_id: self._block(version, c.document_id) for c in chunks}
        shown: dict[str, set[int]] = {document: set() for document in blocks}
        for chunk in chunks:
            row = blocks[chunk.document_id][0].get(chunk.chunk_id)
            if row is not None:
                shown[chunk.document_id].add(row)
        found = []
        for chunk in chunks:
            rows, vectors = blocks[chunk.document_id]
            row = rows.get(chunk.chunk_id)
            here = vectors if row is not None else vectors[:0]
            found.append(entries_around(asked, here, row or 0, shown[chunk.document_id], self.nearest))
        return found

    def _block(self, version: int, document: str) -> tuple[dict[str, int], np.ndarray]:
        """Row of each chunk id, and the document's vectors in reading order."""
        key = f"{version} {document}"  # whatever was changed in the workspace, the old block is not asked for again
        block = self._blocks.get(key)
        if block is None:
            try:
                ids, vectors = self.workspace.document_vectors(document)
            except NotFoundError:  # removed since the search that found it
                ids, vectors = [], np.zeros((0, 0), np.float32)
            block = {chunk_id: row for row, chunk_id in enumerate(ids)}, vectors
            self._blocks.put(key, block)
        return block
