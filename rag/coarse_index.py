"""Everything that coarse search needs of a workspace, in arrays: chunk table, words, vectors, document profiles.

A `CoarseIndex` never changes: when the workspace has, rag/index_keeper.py makes the next one, reusing what stayed, so
that a running server sees a new document at the next question and a search under way keeps its own state. On disk it is
a cache (rag/index_cache.py) and may be deleted at any time.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from core.errors import NotFoundError
from ingest.tokens import index_terms
from rag.document_prior import HEAD_CHARS, DocumentPrior, DocumentProfile
from rag.lexical_index import LexicalIndex

if TYPE_CHECKING:
    from ingest.types import Chunk, DocumentInfo
    from ingest.workspace import Workspace
    from rag.faiss_index import FaissIndex

logger = logging.getLogger(__name__)

VECTOR_RELOAD_SHARE = 0.05  # of the time may go into reading vectors while a workspace is being embedded


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A document as the index knows it."""

    document_id: str
    name: str
    profile: DocumentProfile
    pages: int


@dataclass(frozen=True)
class WordSide:
    """Chunks in rows, grouped by document and in reading order inside one: what the words tell."""

    documents: tuple[IndexedDocument, ...]
    document_rows: np.ndarray  # (documents + 1,) first chunk row of each document, and the end
    ordinals: np.ndarray  # (chunks,) the n of chunk id "<document_id>:<n>"
    pages: np.ndarray  # (chunks,) page on which it starts
    spans: np.ndarray  # (chunks, 2) characters [start, end) of it there
    lexical: LexicalIndex

    def __len__(self) -> int:
        return len(self.ordinals)

    @cached_property
    def document_of(self) -> np.ndarray:
        """(chunks,) index of the document of each chunk."""
        return np.repeat(np.arange(len(self.documents), dtype=np.int32), np.diff(self.document_rows))

    @cached_property
    def page_of(self) -> np.ndarray:
        """(chunks,) number of the page of each chunk, counted through all documents."""
        if not len(self):
            return np.zeros(0, np.int64)
        changes = (np.diff(self.document_of) != 0) | (np.diff(self.pages) != 0)
        return np.concatenate([[0], np.cumsum(changes)]).astype(np.int64)

    @cached_property
    def first_chunk_of_page(self) -> np.ndarray:
        """(pages + 1,) row of the first chunk of each page, and the end."""
        count = int(self.page_of[-1]) + 1 if len(self) else 0
        return np.searchsorted(self.page_of, np.arange(count + 1))

    @cached_property
    def prior(self) -> DocumentPrior:
        return DocumentPrior([document.profile for document in self.documents])

    @cached_property
    def paged(self) -> np.ndarray:
        """(documents,) bool: of more than one page."""
        return np.fromiter((document.pages > 1 for document in self.documents), bool, len(self.documents))

    def chunk_id(self, row: int) -> str:
        return f"{self.documents[self.document_of[row]].document_id}:{self.ordinals[row]}"

    def chunk_ids(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        return [self.chunk_id(int(row)) for row in rows]

    @cached_property
    def _document_number(self) -> dict[str, int]:
        return {document.document_id: i for i, document in enumerate(self.documents)}

    def row_of(self, chunk_id: str) -> int:
        """Row of a chunk, -1 if it is not here."""
        document_id, _, ordinal = chunk_id.rpartition(":")
        number = self._document_number.get(document_id, -1)
        if number < 0 or not ordinal.isdigit():
            return -1
        first, end = int(self.document_rows[number]), int(self.document_rows[number + 1])
        place = first + int(np.searchsorted(self.ordinals[first:end], int(ordinal)))
        return place if place < end and self.ordinals[place] == int(ordinal) else -1

    @classmethod
    def empty(cls) -> WordSide:
        none = np.zeros(0, np.int32)
        return cls((), np.zeros(1, np.int64), none, none, none.reshape(0, 2), LexicalIndex.build([]))

    def updated(self, workspace: Workspace, infos: Sequence[DocumentInfo]) -> WordSide:
        """The index of `infos` (the documents that are there now), reading only those that are new here."""
        wanted = {info.document_id: info for info in infos}
        kept = [i for i, document in enumerate(self.documents) if document.document_id in wanted]
        documents = [self._renamed(self.documents[i], wanted[self.documents[i].document_id], workspace) for i in kept]
        spans = [np.arange(self.document_rows[i], self.document_rows[i + 1]) for i in kept]
        sizes = [len(span) for span in spans]
        rows = np.concatenate(spans).astype(np.int64) if spans else np.zeros(0, np.int64)
        keep = np.zeros(len(self), bool)
        keep[rows] = True
        ordinals, pages, places = [self.ordinals[rows]], [self.pages[rows]], [self.spans[rows]]
        known = {document.document_id for document in documents}
        texts: list[list[str]] = []
        for info in infos:
            if info.document_id in known:
                continue
            try:
                chunks = workspace.document_chunks(info.document_id)
                document = _indexed(workspace, info)
            except NotFoundError:  # removed since: the next refresh knows
                continue
            documents.append(document)
            sizes.append(len(chunks))
            ordinals.append(np.array([_ordinal(chunk) for chunk in chunks], np.int32))
            pages.append(np.array([chunk.page for chunk in chunks], np.int32))
            places.append(np.array([(chunk.start, chunk.end) for chunk in chunks], np.int32).reshape(-1, 2))
            # Terms recur: one copy of each, while 100,000 documents stand in this list at once.
            texts += [list(map(sys.intern, index_terms(chunk.text))) for chunk in chunks]
        lexical = self.lexical if keep.all() and not texts else self.lexical.extended(texts, keep=keep)
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        return WordSide(
            tuple(documents), starts, np.concatenate(ordinals), np.concatenate(pages), np.concatenate(places), lexical
        )

    @staticmethod
    def _renamed(document: IndexedDocument, info: DocumentInfo, workspace: Workspace) -> IndexedDocument:
        return document if document.name == info.name else _indexed(workspace, info)


def _ordinal(chunk: Chunk) -> int:
    return int(chunk.chunk_id.rpartition(":")[2])


def _indexed(workspace: Workspace, info: DocumentInfo) -> IndexedDocument:
    head = workspace.page(info.document_id, 1).text[:HEAD_CHARS] if info.pages else ""
    profile = DocumentProfile.of(info.document_id, info.name, info.title, head)
    return IndexedDocument(info.document_id, info.name, profile, info.pages)


@dataclass(frozen=True)
class VectorSide:
    """Vectors, as many as there are yet, and to which chunk rows they belong."""

    index: FaissIndex
    rows: np.ndarray  # (vectors,) chunk row of each vector, -1 for a chunk that is gone
    positions: np.ndarray  # (chunks,) vector of each chunk row, -1 where there is none yet

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def complete(self) -> bool:
        return len(self.rows) == len(self.positions)

    def similarity(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cosines (m,) of chunk rows (m,); NaN where a chunk has no vector yet."""
        positions = self.positions[rows]
        cosines = np.full(len(rows), np.nan, np.float32)
        known = positions >= 0
        cosines[known] = self.index.similarity(query, positions[known])
        return cosines


@dataclass(frozen=True)
class CoarseIndex:
    """One state of a workspace, ready to be searched."""

    version: int  # of the workspace
    words: WordSide
    vectors: VectorSide | None
    embedded: int  # vectors in the workspace when it was read
    vectors_read_at: float = 0.0  # time.monotonic()
    vectors_read_s: float = 0.0  # how long that took
    stale_vectors: bool = False  # the workspace has newer ones

    def may_read_vectors(self) -> bool:
        """While vectors keep arriving, reading them all takes no more than VECTOR_RELOAD_SHARE of the time."""
        waited = time.monotonic() - self.vectors_read_at
        return waited * VECTOR_RELOAD_SHARE >= self.vectors_read_s

    def at_version(self, version: int) -> CoarseIndex:
        """The same index for a workspace whose version has moved for reasons that do not matter here."""
        return replace(self, version=version)


def align(words: WordSide, chunk_ids: Sequence[str]) -> np.ndarray:
    """Chunk rows of vectors' chunk ids; -1 for chunks that are not in `words`."""
    return np.fromiter((words.row_of(chunk_id) for chunk_id in chunk_ids), np.int64, len(chunk_ids))
