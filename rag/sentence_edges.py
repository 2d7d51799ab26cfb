"""Where a quoted sentence begins and ends, when the page has more line breaks than sentences.

Manuals break sentences for what they show ("The simplest form is / plot3 (x, y, z) / in which ..."), and a located span
may run from a heading into the paragraph below. What is quoted should read as a sentence: not begin or end in its
middle, not begin with the heading above.

>>> text = "5 Plots\\n\\nThe simplest form is\\nplot3 (x, y, z)\\nin which x is a vector. It is new."
>>> start, end = whole(text, text.index("in which"), text.index(" It"), inside=(text.index("x is"), text.index(" It")))
>>> text[start:end]
'The simplest form is\\nplot3 (x, y, z)\\nin which x is a vector.'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from rag.types import Hit, Span

FARTHEST = 240  # characters that a sentence may grow to either side
_TERMINAL = re.compile(r"[.!?:;。！？][\"'”’)\]]*$")
_BEGINS = re.compile(r"[.!?]\s+(?=[A-Z“\"(])")
_STOPS = re.compile(r"[.!?](?=\s|$)|\n")
_BLANK = re.compile(r"\n[ \t]*\n\s*")


def mended(hits: Sequence[Hit], page_text: Callable[[str, int], str]) -> list[Hit]:
    """Hits whose spans' sentences are whole. `page_text(document, page)` -> text."""

    def mend(span: Span) -> Span:
        if span.sentence is None:
            return span
        text = page_text(span.document, span.page)
        start, end = whole(text, *span.sentence, inside=(span.start, span.end))
        if (start, end) == span.sentence:
            return span
        first, last = max(span.start, start), min(span.end, end)
        return replace(span, start=first, end=last, text=text[first:last], sentence=(start, end), boxes=())

    return [replace(hit, spans=tuple(map(mend, hit.spans))) if hit.spans else hit for hit in hits]


def whole(text: str, start: int, end: int, *, inside: tuple[int, int]) -> tuple[int, int]:
    """[start, end) of `text`, cut to the paragraph that has most of `inside`, then grown to where sentences begin, end.

    It grows over line breaks only, where small letters show that a sentence goes on.
    """
    start, end = _paragraph(text, start, end, inside)
    if "|" in text[start:end]:
        return start, end  # a row of a table
    least, most = max(0, start - FARTHEST), min(len(text), end + FARTHEST)
    grown = start
    while grown > least and text[grown].islower() and (before := _line_before(text, grown)) is not None:
        grown = before
    if grown >= least and (grown == start or not text[grown].islower()):
        start = grown
    while end < most and not _TERMINAL.search(text[start:end]) and (after := _line_after(text, end)) is not None:
        if after > most:
            break
        end = after
    return start, end


def _paragraph(text: str, start: int, end: int, inside: tuple[int, int]) -> tuple[int, int]:
    cuts = [start, *(m.end() for m in _BLANK.finditer(text, start, end)), end]
    if len(cuts) == 2:
        return start, end
    parts = [(first, first + len(text[first:last].rstrip())) for first, last in pairwise(cuts)]
    parts = [part for part in parts if min(part[1], inside[1]) > max(part[0], inside[0])] or parts
    best = max(parts, key=lambda part: min(part[1], inside[1]) - max(part[0], inside[0]))
    if _TERMINAL.search(text[slice(*best)]):
        return best
    below = (part for part in parts if part > best and _TERMINAL.search(text[slice(*part)]))
    return next(below, best)  # a heading, and the sentence below


def _line_before(text: str, start: int) -> int | None:
    """Where the sentence of the line before `start` begins, if it has not ended."""
    stop = len(text[max(0, start - FARTHEST) : start].rstrip()) + max(0, start - FARTHEST)
    if "\n" not in text[stop:start]:
        return None
    begin = text.rfind("\n", 0, stop) + 1
    line = text[begin:stop]
    if not line or "|" in line or _TERMINAL.search(line):
        return None
    return begin + max((mark.end() for mark in _BEGINS.finditer(line)), default=0)


def _line_after(text: str, end: int) -> int | None:
    """Where the sentence that goes on after the line break at `end` stops."""
    if text[end : end + 1] != "\n" or not text[end + 1 : end + 2].islower():
        return None
    stop = _STOPS.search(text, end + 1)
    if stop is None:
        return len(text)
    return stop.start() if stop.group() == "\n" else stop.end()
