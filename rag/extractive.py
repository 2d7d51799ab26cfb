"""Answers without a language model: the one to three sentences or table rows that answer, verbatim, with citations.

A sentence is quoted as it stands, blanks apart; a row of a table is put in words ("Net sales (in millions): $34,229
(2022)"), its citation quotes the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from rag.doubts import is_heading, refers_elsewhere
from rag.line_items import SHOWN, line_item
from rag.lists import in_words, is_list
from rag.number_agreement import conflicts
from rag.page_tables import Table, row_at
from rag.query import understand
from rag.question_type import expected, holds, wants_several_sentences
from rag.quotable import quotable_spans
from rag.table_rows import describe_row, parent_label, unit_of
from rag.types import Citation, Hit, Span

NOTHING_FOUND = "I could not find an answer to this in the documents."
# A further sentence is quoted if it is this much as likely to answer as the best one: closed and open questions.
_RELATIVE = (0.6, 0.35)
# The same for spans of the trained reader, whose probabilities are calibrated and therefore lie farther apart.
_RELATIVE_READ = (0.35, 0.1)
_CLOSED = (".", "!", "?", "。", "！", "？", '."', ".”", ".)", '?"', "?”", "…")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_MOVES = re.compile(
    r"\b(?:chang|grow|grew|increas|decreas|decline|rise|rose|risen|fall|fell|drop|trend|compar|improv|differen|develop|"
    r"higher|lower|between|since|from|over the|average|year[- ]o|yoy|cagr)",
    re.IGNORECASE,
)
_CLOSED_KINDS = ("date", "number", "person", "place")
_SAME = 0.7  # word overlap from which two sentences say the same


def choose_spans(
    question: str, hits: Sequence[Hit], max_sentences: int, *, told: Callable[[Span], str] = lambda span: span.text
) -> list[Span]:
    """The spans to quote, in reading order: documents by their best span, then pages, then places.

    `told`: a span in words, with what heads a row's cells.

    A metric is answered by the rows it is computed from, one for each line item, all of one document.
    """
    spans = sorted((span for hit in hits for span in hit.spans), key=lambda span: -span.score)
    spans = [span for span in spans if not is_heading(span.text) and not refers_elsewhere(question, span.text)] or spans
    if not spans:
        return []
    query = understand(question)
    chosen = spans[:1]
    items = {line_item(query, spans[0].text)[0]}
    asked_by_name = _named(
        query.core, items
    )  # the figure itself is asked for: what else it could be computed from is not
    kind = expected(question)
    relative_one, relative_several = _RELATIVE if spans[0].sentence is None else _RELATIVE_READ
    relative = relative_several if wants_several_sentences(question) else relative_one
    for span in spans[1:]:
        if len(chosen) == max_sentences:
            break
        same_document = span.document_id == chosen[0].document_id
        item, match = line_item(query, span.text)
        if item and match >= SHOWN:
            wanted = same_document and item not in items and (not asked_by_name or _named(query.core, {item}))
        elif query.metric and items - {""}:
            wanted = False  # beside the figures, prose about them is noise
        else:
            wanted = span.score >= (relative if same_document else max(relative, relative_one)) * chosen[0].score
            wanted = wanted and (kind not in _CLOSED_KINDS or holds(kind, span.text, question))
            # Beside a whole sentence, a line of a table or a heading ("hard 3 or 4 6 weeks") only confuses.
            wanted = wanted and (_whole(span) or not _whole(chosen[0]))
        # The same line of another table says the same again, in other units or for other years.
        wanted = wanted and not (span.row and any(_same_line(told(span), told(o)) for o in chosen if same_document))
        # Beside what speaks of the year asked for, figures of other years are no answer.
        wanted = wanted and not (span.row and conflicts(question, [told(chosen[0]), told(span)])[1])
        if wanted and all(_different(span, other) for other in chosen):
            chosen.append(span)
            items.add(item)
    rank = {span.document_id: i for i, span in reversed(list(enumerate(chosen)))}
    return sorted(chosen, key=lambda span: (rank[span.document_id], span.page, span.start))


def _named(question: str, items: set[str]) -> bool:
    """Whether all words of one of the line items stand in the question."""
    from ingest.tokens import index_terms

    words = set(index_terms(question))
    return any(item and set(index_terms(item)) <= words for item in items)


def _same_line(told: str, other: str) -> bool:
    """Whether two rows in words have the same label: "Sales (in millions): 4" and "Sales: 4.1"."""
    label, others = (re.sub(r" \(in \w+\)$", "", text.rpartition(": ")[0]).lower() for text in (told, other))
    return bool(label) and label == others


def _whole(span: Span) -> bool:
    return span.text.rstrip().endswith(_CLOSED)


def _different(span: Span, other: Span) -> bool:
    """Neither overlapping nor saying the same in the same words."""
    same_page = (span.document_id, span.page) == (other.document_id, other.page)
    if same_page and span.start < other.end and other.start < span.end:
        return False
    a, b = set(span.text.lower().split()), set(other.text.lower().split())
    return len(a & b) < _SAME * min(len(a), len(b))


def years_asked(question: str) -> frozenset[str]:
    """The years whose figures are asked for; none where the question is how figures move, which takes all of them."""
    return frozenset() if _MOVES.search(question) else frozenset(_YEAR.findall(question))


def spoken_line(span: Span, page_text: str, *, years: Collection[str] = (), tables: Sequence[Table] = ()) -> str:
    """A span as a sentence of an answer; of a table row, only the cells of these `years` where it has them.

    `tables`: of its page; without them, what heads a row's cells is read from the lines above.
    """
    if (place := row_at(tables, span.start, span.end)) is not None and place[0].is_headed(place[1]):
        table, row = place
        unit = unit_of(page_text, span.start) if table.shows_amounts(row) else ""
        told = table.told(row, years=years, unit=unit)
        group = parent_label(page_text, row.start) if "|" not in span.text and len(row.label.split()) <= 3 else ""
        return f"{group}: {told}." if group and group != told.split(":")[0] else f"{told}."
    kinds = [quotable.kind for quotable in quotable_spans(span.text)]
    if kinds == ["row"]:
        return describe_row(page_text, span.start, span.end, years=years) + "."
    text = in_words(span.text) if is_list(span.text) else " ".join(span.text.split()).lstrip("•●▪-–— ")
    return text if text.endswith(_CLOSED) else text.rstrip(",;: ") + "."


def cite(n: int, span: Span) -> Citation:
    """The citation that quotes a span."""
    return Citation(
        n, span.document, span.page, span.text, span.start, span.end, span.boxes, verified=True, score=span.score
    )


def answer_lines(
    question: str,
    spans: Sequence[Span],
    page_text: Callable[[Span], str],
    tables: Callable[[Span], Sequence[Table]] = lambda span: (),
) -> list[tuple[str, Citation]]:
    """(sentence ending in its marker, citation) for each span, numbered from 1."""
    years = years_asked(question)
    return [
        (f"{spoken_line(span, page_text(span), years=years, tables=tables(span))} [{n}]", cite(n, span))
        for n, span in enumerate(spans, start=1)
    ]


def refusal_lines(hits: Sequence[Hit], *, unmentioned: str = "", limit: int = 3) -> list[tuple[str, Citation | None]]:
    """NOTHING_FOUND, what is `unmentioned` (rag/asked_for.py), then where the nearest passages stand, one a page."""
    spans: list[Span] = []
    for hit in hits:
        if hit.spans and len(spans) < limit and all(_place(hit.spans[0]) != _place(span) for span in spans):
            spans.append(hit.spans[0])
    lines: list[tuple[str, Citation | None]] = [(NOTHING_FOUND, None)]
    if unmentioned:
        lines.append((f"Nothing that comes near it mentions {unmentioned}.", None))
    for n, span in enumerate(spans, start=1):
        lead = "The nearest passages are on" if n == 1 else "and" if n == len(spans) else ""
        stop = "." if n == len(spans) else "," if n < len(spans) - 1 else ""
        lines.append((f"{lead} page {span.page} of {span.document} [{n}]{stop}".lstrip(), cite(n, span)))
    return lines


def _place(span: Span) -> tuple[str, int, int]:
    return span.document_id, span.page, span.start
