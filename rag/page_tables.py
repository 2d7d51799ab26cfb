"""Tables of a page: rows, cells and what heads them, by where the words stand on the sheet or by bars between cells.

    for table in tables_of(page):
        for row in table.rows: print(row.label, table.told(row))     # "Water tank: 1.8 l (BZ-1), 2.1 l (BZ-2)"

Page text has no structure left: "Lamp blinks Overheated Switch off, wait" is one line of words. The sheet has: a line
of a table has gaps wider than any between words, and cells of one column stand below each other. A line that stands
nearer to the one above than rows do, with cells missing, goes on in its cells. Not covered: cells that reach over
several columns or rows, and tables turned on their side.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingest.types import Page

WIDE = 0.9  # heights of the line: a gap that no blank between words reaches
SMALLEST = 3  # lines with several cells that make a table
NEARER = 0.87  # of the usual distance of rows: a line that goes on in the cells of the row above
_BARS = re.compile(r"^[ \t]*\|?[^|\n]*\S[^|\n]*\|[^\n]*$")
_RULER = re.compile(r"[ \t|:-]+$")
_FIGURES = re.compile(r"[\d.,()%$€£¥+–—\s-]*\d[\d.,()%$€£¥+–—\s-]*$")
_YEAR = re.compile(r"(?:FY|Q[1-4]|H[12])?\s*(?:19|20)\d\d\*?$")
_SIGN_APART = re.compile(r"(?<=[$€£¥(]) (?=[\d(–—-])|(?<=\d) (?=[)%])|(?<=\)) (?=%)")  # "$ 4", "5 )", "5 %"
_LONGEST_HEAD = 60  # characters
_PARAGRAPH = 90  # characters of a lone cell: prose, no part of a table


@dataclass(frozen=True)
class Cell:
    text: str
    column: int


@dataclass(frozen=True)
class Row:
    """Characters [start, end) of the page's text, and the cells in them; column 0 names the row."""

    start: int
    end: int
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        return " ".join(cell.text for cell in self.cells if cell.column == 0)


@dataclass(frozen=True)
class Table:
    heads: tuple[str, ...]  # one a column, "" where nothing heads it
    rows: tuple[Row, ...]  # without that of the heads
    start: int  # of the heads, or of the first row
    end: int

    def told(self, row: Row, *, years: Collection[str] = (), unit: str = "") -> str:
        """The row in words. With `years`, only the cells that these head, if the row has any."""
        cells = [(cell.text, self.heads[cell.column]) for cell in row.cells if cell.column]
        asked = [(text, head) for text, head in cells if any(year in head for year in years)]
        told = [f"{text} ({head})" if head and head != text else text for text, head in asked or cells]
        label = row.label
        if not label:
            return ", ".join(told)
        return f"{label}{f' (in {unit})' if unit else ''}: {', '.join(told)}" if told else label

    def is_headed(self, row: Row) -> bool:
        """Whether something heads each of a row's cells."""
        return len(row.cells) > 1 and all(self.heads[cell.column] for cell in row.cells if cell.column)

    def shows_amounts(self, row: Row) -> bool:
        """Whether a row's cells may be amounts of the unit that stands above the table."""
        said = " ".join([row.label, *(cell.text for cell in row.cells)]).lower()
        return "%" not in said and "per share" not in said and any(_FIGURES.match(cell.text) for cell in row.cells)


def tables_of(page: Page) -> list[Table]:
    """The tables of a page, in their order."""
    barred = list(_barred_tables(page.text)) if "|" in page.text else []
    return sorted([*barred, *_set_tables(page)], key=lambda table: table.start)


def row_at(tables: Collection[Table], start: int, end: int) -> tuple[Table, Row] | None:
    """The row that has most of [start, end), and at least half of it."""
    best: tuple[int, Table, Row] | None = None
    for table in tables:
        for row in table.rows if table.start < end and start < table.end else ():
            shared = min(end, row.end) - max(start, row.start)
            if shared > 0 and (best is None or shared > best[0]):
                best = (shared, table, row)
    return best[1:] if best is not None and best[0] >= 0.5 * min(end - start, best[2].end - best[2].start) else None


# -- tables whose cells stand between bars ---------------------------------------------------------------------------


def _barred_tables(text: str) -> Iterator[Table]:
    block: list[tuple[int, int]] = []
    place = 0
    for line in [*text.split("\n"), ""]:
        if _BARS.match(line) or (block and "|" in line and _RULER.match(line)):
            block.append((place, place + len(line)))
        elif block:
            if (table := _barred(text, block)) is not None:
                yield table
            block = []
        place += len(line) + 1


def _barred(text: str, lines: list[tuple[int, int]]) -> Table | None:
    rows: list[tuple[int, Row]] = []
    ruled = False  # a ruler below the first row: Markdown's heads
    for start, end in lines:
        line = text[start:end]
        if _RULER.match(line):
            ruled = ruled or len(rows) == 1
            continue
        parts = [part.strip() for part in line.strip().removeprefix("|").removesuffix("|").split("|")]
        if len(parts) > 1:
            lead = len(line) - len(line.lstrip())
            cells = tuple(Cell(part, column) for column, part in enumerate(parts) if part)
            rows.append((len(parts), Row(start + lead, start + len(line.rstrip()), cells)))
    if len(rows) < 2:
        return None
    count = max(width for width, _ in rows)
    heads = [""] * count
    first, head = rows[0]
    if ruled or _is_head([row for _, row in rows]):
        for cell in head.cells:
            # The heads may lack the one of the rows' names.
            heads[cell.column + (first == count - 1)] = cell.text if len(cell.text) <= _LONGEST_HEAD else ""
        rows = rows[1:]
    return Table(tuple(heads), tuple(row for _, row in rows), head.start, rows[-1][1].end)


# -- tables that only their setting shows ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """Words without a wide gap between: characters of the page's text, and where they stand."""

    start: int
    end: int
    x0: float
    x1: float


@dataclass(frozen=True)
class _Line:
    pieces: tuple[_Piece, ...]
    top: float  # upwards: the larger, the higher on the sheet
    bottom: float


def _set_tables(page: Page) -> Iterator[Table]:
    if len(page.word_ranges) < 2 * SMALLEST:
        return
    block: list[_Line] = []
    for line in [*_lines(page), None]:
        goes_on = line is not None and (not block or _goes_on(block[-1], line, page.text))
        if block and not goes_on:
            if sum(len(kept.pieces) > 1 for kept in block) >= SMALLEST:
                yield from _set_table(page.text, block)
            block = []
        if line is not None and (len(line.pieces) > 1 or block):
            block.append(line)


def _goes_on(above: _Line, below: _Line, text: str) -> bool:
    height = above.top - above.bottom
    if not -0.5 * height < above.bottom - below.top < 2.2 * height:
        return False
    piece = below.pieces[0]
    return len(below.pieces) > 1 or piece.end - piece.start < _PARAGRAPH


def _lines(page: Page) -> Iterator[_Line]:
    """The page's lines as they are set: its text joins those that flow."""
    ranges, boxes = page.word_ranges, page.word_boxes
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    height = np.maximum(boxes[:, 3] - boxes[:, 1], 1.0)
    apart = np.abs(np.diff(middle)) > 0.5 * np.minimum(height[1:], height[:-1])
    back = boxes[1:, 0] < boxes[:-1, 0] - height[:-1]
    cuts = np.flatnonzero(apart | back) + 1
    gaps = boxes[1:, 0] - boxes[:-1, 2] > WIDE * np.minimum(height[1:], height[:-1])
    for first, last in pairwise([0, *cuts.tolist(), len(ranges)]):
        inner = (np.flatnonzero(gaps[first : last - 1]) + first + 1).tolist()
        pieces = tuple(
            _Piece(int(ranges[a, 0]), int(ranges[b - 1, 1]), float(boxes[a, 0]), float(boxes[b - 1, 2]))
            for a, b in pairwise([first, *inner, last])
        )
        pieces = _with_signs(page.text, pieces)
        if len(pieces) > 1 and re.fullmatch(r"\W|\(?\w{1,3}[.)]|[\d.]+", page.text[pieces[0].start : pieces[0].end]):
            # a bullet or a number hangs before the text, it is no cell; a figure is, before other figures
            rest = page.text[pieces[1].start : pieces[-1].end]
            if len(pieces) == 2 and not _FIGURES.match(rest):
                pieces = (_Piece(pieces[0].start, pieces[1].end, pieces[0].x0, pieces[1].x1),)
        yield _Line(pieces, float(boxes[first:last, 3].max()), float(boxes[first:last, 1].min()))


def _with_signs(text: str, pieces: tuple[_Piece, ...]) -> tuple[_Piece, ...]:
    """Filings set "$" and "%" in columns of their own: they join the figure that they belong to."""
    joined: list[_Piece] = []
    before = ""
    cut = list(pieces)
    for i, piece in enumerate(cut[:-1]):  # "54 $" before the next figure: the sign is that one's
        if sign := re.search(r"\S\s+[$€£¥]$", text[piece.start : piece.end]):
            after = cut[i + 1]
            cut[i] = _Piece(piece.start, piece.start + sign.start() + 1, piece.x0, piece.x1)
            cut[i + 1] = _Piece(piece.end - 1, after.end, after.x0, after.x1)
    for piece in cut:
        said = text[piece.start : piece.end]
        if joined and (re.fullmatch(r"[$€£¥(]+", before) or re.fullmatch(r"[)%]+", said)):
            joined[-1] = _Piece(joined[-1].start, piece.end, joined[-1].x0, piece.x1)
        else:
            joined.append(piece)
        before = said
    return tuple(joined)


def _set_table(text: str, lines: list[_Line]) -> Iterator[Table]:
    columns = _columns([line for line in lines if len(line.pieces) > 1])
    if len(columns) < 2:
        return
    placed = [(line, _cells(text, line, columns)) for line in lines if not _across(line, columns)]
    groups: list[list[tuple[_Line, list[Cell]]]] = []
    steps = [a.bottom - b.bottom for (a, _), (b, cells) in pairwise(placed) if len(cells) > 1]
    usual = float(np.quantile(steps, 0.6)) if steps else 0.0
    for line, cells in placed:
        above = groups[-1][-1][0] if groups else None
        nearer = above is not None and above.bottom - line.bottom < NEARER * usual
        missing = len({cell.column for cell in cells}) < len(columns)
        if groups and nearer and (missing or len(groups[-1]) > 1):
            groups[-1].append((line, cells))
        else:
            groups.append([(line, cells)])
    rows = [_row(group) for group in groups]
    while rows and len(rows[-1].cells) < 2:
        rows.pop()  # the paragraph below
    if not rows or sum("...." in text[row.start : row.end] for row in rows) > 0.5 * len(rows):
        return  # a table of contents
    heads = [""] * len(columns)
    if _is_head(rows):
        count = 2 if len(rows) > 2 and _goes_on_in_years(rows[1]) else 1
        for row in rows[:count]:
            for cell in row.cells:
                heads[cell.column] = f"{heads[cell.column]} {cell.text}".strip()
        heads = ["" if len(head) > _LONGEST_HEAD or head.endswith(",") else head for head in heads]
        body = rows[count:]
    else:
        body = rows
    if sum(len(row.cells) > 1 for row in body) >= 2:
        yield Table(tuple(heads), tuple(body), rows[0].start, rows[-1].end)


def _columns(lines: list[_Line]) -> list[tuple[float, float]]:
    """Where the columns stand: pieces of the lines that have most of them, joined where they overlap."""
    most = max(len(line.pieces) for line in lines)
    full = [line for line in lines if len(line.pieces) == most]
    if len(full) < 2:  # one line alone may be cut by chance
        full = [line for line in lines if len(line.pieces) >= most - 1]
    found: list[list[float]] = []
    for x0, x1 in sorted((piece.x0, piece.x1) for line in full for piece in line.pieces):
        if found and x0 < found[-1][1]:
            found[-1][1] = max(found[-1][1], x1)
        else:
            found.append([x0, x1])
    return _merged(full, [(x0, x1) for x0, x1 in found], most)


def _merged(lines: list[_Line], columns: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Neighbours joined until there are no more columns than cells in a line: heads need not stand above figures."""
    while len(columns) > most:
        together = [
            sum({a, a + 1} <= {_column(piece, columns) for piece in line.pieces} for line in lines)
            for a in range(len(columns) - 1)
        ]
        free = [a for a, count in enumerate(together) if not count] or range(len(columns) - 1)
        a = min(free, key=lambda a: columns[a + 1][0] - columns[a][1])
        columns = [*columns[:a], (columns[a][0], columns[a + 1][1]), *columns[a + 2 :]]
    return columns


def _column(piece: _Piece, columns: list[tuple[float, float]]) -> int:
    """The column that has most of a piece, or is nearest to it."""

    def apart(column: int) -> tuple[float, float]:
        x0, x1 = columns[column]
        return max(x0 - piece.x1, piece.x0 - x1, 0.0), -(min(x1, piece.x1) - max(x0, piece.x0))

    return min(range(len(columns)), key=apart)


def _across(line: _Line, columns: list[tuple[float, float]]) -> bool:
    """Whether something stands across columns: prose, or what heads several."""
    return any(
        sum(min(x1, piece.x1) - max(x0, piece.x0) > 0.15 * (x1 - x0) for x0, x1 in columns) > 1 for piece in line.pieces
    )


def _cells(text: str, line: _Line, columns: list[tuple[float, float]]) -> list[Cell]:
    cells: list[Cell] = []
    for piece in line.pieces:
        column = _column(piece, columns)
        said = _SIGN_APART.sub("", " ".join(text[piece.start : piece.end].split()))
        if cells and cells[-1].column == column:
            cells[-1] = Cell(f"{cells[-1].text} {said}", column)
        else:
            cells.append(Cell(said, column))
    return cells


def _row(group: list[tuple[_Line, list[Cell]]]) -> Row:
    said: dict[int, list[str]] = {}
    for _, cells in group:
        for cell in cells:
            said.setdefault(cell.column, []).append(cell.text)
    start = min(piece.start for line, _ in group for piece in line.pieces)
    end = max(piece.end for line, _ in group for piece in line.pieces)
    return Row(start, end, tuple(Cell(" ".join(texts), column) for column, texts in sorted(said.items())))


def _goes_on_in_years(row: Row) -> bool:
    """Whether a row below the heads is their second line: "December 31," above "2022"."""
    named = [cell for cell in row.cells if cell.column]
    return bool(named) and not row.label and all(_YEAR.match(cell.text) for cell in named)


def _is_head(rows: list[Row]) -> bool:
    """Whether the first row names the columns: years, or words above figures or above longer texts."""
    first, rest = rows[0], rows[1:]
    named = [cell for cell in first.cells if cell.column]
    if not named or any(_FIGURES.match(cell.text) and not _YEAR.match(cell.text) for cell in named):
        return False
    if any(_YEAR.match(cell.text) for cell in named) or not first.label:
        return True
    return all(len(cell.text) <= 30 and not cell.text.endswith((".", ";")) for cell in first.cells) and len(
        first.cells
    ) >= max((len(row.cells) for row in rest), default=0)
