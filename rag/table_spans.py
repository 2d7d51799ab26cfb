"""Spans in tables: whole rows instead of what a reader of prose makes of them, and the row that the question names.

    hits = in_rows("How much water does the tank of the BZ-2 hold?", hits, lambda document, page: tables)

A reader of prose runs from one row into the next, or likes the row above for its figures. Which row is asked for, its
label tells, where the question spells it out and the table's heads, or what it is called, hold the rest of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rag.page_tables import Row, Table, row_at
from rag.query import understand
from rag.types import Hit, Span

TablesOf = Callable[[str, int], Sequence[Table]]  # document, page -> its tables
MENTIONED = 0.5  # of the question's terms, in a row, its heads and the heading above: it is the row asked for
OTHER_ROW = 4.0  # log-odds that another row of its table loses
HEADS = 6.0  # log-odds that the names of columns lose: they answer nothing
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_QUALIFIED = re.compile(r"\s*[,(:;].*", re.DOTALL)  # what a label adds: "Wardrobe, two doors"
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: str(n) for n, word in enumerate(_NUMBER_WORDS, start=1)}


@dataclass(frozen=True)
class _Named:
    """A row whose label the question spells out."""

    hit: int
    table: Table
    row: Row
    mentioned: float


def in_rows(question: str, hits: Sequence[Hit], tables: TablesOf) -> list[Hit]:
    """Hits whose spans in tables are whole rows; those that the question names come first, others of their table last.

    The best span's hit comes first. Of questions about accounts, rows of the figure asked for come first, others keep
    their places (rag/sentence_locator.py knows what figures are computed from).
    """
    whole = [_best_first(replace(hit, spans=_once([_row(span, tables) for span in hit.spans]))) for hit in hits]
    whole.sort(key=_best)
    figures = understand(question).metric
    named = _named(question, whole, tables)
    if figures:  # rows that a figure is computed from are wanted, too, unless it stands there itself
        named = [item for item in named if shows_figure(question, item.row.label) and _has_years(question, item.table)]
    if not named:
        return whole
    best = max((span.score for hit in whole for span in hit.spans), default=0.0)
    if not best:
        return whole
    score = min(best + 1e-6, 1.0)
    found = []
    for number, hit in enumerate(whole):
        here = [item for item in named if item.hit == number]
        spans = [span if figures else _less(span, named, tables) for span in hit.spans]
        spans = [span for span in spans if not any(_is(item.row, span) for item in here)]
        raised = [
            Span(
                hit.chunk.document, hit.chunk.document_id, hit.chunk.page, item.row.start, item.row.end,
                hit.chunk.text[item.row.start - hit.chunk.start : item.row.end - hit.chunk.start],
                score, hit.chunk.chunk_id, sentence=(item.row.start, item.row.end), row=True,
            )
            for item in here
        ]  # fmt: skip
        found.append(_best_first(replace(hit, spans=(*raised, *spans))))
    return sorted(found, key=_best)


def shows_figure(question: str, label: str) -> bool:
    """Whether a row of this label is the very figure asked for, not one of those it is computed from.

    >>> shows_figure("What was EBITDA in 2023?", "EBITDA"), shows_figure("What is the quick ratio for 2023?", "Cash")
    (True, False)
    """
    asked, shown = understand(question), understand(f"{label} in 2000")
    return shown.metric and {facet.lines for facet in shown.facets} == {facet.lines for facet in asked.facets}


def _has_years(question: str, table: Table) -> bool:
    heads = " ".join(table.heads)
    return all(year in heads for year in _YEAR.findall(question))


def _best_first(hit: Hit) -> Hit:
    return replace(hit, spans=tuple(sorted(hit.spans, key=lambda span: -span.score)))


def _best(hit: Hit) -> float:
    return -hit.spans[0].score if hit.spans else 0.0


def _row(span: Span, tables: TablesOf) -> Span:
    """The whole row that a span lies in; the span itself where it lies in none, hardly likely among the heads."""
    here = tables(span.document, span.page)
    place = row_at(here, span.start, span.end)
    if place is None:
        heads = any(table.start <= span.start and span.end <= table.rows[0].start for table in here)
        return replace(span, score=_doubted(span.score, HEADS)) if heads else span
    row = place[1]
    if (row.start, row.end) == (span.start, span.end):
        return replace(span, row=True)
    return replace(span, start=row.start, end=row.end, text="", sentence=(row.start, row.end), boxes=(), row=True)


def _once(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Spans, of those that are now the same row the first alone."""
    first = {(span.start, span.end): span for span in reversed(spans)}
    return tuple(reversed(first.values()))


def _is(row: Row, span: Span) -> bool:
    return span.row and (span.start, span.end) == (row.start, row.end)


def _less(span: Span, named: Sequence[_Named], tables: TablesOf) -> Span:
    if not span.row or any(_is(item.row, span) for item in named):
        return span
    place = row_at(tables(span.document, span.page), span.start, span.end)
    if place is None or not any(item.table is place[0] for item in named):
        return span
    return replace(span, score=_doubted(span.score, OTHER_ROW))


def _doubted(score: float, against: float) -> float:
    odds = score / max(1 - score, 1e-9) * math.exp(-against)
    return odds / (1 + odds)


def _named(question: str, hits: Sequence[Hit], tables: TablesOf) -> list[_Named]:
    """Rows inside the hits' chunks whose label the question spells out: those that hold most of the question."""
    from ingest.tokens import index_terms, query_terms

    asked = {_NUMBERS.get(term, term) for term in query_terms(understand(question).core)}
    if not asked:
        return []
    found: dict[tuple[str, int, int], _Named] = {}
    for number, hit in enumerate(hits):
        chunk = hit.chunk
        for table in tables(chunk.document, chunk.page):
            if table.end <= chunk.start or chunk.end <= table.start:
                continue
            about = set(index_terms(" ".join([*table.heads, chunk.context])))
            for row in table.rows:
                label = set(index_terms(_QUALIFIED.sub("", row.label) or row.label))
                inside = chunk.start <= row.start and row.end <= chunk.end
                if inside and label and label <= asked and len(row.cells) > 1:
                    told = about.union(*(index_terms(cell.text) for cell in row.cells))
                    place = (chunk.document_id, chunk.page, row.start)
                    found.setdefault(place, _Named(number, table, row, len(asked & told) / len(asked)))
    most = max((item.mentioned for item in found.values()), default=0.0)
    if most < MENTIONED:
        return []
    return [item for item in found.values() if item.mentioned == most]
