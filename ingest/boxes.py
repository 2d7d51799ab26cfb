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
    merged: list[list[float]] = []
    for word in range(first, last):
        box = _part(ranges[word], page.word_boxes[word], start, end)
        if merged and _same_line(merged[-1], box):
            line = merged[-1]
            merged[-1] = [min(line[0], box[0]), min(line[1], box[1]), max(line[2], box[2]), max(line[3], box[3])]
        else:
            merged.append(box)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in merged]


def _part(span: np.ndarray, box: np.ndarray, start: int, end: int) -> list[float]:
    """The share of a word's box that its characters in [start, end) take, characters counted as equally wide."""
    word_start, word_end = int(span[0]), int(span[1])
    x0, y0, x1, y1 = (float(value) for value in box)
    length = word_end - word_start
    left, right = max(start - word_start, 0), length - max(word_end - end, 0)
    upright = x1 - x0 >= 0.6 * (y1 - y0) or length < 2
    if upright:  # of a sideways word the direction is not kept: its whole box is given
        x0, x1 = x0 + (x1 - x0) * left / length, x0 + (x1 - x0) * right / length
    return [x0, y0, x1, y1]


def _same_line(line: list[float], box: list[float]) -> bool:
    overlap = min(line[3], box[3]) - max(line[1], box[1])
    height = min(line[3] - line[1], box[3] - box[1])
    if overlap > 0.5 * height:
        # Rightwards, or a step back as a superscript takes: a jump back or far ahead is another column or row.
        return box[0] >= line[0] - 0.5 * height and box[0] > line[2] - 2 * height
    sideways = (line[3] - line[1]) > 1.5 * (line[2] - line[0])
    across = min(line[2], box[2]) - max(line[0], box[0])
    near = max(box[1] - line[3], line[1] - box[3]) < min(line[2] - line[0], box[2] - box[0])
    return sideways and near and across > 0.7 * min(line[2] - line[0], box[2] - box[0])


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
