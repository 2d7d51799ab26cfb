"""The pages of a filing on which a figure stands: balance sheet, income statement, cash flow statement.

"What is the quick ratio?" shares no words with the balance sheet. A facet (rag/query.py) says which statement and which
lines are needed; pages are searched for them by words, and the best are looked at: does a statement's title stand at
the top, do the lines that every such statement has stand there, is it a page of numbers? A page that shows little of
this is dropped, so that a question about revenue in an encyclopaedia is not harmed. All of it is read from term
sequences (rag/lexical_index.py), no text is fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.tokens import index_terms, query_terms
from rag.coarse_index import WordSide
from rag.lexical_index import K1, B
from rag.query import Facet

CANDIDATE_CHUNKS = 120  # per facet, best by words; their pages are looked at
TITLE_TERMS = 70  # a title stands in the first lines
PAGE_TERMS = 400.0  # a page of ordinary length, for BM25
# Hand-set; page recall on filings changes by at most one question of 32 when any of them is doubled.
W_BM25, W_COVERAGE, W_TITLE, W_NUMBERS, W_LINES, W_DOCUMENT = 0.184, 4.0, 2.0, 2.0, 2.0, 6.0
NUMBERS_FULL = 0.3  # share of terms that are numbers on a page of accounts
MIN_EVIDENCE = 0.9  # of title (0 or 1) + numbers (0..1) + lines (0..1): less is no page of accounts


@dataclass(frozen=True)
class StatementPage:
    """A page found for a facet, best first in a list."""

    chunk_row: int  # its chunk with most of the lines asked for
    score: float


def find_statement_pages(
    facet: Facet, words: WordSide, document_score: np.ndarray, *, only: bool = False
) -> list[StatementPage]:
    """Pages for a facet, best first. `document_score` (documents,) 0..1 leans towards documents; with `only`, those
    of score 0 are left out.

    Only documents of more than one page have pages in this sense.
    """
    lexical = words.lexical
    terms = query_terms(" ".join((facet.statement.titles[0], *facet.lines)))
    scores = lexical.score(terms)
    paged = words.paged & (document_score > 0) if only else words.paged
    lean = W_DOCUMENT * document_score
    total = np.where(
        paged[words.document_of] & (scores.bm25 > 0), W_BM25 * scores.bm25 + lean[words.document_of], -np.inf
    )
    best = np.argpartition(-total, min(CANDIDATE_CHUNKS, len(total) - 1))[:CANDIDATE_CHUNKS]
    pages = np.unique(words.page_of[best[np.isfinite(total[best])]])
    reader = _PageReader(facet, words, terms, scores.idf)
    found = [page for page in (reader.look(int(page), lean) for page in pages) if page is not None]
    return sorted(found, key=lambda item: item.score, reverse=True)


class _PageReader:
    """Looks at pages for one facet."""

    def __init__(self, facet: Facet, words: WordSide, terms: Sequence[str], idf: np.ndarray) -> None:
        self.words, self.lexical = words, words.lexical
        titles = [self._phrase(title) for title in facet.statement.titles]
        self.titles = [np.array(title, np.int32).tobytes() for title in titles if -1 not in title]
        self.usual = [frozenset(self._phrase(line)) for line in facet.statement.lines]
        self.asked = [frozenset(self._phrase(line)) for line in facet.lines]
        self.idf = dict(zip(self.lexical.numbers(terms), idf.tolist(), strict=True))
        self.mass = float(idf.sum()) or 1.0

    def _phrase(self, text: str) -> list[int]:
        return self.lexical.numbers(index_terms(text))

    def look(self, page: int, lean: np.ndarray) -> StatementPage | None:
        first, end = (int(row) for row in self.words.first_chunk_of_page[page : page + 2])
        sequence = self.lexical.sequence_of(first, end)
        counts = Counter(sequence.tolist())
        head = sequence[:TITLE_TERMS].tobytes()
        title = float(any(_contains(head, phrase) for phrase in self.titles))
        share = float(self.lexical.is_number[sequence].mean()) if len(sequence) else 0.0
        numbers = min(share / NUMBERS_FULL, 1.0)
        lines = _share_of_lines(self.usual, counts.keys())
        if title + numbers + lines < MIN_EVIDENCE:
            return None
        norm = K1 * (1 - B + B * len(sequence) / PAGE_TERMS)
        found = [(idf, counts[term]) for term, idf in self.idf.items() if term in counts]
        score = (
            W_BM25 * sum(idf * count * (K1 + 1) / (count + norm) for idf, count in found)
            + W_COVERAGE * sum(idf for idf, _ in found) / self.mass
            + W_TITLE * title
            + W_NUMBERS * numbers
            + W_LINES * lines
            + float(lean[self.words.document_of[first]])
        )
        asked = [_share_of_lines(self.asked, set(self.lexical.sequence_of(row).tolist())) for row in range(first, end)]
        return StatementPage(first + int(np.argmax(asked)), score)


def _share_of_lines(lines: Sequence[frozenset[int]], present: Collection[int]) -> float:
    """Share of `lines` all of whose words are among `present`."""
    return sum(all(word in present for word in line) for line in lines) / len(lines)


def _contains(head: bytes, phrase: bytes) -> bool:
    """Does a phrase stand in the head word for word? Both are int32 term numbers."""
    place = head.find(phrase)
    while place >= 0 and place % 4:
        place = head.find(phrase, place + 1)
    return place >= 0
