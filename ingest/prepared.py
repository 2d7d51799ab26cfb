"""A document made ready to be stored: read, chunked, tokenised and packed, so that storing is mere inserting.

`prepare` runs in a reading process (ingest/reading_worker.py); what it returns is small enough to be sent over a pipe.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DocumentError
from core.settings import IngestSettings
from ingest.tokens import index_terms
from ingest.types import Heading, Page, PageProblem

READER_VERSION = 4  # grows when reading or chunking gives other results: files are then read again on the next ingest


@dataclass(frozen=True)
class PackedPage:
    number: int
    width: float
    height: float
    label: str
    text: bytes
    words: bytes


@dataclass(frozen=True)
class PackedChunk:
    page: int
    start: int
    end: int
    context: str
    crc: int
    body_terms: str  # index_terms joined by spaces
    context_terms: str


@dataclass(frozen=True)
class PreparedDocument:
    """All that is stored of one document; chunks in order, their ordinal is their place."""

    document_id: str
    name: str
    media_type: str
    title: str
    metadata: dict[str, Any]
    headings: tuple[Heading, ...]
    problems: tuple[PageProblem, ...]
    pages: tuple[PackedPage, ...]
    chunks: tuple[PackedChunk, ...]


def recipe(settings: IngestSettings) -> str:
    """What, besides the bytes, decides how a document is read and cut."""
    return f"{READER_VERSION}/{settings.chunk_tokens}/{settings.overlap_tokens}"


def document_id(name: str, sha256: str, recipe: str) -> str:
    """16 hexadecimal digits, the same for the same file read the same way: chunk ids survive a re-ingest."""
    return hashlib.sha256(f"{name}\0{sha256}\0{recipe}".encode()).hexdigest()[:16]


def prepare(
    path: Path,
    *,
    name: str,
    sha256: str,
    settings: IngestSettings,
    count_tokens: Callable[[str], int],
    on_page: Callable[[int, int], None] | None = None,
) -> PreparedDocument:
    """Read and chunk the file at `path`. Raises DocumentError."""
    from ingest.chunking import chunk_document
    from ingest.readers import read_document

    document = read_document(path, name=name, settings=settings, on_page=on_page)
    identifier = document_id(name, sha256, recipe(settings))
    chunks = chunk_document(document, identifier, count_tokens=count_tokens, settings=settings)
    if not chunks:
        raise DocumentError(f"{name}: no text was found in it", remedy="Run text recognition (OCR) on it first")
    return PreparedDocument(
        document_id=identifier,
        name=name,
        media_type=document.media_type,
        title=storable(document.title),
        metadata=document.metadata,
        headings=document.headings,
        problems=document.problems,
        pages=tuple(pack_page(page) for page in document.pages),
        chunks=tuple(
            PackedChunk(
                chunk.page,
                chunk.start,
                chunk.end,
                storable(chunk.context),
                chunk_crc(ordinal, chunk.page, chunk.start, chunk.end, storable(chunk.context), chunk.text),
                lexical_row(chunk.text),
                lexical_row(storable(chunk.context)),
            )
            for ordinal, chunk in enumerate(chunks)
        ),
    )


def chunk_crc(ordinal: int, page: int, start: int, end: int, context: str, text: str) -> int:
    """CRC-32 of a passage, its place included: one that has changed on disk is never quoted."""
    whole = f"{ordinal}\0{page}\0{start}\0{end}\0{context}\0{text}"
    return zlib.crc32(whole.encode("utf-8", "surrogatepass"))


def lexical_row(text: str) -> str:
    """A text as the lexical index takes it."""
    return " ".join(index_terms(text))


def storable(text: str) -> str:
    """`text` with lone surrogates (broken PDFs, file names that are not UTF-8) replaced: SQLite takes no others."""
    return text.encode("utf-8", "replace").decode()


def pack_page(page: Page) -> PackedPage:
    return PackedPage(
        page.number,
        page.width,
        page.height,
        page.label,
        pack_text(page.text),
        pack_words(page.word_ranges, page.word_boxes),
    )


def pack_text(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 6)


def unpack_text(packed: bytes) -> str:
    return zlib.decompress(packed).decode("utf-8", "surrogatepass")


_WORDS_HEADER = struct.Struct("<Id")  # number of words, points per step


def pack_words(ranges: np.ndarray, boxes: np.ndarray) -> bytes:
    """(n, 2) character ranges and (n, 4) boxes as differences of small integers, compressed: about 5 bytes a word.

    Boxes are kept to 0.02 points (0.007 mm), coarser only on sheets beyond 10 m.
    """
    if len(ranges) == 0:
        return b""
    largest = float(np.abs(boxes).max())
    step = max(0.02, largest / 2**30)
    grid = np.rint(boxes / step).astype(np.int64)
    columns = np.stack(
        [
            np.diff(ranges[:, 0], prepend=0),
            ranges[:, 1] - ranges[:, 0],
            np.diff(grid[:, 0], prepend=0),
            grid[:, 2] - grid[:, 0],
            np.diff(grid[:, 1], prepend=0),  # 0 along a line
            grid[:, 3] - grid[:, 1],
        ]
    ).astype("<i4")
    planes = columns.view(np.uint8).reshape(6, len(ranges), 4).transpose(0, 2, 1)  # equal bytes side by side
    return _WORDS_HEADER.pack(len(ranges), step) + zlib.compress(planes.tobytes(), 6)


def unpack_words(packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The inverse: (n, 2) int32 ranges, (n, 4) float32 boxes."""
    if not packed:
        return np.zeros((0, 2), np.int32), np.zeros((0, 4), np.float32)
    count, step = _WORDS_HEADER.unpack_from(packed)
    planes = np.frombuffer(zlib.decompress(packed[_WORDS_HEADER.size :]), np.uint8).reshape(6, 4, count)
    columns = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<i4").reshape(6, count).astype(np.int64)
    starts, x0, y0 = np.cumsum(columns[0]), np.cumsum(columns[2]), np.cumsum(columns[4])
    ranges = np.stack([starts, starts + columns[1]], axis=1).astype(np.int32)
    boxes = np.stack([x0, y0, x0 + columns[3], y0 + columns[5]], axis=1) * np.float64(step)
    return ranges, boxes.astype(np.float32)
