"""Of rows that show the same figure, the one of the company's own statement: notes and exhibits have others' accounts.

    hits = own_statements_first(query, hits, page_text)

A filing prints "Cash and cash equivalents" in its balance sheet, in a note about its guarantors and in an exhibit with
the accounts of a joint venture. All are rows of that label; which is meant where nothing else is said, the headings
above them tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from rag.line_items import SHOWN, line_item
from rag.query import Query
from rag.types import Hit, Span

HEAD = 300  # characters at the top of a page
LESS = 0.3  # of its score is left to a row of others' accounts where the company's own statement was found
# Whose accounts these are, or of what part: not the company's.
_OTHERS = re.compile(
    r"\b(?:note \d+|exhibit|schedule|guarant\w+|parent(?: company)?|obligor|issuer|segment|joint venture|pro forma|"
    r"condensed consolidating|consolidating|discontinued|unaudited quarterly|variable interest)\b",
    re.IGNORECASE,
)


def own_statements_first(query: Query, hits: Sequence[Hit], page_text: Callable[[str, int], str]) -> list[Hit]:
    """Hits where a row of the company's own statement takes the score of a likelier row of the same line item and
    document that stands elsewhere, and gives it its own; the best hit first.

    Only for questions about accounts, and only where the question does not itself name the other place. `page_text`:
    of a document's page.
    """
    if not query.metric or _OTHERS.search(query.core):
        return list(hits)
    rows: dict[tuple[str, str], list[tuple[int, int, bool]]] = {}
    for h, hit in enumerate(hits):
        own = bool(hit.spans) and _is_own(query, hit, page_text(hit.chunk.document, hit.chunk.page))
        for s, span in enumerate(hit.spans):
            item, match = line_item(query, span.text)
            if item and match >= SHOWN:
                rows.setdefault((hit.chunk.document_id, item), []).append((h, s, own))
    spans: list[list[Span]] = [list(hit.spans) for hit in hits]
    for places in rows.values():
        best = max(places, key=lambda place: spans[place[0]][place[1]].score)
        mine = [place for place in places if place[2]]
        if best[2] or not mine:
            continue  # nothing to decide
        first = max(mine, key=lambda place: spans[place[0]][place[1]].score)
        (h, s, _), (g, t, _) = best, first
        spans[h][s], spans[g][t] = (
            replace(spans[h][s], score=spans[g][t].score),
            replace(spans[g][t], score=spans[h][s].score),
        )
    own_documents = {document for (document, _), places in rows.items() if any(own for _, _, own in places)}
    for (document, _), places in rows.items():
        if document in own_documents and not any(own for _, _, own in places):
            for h, s, _ in places:  # beside figures of the company, those of another confuse
                spans[h][s] = replace(spans[h][s], score=LESS * spans[h][s].score)
    found = [
        replace(hit, spans=tuple(sorted(kept, key=lambda span: -span.score)))
        for hit, kept in zip(hits, spans, strict=True)
    ]
    return sorted(found, key=lambda hit: -hit.spans[0].score if hit.spans else 0.0)


def _is_own(query: Query, hit: Hit, page: str) -> bool:
    """Whether a statement's title heads the page, and nothing says that it is another's."""
    titles = [title for facet in query.facets for title in facet.statement.titles]
    head = page[:HEAD].lower()
    return any(title in head for title in titles) and not _OTHERS.search(f"{hit.chunk.context}\n{head}")
