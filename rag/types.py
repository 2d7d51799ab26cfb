"""Question in, cited answer out: the records of retrieval and the protocols its parts are replaced by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ingest.types import Box, Chunk


@dataclass(frozen=True)
class Span:
    """A located stretch of one page: what a citation points at."""

    document: str
    document_id: str
    page: int  # 1-based
    start: int  # character offset in the page's text, inclusive
    end: int  # exclusive
    text: str  # == page.text[start:end]
    score: float  # 0..1, comparable over all spans of one question
    chunk_id: str = ""
    boxes: tuple[Box, ...] = ()  # PDF points, origin bottom left; empty for documents without sheets
    sentence: tuple[int, int] | None = (
        None  # [start, end) in the page's text of the sentence around it, if it is part of one
    )
    row: bool = False  # a whole row of a table (rag/page_tables.py)


@dataclass(frozen=True)
class Hit:
    """A chunk found for a question, best first in a list."""

    chunk: Chunk
    score: float  # fused score, 0..1, comparable inside one result list
    dense: float = 0.0  # cosine similarity of question and chunk; 0 if unknown
    lexical: float = 0.0  # BM25, raw; 0 if no word matches
    spans: tuple[Span, ...] = ()  # filled by a Locator
    no_answer: float | None = None  # 0..1: nothing in the passages that it was read with answers; None: not judged


@dataclass(frozen=True)
class Citation:
    """Where a numbered claim of an answer stands in the documents."""

    n: int  # as in "[n]" of the answer's text
    document: str
    page: int
    quote: str  # verbatim page text
    start: int
    end: int
    boxes: tuple[Box, ...] = ()
    verified: bool = True  # the claim was found in the source
    score: float = 0.0  # 0..1


@dataclass(frozen=True)
class Answer:
    """A finished answer. `text` carries [n] markers that resolve to `citations`."""

    question: str
    text: str
    refused: bool
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    model: str
    confidence: float = 0.0  # 0..1: how well the passages support an answer
    timings_ms: dict[str, float] = field(default_factory=dict)
    notice: str = ""  # what the reader should know about how it came about: a model that failed
    cached: bool = False  # given before, to the same question of the same documents (rag/answer_cache.py)


@dataclass(frozen=True)
class AnswerEvent:
    """One step of a streamed answer: a piece of text, or the finished answer (always last, exactly once)."""

    text: str = ""
    citation: Citation | None = None
    answer: Answer | None = None


@runtime_checkable
class Retriever(Protocol):
    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        """The best chunks for a question, best first."""
        ...


@runtime_checkable
class Locator(Protocol):
    name: str

    def locate(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """The same hits, possibly reordered, with `spans` filled in, best span first in each hit."""
        ...


@runtime_checkable
class TextGenerator(Protocol):
    name: str

    def generate(self, system: str, messages: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Stream a reply to (role, text) messages, role in {"user", "assistant"}."""
        ...
