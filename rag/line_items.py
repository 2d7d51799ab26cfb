"""Which line item of a metric question a table row shows: "Total assets" rather than "Total current assets"."""

from __future__ import annotations

from rag.query import Query
from rag.table_rows import parse_row

SHOWN = 0.5  # from this match on a row shows the line item


def line_item(query: Query, text: str) -> tuple[str, float]:
    """(line item, how well the row's label matches it, 0..1); ("", 0.0) if `text` is no row or nothing matches.

    The match is the Jaccard overlap of stemmed words: extra words in a label mean another figure.
    """
    from ingest.tokens import index_terms

    row = parse_row(text) if query.metric else None
    if row is None:
        return "", 0.0
    label = set(index_terms(row.label))
    best = ("", 0.0)
    for facet in query.facets:
        for line in facet.lines:
            wanted = set(index_terms(line))
            match = len(wanted & label) / len(wanted | label) if wanted else 0.0
            if match > best[1]:
                best = (line, match)
    return best
