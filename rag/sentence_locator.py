"""Fine location, first version: the best sentences and table rows inside the best windows, by meaning and by words.

    locator = SentenceLocator(embedder, workspace, settings.locator)
    hits = locator.locate("When does the lease end?", retriever.search("When does the lease end?"))
    hits[0].spans[0].text

Every sentence of the first `top_windows` hits is a candidate, once, however many overlapping chunks hold it. Words pick
the `MAX_READ` most promising; those are embedded; a logistic model over a few features (FEATURES) gives each the
probability that it holds the answer. It is fitted over the sentences of all hits of a question, so scores compare
across hits (raw scores of one window at a time do not).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from core.settings import LocatorSettings
from ingest.types import Box, Page
from rag.calibration import LogisticModel, calibration
from rag.line_items import SHOWN, line_item
from rag.query import Query, understand
from rag.question_type import asks_for_figures, expected, holds
from rag.quotable import Quotable, quotable_spans
from rag.recent import Recent
from rag.table_rows import TableRow, columns_of, parent_label, table_title
from rag.types import Hit, Span

if TYPE_CHECKING:
    from ingest.embedders import Embedder

MAX_PAGE = 20_000  # characters: longer "pages" are whole text files
MAX_READ = 32  # sentences embedded a question: about 50 ms on one core
FEATURES = (
    "cosine",  # question and sentence
    "cosine_rank",  # 1 / rank of that cosine among all candidates
    "coverage",  # of the question's words by the sentence, IDF-weighted
    "coverage_relative",  # that, less the best of all candidates
    "coverage_near",  # by the sentence, its neighbours and its heading
    "hit_dense",  # cosine of question and window
    "hit_score",  # of the window, relative to the best one
    "hit_rank",  # 1 / rank of the window
    "type_found",  # the kind of thing asked for stands in the sentence
    "type_missing",
    "log_words",
)
# Rows of statements do not occur in the training data (SQuAD): their log-odds bonus is set by hand.
ROW_BONUS_OTHER = -2.0
ROW_BONUS_FIGURES = 0.5
PROSE_BESIDE_FIGURES = -1.0  # a metric question is answered by the statement, not by talk about it
ROW_YEAR_FOUND, ROW_YEAR_MISSING = 1.0, -1.5  # the year asked for heads a column of the row, or none is known to
ROW_STATEMENT = 1.0  # the row stands in the statement that the question needs
ROW_BONUS_LINE_ITEM = 5.0  # times the squared match of its label with a line item that the question needs
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
SPENT = 0.2  # what a question word still weighs when the titles of all hits carry it
ANNOUNCEMENT = -1.5  # "The following table shows ...:"; questions in the text
_ANNOUNCES = re.compile(
    r"[:?]\s*$|\b(?:following|below) (?:is a|are the|tables?|lists?|discussion|summar|chart|graph|component)|"
    r"\bas follows\b|^following (?:is|are)\b|^see (?:note|item|part|page)|\brefer to (?:note|item|part|page|the)\b|"
    r"\b(?:is|are) (?:set forth|included|incorporated) (?:in|under|by)\b",
    re.IGNORECASE,
)


class PageSource(Protocol):
    """What of a workspace is needed here."""

    def page(self, document: str, number: int) -> Page: ...
    def boxes(self, document: str, page: int, start: int, end: int) -> list[Box]: ...
    def document_frequency(self, terms: Sequence[str]) -> dict[str, int]: ...
    def chunk_count(self) -> int: ...


@dataclass(frozen=True)
class Candidate:
    """A sentence or row of a hit; offsets into the page's text."""

    hit: int  # index of the best hit that holds it
    start: int
    end: int
    text: str
    near: str  # neighbours and heading
    read_as: str  # what is embedded and matched: rows carry their table's title and columns
    is_row: bool
    columns: tuple[str, ...] = ()  # of a row: the years that head its cells
    title: str = ""  # of a row's table


class SentenceLocator:
    """Locator over whole sentences. Thread-safe."""

    name = "sentence"

    def __init__(
        self, embedder: Embedder | None, workspace: PageSource, settings: LocatorSettings | None = None, *,
        model: LogisticModel | None = None,
    ) -> None:  # fmt: skip
        """`embedder` None: words only (a workspace whose vectors are not there yet). `model` None: the shipped one."""
        self.embedder = embedder
        self.workspace = workspace
        self.settings = settings or LocatorSettings()
        self.model = model or calibration().sentence
        self._pages: Recent[str] = Recent(64)

    def locate(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """The hits with their spans, best span first. Hits beyond `top_windows` are not read and have none.

        The read ones are put in the order of their best spans: R@1 on SQuAD train articles 84.7 -> 88.3 %.
        """
        read = list(hits[: self.settings.top_windows])
        query = understand(question)
        candidates = self.candidates(read, query)
        if not candidates:
            return list(hits)
        candidates, features = self.features(query.core, read, candidates)
        scores = self.scores(query, candidates, features)
        spans: dict[int, list[Span]] = {}
        for i in np.argsort(-scores, kind="stable"):
            candidate, hit = candidates[i], read[candidates[i].hit]
            kept = spans.setdefault(candidate.hit, [])
            if len(kept) < self.settings.top_spans:
                kept.append(self._span(hit, candidate, float(scores[i])))
        located = [replace(hit, spans=tuple(spans.get(i, ()))) for i, hit in enumerate(read)]
        located.sort(
            key=lambda hit: -(hit.spans[0].score if hit.spans else 0.0)
        )  # stable: ties keep the search's order
        return located + list(hits[len(read) :])

    def candidates(self, hits: Sequence[Hit], query: Query) -> list[Candidate]:
        """Sentences and rows of the hits, each once; of pages with accounts, also the rows that the question needs."""
        found: dict[tuple[str, int, int, int], Candidate] = {}
        for number, hit in enumerate(hits):
            chunk = hit.chunk
            quotables = quotable_spans(chunk.text)
            for i, quotable in enumerate(quotables):
                if quotable.kind not in ("sentence", "row"):
                    continue
                start, end = chunk.start + quotable.start, chunk.start + quotable.end
                if (chunk.document_id, chunk.page, start, end) in found:
                    continue  # an overlapping chunk that ranked better holds it, too
                text = chunk.text[quotable.start : quotable.end]
                near = _near(chunk.text, quotables, i) + " " + chunk.context
                if quotable.row is not None:
                    candidate = _row_candidate(number, self.page_text(hit), start, end, quotable.row, near)
                else:
                    candidate = Candidate(number, start, end, text, near, " ".join(text.split()), False)
                found[chunk.document_id, chunk.page, start, end] = candidate
            if query.metric and any(q.kind == "row" for q in quotables):
                page = self.page_text(hit)
                for start, end, row in _needed_rows(page, query) if len(page) < MAX_PAGE else ():
                    key = (chunk.document_id, chunk.page, start, end)
                    if key not in found:
                        found[key] = _row_candidate(number, page, start, end, row, chunk.context)
        return list(found.values())

    def features(
        self, question: str, hits: Sequence[Hit], candidates: Sequence[Candidate]
    ) -> tuple[list[Candidate], np.ndarray]:
        """The candidates worth reading, at most MAX_READ, and their (n, len(FEATURES)) features."""
        from ingest.tokens import index_terms, query_terms

        terms = query_terms(question)
        weights = self._idf(terms, hits)
        kind = expected(question)
        best = max((hit.score for hit in hits), default=0.0) or 1.0
        rows = []
        for candidate in candidates:
            hit = hits[candidate.hit]
            own = set(index_terms(candidate.read_as))
            near = own | set(index_terms(candidate.near))
            typed = kind in ("date", "number", "person", "place", "reason")
            found = typed and holds(kind, candidate.text, question)
            rows.append(
                {
                    "coverage": _covered(weights, own),
                    "coverage_near": _covered(weights, near),
                    "hit_dense": hit.dense,
                    "hit_score": hit.score / best,
                    "hit_rank": 1.0 / (1 + candidate.hit),
                    "type_found": float(found),
                    "type_missing": float(typed and not found),
                    "log_words": math.log(1 + len(candidate.text.split())),
                }
            )
        promise = np.array(
            [r["coverage"] + 0.3 * r["coverage_near"] + 0.3 * r["hit_rank"] + 0.1 * r["type_found"] for r in rows]
        )
        order = sorted(np.argsort(-promise, kind="stable")[:MAX_READ].tolist())
        chosen, rows = [candidates[i] for i in order], [rows[i] for i in order]
        cosines = self._cosines(question, [candidate.read_as for candidate in chosen])
        ranks = np.empty(len(chosen))
        ranks[np.argsort(-cosines, kind="stable")] = np.arange(1, len(chosen) + 1)
        for row, cosine, rank in zip(rows, cosines, ranks, strict=True):
            row["coverage_relative"] = row["coverage"] - max(r["coverage"] for r in rows)
            row["cosine"], row["cosine_rank"] = float(cosine), 1.0 / float(rank)
        return chosen, np.array([[row[name] for name in FEATURES] for row in rows])

    def scores(self, query: Query, candidates: Sequence[Candidate], features: np.ndarray) -> np.ndarray:
        """(n,) probabilities that each candidate holds the answer."""
        p = self.model.probabilities(features)
        odds = np.log(p / (1 - p)) + np.array([_by_hand(query, candidate) for candidate in candidates])
        return 1.0 / (1.0 + np.exp(-odds))

    def _span(self, hit: Hit, candidate: Candidate, score: float) -> Span:
        chunk = hit.chunk
        boxes = self.workspace.boxes(chunk.document, chunk.page, candidate.start, candidate.end)
        return Span(
            chunk.document, chunk.document_id, chunk.page, candidate.start, candidate.end, candidate.text, score,
            chunk.chunk_id, tuple(boxes),
        )  # fmt: skip

    def page_text(self, hit: Hit) -> str:
        """The text of the page that the hit's chunk stands on."""
        key = f"{hit.chunk.document_id}:{hit.chunk.page}"
        text = self._pages.get(key)
        if text is None:
            text = self.workspace.page(hit.chunk.document, hit.chunk.page).text
            self._pages.put(key, text)
        return text

    def _idf(self, terms: Sequence[str], hits: Sequence[Hit]) -> dict[str, float]:
        """Weight of each question term: log(1 + N / (1 + df)), N chunks in the workspace.

        A word in the title of everything that was found has done its work: no sentence needs to say it again.
        """
        from ingest.tokens import index_terms

        frequency = self.workspace.document_frequency(terms)
        count = max(1, self.workspace.chunk_count())
        titles = [set(index_terms(hit.chunk.context.split(" > ")[0])) for hit in hits]
        spent = set.intersection(*titles) if titles else set()
        return {
            term: math.log(1 + count / (1 + frequency.get(term, 0))) * (SPENT if term in spent else 1.0)
            for term in terms
        }

    def _cosines(self, question: str, texts: list[str]) -> np.ndarray:
        if self.embedder is None or not texts:
            return np.zeros(len(texts))
        return self.embedder.embed_passages(texts) @ self.embedder.embed_query(question)


def _near(text: str, quotables: Sequence[Quotable], i: int) -> str:
    return " ".join(text[q.start : q.end] for q in quotables[max(0, i - 1) : i + 2])


def _row_candidate(hit: int, page: str, start: int, end: int, row: TableRow, near: str) -> Candidate:
    columns, title = columns_of(page, start, len(row.cells)), table_title(page, start)
    read_as = " ".join(part for part in (title, parent_label(page, start), row.label, " ".join(columns)) if part)
    return Candidate(hit, start, end, page[start:end], near, read_as, True, columns, title)


def _needed_rows(page: str, query: Query) -> list[tuple[int, int, TableRow]]:
    """Rows of a page that show a line item of the question: a statement is read whole, whatever chunk was found."""
    return [
        (q.start, q.end, q.row)
        for q in quotable_spans(page)
        if q.kind == "row" and q.row is not None and line_item(query, page[q.start : q.end])[1] >= SHOWN
    ]


def _by_hand(query: Query, candidate: Candidate) -> float:
    """Log-odds for what the training data does not show: rows of tables, and sentences that only announce others."""
    figures = query.metric and expected(query.core) not in ("reason", "manner")
    if not candidate.is_row:
        odds = ANNOUNCEMENT if _ANNOUNCES.search(candidate.text) else 0.0
        return odds + (PROSE_BESIDE_FIGURES if figures else 0.0)
    if not figures:
        return ROW_BONUS_FIGURES if asks_for_figures(query.core) and not query.metric else ROW_BONUS_OTHER
    odds = ROW_BONUS_FIGURES + ROW_BONUS_LINE_ITEM * line_item(query, candidate.text)[1] ** 2
    if years := set(_YEAR.findall(query.core)):
        odds += ROW_YEAR_FOUND if years & set(candidate.columns) else ROW_YEAR_MISSING
    title = candidate.title.lower()
    if any(name in title for facet in query.facets for name in facet.statement.titles):
        odds += ROW_STATEMENT
    return odds


def _covered(weights: dict[str, float], terms: set[str]) -> float:
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in terms) / total if total else 0.0
