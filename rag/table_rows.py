"""Rows of tables in page text: recognised, and put so that a person understands them without seeing the table.

>>> row = parse_row("Net sales $ 34,229 $ 35,355 $ 32,184")
>>> row.label, row.cells
('Net sales', ('$34,229', '$35,355', '$32,184'))

PDF text has no table structure left: a row is a line whose last tokens are values, its columns are named by the
nearest line above that holds as many years and changes from year to year. Not covered: columns that are named by
anything else, and cells that wrap onto a second line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

_VALUE = re.compile(r"[($€£¥+-]*\d(?:[\d,]*\d)?(?:\.\d+)?[)%]*(?:[)%])*$")
_DASH = re.compile(r"[—–-]+$|[$€£¥][—–-]+$|N/?[AM]$|n/?[am]$")
_SIGN = re.compile(r"[($€£¥]+$")
_YEAR = re.compile(r"(?:FY)?(?:19|20)\d\d\*?$")
_A_YEAR = r"(?:FY ?)?(?:19|20)\d\d"
_COLUMN = re.compile(  # what heads a column: two years compared, a change, a year; in this order
    rf"(?P<pair>{_A_YEAR}\*?,? (?:vs\.?|versus|compared to|to|over) {_A_YEAR})"
    r"|(?P<change>(?:[%$] |percent(?:age)? |dollar )?(?:change|increase|variance)s?(?: ?\((?:decrease|decline)\))?)"
    rf"|(?P<year>{_A_YEAR})(?![\d.])",
    re.IGNORECASE,
)
_UNIT = re.compile(r"\b(?:in\s+)?(thousands|millions|billions)\b", re.IGNORECASE)
_TITLE = re.compile(r"\b(statements? of|balance sheets?|schedule of)\b", re.IGNORECASE)
_BARRED = re.compile(r"^[ \t]*\|[^\n]*\|[ \t]*$", re.MULTILINE)
_LOOK_BACK_LINES = 45  # a printed page; farther up the header belongs to another table


@dataclass(frozen=True)
class TableRow:
    """A line of a table: its label and its cells, currency signs joined to their number."""

    label: str
    cells: tuple[str, ...]

    @property
    def is_header(self) -> bool:
        """All cells are years: the line names columns."""
        return all(_YEAR.match(cell) for cell in self.cells)


@lru_cache(maxsize=8192)  # the heads of a table are looked for from each of its rows
def parse_row(line: str) -> TableRow | None:
    """The row that a line of page text holds, or None for prose. Rows have a label and at least one value.

    A single plain integer is no value here: it is a page number or a year more often.
    """
    if line.count("|") >= 1:
        label, *cells = (part.strip() for part in line.strip().strip("|").split("|"))
        cells = [cell for cell in cells if cell]
        if label and cells and any(any(c.isdigit() for c in cell) for cell in cells):
            return TableRow(label, tuple(cells))
        return None
    tokens = line.split()
    first = len(tokens)
    while first and (_VALUE.match(tokens[first - 1]) or _DASH.match(tokens[first - 1]) or tokens[first - 1] in _LOOSE):
        if re.fullmatch(r"[\d.]+\)", tokens[first - 1]) and first > 1 and not _SIGN.match(tokens[first - 2]):
            break  # the end of the label: "Provision for income taxes (Note 7)"
        first -= 1
    while first < len(tokens) and (_DASH.match(tokens[first]) or tokens[first] in ")%"):
        # A dash at the front may be punctuation ("— basic 3"): it is a cell only where values of the same kind follow.
        if len(tokens) - first >= 2 and any(c.isdigit() for c in tokens[first + 1]):
            break
        if all(_DASH.match(token) for token in tokens[first:]):
            break
        first += 1
    label, cells = " ".join(tokens[:first]).rstrip(" .…:"), _join(tokens[first:])
    if not cells or not re.search(r"[A-Za-z]{2}", label) or not any(any(c.isdigit() for c in cell) for cell in cells):
        return None
    if len(cells) == 1 and not re.search(r"[$€£¥,.%()]", cells[0]):
        return None
    if len(label.split()) > 18:
        return None
    return TableRow(label, tuple(cells))


_LOOSE = frozenset({"$", "€", "£", "¥", "%", ")", ")%", "$(", "("})


def _join(tokens: list[str]) -> list[str]:
    """["$", "34,229", "5.4", "%"] -> ["$34,229", "5.4%"]."""
    cells: list[str] = []
    prefix = ""
    for token in tokens:
        if _SIGN.match(token) and not any(c.isdigit() for c in token):
            prefix += token
        elif token in {"%", ")", ")%"} and cells and not prefix:
            cells[-1] += token
        else:
            cells.append(prefix + token)
            prefix = ""
    return cells


def other_rows(question: str, lines: Sequence[str]) -> list[bool]:
    """For each line: is it a row like the one asked for, but another? All False unless one of them is asked for.

    >>> other_rows("What is the rate of an engineer?", ["| Principal engineer | 1,150 |", "| Engineer | 820 |"])
    [True, False]
    """
    asked, labels = _labels(question, lines)
    best = max((len(label) for label in labels if label and label <= asked), default=0)
    return [
        bool(best and label and (label & asked or "|" in line)) and (not label <= asked or len(label) < best)
        for label, line in zip(labels, lines, strict=True)
    ]


def rows_asked_for(question: str, text: str) -> list[tuple[int, int]]:
    """Characters [start, end) of the rows between bars whose label the question spells out, the most of it.

    >>> rows_asked_for("What does E-4 mean?", "| Code | Meaning |\\n|---|---|\\n| E-1 | Wire |\\n| E-4 | Voltage |")
    [(44, 61)]
    """
    places = [match.span() for match in _BARRED.finditer(text)]
    asked, labels = _labels(question, [text[start:end] for start, end in places])
    best = max((len(label) for label in labels if label and label <= asked), default=0)
    return [
        place for place, label in zip(places, labels, strict=True) if label and label <= asked and len(label) == best
    ]


def _labels(question: str, lines: Sequence[str]) -> tuple[set[str], list[frozenset[str]]]:
    """Terms of the question, and of the label of each line; none for a line that is no row."""
    from ingest.tokens import index_terms, query_terms

    labels = []
    for line in (line.strip() for line in lines):
        if line.startswith("|") and "\n" not in line:  # also without figures: codes and what they mean
            label = line.strip("|").split("|")[0].strip()
        else:
            row = parse_row(line) if "\n" not in line else None
            label = row.label if row is not None else ""
        labels.append(frozenset(index_terms(label)) if re.search(r"\w", label) else frozenset())
    return set(query_terms(question)), labels


def columns_of(page_text: str, start: int, count: int) -> tuple[str, ...]:
    """What heads the `count` columns of the row at `start`, years mostly, or () where it cannot be told.

    "2015 2014 2015 vs. 2014" heads three cells, or four where a change is given as an amount and as a share.
    """
    for line in _lines_above(page_text, start):
        row = parse_row(line)
        if row is not None and not row.is_header:
            continue
        heads = list(_COLUMN.finditer(line))
        years = sum(head.lastgroup == "year" for head in heads)
        if years < min(count, 2):
            continue
        changes = len(heads) - years
        for cells in (1, 2) if changes else (1,):
            if years + cells * changes == count:
                return tuple(name for head in heads for name in _column_names(head, cells))
        if years > 1:
            return ()  # the nearest header has other columns: better none than a wrong one
    return ()


def _column_names(head: re.Match[str], cells: int) -> list[str]:
    if head.lastgroup == "year":
        return [head.group()]
    return [f"change {head.group()}" if head.lastgroup == "pair" else "change"] * cells


def unit_of(page_text: str, start: int) -> str:
    """ "millions", "thousands", "billions" or "", as the table's caption says."""
    for line in _lines_above(page_text, start):
        if len(line) < 120 and (match := _UNIT.search(line)) and ("(" in line or line.lower().startswith("in ")):
            return match.group(1).lower()
    return ""


def table_title(page_text: str, start: int) -> str:
    """The caption of the statement that the row at `start` stands in ("Consolidated Statement of Income"), or ""."""
    for line in _lines_above(page_text, start):
        if (
            len(line) < 100
            and _TITLE.search(line)
            and not line.rstrip().endswith((".", ","))
            and parse_row(line) is None
        ):
            return " ".join(line.split())
    return ""


def parent_label(page_text: str, start: int) -> str:
    """The line that introduces the group of a row ("Earnings per common share:"), or ""."""
    for number, line in enumerate(_lines_above(page_text, start)):
        if line.rstrip().endswith(":") and len(line) < 90:
            return " ".join(line.split()).rstrip(":")
        row = parse_row(line)
        if number >= 6 or row is None or row.label.lower().startswith("total"):
            return ""
    return ""


def _lines_above(page_text: str, start: int) -> list[str]:
    """Lines above the one at `start`, nearest first."""
    line_start = page_text.rfind("\n", 0, start) + 1
    return page_text[max(0, line_start - 6000) : line_start].splitlines()[: -_LOOK_BACK_LINES - 1 : -1]


def describe_row(page_text: str, start: int, end: int, *, years: Collection[str] = ()) -> str:
    """The row at page_text[start:end] in words: "Net sales (in millions): $34,229 (2022), $35,355 (2021)".

    With `years`, only their cells are told, if the row has any of them.
    """
    row = parse_row(page_text[start:end])
    if row is None:
        return " ".join(page_text[start:end].split())
    label = row.label
    if len(label.split()) <= 3 and (parent := parent_label(page_text, start)):
        label = f"{parent}: {label}"
    if "|" in page_text[start:end]:
        columns = _pipe_columns(page_text, start, len(row.cells)) or columns_of(page_text, start, len(row.cells))
    else:
        columns = columns_of(page_text, start, len(row.cells))
    paired = _pair(row.cells, columns)
    asked = [(cell, column) for cell, column in paired if column.removeprefix("FY").strip() in years]
    values = [f"{cell} ({column})" if column else cell for cell, column in asked or paired]
    plain_amounts = not any("%" in cell for cell in row.cells) and "per share" not in label.lower()
    unit = unit_of(page_text, start) if plain_amounts else ""
    return f"{label}{f' (in {unit})' if unit and unit not in label.lower() else ''}: {', '.join(values)}"


def _pair(cells: tuple[str, ...], columns: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(cell, columns[i] if i < len(columns) else "") for i, cell in enumerate(cells)]


def _pipe_columns(page_text: str, start: int, count: int) -> tuple[str, ...]:
    """Column names of a row written with pipes: the first line of its block of piped lines."""
    header: list[str] | None = None
    for line in _lines_above(page_text, start):
        if "|" not in line:
            break
        parts = [part.strip() for part in line.strip().strip("|").split("|")]
        if not all(set(part) <= set("-: ") for part in parts):  # Markdown's ruler under the header
            header = parts
    if header is None or len(header) not in (count, count + 1):
        return ()
    return tuple(name if len(name) <= 40 else "" for name in header[-count:])
