"""Running headers, footers and page numbers: lines that repeat from page to page at the same place.

A line is furniture only with evidence from several pages: the same words at the same height, or a number that counts
up with the pages, be it beside words that change ("3.7. Base system 17"). Short documents have little evidence: there
it has to stand on each page.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.pdf_layout import Line
from ingest.pdf_words import Words

MIN_PAGES = 4  # shorter documents keep everything but what stands on each of their pages
MARGIN_SHARE = 0.13  # furniture lies in this share of the sheet at the top and at the bottom
MARGIN_LINES = 3  # at most so many lines at either end of a page
_PAGE_OF = re.compile(r"[-–—(\[ ]*(?:page|p\.?|seite|pagina|página)?#(?:(?:of|/|von|de|di|sur)#)?[-–—)\] .]*$")
_BARE = "#-–—|.·/()[] "
_NUMBER = re.compile(r"\d+|\b[ivxlcdm]+\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Candidate:
    page: int  # index
    line: int  # index of the line on its page
    key: tuple[str, bool, int]  # text without numbers, top or bottom, height in 6-point steps
    numbers: tuple[str, ...]
    in_margin: bool
    edges: tuple[str, ...] = ()  # numbers that begin or end the outermost line
    gap: bool = False  # its words stand far apart: it may be a row of a table


def line_text(words: Words, line: Line) -> str:
    """Words of a line joined by spaces; CJK words that touch are not separated."""
    parts: list[str] = []
    previous = -2
    for word in line.words:
        if parts and not (words.glued[word] and previous == word - 1):
            parts.append(" ")
        parts.append(words.texts[word])
        previous = word
    return "".join(parts)


@dataclass(frozen=True)
class Furniture:
    """What repeats on a page: indices of its lines to drop, and the page number that stood there ("" if none)."""

    lines: frozenset[int] = frozenset()
    label: str = ""


def find_furniture(pages: Sequence[tuple[Words, list[Line], float]]) -> list[Furniture]:
    """For each page (words, lines, sheet height) its running headers, footers and printed page number."""
    if len(pages) < 2:
        return [Furniture()] * len(pages)
    drop: list[set[int]] = [set() for _ in pages]
    labels = [""] * len(pages)
    groups: dict[tuple[str, bool, int], list[_Candidate]] = defaultdict(list)
    for index, (words, lines, height) in enumerate(pages):
        for candidate in _candidates(index, words, lines, height):
            groups[candidate.key].append(candidate)
    short = len(pages) < MIN_PAGES
    for text, members in _merge_neighbours(groups):
        counting = _counting_throughout(members, len(pages)) if short else _counting(members)
        if short and not (counting or _same_throughout(text, members, len(pages))):
            continue
        chosen = members
        if not text.strip(_BARE):  # a bare number: only one that counts up is a page number
            chosen = list(counting)
        elif not short and not _repeats(text, members, bool(counting), len(pages)):
            continue
        for member in chosen:
            if not member.in_margin and member not in counting:
                continue
            drop[member.page].add(member.line)
            if member in counting and len(text) <= 60:
                labels[member.page] = labels[member.page] or counting[member]
    outermost = [candidate for members in groups.values() for candidate in members if candidate.edges]
    for candidate, label in _running_titles(outermost).items():
        drop[candidate.page].add(candidate.line)
        labels[candidate.page] = labels[candidate.page] or label
    return [
        Furniture(frozenset(_only_outermost(lines, dropped)), label)
        for (_, lines, _), dropped, label in zip(pages, drop, labels, strict=True)
    ]


def _candidates(index: int, words: Words, lines: list[Line], height: float) -> list[_Candidate]:
    upright = [i for i, line in enumerate(lines) if line.turn == lines[0].turn]
    found = []
    for at_top in (True, False):
        ranked = sorted(upright, key=lambda i: lines[i].top if at_top else -lines[i].bottom)[:MARGIN_LINES]
        for i in ranked:
            top, bottom = _from_top(lines[i], height)
            text = line_text(words, lines[i])
            key = _NUMBER.sub("#", text.lower()).replace(" ", "")
            numbered = "#" in key and i == ranked[0]
            outside = bottom <= MARGIN_SHARE * height if at_top else top >= (1 - MARGIN_SHARE) * height
            # A page number may also follow the text wherever that ends (filings made from web pages).
            if len(text) > 200 or not (outside or numbered):
                continue
            place = 0 if numbered else round(top / 6)
            edges = _edge_numbers(text) if outside and i == ranked[0] else ()
            numbers, gap = tuple(_NUMBER.findall(text)), _has_gap(words, lines[i])
            found.append(_Candidate(index, i, (key, at_top, place), numbers, outside, edges, gap))
    return found


def _has_gap(words: Words, line: Line) -> bool:
    if line.turn % 2:
        return False
    boxes = words.boxes[line.words]
    return bool((np.abs(boxes[1:, 0] - boxes[:-1, 2]) > 3 * line.height).any())


def _edge_numbers(text: str) -> tuple[str, ...]:
    """Whole numbers that are a line's first or last word."""
    ends = dict.fromkeys((text.split()[0], text.split()[-1])) if text.strip() else ()
    return tuple(word for word in ends if _NUMBER.fullmatch(word))


def _from_top(line: Line, height: float) -> tuple[float, float]:
    """Distance of a line from the sheet's top. Rightward text has y = -points; other directions start elsewhere."""
    return (line.top + height, line.bottom + height) if line.turn == 0 else (line.top, line.bottom)


def _value(number: str) -> int:
    if number.isdigit():
        return int(number[:9])
    values = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}
    digits = [values[letter] for letter in number.lower()]
    return sum(-d if d < following else d for d, following in zip(digits, [*digits[1:], 0], strict=True))


def _merge_neighbours(
    groups: dict[tuple[str, bool, int], list[_Candidate]],
) -> list[tuple[str, list[_Candidate]]]:
    """Join groups whose heights are one step apart: rounding splits what stands at nearly the same place."""
    merged: list[tuple[str, list[_Candidate]]] = []
    previous: tuple[str, bool, int] | None = None
    for key in sorted(groups):
        text, at_top, step = key
        if previous is not None and previous[:2] == (text, at_top) and step - previous[2] <= 1:
            merged[-1][1].extend(groups[key])
        else:
            merged.append((text, list(groups[key])))
        previous = key
    return merged


def _repeats(text: str, members: list[_Candidate], counting: bool, pages: int) -> bool:
    on_pages = {member.page for member in members}
    if len(on_pages) < 3:
        return False
    if "#" in text and len({member.numbers for member in members}) > 1 and not counting:
        return False  # the numbers differ without counting: a row of figures, a numbered heading
    # Same words: enough of them close together (a chapter's header) or in the whole document.
    ordered = sorted(on_pages)
    close = sum(1 for a, b in itertools.pairwise(ordered) if b - a <= 2)
    return len(on_pages) >= max(3, 0.3 * pages) or (close >= 3 and close >= 0.6 * (len(on_pages) - 1))


def _same_throughout(text: str, members: list[_Candidate], pages: int) -> bool:
    """Whether the same words, and the same numbers if any, stand in the margin of each page, once.

    The heads of a table that goes on from page to page do, too: what has gaps is no evidence.
    """
    same = len({member.numbers for member in members}) == 1 and not any(member.gap for member in members)
    same = same and any(map(str.isalpha, text))
    return same and len(members) == pages == len({member.page for member in members if member.in_margin})


def _counting_throughout(members: list[_Candidate], pages: int) -> dict[_Candidate, str]:
    """`_counting` of few pages: each has the line once, in its margin, with nothing but "page" and "of" beside it."""
    everywhere = {member.page for member in members if member.in_margin} == set(range(pages))
    if not everywhere or len(members) != pages or not _PAGE_OF.match(members[0].key[0]):
        return {}
    for place in range(min(len(member.numbers) for member in members)):
        offsets = {_value(member.numbers[place]) - member.page for member in members}
        if len(offsets) == 1:
            return {member: member.numbers[place] for member in members}
    return {}


def _counting(members: list[_Candidate]) -> dict[_Candidate, str]:
    """Members with a number that is their page plus a constant which three or more share, and that number.

    Empty when these are the minority. Chapters may restart the count; front matter may count in Roman numerals.
    """
    best: dict[_Candidate, str] = {}
    for place in range(min(len(member.numbers) for member in members)):
        offsets = Counter(_value(member.numbers[place]) - member.page for member in members)
        found = {
            member: member.numbers[place]
            for member in members
            if offsets[_value(member.numbers[place]) - member.page] >= 3
        }
        if len(found) > len(best) and len(found) >= 0.5 * len(members):
            best = found
    return best


def _running_titles(candidates: list[_Candidate]) -> dict[_Candidate, str]:
    """Outermost lines that begin or end with the page's number, whatever else they say, and that number.

    Each has another at the same end of a sheet, at most two sheets away, whose number is as far from its page; at least
    MIN_PAGES share that distance. A column of figures does not keep step with the pages.
    """
    lanes: dict[tuple[bool, int], dict[_Candidate, str]] = defaultdict(dict)
    for candidate in candidates:
        for number in candidate.edges:
            lanes[candidate.key[1], _value(number) - candidate.page][candidate] = number
    found: dict[_Candidate, str] = {}
    for lane in lanes.values():
        pages = {candidate.page for candidate in lane}
        near = {page for page in pages if pages & {page - 2, page - 1, page + 1, page + 2}}
        if len(near) >= MIN_PAGES:
            found.update({candidate: number for candidate, number in lane.items() if candidate.page in near})
    return found


def _only_outermost(lines: list[Line], dropped: set[int]) -> set[int]:
    """Never drop a line while one nearer to the edge of the sheet stays, unless that one is beside it; nor the page."""
    if not dropped:
        return dropped
    turn = lines[0].turn
    kept: set[int] = set()
    rows = [i for i, line in enumerate(lines) if line.turn == turn]
    for sign in (1, -1):
        for i in sorted(rows, key=lambda i: sign * (lines[i].top + lines[i].bottom)):
            if i not in dropped:
                break
            kept.add(i)
    return kept
