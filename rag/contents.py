"""Tables of contents and indexes: they name what is written elsewhere, and answer nothing themselves.

>>> is_listing("1 Leases . . . . . . 3\\n1.1 Rent . . . . . . 4\\n1.2 Notice . . . . . . 9\\n2 Repairs . . . . . . 12")
True
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rag.types import Hit

LEADERS = re.compile(r"(?:\.\s?){4,}|…{2,}|(?:·\s?){4,}")
MIN_LINES = 4
_ENTRY = re.compile(r"^(?=.*[^\W\d_]{2}).*?\D(?<![.,/$€£%-])\s(\d{1,4}|[ivxl]{1,6})\s*$")  # words, then a page
_INDEXED = re.compile(r"^(\W?\w[^\n]*?),?\s(?:\d{1,4}(?:[–-]\d{1,4})?,\s)*\d{1,4}(?:[–-]\d{1,4})?$")


def is_listing(text: str) -> bool:
    """Whether most of a text are entries with the pages where they stand, in the order of pages or of letters."""
    lines = [line for line in text.split("\n") if line.strip()]
    if text.count(".") + text.count("·") + 2 * text.count("…") >= 4 * (MIN_LINES - 1):  # the least that can be leaders
        leading = sum(len(line) for line in lines if LEADERS.search(line))
        if leading > 0.5 * sum(map(len, lines)) and len(LEADERS.findall(text)) >= MIN_LINES - 1:
            return True
    # Below, only lines that end in a figure count: prose is told by that, without patterns (70 -> 3 us a passage).
    if sum(line.rstrip()[-1].isdigit() for line in lines) < max(MIN_LINES, 0.6 * len(lines)):
        return False
    pages = [int(m.group(1)) for line in lines if (m := _ENTRY.match(line)) and m.group(1).isdigit()]
    if len(pages) >= max(MIN_LINES, 0.6 * len(lines)):
        return pages[0] < pages[-1] and all(a <= b for a, b in pairwise(pages))
    names = [m.group(1).casefold() for line in lines if (m := _INDEXED.match(line))]
    in_order = sum(a <= b for a, b in pairwise(names))
    return len(names) >= max(2 * MIN_LINES, 0.6 * len(lines)) and in_order >= 0.8 * (len(names) - 1)


def listings_last(hits: Sequence[Hit]) -> list[Hit]:
    """Hits in their order, those of contents and indexes behind all others; scores fall along the list."""
    listings = [is_listing(hit.chunk.text) for hit in hits]
    if not any(listings):
        return list(hits)
    ordered = [hit for hit, listing in zip(hits, listings, strict=True) if not listing]
    ordered += [hit for hit, listing in zip(hits, listings, strict=True) if listing]
    least, found = float("inf"), []
    for hit in ordered:
        least = min(least, hit.score)
        found.append(replace(hit, score=least))
    return found
