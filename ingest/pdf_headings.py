"""Headings of a PDF: from its outline where it has one, else from type: larger, bold or capital lines of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.pdf_layout import Line
from ingest.types import Heading

MAX_HEADING_CHARS = 160
_OPENING = '[(“"§'
_NAMED = re.compile(
    r"^(?:part|chapter|section|article|appendix|annex|schedule|exhibit|item|note)\s+(?:[ivxlc]+|\d+[a-z]?|[a-z])\b",
    re.IGNORECASE,
)
_PART = re.compile(r"^(?:part|chapter|book)\s+(?:[ivxlc]+|\d+)\b", re.IGNORECASE)
_NUMBERED = re.compile(r"^(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+[A-Z\u4e00-\u9fff]")
_UNITS_OR_DATE = re.compile(
    r"^\(|^(?:(?:for the )?(?:fiscal )?(?:years?|quarters?|months?|three|six|nine)\b.*\b(?:ended|ending)|as of|at)\b|"
    r"^(?:in )?(?:millions|thousands|dollars)|^(?:january|february|march|april|may|june|july|august|september|"
    r"october|november|december)\s+\d|^\$|table of contents$|^(?:see )?accompanying notes|^total\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OutlineEntry:
    """A bookmark: `page` is 0-based, `top` the height of its target in points from the sheet's top (None unknown)."""

    title: str
    level: int  # 1 = outermost
    page: int
    top: float | None


@dataclass(frozen=True)
class TypedPage:
    """A page as composed: its blocks (lines that flow into each other, as one Line), their text and offset."""

    lines: Sequence[Line]
    texts: Sequence[str]
    starts: Sequence[int]
    height: float  # of the sheet, points


def find_headings(pages: Sequence[TypedPage], outline: Sequence[OutlineEntry]) -> tuple[Heading, ...]:
    """All headings in reading order. Outline entries are matched to lines; type gives the rest, one level deeper."""
    from_outline = _from_outline(pages, outline)
    by_type = _by_type(pages)
    deepest = max((heading.level for heading in from_outline), default=0)
    found = {(heading.page, heading.start): heading for heading in from_outline}
    for heading in by_type:
        found.setdefault(
            (heading.page, heading.start),
            Heading(heading.page, heading.start, heading.title, min(9, heading.level + deepest)),
        )
    return tuple(found[key] for key in sorted(found))


def _squeeze(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())


def _from_outline(pages: Sequence[TypedPage], outline: Sequence[OutlineEntry]) -> list[Heading]:
    headings = []
    for entry in outline:
        if not 0 <= entry.page < len(pages) or not pages[entry.page].lines:
            continue
        page, wanted = pages[entry.page], _squeeze(entry.title)
        if not wanted:
            continue
        line = _match(page, wanted, entry.top)
        if line is not None:
            headings.append(Heading(entry.page + 1, page.starts[line], entry.title, min(entry.level, 9)))
    return headings


def _match(page: TypedPage, wanted: str, top: float | None) -> int | None:
    """Index of the line that an outline entry means: same words nearest to its target, else the line at the target."""
    best, best_distance = None, 1e9
    for i, text in enumerate(page.texts):
        squeezed = _squeeze(text)
        if not squeezed:
            continue
        same = squeezed.startswith(wanted) or (len(squeezed) >= 4 and wanted.startswith(squeezed))
        numberless = re.sub(r"^[\divxlc]+", "", wanted)
        same = same or (len(numberless) >= 5 and numberless in squeezed and len(squeezed) < 2 * len(wanted) + 8)
        if same:
            distance = abs(_top(page, i) - top) if top is not None else i
            if distance < best_distance:
                best, best_distance = i, distance
    if best is not None or top is None:
        return best if best is not None else 0
    below = [i for i in range(len(page.lines)) if _top(page, i) >= top - 6]
    return min(below, key=lambda i: _top(page, i)) if below else None


def _top(page: TypedPage, line: int) -> float:
    return page.lines[line].top + (page.height if page.lines[line].turn == 0 else 0.0)


def body_size(pages: Sequence[TypedPage]) -> float:
    """Type size of most characters of a document, in points."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for line, text in zip(page.lines, page.texts, strict=True):
            sizes[round(line.size * 2) / 2] += len(text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _by_type(pages: Sequence[TypedPage]) -> list[Heading]:
    body = body_size(pages)
    if not body:
        return []
    found: list[tuple[int, int, str, tuple[float, int]]] = []  # page, start, title, style
    for index, page in enumerate(pages):
        # An exhibit may be set larger than the body of the document: a full page is its own measure.
        page_body = body_size([page]) if sum(map(len, page.texts)) > 800 else body
        previous: tuple[int, tuple[float, int]] | None = None  # last heading line and its style: titles of two lines
        for i, text in enumerate(page.texts):
            style = _style(page, i, text, body, page_body)
            if style is None:
                continue
            if previous is not None and previous == (i - 1, style) and _continues(page, i):
                page_number, start, title, _ = found[-1]
                if len(title) + len(text) < MAX_HEADING_CHARS:
                    found[-1] = (page_number, start, f"{title} {text}", style)
                    previous = (i, style)
                    continue
            found.append((index + 1, page.starts[i], text, style))
            previous = (i, style)
    # A style that occurs once or twice (the cover) opens no level of its own.
    counts = Counter(style for *_, style in found)
    styles = sorted((style for style, count in counts.items() if count > 2 or len(found) < 12), reverse=True)
    levels = {style: min(rank, 6) for rank, style in enumerate(styles, start=1)}
    return [Heading(page, start, title, levels.get(style, 1)) for page, start, title, style in found]


def _continues(page: TypedPage, i: int) -> bool:
    above, below = page.lines[i - 1], page.lines[i]
    if _NAMED.match(page.texts[i]) or _NUMBERED.match(page.texts[i]):
        return False
    return above.zone == below.zone and -0.4 * above.size < below.top - above.bottom < 0.6 * min(above.size, below.size)


def _style(page: TypedPage, i: int, text: str, body: float, page_body: float) -> tuple[float, int] | None:
    """(size, emphasis) of a line that looks like a heading, else None."""
    line = page.lines[i]
    named = bool(_NAMED.match(text) or _NUMBERED.match(text))
    if line.cells > 2 or len(text) > MAX_HEADING_CHARS * (2 if named else 1) or _UNITS_OR_DATE.match(text):
        return None
    if text[0].islower() or not (text[0].isalnum() or text[0] in _OPENING):
        return None
    letters = sum(map(str.isalpha, text))
    if letters < 3 or letters < 0.6 * len(text.replace(" ", "")):
        return None
    if text.endswith((",", ";", "-", "\ufffe")) or (text.endswith(".") and len(text) > 60 and not named):
        return None
    capitals = text.upper() == text and text.lower() != text
    size = round(line.size * 2) / 2
    larger = size >= 1.15 * body and size >= 1.1 * page_body
    if line.cells == 2 and not named:
        return None
    if not larger:
        strong = line.bold and size >= 0.9 * body
        if not (strong or (capitals and named)):
            return None
        if not _stands_alone(page, i):
            return None
    rank = 2 if _PART.match(text) else 1 if _NAMED.match(text) else 0
    return (size, 4 * rank + 2 * line.bold + capitals)


def _stands_alone(page: TypedPage, i: int) -> bool:
    """The lines around it are of another kind, or apart: a bold line within bold text or a table row is no heading."""
    line = page.lines[i]
    if 0 < i < len(page.lines) - 1 and page.lines[i - 1].cells > 1 and page.lines[i + 1].cells > 1:
        return False  # a caption among the rows of a table
    for other in (i - 1, i + 1):
        if not 0 <= other < len(page.lines):
            continue
        beside = page.lines[other]
        if beside.zone != line.zone:
            continue
        apart = beside.top - line.bottom if other > i else line.top - beside.bottom
        touching = apart < 0.8 * line.size
        if touching and other > i and beside.bold and beside.cells > 1:
            return False  # the head of a table
        if touching and other < i and beside.cells > 1:
            return False  # within a table
    return i + 1 < len(page.lines) or line.bold
