"""Coarse search: the document first, then words and meaning weighed by the question, then whole pages of accounts.

   retriever = HybridRetriever(workspace, embedder, settings.retrieval)
   for hit in retriever.search("Has AMCOR's quick ratio improved?", top_k=10): print(hit.chunk.document, hit.chunk.page)

1. rag/query.py         takes instructions off the question and says which financial statements it needs
2. rag/document_prior   leans towards documents that the question names
3. candidates           the best by meaning (FAISS) and by words (BM25), everywhere and inside the favoured documents
4. rag/fusion.py        one score per candidate; the best are read for words that stand close together
5. rag/statement_pages  pages of accounts for the statements that are needed, interleaved
6. a page is not shown twice before others had their turn; tables of contents and indexes come last
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.errors import NotFoundError, StoreError
from core.settings import RetrievalSettings
from ingest.schema import damage_remedy
from ingest.tokens import query_terms
from rag.coarse_index import CoarseIndex
from rag.contents import listings_last
from rag.fusion import FusionWeights, Signals, fused_score, probability, proximities, word_information
from rag.index_keeper import IndexKeeper
from rag.query import Query, understand
from rag.statement_pages import find_statement_pages
from rag.types import Hit, Retriever

if TYPE_CHECKING:
    from ingest.embedders import Embedder
    from ingest.types import Chunk
    from ingest.workspace import Workspace

logger = logging.getLogger(__name__)

READ = 50  # candidates whose text is read for proximity; at least three times top_k
FAVOURED = 0.5  # documents with at least this share of the best document score are searched on their own too
FAVOURED_CHUNKS = 20_000  # at most: a name that fits half the store is no name
ENOUGH_TO_COUNT = 50  # chunks of favoured documents from which their own document frequencies mean something
SAME_PAGE = 1.0  # log-odds that a further chunk of a page already shown loses
OVERLAPPING = 2.0  # and one that repeats part of a chunk already shown


class HybridRetriever(Retriever):
    """Searches one workspace. Safe to share between threads; follows the workspace as it changes."""

    def __init__(
        self,
        workspace: Workspace,
        embedder: Embedder | None,
        settings: RetrievalSettings | None = None,
        *,
        extra: Sequence[Retriever] = (),
        weights: FusionWeights | None = None,
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        """`embedder` None: words only. `extra`: other retrievers over the same workspace, whose hits become candidates.

        `device`: where FAISS searches, auto | cpu | cuda. Nothing is read before the first search.
        """
        self.workspace = workspace
        self.embedder = embedder
        self.settings = settings or RetrievalSettings()
        self.extra = tuple(extra)
        self.weights = weights or FusionWeights()
        self._keeper = IndexKeeper(
            workspace,
            embedder_name=embedder.name if embedder is not None else None,
            settings=self.settings,
            device=device,
            threads=threads,
        )
        self._local = threading.local()

    @property
    def timings_ms(self) -> dict[str, float]:
        """embed, coarse and total of the last search of this thread."""
        return getattr(self._local, "timings_ms", {})

    def warm_up(self) -> None:
        """Load the index and the embedder now instead of at the first question."""
        index = self._keeper.current()
        if self.embedder is not None and index.vectors is not None:
            self.embedder.embed_query("warm up")

    def current_index(self) -> CoarseIndex:
        """The index as the next search would see it."""
        return self._keeper.current()

    def search(self, question: str, top_k: int = 10, *, documents: Sequence[str] | None = None) -> list[Hit]:
        """The best chunks, best first; [] for an empty question or workspace. Raises StoreError for a foreign embedder.

        `documents` (names or ids) restricts the search to these; unknown ones are passed over. `Hit.score` falls along
        the list; it is the probability that a chunk answers, as far as this stage can tell.
        """
        started = time.perf_counter()
        self._local.timings_ms = {"embed": 0.0, "coarse": 0.0, "total": 0.0}
        if not question.strip() or top_k < 1:
            return []
        for _ in range(3):
            index = self._keeper.current()
            try:
                hits = self._search(index, question, top_k, documents)
                break
            except NotFoundError as error:  # a document was removed between reading the index and reading its text
                if self.workspace.version == index.version:  # nothing was: the database contradicts itself
                    raise StoreError(
                        f"{self.workspace.database} is damaged ({error.message})",
                        remedy=damage_remedy(self.workspace.database),
                    ) from error
        else:
            hits = []
        total = (time.perf_counter() - started) * 1e3
        timings = self._local.timings_ms
        timings["coarse"], timings["total"] = total - timings["embed"], total
        return hits

    def _search(self, index: CoarseIndex, question: str, top_k: int, documents: Sequence[str] | None) -> list[Hit]:
        if not len(index.words):
            return []
        query = understand(question)
        vector = self._embed(query.core) if index.vectors is not None else None
        run = _Run(self, index, query, vector, documents)
        rows, scores = run.rank(max(READ, 3 * top_k))
        rows, scores = _spread(run, rows, scores, None if query.facets else top_k)
        rows, scores = run.with_statement_pages(rows, scores, top_k)
        return listings_last(run.hits(rows[:top_k], scores[:top_k]))

    def _embed(self, text: str) -> np.ndarray | None:
        if self.embedder is None:
            return None
        started = time.perf_counter()
        vector = self.embedder.embed_query(text)
        self._local.timings_ms["embed"] = (time.perf_counter() - started) * 1e3
        return vector


class _Run:
    """One search: what is known of the question and of the rows looked at so far."""

    def __init__(
        self,
        owner: HybridRetriever,
        index: CoarseIndex,
        query: Query,
        vector: np.ndarray | None,
        documents: Sequence[str] | None,
    ) -> None:
        self.owner, self.index, self.words, self.query, self.vector = owner, index, index.words, query, vector
        self.terms = query_terms(query.core)
        if documents is None:
            self.lean = index.words.prior.match(query.text).score
        else:
            chosen = set(documents)
            self.lean = np.array(
                [float(bool({entry.name, entry.document_id} & chosen)) for entry in index.words.documents], np.float32
            )
        self.only = documents is not None  # nothing outside the documents that the lean points at
        self.favoured = self._favoured_rows()
        self.lexical = index.words.lexical.score(self.terms, self._idf())
        self.information = word_information(self.lexical.idf)
        self._chunks: dict[int, Chunk] = {}
        self._seen = np.zeros(0, np.int64), np.zeros(0, np.float32)  # rows looked at so far, ascending; their cosines
        self._extra: dict[int, float] = {}

    # -- candidates ----------------------------------------------------------------------------------------------

    def rank(self, read: int) -> tuple[list[int], list[float]]:
        """Rows and fused scores of all candidates, best first; the best `read` were read."""
        rows = self._candidates()
        if not len(rows):
            return [], []
        signals = self._signals(rows)
        first = fused_score(signals, self.information, self.owner.weights)
        best = np.argsort(-first, kind="stable")[:read]
        rows, signals = rows[best], _take(signals, best)
        self._read_closely(rows, signals)
        score = fused_score(signals, self.information, self.owner.weights)
        order = np.argsort(-score, kind="stable")
        return [int(row) for row in rows[order]], [float(value) for value in score[order]]

    def _candidates(self) -> np.ndarray:
        """Rows, ascending, each once."""
        depth = self.owner.settings.depth
        found: list[np.ndarray] = []
        if not self.only:
            found.append(_best(self.lexical.bm25, depth))
            if self.vector is not None and self.index.vectors is not None:
                cosines, positions = self.index.vectors.index.search(self.vector, depth)
                rows = self.index.vectors.rows[positions]
                self._remember(rows[rows >= 0], cosines[rows >= 0])
                found.append(rows[rows >= 0])
        favoured = self.favoured
        if len(favoured):
            found.append(favoured[_best(self.lexical.bm25[favoured], depth // 2)])
            if self.vector is not None and self.index.vectors is not None:
                cosine = np.nan_to_num(self._similarity(favoured), nan=-1.0) + 1.0
                found.append(favoured[_best(cosine, depth // 2)])
        for retriever in self.owner.extra:
            for hit in retriever.search(self.query.text, depth):
                row = self.words.row_of(hit.chunk.chunk_id)
                if row >= 0 and not (self.only and self.lean[self.words.document_of[row]] <= 0.0):
                    self._extra[row] = max(self._extra.get(row, 0.0), hit.score)
        found.append(np.array(list(self._extra), np.int64))
        rows = np.sort(np.concatenate(found).astype(np.int64, copy=False))
        return rows[np.append(True, rows[1:] != rows[:-1])] if len(rows) else rows  # np.unique: eight times as long

    def _idf(self) -> np.ndarray:
        """Weights of the terms. Words that found the document tell little inside it: there, they are as common as any.

        "How many employees did Amazon have in 2019?": in Amazon's filing of 2019 it is "employees" that counts.
        """
        idf = self.words.lexical.idf(self.terms)
        if len(self.favoured) < ENOUGH_TO_COUNT:
            return idf
        return np.minimum(idf, self.words.lexical.idf(self.terms, self.favoured))

    def _favoured_rows(self) -> np.ndarray:
        """Rows of the documents that the question points at, if it points at any."""
        best = float(self.lean.max(initial=0.0))
        if best <= 0.0:
            return np.zeros(0, np.int64)
        chosen = np.flatnonzero(self.lean >= FAVOURED * best)
        starts, ends = self.words.document_rows[chosen], self.words.document_rows[chosen + 1]
        if not self.only and (ends - starts).sum() > min(FAVOURED_CHUNKS, max(1, len(self.words) - 1)):
            return np.zeros(0, np.int64)
        sizes = ends - starts
        return np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)

    def _signals(self, rows: np.ndarray) -> Signals:
        signals = Signals.zeros(len(rows))
        if self.vector is not None and self.index.vectors is not None:
            cosine = self._similarity(rows)
            known = np.isfinite(cosine)
            if not known.all():
                # No vector yet: as similar as the middle of the candidates, so that neither state is an advantage.
                cosine = np.where(known, cosine, np.median(cosine[known]) if known.any() else 0.0)
            signals.cosine[:] = cosine
        signals.bm25[:] = self.lexical.bm25[rows]
        signals.coverage[:] = self.lexical.coverage_of(rows)
        signals.document[:] = self.lean[self.words.document_of[rows]]
        if self._extra:
            signals.extra[:] = [self._extra.get(int(row), 0.0) for row in rows]
        return signals

    def _read_closely(self, rows: np.ndarray, signals: Signals) -> None:
        """Fill in how close together the question's words stand."""
        numbers = np.array(self.words.lexical.numbers(self.terms), np.int32)
        signals.pairs[:], signals.window[:] = proximities(
            numbers, self.lexical.idf, *self.words.lexical.sequences_of(rows)
        )

    def _similarity(self, rows: np.ndarray) -> np.ndarray:
        """Cosines (m,) of question and chunk rows (m,), which differ; NaN where a chunk has no vector yet.

        Each is looked up once a search.
        """
        assert self.vector is not None and self.index.vectors is not None
        seen = self._seen[0]
        known = seen[np.searchsorted(seen[:-1], rows)] == rows if len(seen) else np.zeros(len(rows), bool)
        if not known.all():
            missing = rows[~known]
            self._remember(missing, self.index.vectors.similarity(self.vector, missing))
        seen, cosines = self._seen
        found: np.ndarray = cosines[np.searchsorted(seen, rows)]
        return found

    def _remember(self, rows: np.ndarray, cosines: np.ndarray) -> None:
        """Cosines of rows not looked at yet. To make an array as long as the store would take longer than this."""
        rows, cosines = np.concatenate([self._seen[0], rows]), np.concatenate([self._seen[1], cosines])
        order = np.argsort(rows)
        self._seen = rows[order], cosines[order]

    def read(self, rows: Sequence[int] | np.ndarray) -> list[Chunk]:
        """Chunks of rows, from the workspace, each read once a search."""
        missing = [int(row) for row in rows if int(row) not in self._chunks]
        for row, chunk in zip(missing, self.owner.workspace.chunks(self.words.chunk_ids(missing)), strict=True):
            self._chunks[row] = chunk
        return [self._chunks[int(row)] for row in rows]

    # -- pages of accounts ---------------------------------------------------------------------------------------

    def with_statement_pages(self, rows: list[int], scores: list[float], top_k: int) -> tuple[list[int], list[float]]:
        """Interleave the pages that the question's facets need: statements it names, the ranking, other statements."""
        before: list[list[int]] = []
        after: list[list[int]] = []
        for facet in self.query.facets:
            pages = find_statement_pages(facet, self.words, self.lean, only=self.only)
            (before if facet.named else after).append([page.chunk_row for page in pages[:top_k]])
        if not any(before) and not any(after):
            return rows, scores
        known = dict(zip(rows, scores, strict=True))
        merged: list[int] = []
        seen: set[int] = set()  # pages: a further chunk of one comes after everything else
        rest: list[int] = []
        lanes = [*before, rows, *after]
        for rank in range(max(map(len, lanes))):
            for lane in lanes:
                if rank < len(lane):
                    page = self.page_key(lane[rank])
                    (rest if page in seen else merged).append(lane[rank])
                    seen.add(page)
        merged = list(dict.fromkeys(merged + rest))
        unscored = np.array([row for row in merged if row not in known], np.int64)
        if len(unscored):
            known.update(zip(unscored.tolist(), self._scored(unscored), strict=True))
        # The order is settled; a score is what the chunk has or what the best one below it has.
        values = np.array([known[row] for row in merged])
        return merged, np.maximum.accumulate(values[::-1])[::-1].tolist()

    def _scored(self, rows: np.ndarray) -> list[float]:
        signals = self._signals(rows)
        self._read_closely(rows, signals)
        return [float(value) for value in fused_score(signals, self.information, self.owner.weights)]

    def page_key(self, row: int) -> int:
        """One number per page; per chunk in documents of a single page, where a page is no place."""
        paged = self.words.documents[self.words.document_of[row]].pages > 1
        return int(self.words.page_of[row]) if paged else -1 - int(row)

    # -- result --------------------------------------------------------------------------------------------------

    def hits(self, rows: Sequence[int], scores: Sequence[float]) -> list[Hit]:
        cosines = np.zeros(len(rows), np.float32)
        if self.vector is not None and self.index.vectors is not None:
            cosines = np.nan_to_num(self._similarity(np.asarray(rows, np.int64)))
        chances = probability(np.asarray(scores), self.owner.weights)
        return [
            Hit(chunk, float(chance), dense=float(cosine), lexical=float(self.lexical.bm25[row]))
            for row, chunk, chance, cosine in zip(rows, self.read(rows), chances, cosines, strict=True)
        ]


def _spread(
    run: _Run, rows: Sequence[int], scores: Sequence[float], count: int | None
) -> tuple[list[int], list[float]]:
    """Let pages take turns (maximal marginal relevance; Carbonell and Goldstein, SIGIR 1998), in log-odds.

    The best `count` of them, or all.

    A chunk loses SAME_PAGE for every chunk of its page before it, and OVERLAPPING for one that it overlaps. Documents
    of a single page (text, Markdown) only know the latter.
    """
    sheet = run.words.page_of[np.asarray(rows, np.int64)]  # also inside a document of one page
    if len(set(sheet.tolist())) == len(rows):  # every chunk on a page of its own
        return list(rows[:count]), list(scores[:count])
    page = [run.page_key(row) for row in rows]
    sheets = sheet.tolist()
    spans = run.words.spans[np.asarray(rows, np.int64)].tolist()
    shown: Counter[int] = Counter()  # chunks by page
    taken: dict[int, list[list[int]]] = defaultdict(list)  # their spans, by sheet

    def loss(i: int) -> float:
        start, end = spans[i]
        overlaps = any(start < other_end and other < end for other, other_end in taken[sheets[i]])
        return max(SAME_PAGE * shown[page[i]], OVERLAPPING if overlaps else 0.0)

    order: list[int] = []
    final: list[float] = []
    # Losses only grow, so what leads with a loss that is up to date leads for good.
    heap = [(-score, i) for i, score in enumerate(scores)]
    heapq.heapify(heap)
    while heap and (count is None or len(order) < count):
        believed, i = heap[0]
        true = loss(i) - scores[i]
        if true > believed:
            heapq.heapreplace(heap, (true, i))
            continue
        heapq.heappop(heap)
        order.append(i)
        final.append(-true)
        shown[page[i]] += 1
        taken[sheets[i]].append(spans[i])
    return [rows[i] for i in order], final


def _best(values: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest positive values, in no order."""
    if k <= 0 or not len(values):
        return np.zeros(0, np.intp)
    places = np.flatnonzero(values > 0.25 * float(values.max()))  # usually enough, and few
    if len(places) < k:
        places = np.flatnonzero(values > 0)
    if len(places) > k:
        places = places[np.argpartition(-values[places], k - 1)[:k]]
    return places[values[places] > 0]


def _take(signals: Signals, places: np.ndarray) -> Signals:
    return Signals(**{name: values[places] for name, values in vars(signals).items()})
