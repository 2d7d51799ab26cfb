"""From characters back to the sheet: boxes to highlight for any range of a page's text."""

from __future__ import annotations

import numpy as np

from ingest.types import Box, Page


def boxes_for_range(page: Page, start: int, end: int) -> list[Box]:
    """One merged box per line for the characters [start, end) of `page.text`, in reading order.

    Points, origin bottom left of the page as shown. A range that begins or ends within a word takes that share of the
    word's box; white space alone gives the gap between its neighbours on the line, or a thin box where the text before
    it ends. Empty for pages without a sheet or without words, and for empty ranges.
    """
    start, end = max(start, 0), min(end, len(page.text))
    ranges = page.word_ranges
    if start >= end or not len(ranges):
        return []
    first = int(np.searchsorted(ranges[:, 1], start, side="right"))
    last = int(np.searchsorted(ranges[:, 0], end, side="left"))
    if first >= last:
        return [_gap(page, first)]
    turns = _turns(page, first, last)
    merged: list[list[float]] = []
    for word in range(first, last):
        turn = int(turns[word - first])
        box = _part(ranges[word], page.word_boxes[word], start, end, turn)
        if merged and turn == turns[word - first - 1] and _same_line(merged[-1], box, turn):
            line = merged[-1]
            merged[-1] = [min(line[0], box[0]), min(line[1], box[1]), max(line[2], box[2]), max(line[3], box[3])]
        else:
            merged.append(box)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in merged]


def _turns(page: Page, first: int, last: int) -> np.ndarray:
    """(last - first,) int: 0 text runs rightwards, 1 upwards, -1 downwards.

    The direction is not stored: a word of five characters shows it by its shape, shorter ones follow their neighbours,
    and whether sideways text runs up or down shows in the places of neighbouring words.
    """
    low, high = max(0, first - 12), min(len(page.word_ranges), last + 12)
    ranges, boxes = page.word_ranges[low:high], page.word_boxes[low:high]
    telling = ranges[:, 1] - ranges[:, 0] >= 5
    tall = (boxes[:, 3] - boxes[:, 1]) > (boxes[:, 2] - boxes[:, 0])
    if not (tall & telling).any():
        return np.zeros(last - first, np.int64)
    mostly = bool(tall[telling].mean() > 0.5)
    sideways = np.where(telling, tall, mostly)
    middles = (boxes[:, 1] + boxes[:, 3]) / 2
    overlap = np.minimum(boxes[1:, 2], boxes[:-1, 2]) - np.maximum(boxes[1:, 0], boxes[:-1, 0])
    rises = np.sign(np.diff(middles))[(overlap > 0) & sideways[1:] & sideways[:-1]]
    direction = -1 if rises.sum() < 0 else 1
    return np.where(sideways, direction, 0)[first - low : last - low]


def _part(span: np.ndarray, box: np.ndarray, start: int, end: int, turn: int) -> list[float]:
    """The share of a word's box that its characters in [start, end) take, characters counted as equally wide."""
    word_start, word_end = int(span[0]), int(span[1])
    x0, y0, x1, y1 = (float(value) for value in box)
    length = word_end - word_start
    left, right = max(start - word_start, 0) / length, 1 - max(word_end - end, 0) / length
    if turn == 0:
        return [x0 + (x1 - x0) * left, y0, x0 + (x1 - x0) * right, y1]
    if turn > 0:
        return [x0, y0 + (y1 - y0) * left, x1, y0 + (y1 - y0) * right]
    return [x0, y1 - (y1 - y0) * right, x1, y1 - (y1 - y0) * left]


def _same_line(line: list[float], box: list[float], turn: int) -> bool:
    """Whether a word goes on where the line ends: a small step back (superscripts) counts, a jump does not."""
    along, across = (0, 1) if turn == 0 else (1, 0)
    thickness = min(line[across + 2] - line[across], box[across + 2] - box[across])
    overlap = min(line[across + 2], box[across + 2]) - max(line[across], box[across])
    if overlap <= 0.5 * thickness:
        return False
    if turn < 0:
        return box[3] <= line[3] + 0.5 * thickness and box[3] < line[1] + 2 * thickness
    return box[along] >= line[along] - 0.5 * thickness and box[along] > line[along + 2] - 2 * thickness


def _gap(page: Page, following: int) -> Box:
    """Where white space before word `following` stands."""
    boxes = page.word_boxes
    if following < len(boxes) and following > 0:
        before, after = boxes[following - 1], boxes[following]
        same = min(before[3], after[3]) - max(before[1], after[1]) > 0.5 * min(
            before[3] - before[1], after[3] - after[1]
        )
        if same and after[0] > before[2]:
            return float(before[2]), float(min(before[1], after[1])), float(after[0]), float(max(before[3], after[3]))
    if following > 0:
        x1, y0, y1 = boxes[following - 1, 2], boxes[following - 1, 1], boxes[following - 1, 3]
        return float(x1), float(y0), float(x1) + 1.0, float(y1)
    x0, y0, y1 = boxes[0, 0], boxes[0, 1], boxes[0, 3]
    return float(x0) - 1.0, float(y0), float(x0), float(y1)
