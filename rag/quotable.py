"""What of a text may be quoted: whole sentences and table rows; never headings, contents lines or half sentences.

>>> [q.kind for q in quotable_spans("Leases\\nThe rent is due on the first.\\nRent 1,200 1,250\\nDeposit 300 310\\n")]
['heading', 'sentence', 'row', 'row']
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ingest.sentences import sentence_spans
from rag.table_rows import TableRow, parse_row

Kind = Literal["sentence", "row", "heading", "header", "junk"]

_LEADERS = re.compile(r"(?:\.\s?){4,}|…{2,}")
_CONTENTS = re.compile(
    r"^\s*(?:table of contents|contents|index|page|"
    r"(?:item|part|note|chapter|section)\s+[\divx]+[a-z]?\.?\s.{0,80}\s\d{1,3})\s*$",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"accompanying notes|see notes to|integral part of (?:these|this|the)|forward-looking statements|^\s*\d+\s*$|"
    r"^\s*page \d+|all rights reserved",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[•●▪◦‣·*\-–—]|\(?[a-z0-9]{1,3}[.)])\s+")
_LONG = 450  # characters: half a minute of speech
_LONGISH = 250  # longer ones are looked through for full stops that no capital follows (text in small letters)
_STOP = r"(?<=[a-z\d)]{3}[.?!])(?<!\binc\.)(?<!corp\.)(?<!\bltd\.)(?<!\bnos\.)(?<!approx\.)\s+(?=[a-z(])"
_STOP_CUT, _ANY_CUT = re.compile(_STOP), re.compile(_STOP + r"|;\s+")
_TERMINAL = re.compile(r"[.!?:;][\"”’')\]]*\s*$")


@dataclass(frozen=True)
class Quotable:
    """A stretch of text, offsets into it, and what it is. Only `sentence` and `row` answer questions."""

    start: int
    end: int  # exclusive
    kind: Kind
    row: TableRow | None = None


def quotable_spans(text: str) -> list[Quotable]:
    """Divide a text into sentences, table rows, headings and junk, in order, without overlap, blanks trimmed."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n\r]+", text)]
    rows = _rows(text, lines)
    found: list[Quotable] = []
    block: list[tuple[int, int]] = []  # prose lines that belong together
    widest = max((end - start for start, end in lines), default=0)

    def flush() -> None:
        if block:
            found.extend(_sentences(text, block[0][0], block[-1][1]))
            block.clear()

    for number, (start, end) in enumerate(lines):
        line = text[start:end]
        if not line.strip():
            continue
        gap = text[lines[number - 1][1] : start] if number else ""
        if gap.count("\n") > 1:
            flush()  # an empty line ends a paragraph
        row = rows.get(number)
        if row is not None:
            flush()
            kind: Kind = "header" if row.is_header else "junk" if _is_junk(line) else "row"
            found.append(_trimmed(text, start, end, kind, row))
        elif _is_junk(line):
            flush()
            found.append(_trimmed(text, start, end, "junk"))
        elif not block and _is_heading(text, lines, number, widest):
            found.append(_trimmed(text, start, end, "heading"))
        else:
            if block and (_BULLET.match(line) or _paragraph_break(text, block[-1], start, widest)):
                flush()
                if _is_heading(text, lines, number, widest):
                    found.append(_trimmed(text, start, end, "heading"))
                    continue
            block.append((start, end))
    flush()
    return [quotable for quotable in found if quotable.end > quotable.start]


def _rows(text: str, lines: list[tuple[int, int]]) -> dict[int, TableRow]:
    """Line number -> row. A line with one value is a row only beside another row: prose wraps after numbers, too."""
    parsed = {i: row for i, (start, end) in enumerate(lines) if (row := parse_row(text[start:end])) is not None}
    piped = {i for i in parsed if "|" in text[lines[i][0] : lines[i][1]]}

    def strong(i: int) -> bool:
        return i in parsed and (len(parsed[i].cells) >= 2 or i in piped)

    return {
        i: row
        for i, row in parsed.items()
        if strong(i) or (len(row.label.split()) <= 10 and any(j in parsed for j in (i - 2, i - 1, i + 1, i + 2)))
    }


def _is_junk(line: str) -> bool:
    return bool(_LEADERS.search(line) or _CONTENTS.match(line) or (len(line) < 160 and _BOILERPLATE.search(line)))


def _paragraph_break(text: str, previous: tuple[int, int], start: int, widest: int) -> bool:
    """Whether a new paragraph starts at `start`: the line before ends a sentence, or is short and a capital follows."""
    before = text[previous[0] : previous[1]].rstrip()
    capital = text[start : start + 1].isupper()
    if _TERMINAL.search(before):
        return len(before) < 0.75 * widest or len(before) > 300  # long lines: one paragraph a line (text, Markdown)
    return capital and len(before) < 0.55 * widest


def _is_heading(text: str, lines: list[tuple[int, int]], number: int, widest: int) -> bool:
    start, end = lines[number]
    line = text[start:end].strip()
    if line.startswith("#") or re.fullmatch(r"=+ .+ =+", line):
        return True
    if len(line) > 110 or len(line.split()) > 14 or _TERMINAL.search(line):
        return False
    letters = [c for c in line if c.isalpha()]
    if not letters:
        return True
    if sum(c.isupper() for c in letters) > 0.8 * len(letters) and len(letters) > 3:
        return True
    if number + 1 == len(lines):
        return number > 0 and len(line.split()) <= 8 and len(line) < 0.6 * widest
    after = text[lines[number + 1][0] : lines[number + 1][1]].strip()
    follows_blank = text[end : lines[number + 1][0]].count("\n") > 1
    before_table = parse_row(after) is not None or after.startswith("(")
    return line[0].isupper() and (follows_blank or before_table or after[:1].isupper()) and len(line) < 0.75 * widest


def _sentences(text: str, start: int, end: int) -> list[Quotable]:
    found = []
    bullet = _BULLET.match(text[start:end])
    start += bullet.end() if bullet else 0
    for s, e in _clauses(text, start, end):
        quotable = _trimmed(text, s, e, "sentence")
        body = text[quotable.start : quotable.end]
        if sum(c.isalpha() for c in body) < 0.4 * len(body):
            quotable = Quotable(quotable.start, quotable.end, "junk")  # formulas, rules, columns of figures
        elif len(body.split()) <= 8 and not _TERMINAL.search(body) and body.isascii() and not bullet:
            quotable = Quotable(quotable.start, quotable.end, "heading")  # "Note 5 - Acquisitions"
        found.append(quotable)
    return found


def _clauses(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Sentences of text[start:end]; those that nobody can listen to are divided, at semicolons at last."""
    found: list[tuple[int, int]] = []
    block = text[start:end].replace("\n", " ").replace("\r", " ")  # its lines are one paragraph; offsets stay
    for s, e in sentence_spans(block):
        cuts = [start + s, start + e]
        pattern = _ANY_CUT if e - s > _LONG else _STOP_CUT if e - s > _LONGISH else None
        if pattern is not None:
            cuts[1:1] = [start + s + m.end() for m in pattern.finditer(text[start + s : start + e])]
        found.extend(pairwise(cuts))
    return found


def _trimmed(text: str, start: int, end: int, kind: Kind, row: TableRow | None = None) -> Quotable:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Quotable(start, end, kind, row)
