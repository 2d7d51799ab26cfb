"""What ingest hands to everyone: documents, pages, chunks, boxes. Pages count from 1, offsets in characters.

Offsets are always into `Page.text`, the one text of a page that every later stage sees (search, locate, quote,
highlight). For text, Markdown, HTML and DOCX a document is one page; for text and Markdown that page's text is the
file's text unchanged, so offsets are offsets in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in PDF points, origin bottom left
Status = Literal["reading", "searchable", "embedded", "failed"]


@dataclass(frozen=True)
class Page:
    """One page as read: its text, and where on the sheet every stretch of that text stands."""

    number: int  # 1-based, physical
    text: str
    width: float = 0.0  # points; 0 where there is no sheet (text, Markdown, HTML, DOCX)
    height: float = 0.0
    label: str = ""  # as printed ("xii"), empty if none
    # Word boxes: (n, 2) int32 [start, end) into text, sorted, and (n, 4) float32 boxes in points, origin bottom left
    # of the page as shown (crop box and rotation applied). Boxes inside a word are interpolated between its edges.
    word_ranges: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    word_boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True)
class Heading:
    """A heading: where it starts and its depth (1 = chapter)."""

    page: int
    start: int  # character offset in the page text
    title: str
    level: int


@dataclass(frozen=True)
class PageProblem:
    """A page that could not be read, or read only in part."""

    page: int
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Document:
    """A file as read, before it is stored."""

    name: str  # file name as the user knows it, unique in a workspace
    media_type: str  # application/pdf, text/plain, text/markdown, text/html, application/vnd...docx
    title: str  # from metadata, the title page or the file name; never empty
    pages: tuple[Page, ...]
    headings: tuple[Heading, ...] = ()  # in reading order
    metadata: dict[str, Any] = field(default_factory=dict)  # author, dates, ...: small, JSON-able
    problems: tuple[PageProblem, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A stretch of one page that is searched as a unit. `context` is indexed with it, never quoted."""

    chunk_id: str  # "<document_id>:<ordinal>", stable while the document is unchanged
    document_id: str
    document: str  # its name
    page: int  # page on which it starts
    start: int  # character offsets in that page's text; end exclusive
    end: int
    text: str  # == page.text[start:end]
    context: str  # "document title > section", may be empty


@dataclass(frozen=True)
class DocumentInfo:
    """A row of `python -m ingest --list`."""

    document_id: str
    name: str
    title: str
    media_type: str
    status: Status
    pages: int
    chunks: int
    embedded: int  # chunks that have their vector
    sha256: str  # of the file's bytes
    size: int  # bytes
    added_at: str  # ISO 8601, UTC
    reason: str = ""  # for `failed`: what happened
    remedy: str = ""  # and what to do
    problems: tuple[PageProblem, ...] = ()
    aliases: tuple[str, ...] = ()  # further names under which the same content was added
