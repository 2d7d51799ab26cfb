"""Reading order: words of a page -> lines, column after column, tables row by row.

Runs (words close together on one line) are the atoms. A gutter is an x that few runs cross and that has prose on both
sides; between the runs that do cross it (titles, full-width tables) lie zones whose left half is read before the
right one. Everything else is read in rows, so that a label in a financial statement keeps its figures beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ingest.pdf_words import Words, upright_boxes

MAX_COLUMNS_DEPTH = 4
_LEADERS = re.compile(r"\.{3,}")
_MARK = re.compile(r"[^\w\s]+$|\(?\w{1,4}[.)]+$|\d{1,2}(?:\.\d{1,3}){1,3}\.?$")
FULL = 0.4  # of a column's area is prose: ordinary lines cover more than half of theirs


@dataclass(frozen=True)
class Line:
    """One line as a reader sees it: word indices in order, upright coordinates (y grows downwards), type."""

    words: list[int]
    x0: float
    top: float
    x1: float
    bottom: float
    last_x0: float  # left edge of the last cell
    cells: int  # stretches of text with wide gaps between: 1 for prose, more for a row of a table
    size: float  # points
    bold: bool
    zone: int  # lines of one column stretch share it
    turn: int  # reading direction of its words, see Words.turns

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass
class _Runs:
    """Arrays over the runs of one reading direction."""

    x0: np.ndarray
    top: np.ndarray
    x1: np.ndarray
    bottom: np.ndarray
    prose: np.ndarray  # bool: long and mostly letters
    figures: np.ndarray  # bool: hardly a letter
    marks: np.ndarray  # bool: a bullet, or a number or letter with dots or parentheses
    leaders: np.ndarray  # bool: holds the dots from an entry of a table of contents to its page
    size: np.ndarray
    bold: np.ndarray
    words: list[range]


def read_lines(words: Words) -> list[Line]:
    """Lines of a page in reading order; text in other directions than most of the page follows at the end."""
    if not len(words):
        return []
    run_stops = np.concatenate([words.run_starts[1:], [len(words)]])
    run_turns = words.turns[words.run_starts]
    weights = np.bincount(run_turns, weights=run_stops - words.run_starts, minlength=4)
    upright = upright_boxes(words.boxes, words.turns)
    lines: list[Line] = []
    for turn in np.argsort(-weights, kind="stable").tolist():
        if not weights[turn]:
            continue
        chosen = np.flatnonzero(run_turns == turn)
        runs = _make_runs(words, upright, chosen, run_stops)
        for group in _columns(runs, np.arange(len(chosen)), depth=0):
            zone = len(lines)
            lines.extend(_rows(runs, group, zone, turn))
    return lines


def _make_runs(words: Words, upright: np.ndarray, chosen: np.ndarray, run_stops: np.ndarray) -> _Runs:
    starts = words.run_starts
    lows = np.minimum.reduceat(upright[:, :2], starts)[chosen]
    highs = np.maximum.reduceat(upright[:, 2:], starts)[chosen]
    spans = [range(int(starts[i]), int(run_stops[i])) for i in chosen]
    prose, figures, marks, leaders = (np.zeros(len(chosen), bool) for _ in range(4))
    for i, span in enumerate(spans):
        text = "".join(words.texts[span.start : span.stop])
        letters = sum(map(str.isalpha, text))
        figures[i] = letters < 0.3 * len(text)
        marks[i] = len(span) == 1 and bool(_MARK.match(text))
        if ".." in text:  # an entry of a table of contents is words all the same
            entry = _LEADERS.sub("", text)
            leaders[i], text = entry != text, entry or text
        several = len(span) >= 3 or words.glued[span.start : span.stop].sum() >= 5
        prose[i] = several and len(text) >= 12 and letters >= 0.7 * len(text)
    sizes, bold = words.run_sizes[chosen], words.run_bold[chosen]
    return _Runs(lows[:, 0], lows[:, 1], highs[:, 0], highs[:, 1], prose, figures, marks, leaders, sizes, bold, spans)


def _columns(runs: _Runs, index: np.ndarray, depth: int) -> list[np.ndarray]:
    """Split the runs `index` into groups, each to be read in rows, in reading order."""
    gutter = _find_gutter(runs, index) if depth < MAX_COLUMNS_DEPTH else None
    if gutter is None:
        return [index]
    order = index[np.argsort(runs.top[index], kind="stable")]
    across = (runs.x0[order] < gutter - 1) & (runs.x1[order] > gutter + 1)
    across |= _table_rows(runs, order, gutter)
    # A zone is what stands between two runs that cross the gutter, by the middle of its height.
    middles = (runs.top[order] + runs.bottom[order]) / 2
    cuts = np.sort(middles[across])
    zone_of = np.searchsorted(cuts, middles, side="left")
    groups: list[np.ndarray] = []
    pending: list[np.ndarray] = []  # crossing runs and zones without columns, read in rows together

    def flush() -> None:
        if pending:
            groups.append(np.concatenate(pending))
            pending.clear()

    for zone in range(len(cuts) + 1):
        members = order[(zone_of == zone) & ~across]
        left, right = members[runs.x1[members] <= gutter + 1], members[runs.x1[members] > gutter + 1]
        if _are_columns(runs, left, right):
            flush()
            groups += _columns(runs, left, depth + 1) + _columns(runs, right, depth + 1)
        elif len(members):
            pending.append(members)
        crossing = order[(zone_of == zone) & across]
        if len(crossing):
            pending.append(crossing)
    flush()
    return groups


def _find_gutter(runs: _Runs, index: np.ndarray) -> float | None:
    """x with prose runs on both sides and few across, or None."""
    prose = index[runs.prose[index]]
    if len(prose) < 6:
        return None
    x0, x1 = runs.x0[prose], runs.x1[prose]
    low, high = float(runs.x0[index].min()), float(runs.x1[index].max())
    if high - low < 150:  # points: too narrow to hold two columns
        return None
    grid = np.arange(low + 0.15 * (high - low), high - 0.15 * (high - low), 1.0)
    ends, begins = np.sort(x1), np.sort(x0)
    left = np.searchsorted(ends, grid, side="right")
    right = len(prose) - np.searchsorted(begins, grid, side="left")
    across = len(prose) - left - right
    score = np.minimum(left, right) - 0.5 * across
    best = float(score.max())
    if np.minimum(left, right)[score.argmax()] < 4:
        return None
    # Scores of one-sided zones can be negative where a page is half single-column; the zones decide then.
    ties = np.flatnonzero(score >= best - 1e-9)
    splits = np.split(ties, np.flatnonzero(np.diff(ties) > 1) + 1)
    widest = max(splits, key=len)
    return float(grid[widest[len(widest) // 2]])


def _are_columns(runs: _Runs, left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two groups are columns. Beside one that is full of prose, the other may hold tables of its own."""
    if _is_column(runs, left):
        return _is_column(runs, right, tables=_prose_area(runs, left) >= FULL)
    return _prose_area(runs, right) >= FULL and _is_column(runs, right) and _is_column(runs, left, tables=True)


def _is_column(runs: _Runs, members: np.ndarray, *, tables: bool = False) -> bool:
    """At least three lines of prose that fill the width, or (several columns yet to be split) the area they share.

    Cells of a table seldom do. With `tables`, prose is weighed against the lines there are, not against their cells.
    """
    prose = members[runs.prose[members]]
    if len(prose) < (6 if tables else 3):
        return False
    width = runs.x1[members].max() - runs.x0[members].min()
    fill = (runs.x1[prose] - runs.x0[prose]) / max(float(width), 1.0)
    count = len(members)
    if tables or runs.leaders[members].sum() >= 3:  # entries of a table of contents: a number, words, a page
        count = len(_cluster_rows(runs, members[np.argsort(runs.top[members], kind="stable")]))
    if len(prose) < 0.4 * count:
        return False
    return bool(np.median(fill) >= 0.6 or _prose_area(runs, members) >= 0.6)


def _prose_area(runs: _Runs, members: np.ndarray) -> float:
    """Share of the members' bounding box that prose covers."""
    if not len(members):
        return 0.0
    prose = members[runs.prose[members]]
    width = runs.x1[members].max() - runs.x0[members].min()
    height = runs.bottom[members].max() - runs.top[members].min()
    covered = ((runs.x1[prose] - runs.x0[prose]) * (runs.bottom[prose] - runs.top[prose])).sum()
    return float(covered / max(float(width * height), 1.0))


def _table_rows(runs: _Runs, order: np.ndarray, gutter: float) -> np.ndarray:
    """Flags over `order` (sorted by top): members of tables that reach over the gutter, three rows or more on end.

    In such a row figures stand alone right of the gutter, or nothing in it is prose. A table inside one column does not
    count: its rows face prose or nothing. Rows on one side only (captions, wrapped labels) neither open nor close.
    """
    flags = np.zeros(len(order), bool)
    stretch: list[list[int]] = []  # rows since the first row of a table
    tabular = last = 0

    def close() -> None:
        nonlocal tabular
        if tabular >= 3:
            for row in stretch[: last + 1]:
                flags[row] = True
        stretch.clear()
        tabular = 0

    for row in _cluster_rows(runs, order):
        cells = order[row]
        on_left = runs.x1[cells] <= gutter + 1
        if on_left.all() or not on_left.any():
            if stretch:
                stretch.append(row)
            continue
        figures = bool(runs.figures[cells[~on_left]].all())
        if figures or (len(cells) >= 3 and not runs.prose[cells].any()):
            stretch.append(row)
            tabular, last = tabular + 1, len(stretch) - 1
        else:
            close()
    close()
    return flags


def _cluster_rows(runs: _Runs, order: np.ndarray) -> list[list[int]]:
    """Positions in `order` (sorted by top) grouped into rows: a run joins the row that it overlaps by half."""
    rows: list[list[int]] = []
    tops, bottoms = runs.top[order].tolist(), runs.bottom[order].tolist()
    open_rows: list[tuple[float, float]] = []  # top, bottom of the last few rows
    for position, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        best, best_share = -1, 0.5
        for back in range(len(rows) - 1, max(-1, len(rows) - 4), -1):
            row_top, row_bottom = open_rows[back]
            overlap = min(bottom, row_bottom) - max(top, row_top)
            share = overlap / max(min(bottom - top, row_bottom - row_top), 0.1)
            if share > best_share:
                best, best_share = back, share
        if best < 0:
            rows.append([position])
            open_rows.append((top, bottom))
        else:
            rows[best].append(position)
            row_top, row_bottom = open_rows[best]
            if bottom - top > row_bottom - row_top:  # the tallest run stands for the row, so that rows do not chain
                open_rows[best] = (top, bottom)
    return rows


def _rows(runs: _Runs, index: np.ndarray, zone: int, turn: int) -> list[Line]:
    order = index[np.argsort(runs.top[index], kind="stable")]
    rows = _cluster_rows(runs, order)
    lines = []
    for row in rows:
        cells = sorted((int(order[position]) for position in row), key=lambda run: float(runs.x0[run]))
        lines.append(_line(runs, cells, zone, turn))
    lines.sort(key=lambda line: (line.top + line.bottom) / 2)
    return lines


def _line(runs: _Runs, cells: list[int], zone: int, turn: int) -> Line:
    top, bottom = min(float(runs.top[c]) for c in cells), max(float(runs.bottom[c]) for c in cells)
    height = max(float(runs.bottom[c] - runs.top[c]) for c in cells)
    wide_gaps, reach, last_x0 = 0, float(runs.x1[cells[0]]), float(runs.x0[cells[0]])
    for position, cell in enumerate(cells[1:], start=1):
        gap = float(runs.x0[cell]) - reach
        bullet = position == 1 and len(runs.words[cells[0]]) == 1 and reach - float(runs.x0[cells[0]]) < 2.2 * height
        # A short word far from what follows is a cell ("cp", "Utility to copy files"), a bullet is none.
        bullet = bullet and (gap < 3 * height or bool(runs.marks[cells[0]]))
        if gap > 1.3 * height and not bullet:
            wide_gaps += 1
            last_x0 = float(runs.x0[cell])
        reach = max(reach, float(runs.x1[cell]))
    widest = max(cells, key=lambda c: float(runs.x1[c] - runs.x0[c]))
    lettered = [c for c in cells if runs.x1[c] - runs.x0[c] > 1.5 * height] or cells
    return Line(
        words=[word for cell in cells for word in runs.words[cell]],
        x0=float(runs.x0[cells[0]]),
        top=top,
        x1=reach,
        bottom=bottom,
        last_x0=last_x0,
        cells=1 + wide_gaps,
        size=float(runs.size[widest]),
        bold=all(bool(runs.bold[c]) for c in lettered),
        zone=zone,
        turn=turn,
    )
