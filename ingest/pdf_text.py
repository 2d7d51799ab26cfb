"""Lines of a page -> the page's text and the range of every word in it.

Lines of a paragraph flow into one (joined by a space, a word hyphenated at the line's end put together again); a
newline stands only where a reader sees one: after a heading, a list item, a row of a table; a blank line between
blocks. Leaders (the dots from an entry of a table of contents to its page) become LEADERS, whatever their length: in
full they would be most of what is searched and embedded. Every word keeps its box, so what is joined or dropped never
breaks the way back to the sheet.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ingest.pdf_layout import Line
from ingest.pdf_words import HYPHEN_MARK, Words

_BULLET = re.compile(r"^[•●○▪■◦‣∙·➢✓–—*\uf0b7\uf0a7-]$|^[•●▪■◦‣]")
_ENUMERATOR = re.compile(r"^(?:\(?(?:\d{1,2}|[a-zA-Z]|[ivxIVX]{1,4})[.)]|\d{1,2}(?:\.\d{1,2}){1,3}\.?)$")
_SENTENCE_END = re.compile(r"[.!?:;。！？；：][\"'”’)\]]*$")
LEADERS = "...."
_LETTERS = re.compile(r"[^\W\d_]{2}")
_DOTS = re.compile(r"[.·…]+$")
_LONG_DOTS = re.compile(r"\.{5,}|·{5,}|…{2,}")
_HYPHENS = ("-", "‐", HYPHEN_MARK)


@dataclass(frozen=True)
class PageText:
    """Text of one page. A block is lines that flow into each other: `block_lines[i]` is its first line (index),
    `block_starts[i]` the offset of its first character."""

    text: str
    word_ranges: np.ndarray  # (n, 2) int32, sorted
    word_boxes: np.ndarray  # (n, 4) float32
    block_lines: list[int]
    block_starts: list[int]


JoinHyphen = Callable[[str, str], bool]  # (head without hyphen, tail) -> True: one word, False: the hyphen belongs


def compose(words: Words, lines: Sequence[Line], join_hyphen: JoinHyphen) -> PageText:
    """Put the lines of a page together. Offsets into the result lead to boxes through `word_ranges`."""
    parts: list[str] = []
    ranges: list[tuple[int, int]] = []
    boxes: list[np.ndarray] = []
    block_lines: list[int] = []
    block_starts: list[int] = []
    length = 0
    margins = _right_margins(lines)
    pitches = _pitches(lines)

    for number, line in enumerate(lines):
        separator = ""
        if number:
            separator = _separator(words, lines[number - 1], line, margins, pitches)
            head = parts[-1] if parts else ""
            if separator == " " and head.endswith(_HYPHENS) and len(head) > 1:
                tail = words.texts[line.words[0]]
                if join_hyphen(head[:-1], tail):
                    parts[-1] = head[:-1]
                    length -= 1
                    ranges[-1] = (ranges[-1][0], ranges[-1][1] - 1)
                elif head.endswith(HYPHEN_MARK):
                    parts[-1] = head[:-1] + "-"
                separator = ""
            elif separator == " " and head.endswith("/") and "://" in head:
                separator = ""  # an address broken at a slash
            elif separator == " " and _is_cjk(head[-1:]) and _is_cjk(words.texts[line.words[0]][:1]):
                separator = ""
            parts.append(separator)
            length += len(separator)
        if not number or "\n" in separator:
            block_lines.append(number)
            block_starts.append(length)
        previous = -2
        for position, (word, text, last) in enumerate(_without_leaders(words, line)):
            if position and not (words.glued[word] and previous == word - 1):
                parts.append(" ")
                length += 1
            parts.append(text)
            ranges.append((length, length + len(text)))
            boxes.append(words.boxes[word] if last == word else _union(words.boxes, word, last))
            length += len(text)
            previous = last
    text = "".join(parts).replace(HYPHEN_MARK, "-")
    return PageText(
        text,
        np.array(ranges, np.int32).reshape(-1, 2),
        np.array(boxes, np.float32).reshape(-1, 4),
        block_lines,
        block_starts,
    )


def _without_leaders(words: Words, line: Line) -> list[tuple[int, str, int]]:
    """(word, its text, last word) along a line; a row of dots is LEADERS."""
    if not any(_DOTS.match(words.texts[word]) or _LONG_DOTS.search(words.texts[word]) for word in line.words):
        return [(word, words.texts[word], word) for word in line.words]
    found: list[tuple[int, str, int]] = []
    for dots, group in itertools.groupby(line.words, key=lambda word: bool(_DOTS.match(words.texts[word]))):
        row = list(group)
        if dots and sum(len(words.texts[word]) for word in row) >= len(LEADERS):
            found.append((row[0], LEADERS, row[-1]))
        else:
            found += [(word, _LONG_DOTS.sub(LEADERS, words.texts[word]), word) for word in row]
    return found


def _union(boxes: np.ndarray, first: int, last: int) -> np.ndarray:
    """The box around boxes first and last, both (x0, y0, x1, y1)."""
    both = boxes[[first, last]]
    return np.concatenate([both[:, :2].min(axis=0), both[:, 2:].max(axis=0)])


def _is_entry(words: Words, line: Line) -> bool:
    """Whether a line leads to a page number: an entry of a table of contents."""
    return any(text == LEADERS for _, text, _ in _without_leaders(words, line)) and (
        words.texts[line.words[-1]].isalnum() or bool(_DOTS.match(words.texts[line.words[-1]]))
    )


def _is_cjk(character: str) -> bool:
    return bool(character) and "\u2e80" <= character <= "\uffef"


def _right_margins(lines: Sequence[Line]) -> dict[int, float]:
    """Right margin of each zone: where its fuller prose lines end."""
    ends: dict[int, list[float]] = {}
    for line in lines:
        ends.setdefault(line.zone, []).append(line.x1)
    return {zone: float(np.percentile(values, 90)) for zone, values in ends.items()}


def _pitches(lines: Sequence[Line]) -> dict[int, float]:
    """Usual distance of baselines in each zone, in points."""
    steps: dict[int, list[float]] = {}
    for above, below in itertools.pairwise(lines):
        step = below.bottom - above.bottom
        if above.zone == below.zone and 0 < step < 3 * max(above.height, below.height):
            steps.setdefault(above.zone, []).append(step)
    return {zone: float(np.median(values)) for zone, values in steps.items()}


def _separator(words: Words, above: Line, below: Line, margins: dict[int, float], pitches: dict[int, float]) -> str:
    """What stands between two lines: a space (they flow), a newline, or a blank line."""
    first, last = words.texts[below.words[0]], words.texts[above.words[-1]]
    if above.zone != below.zone:
        flows = (
            above.cells == below.cells == 1
            and above.turn == below.turn
            and abs(above.size - below.size) < 0.1 * above.size
            and first[:1].islower()
            and not _SENTENCE_END.search(last)
        )
        return " " if flows else "\n\n"
    step = below.bottom - above.bottom
    usual = pitches.get(above.zone, above.height * 1.2)
    wide = step > max(1.35 * usual, usual + 0.35 * below.height) or step > 2.6 * below.height
    if wide or abs(above.size - below.size) > 0.12 * max(above.size, below.size):
        return "\n\n"
    if _is_entry(words, above):
        return "\n"
    if above.cells > 1:
        # A line right under the last cell of a row, which was full, goes on in that cell.
        under = abs(below.x0 - above.last_x0) < 0.5 * below.height and below.x0 > above.x0 + 1.5 * below.height
        prose = under and below.cells == 1 and above.x1 - above.last_x0 > 8 * below.height
        cell = replace(above, x0=above.last_x0)
        return " " if prose and _flows(words, cell, below, first, last, margins[above.zone]) else "\n"
    # What goes on in small letters belongs to the line above: wrapped prose, a bold lead-in, a wrapped label whose
    # figures stand beside its last line.
    rows = _is_row(words, above) and _is_row(words, below)  # "count_x 0.25 0.60", "zero_x 0.15 0.15" and so on
    if first[0].islower() and not _SENTENCE_END.search(last) and below.x0 < above.x0 + 3 * below.height and not rows:
        filled = above.x1 - above.x0 > 0.55 * (margins[above.zone] - above.x0)
        if filled or last.endswith(_HYPHENS) or below.cells > 1:
            return " "
    if below.cells > 1 or above.bold != below.bold or rows:
        return "\n"
    return " " if _flows(words, above, below, first, last, margins[above.zone]) else "\n"


def _is_row(words: Words, line: Line) -> bool:
    """Whether a line ends in two figures, and half of its words are."""
    figures = [
        any(map(str.isdigit, words.texts[word])) and not _LETTERS.search(words.texts[word]) for word in line.words
    ]
    return all(figures[-2:]) and sum(figures) >= max(2, 0.5 * len(figures))


def _flows(words: Words, above: Line, below: Line, first: str, last: str, margin: float) -> bool:
    if _BULLET.match(first):
        return False
    ended = bool(_SENTENCE_END.search(last))
    if ended and _ENUMERATOR.match(first):
        return False
    em = below.height
    box = words.boxes[below.words[0]]
    first_width = float(box[3] - box[1] if below.turn % 2 else box[2] - box[0])
    if above.x1 + first_width + 0.25 * em < margin - 0.6 * em:
        return False  # the next word would have fitted: the break is meant
    if _ENUMERATOR.match(first) and below.x0 < above.x0 - 0.3 * em:
        return False
    indented = below.x0 > above.x0 + 0.7 * em
    # An indented line begins a paragraph, unless it hangs under a bullet or a number.
    opening = words.texts[above.words[0]]
    hangs = bool(_BULLET.match(opening) or _ENUMERATOR.match(opening))
    return not (indented and ended and not hangs)
