"""PDF files to documents: text in reading order, a box for every word, headings, labels, and what went wrong where.

>>> document = read_pdf(Path("lease.pdf"), name="lease.pdf", settings=IngestSettings())
>>> boxes_for_range(document.pages[0], 10, 42)  # ingest.boxes: where that stretch stands on the sheet
>>> render_page(Path("lease.pdf"), 1).save("page.png")
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pypdfium2
import pypdfium2.raw as pdfium_c

from core.errors import DocumentError, NotFoundError
from core.settings import IngestSettings
from ingest.pdf_furniture import find_furniture
from ingest.pdf_headings import OutlineEntry, TypedPage, body_size, find_headings
from ingest.pdf_layout import Line
from ingest.pdf_reading import OCR_REMEDY, Reading, read_page, recognise_scans
from ingest.pdf_text import JoinHyphen, PageText, compose
from ingest.pdfium import PDFIUM_LOCK, REPAIR_REMEDY, is_cut_short, open_page, open_pdf
from ingest.titles import readable_file_name, sensible_title
from ingest.types import Document, Heading, Page, PageProblem

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/pdf"


def read_pdf(
    path: Path, *, name: str, settings: IngestSettings, on_page: Callable[[int, int], None] | None = None
) -> Document:
    """Read a PDF; `on_page(done, total)` is called after each page.

    Raises DocumentError: encrypted, corrupt, without pages, more than `settings.max_pages`, or without any text. A page
    that fails is reported in `Document.problems` and is empty in `Document.pages`. Scanned pages are read by text
    recognition (ingest/ocr.py) as `settings.ocr` has it. Not covered: text in pictures on pages that have a text layer.
    """
    with open_pdf(path, name=name) as pdf:
        with PDFIUM_LOCK:
            total = len(pdf)
            outline = _outline(pdf) if total else []
            has_forms = pdf.get_formtype() != pdfium_c.FORMTYPE_NONE
            if has_forms:
                pdf.init_forms()
            information = pdf.get_metadata_dict(skip_empty=True) if total else {}
        if not total:
            raise DocumentError(f"{name} has no pages", remedy=REPAIR_REMEDY)
        if total > settings.max_pages:
            raise DocumentError(
                f"{name} has {total:,} pages, more than the {settings.max_pages:,} allowed",
                remedy="Split it, or raise the setting ingest.max_pages",
            )
        readings, labels, scans = [], [], 0
        for index in range(total):
            readings.append(read_page(pdf, index, has_forms))
            scans += readings[-1].is_scan
            with PDFIUM_LOCK:
                labels.append(_clean(pdf.get_page_label(index)))
            if on_page is not None:
                on_page(index + 1 - scans, total)
        recognised = recognise_scans(pdf, readings, settings=settings, on_page=on_page)
        outline = _place_outline(outline, readings)
    cut_short = is_cut_short(path)
    _refuse_without_text(readings, name, cut_short)

    found = find_furniture([(reading.words, reading.lines, reading.height) for reading in readings])
    for reading, furniture in zip(readings, found, strict=True):
        reading.lines = [line for i, line in enumerate(reading.lines) if i not in furniture.lines]
    labels = [label or furniture.label for label, furniture in zip(labels, found, strict=True)]
    join_hyphen = _hyphen_judge(readings)
    pages, typed = [], []
    for number, (reading, label) in enumerate(zip(readings, labels, strict=True), start=1):
        page, typed_page = _compose_page(number, label, reading, join_hyphen)
        pages.append(page)
        typed.append(typed_page)
    headings = find_headings(typed, outline)
    metadata = _metadata(information)
    if recognised:
        metadata["recognised_pages"] = recognised
    problems = [reading.problem for reading in readings if reading.problem]
    if cut_short:
        problems.append(
            PageProblem(total, f"the file ends early: {total} pages could be recovered", remedy=REPAIR_REMEDY)
        )
    return Document(
        name=name,
        media_type=MEDIA_TYPE,
        title=_title(information.get("Title"), name, typed, headings),
        pages=tuple(pages),
        headings=headings,
        metadata=metadata,
        problems=tuple(problems),
    )


def render_page(path: Path, page: int, *, scale: float = 1.5) -> Image.Image:
    """Page `page` (1-based) as an RGB image, crop box and rotation applied; scale 1 = 72 dpi = one pixel a point.

    A box x0, y0, x1, y1 of that page covers the pixels x0*scale .. x1*scale from the left and y0*scale .. y1*scale from
    the *bottom*. Raises DocumentError when the file or the page cannot be opened, NotFoundError for a wrong number.
    """
    with open_pdf(path, name=path.name) as pdf, PDFIUM_LOCK:
        if not 1 <= page <= len(pdf):
            raise NotFoundError(f"{path.name} has pages 1 to {len(pdf)}, there is no page {page}")
        try:
            pdf.init_forms()
            with open_page(pdf, page - 1) as sheet:
                return sheet.render(scale=scale).to_pil().convert("RGB")
        except (pypdfium2.PdfiumError, ValueError, MemoryError) as error:
            raise DocumentError(f"page {page} of {path.name} cannot be drawn: {error}", remedy=REPAIR_REMEDY) from error


def _refuse_without_text(readings: list[Reading], name: str, cut_short: bool) -> None:
    if any(reading.raw is not None and len(reading.raw.words) for reading in readings):
        return
    problems = [reading.problem for reading in readings if reading.problem]
    if cut_short:
        raise DocumentError(f"{name} is truncated: no text could be recovered from what is left", remedy=REPAIR_REMEDY)
    if any(reading.is_scan for reading in readings):
        raise DocumentError(f"{name} is a scan: its {len(readings)} pages hold images, no text", remedy=OCR_REMEDY)
    if problems:
        raise DocumentError(f"{name} cannot be read: {problems[0].reason}", remedy=REPAIR_REMEDY)
    raise DocumentError(f"{name} holds no text on any of its {len(readings)} pages", remedy=OCR_REMEDY)


def _compose_page(number: int, label: str, reading: Reading, join_hyphen: JoinHyphen) -> tuple[Page, TypedPage]:
    if reading.raw is None:
        return Page(number, "", label=label), TypedPage((), (), (), 0.0)
    raw, sheet = reading.raw, reading.raw.sheet
    composed: PageText = compose(raw.words, reading.lines, join_hyphen)
    stops = [*composed.block_lines[1:], len(reading.lines)][: len(composed.block_lines)]
    blocks = [_merged(reading.lines[a:b]) for a, b in zip(composed.block_lines, stops, strict=True)]
    ends = [*composed.block_starts[1:], len(composed.text)][: len(composed.block_starts)]
    texts = [composed.text[a:b].strip() for a, b in zip(composed.block_starts, ends, strict=True)]
    page = Page(number, composed.text, sheet.width, sheet.height, label, composed.word_ranges, composed.word_boxes)
    return page, TypedPage(blocks, texts, composed.block_starts, sheet.height)


def _merged(lines: list[Line]) -> Line:
    """One line for the lines of a block: its place and type, bold when all of them are."""
    first = lines[0]
    if len(lines) == 1:
        return first
    return replace(
        first,
        x1=max(line.x1 for line in lines),
        bottom=lines[-1].bottom,
        cells=max(line.cells for line in lines),
        bold=all(line.bold for line in lines),
    )


def _hyphen_judge(readings: list[Reading]) -> JoinHyphen:
    """Whether a word broken at a hyphen is one word: asks the words that the document writes elsewhere."""
    known: Counter[str] = Counter()
    for reading in readings:
        if reading.raw is not None:
            known.update(reading.raw.words.texts)
    vocabulary = {word.strip("\"'“”‘’().,;:[]").lower() for word in known}

    def joins(head: str, tail: str) -> bool:
        if not tail[:1].islower() or not head[-1:].isalpha():
            return False
        head = re.split(r"[^\w-]", head)[-1].lower()
        tail = re.split(r"[^\w-]", tail)[0].lower()
        if head + tail in vocabulary:
            return True
        if f"{head}-{tail}" in vocabulary or "-" in head:
            return False
        return head not in _PREFIXES

    return joins


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PREFIXES = _set(
    "all co cross ex full half high long low mid multi non off one part post pre self semi short single so third "
    "two three four five six first second well year month day long-term on in end market value real risk tax"
)


def _outline(pdf: pypdfium2.PdfDocument) -> list[OutlineEntry]:
    """Bookmarks with a target page; `top` is still in user space from the bottom, see `_place_outline`."""
    entries: list[OutlineEntry] = []
    for bookmark in pdf.get_toc(max_depth=9):
        if len(entries) >= 20_000:
            break
        title = _clean(bookmark.get_title())
        target = bookmark.get_dest()
        if not title or target is None:
            continue
        index = target.get_index()
        mode, position = target.get_view()
        top = None
        if mode == pdfium_c.PDFDEST_VIEW_XYZ and len(position) >= 2:
            top = position[1]
        elif mode in (pdfium_c.PDFDEST_VIEW_FITH, pdfium_c.PDFDEST_VIEW_FITBH) and position:
            top = position[0]
        if index is not None and index >= 0:
            entries.append(OutlineEntry(title, bookmark.level + 1, index, top or None))
    return entries


def _place_outline(outline: list[OutlineEntry], readings: list[Reading]) -> list[OutlineEntry]:
    """Targets from user space to points from the top of the page as shown."""
    placed = []
    for entry in outline:
        raw = readings[entry.page].raw if entry.page < len(readings) else None
        top = entry.top
        if raw is not None and top is not None:
            top = raw.sheet.top - top if raw.sheet.quarter_turns == 0 else None
        placed.append(OutlineEntry(entry.title, entry.level, entry.page, top))
    return placed


def _clean(text: str | None) -> str:
    """One line without control characters and lone surrogates."""
    return " ".join("".join(c if c.isprintable() else " " for c in text or "").split())


def _metadata(information: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, source in (("author", "Author"), ("subject", "Subject"), ("keywords", "Keywords")):
        if value := _clean(information.get(source)):
            found[key] = value[:500]
    for key, source in (("created", "CreationDate"), ("modified", "ModDate")):
        if match := re.match(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?", information.get(source) or ""):
            found[key] = "-".join(part for part in match.groups() if part)
    return found


def _title(stated: str | None, name: str, pages: list[TypedPage], headings: tuple[Heading, ...]) -> str:
    return sensible_title(stated, name) or _largest_type(pages, name) or readable_file_name(name)


_COMPANY = re.compile(
    r"\b(?:inc|incorporated|corp|corporation|company|plc|llc|ltd|limited|co|n\.v|s\.a|gmbh)\.?$", re.IGNORECASE
)


def _largest_type(pages: list[TypedPage], name: str) -> str:
    """The largest block of the first page with text that stands out and is no formality; else a company's name."""
    page = next((page for page in pages if page.lines), None)
    if page is None:
        return ""
    body = body_size(pages)
    turn = page.lines[0].turn
    stands_out = [i for i, line in enumerate(page.lines) if line.size >= 1.15 * body and line.turn == turn]
    for first in sorted(stands_out, key=lambda i: -round(page.lines[i].size)):
        size = page.lines[first].size
        for alone in (
            False,
            True,
        ):  # with the lines of the same size that follow (a title of several lines), or without
            title = page.texts[first]
            following = first + 1
            while not alone and following in stands_out and abs(page.lines[following].size - size) < 0.06 * size:
                title = f"{title} {page.texts[following]}"
                following += 1
            if sensible := sensible_title(title, name):
                return sensible
    return next((t for t in page.texts if _COMPANY.search(t) and len(t) < 60 and sensible_title(t, name)), "")


__all__ = ["MEDIA_TYPE", "read_pdf", "render_page"]
