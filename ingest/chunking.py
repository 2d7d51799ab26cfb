"""Pages to chunks: about `chunk_tokens` long, cut at sentence ends, never across a heading or a page.

A chunk's `context` says where it stands ("document title > section > table title"). It is indexed with the chunk, so
that a row of figures is found by its company, year and statement, and it is never quoted.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.settings import IngestSettings
from ingest.sentences import sentence_spans
from ingest.titles import readable_file_name
from ingest.types import Chunk, Document, Heading, Page

CountTokens = Callable[[str], int]
MAX_CONTEXT_CHARS = 240
_TABLE_HEAD_CHARS = 400  # where the title of a statement is looked for
_MAX_TOKEN_CHARS = 100  # WordPiece takes any word beyond as one unknown token: megabytes of digits are no passage


@dataclass(frozen=True)
class _Sentence:
    start: int
    end: int
    tokens: int


def chunk_document(
    document: Document, document_id: str, *, count_tokens: CountTokens, settings: IngestSettings
) -> list[Chunk]:
    """Chunks of all pages in order. Every non-space character of every page lies in at least one chunk.

    Neighbours within a section share whole sentences of up to `settings.overlap_tokens`. Tokens are counted once a
    sentence, so a chunk's own count may differ by the tokens that joining adds (none for WordPiece).
    """
    sections = _Sections(document)
    chunks: list[Chunk] = []
    for page in document.pages:
        for left, right, anchor in sections.stretches(page):
            sentences = _sentences(page, left, right, count_tokens, settings.chunk_tokens)
            for start, end in _pack(sentences, settings.chunk_tokens, settings.overlap_tokens):
                chunks.append(
                    Chunk(
                        chunk_id=f"{document_id}:{len(chunks)}",
                        document_id=document_id,
                        document=document.name,
                        page=page.number,
                        start=start,
                        end=end,
                        text=page.text[start:end],
                        context=sections.context(page, start, anchor),
                    )
                )
    return chunks


def _sentences(page: Page, left: int, right: int, count_tokens: CountTokens, limit: int) -> list[_Sentence]:
    """Sentences of page.text[left:right] with their token counts; longer ones than `limit` are split at words."""
    found = []
    for start, end in sentence_spans(page.text[left:right]):
        start, end = start + left, end + left
        tokens = max(count_tokens(page.text[start:end]), (end - start) // _MAX_TOKEN_CHARS)
        if tokens <= limit:
            found.append(_Sentence(start, end, tokens))
        else:
            found += _split_long(page.text, start, end, tokens, count_tokens, limit)
    return found


def _split_long(text: str, start: int, end: int, tokens: int, count_tokens: CountTokens, limit: int) -> list[_Sentence]:
    """Halve at the white space (or, without any, the character) nearest to the middle until each part fits."""
    if tokens <= limit or end - start < 2:
        return [_Sentence(start, end, tokens)]
    middle = (start + end) // 2
    cuts = [text.rfind(" ", start + 1, middle + 1), text.find(" ", middle, end - 1)]
    inside = [cut for cut in cuts if start < cut < end]
    cut = min(inside, key=lambda c: abs(c - middle)) if inside else middle
    parts: list[_Sentence] = []
    for a, b in ((start, cut), (cut, end)):
        while a < b and text[a].isspace():
            a += 1
        while b > a and text[b - 1].isspace():
            b -= 1
        if a < b:
            inside_tokens = max(count_tokens(text[a:b]), (b - a) // _MAX_TOKEN_CHARS)
            parts += _split_long(text, a, b, inside_tokens, count_tokens, limit)
    return parts


def _pack(sentences: Sequence[_Sentence], limit: int, overlap: int) -> list[tuple[int, int]]:
    """Greedy packing with overlap; a last chunk of less than a quarter joins the one before it."""
    bounds: list[tuple[int, int]] = []
    before = list(itertools.accumulate((sentence.tokens for sentence in sentences), initial=0))
    first = 0
    while first < len(sentences):
        total, last = 0, first
        while last < len(sentences) and (last == first or total + sentences[last].tokens <= limit):
            total += sentences[last].tokens
            last += 1
        if 0 < before[-1] - before[last] <= limit // 4:
            last = len(sentences)
        bounds.append((sentences[first].start, sentences[last - 1].end))
        if last >= len(sentences):
            break
        shared, back = 0, last
        while back - 1 > first and shared + sentences[back - 1].tokens <= overlap:
            back -= 1
            shared += sentences[back].tokens
        first = back
    return bounds


class _Sections:
    """What stands above any place of a document: its title, the open headings, the title of a table."""

    def __init__(self, document: Document) -> None:
        self._headings = sorted(document.headings, key=lambda h: (h.page, h.start))
        self._keys = [(h.page, h.start) for h in self._headings]
        self._title_chars = [0, *itertools.accumulate(len(h.title) + 2 for h in self._headings)]  # of those before each
        self._title = document_label(document)
        self._by_page: dict[int, list[Heading]] = {}
        for heading in self._headings:
            self._by_page.setdefault(heading.page, []).append(heading)
        self._trails = self._open_headings()
        self._tables: dict[int, tuple[str, str]] = {}  # page -> title of a table that stands above most of it

    def stretches(self, page: Page) -> list[tuple[int, int, int]]:
        """(start, end, start of the innermost heading) of the stretches of `page.text` between headings.

        A heading that stands right above the next one has no text of its own: they open one stretch together.
        """
        edges = [(0, -1)]
        for heading in self._by_page.get(page.number, ()):
            start = min(heading.start, len(page.text))
            previous, anchor = edges[-1]
            above = _printed(page.text, previous, start)
            bare = not above or (anchor >= 0 and above <= self._title_length(page.number, previous, start) + 4)
            edges[-1 if bare else len(edges) :] = [(previous if bare else start, start)]
        stops = [start for start, _ in edges[1:]] + [len(page.text)]
        return [(start, stop, anchor) for (start, anchor), stop in zip(edges, stops, strict=True)]

    def _title_length(self, page: int, start: int, stop: int) -> int:
        first, end = bisect.bisect_left(self._keys, (page, start)), bisect.bisect_left(self._keys, (page, stop))
        return self._title_chars[max(first, end)] - self._title_chars[first]

    def _open_headings(self) -> list[list[str]]:
        """For each heading the titles open at it, outermost first."""
        trails, stack = [], list[Heading]()
        for heading in self._headings:
            while stack and stack[-1].level >= heading.level:
                stack.pop()
            stack.append(heading)
            trails.append([h.title for h in stack])
        return trails

    def context(self, page: Page, start: int, anchor: int) -> str:
        """What stands above a chunk that begins at `start`; `anchor` is the innermost heading of its stretch."""
        position = bisect.bisect_right(self._keys, (page.number, max(start, anchor))) - 1
        trail = self._trails[position][-2:] if position >= 0 else []
        parts = [self._title, *(_short(title) for title in trail)]
        table, units = self._table_title(page, start)
        if table and all(_key(table) not in _key(part) for part in parts):
            parts.append(f"{table} {units}".strip())
        elif table and units and _key(table) in _key(parts[-1]):
            parts[-1] += f" {units}"
        return " > ".join(part for part in parts if part)[:MAX_CONTEXT_CHARS]

    def _table_title(self, page: Page, start: int) -> tuple[str, str]:
        if start < _TABLE_HEAD_CHARS:
            return _table_title(page, start)
        if page.number not in self._tables:  # the same for all that stands below: a file may be one long page
            self._tables[page.number] = _table_title(page, start)
        return self._tables[page.number]


def document_label(document: Document) -> str:
    """The title, with the readable file name beside it when that says more (a year, a form, a party)."""
    name, title = readable_file_name(document.name), document.title
    told = set(re.findall(r"\w+", title.lower()))
    new = [word for word in re.findall(r"\w+", name.lower()) if word not in told]
    if not new or not any(len(word) > 1 for word in new):
        return title
    return f"{title} ({name})" if title else name


def _printed(text: str, start: int, stop: int) -> int:
    """len(text[start:stop].strip()), without a copy: thousands of headings may stand right below each other."""
    while start < stop and text[start].isspace():
        start += 1
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return stop - start


def _short(title: str) -> str:
    return title if len(title) <= 90 else title[:87] + "..."


def _key(text: str) -> str:
    return re.sub(r"\W+", "", text.lower())


def _table_title(page: Page, start: int) -> tuple[str, str]:
    """(title, units) of a statement that began above `start` on this page: a capital line among its first ones."""
    lines = page.text[: min(start, _TABLE_HEAD_CHARS)].split("\n")[:6]
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        letters = [c for c in line if c.isalpha()]
        if len(letters) >= 8 and len(line) <= 100 and line.upper() == line and line.lower() != line:
            return line.strip(), following.strip() if following.startswith("(") and len(following) < 80 else ""
    return "", ""
