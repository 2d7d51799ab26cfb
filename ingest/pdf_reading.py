"""One page of a PDF on its way: its text layer as extracted, or its picture recognised, or why neither could be had."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium_c

from core.settings import IngestSettings
from ingest.ocr import UNSURE, PageRecogniser, load_recogniser, scale_for, straightened
from ingest.pdf_layout import Line, read_lines
from ingest.pdf_words import NO_WORDS, RawPage, Words, read_words
from ingest.pdfium import PDFIUM_LOCK, REPAIR_REMEDY, open_page
from ingest.types import PageProblem

log = logging.getLogger(__name__)

OCR_REMEDY = "Add a text layer by OCR, for example `ocrmypdf in.pdf out.pdf`, and add the result"
REDO_OCR_REMEDY = "Replace its text layer by OCR, for example `ocrmypdf --force-ocr in.pdf out.pdf`, and add the result"
NO_TEXT_REMEDY = (
    "Nothing is missing if it is a photograph; else add a better scan, or a text layer with `ocrmypdf in.pdf out.pdf`"
)
UNSURE_REMEDY = "Compare what matters with the sheet, or add a better scan (300 dpi, straight, in black and white)"
GARBLED_SHARE = 0.5  # of unreadable characters above which a page's text layer is called unusable


@dataclass
class Reading:
    """One page on its way: as extracted, or the reason why it could not be."""

    raw: RawPage | None
    lines: list[Line]
    problem: PageProblem | None = None
    is_scan: bool = False  # an image of text, or a text layer that cannot be used: only its picture can be read

    @property
    def words(self) -> Words:
        return self.raw.words if self.raw else NO_WORDS

    @property
    def height(self) -> float:
        return self.raw.sheet.height if self.raw else 0.0


def read_page(pdf: pypdfium2.PdfDocument, index: int, has_forms: bool) -> Reading:
    """Page `index` (from 0) by its text layer; what is wrong with it is a problem of the result, never an error."""
    try:
        with open_page(pdf, index) as page:
            flattened = has_forms and page.flatten() == pdfium_c.FLATTEN_SUCCESS
            raw = None if flattened else read_words(page)
        if raw is None:  # what is filled into form fields is text of the page once it has been loaded again
            with open_page(pdf, index) as page:
                raw = read_words(page)
        lines = read_lines(raw.words)
    except (pypdfium2.PdfiumError, ValueError, ArithmeticError, IndexError, MemoryError) as error:
        log.debug("page %d failed", index + 1, exc_info=True)
        return Reading(None, [], PageProblem(index + 1, f"the page cannot be read: {error}", REPAIR_REMEDY))
    problem = None
    if not len(raw.words) and raw.has_image:
        problem = PageProblem(index + 1, "the page is a scan without a text layer", OCR_REMEDY)
    elif len(raw.words) and (raw.unmapped >= GARBLED_SHARE or _garbled(raw) >= GARBLED_SHARE):
        problem = PageProblem(index + 1, "the text layer is unreadable: its fonts name no characters", REDO_OCR_REMEDY)
    return Reading(raw, lines, problem, is_scan=problem is not None)


def _garbled(raw: RawPage) -> float:
    """Share of replacement, private-use and unassigned characters."""
    text = "".join(raw.words.texts)
    bad = sum(1 for c in text if c == "\ufffd" or "\ue000" <= c <= "\uf8ff")
    return bad / max(len(text), 1)


def recognise_scans(
    pdf: pypdfium2.PdfDocument,
    readings: list[Reading],
    *,
    settings: IngestSettings,
    on_page: Callable[[int, int], None] | None = None,
) -> int:
    """Read the scans among `readings` by their pictures, in place, until `settings.ocr_s` is spent; how many were read.

    A page that stays unread keeps its problem; one read with little confidence gets one that says so.
    """
    scans = [index for index, reading in enumerate(readings) if reading.is_scan]
    recogniser = load_recogniser() if scans and settings.ocr == "auto" else None
    if recogniser is None:
        return 0
    started, done, recognised = time.monotonic(), len(readings) - len(scans), 0
    for index in scans:
        if time.monotonic() - started > settings.ocr_s:
            log.info("text recognition stopped after %.0f s, at page %d", settings.ocr_s, index + 1)
            break
        recognised += _recognise(pdf, index, readings, recogniser)
        done += 1
        if on_page is not None:
            on_page(done, len(readings))
    return recognised


def _recognise(pdf: pypdfium2.PdfDocument, index: int, readings: list[Reading], recogniser: PageRecogniser) -> bool:
    reading = readings[index]
    if reading.raw is None:
        return False
    sheet = reading.raw.sheet
    try:
        with PDFIUM_LOCK, open_page(pdf, index) as page:
            picture = page.render(scale=scale_for(sheet)).to_pil().convert("RGB")
        words, confidence = recogniser.read(np.asarray(picture), sheet)
        lines = read_lines(straightened(words))
    except (pypdfium2.PdfiumError, ValueError, ArithmeticError, IndexError, RuntimeError) as error:
        log.debug("recognising page %d failed", index + 1, exc_info=True)
        problem = PageProblem(index + 1, f"the page is a scan that could not be read: {error}", OCR_REMEDY)
        readings[index] = replace(reading, problem=problem)
        return False
    if not len(words):
        problem = PageProblem(index + 1, "the page is a picture in which no text was recognised", NO_TEXT_REMEDY)
        readings[index] = replace(reading, raw=replace(reading.raw, words=NO_WORDS), lines=[], problem=problem)
        return False
    unsure = None
    if confidence < UNSURE:
        reason = f"the page is a scan that was hard to read (confidence {confidence:.0%}): words may be wrong"
        unsure = PageProblem(index + 1, reason, UNSURE_REMEDY)
    readings[index] = replace(reading, raw=replace(reading.raw, words=words), lines=lines, problem=unsure)
    return True
