"""Running headers, footers and page numbers: lines that repeat from page to page at the same place.

A line is furniture only with evidence from several pages: the same words at the same height, or a number that counts
up with the pages. Short documents have too little evidence, so nothing is dropped from them.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.pdf_layout import Line
from ingest.pdf_words import Words

MIN_PAGES = 4  # shorter documents keep everything
MARGIN_SHARE = 0.13  # furniture lies in this share of the sheet at the top and at the bottom
MARGIN_LINES = 3  # at most so many lines at either end of a page
_NUMBER = re.compile(r"\d+|\b[ivxlcdm]+\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Candidate:
    page: int  # index
    line: int  # index of the line on its page
    key: tuple[str, bool, int]  # text without numbers, top or bottom, height in 6-point steps
    numbers: tuple[int, ...]


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


def furniture(pages: Sequence[tuple[Words, list[Line], float]]) -> list[set[int]]:
    """For each page (words, lines, sheet height) the indices of its lines that are running headers or footers."""
    drop: list[set[int]] = [set() for _ in pages]
    if len(pages) < MIN_PAGES:
        return drop
    groups: dict[tuple[str, bool, int], list[_Candidate]] = defaultdict(list)
    for index, (words, lines, height) in enumerate(pages):
        for candidate in _candidates(index, words, lines, height):
            groups[candidate.key].append(candidate)
            # heights are rounded; a line near a step also counts for its neighbour below
    for key, members in _merge_neighbours(groups):
        if _repeats(key, members, len(pages)):
            for member in members:
                drop[member.page].add(member.line)
    for index, (_, lines, height) in enumerate(pages):
        drop[index] = _only_outermost(lines, drop[index], height)
    return drop


def _candidates(index: int, words: Words, lines: list[Line], height: float) -> list[_Candidate]:
    upright = [i for i, line in enumerate(lines) if line.turn == lines[0].turn]
    found = []
    for at_top in (True, False):
        ranked = sorted(upright, key=lambda i: lines[i].top if at_top else -lines[i].bottom)[:MARGIN_LINES]
        for i in ranked:
            top, bottom = _from_top(lines[i], height)
            if (bottom > MARGIN_SHARE * height) if at_top else (top < (1 - MARGIN_SHARE) * height):
                continue
            text = line_text(words, lines[i])
            if len(text) > 200:
                continue
            numbers = tuple(_value(match) for match in _NUMBER.findall(text))
            key = _NUMBER.sub("#", text.lower()).replace(" ", "")
            found.append(_Candidate(index, i, (key, at_top, round(top / 6)), numbers))
    return found


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


def _repeats(text: str, members: list[_Candidate], pages: int) -> bool:
    on_pages = {member.page for member in members}
    if len(on_pages) < 3:
        return False
    counting = _counts_up(members)
    if "#" in text and len({member.numbers for member in members}) > 1 and not counting:
        return False  # the numbers differ without counting: a row of figures, a numbered heading
    if not text.strip("#-–—|.·/()[]"):  # a bare number: only a page number counts up
        return counting
    # Same words: enough of them close together (a chapter's header) or in the whole document.
    ordered = sorted(on_pages)
    close = sum(1 for a, b in itertools.pairwise(ordered) if b - a <= 2)
    return len(on_pages) >= max(3, 0.3 * pages) or (close >= 3 and close >= 0.6 * (len(on_pages) - 1))


def _counts_up(members: list[_Candidate]) -> bool:
    """Some number of these lines is page index plus a constant on most of them (chapters may restart it)."""
    width = min(len(member.numbers) for member in members)
    for place in range(width):
        offsets = Counter(member.numbers[place] - member.page for member in members)
        if sum(count for count in offsets.values() if count >= 2) >= 0.7 * len(members) and len(
            {member.numbers[place] for member in members}
        ) > 0.5 * len(members):
            return True
    return False


def _only_outermost(lines: list[Line], dropped: set[int], height: float) -> set[int]:
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
