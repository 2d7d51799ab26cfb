"""The company's own statement comes before notes and exhibits that print the same line."""

from __future__ import annotations

import pytest

from ingest.types import Chunk
from rag.primary_statements import own_statements_first
from rag.query import understand
from rag.types import Hit, Span

PAGES = {
    50: "Consolidated Balance Sheets\n(in millions)\nCash and cash equivalents $ 689 $ 775\nInventories 2,213 2,439\n",
    107: "Note 22 - Deed of Cross Guarantee\nCash and cash equivalents $ 54 $ 68\nInventories 60 71\n",
}
QUESTION = "What is the quick ratio for FY2023?"


def hit(page: int, *rows: tuple[str, float]) -> Hit:
    text = PAGES[page]
    context = f"Initech 10K > {text.splitlines()[0]}"
    chunk = Chunk(f"d:{page}", "d", "initech.pdf", page, 0, len(text), text, context)
    spans = (
        Span("initech.pdf", "d", page, text.index(row), text.index(row) + len(row), row, score, chunk.chunk_id)
        for row, score in rows
    )
    return Hit(chunk, 0.5, spans=tuple(spans))


def reordered(question: str, *hits: Hit) -> list[tuple[int, str, float]]:
    found = own_statements_first(understand(question), hits, lambda document, page: PAGES[page])
    return [(found_hit.chunk.page, span.text, round(span.score, 3)) for found_hit in found for span in found_hit.spans]


def test_a_row_of_the_own_statement_takes_the_place_of_the_same_line_in_a_note() -> None:
    other = hit(107, ("Cash and cash equivalents $ 54 $ 68", 0.9), ("Inventories 60 71", 0.8))
    own = hit(50, ("Cash and cash equivalents $ 689 $ 775", 0.6))
    found = reordered(QUESTION, other, own)
    assert found[0] == (50, "Cash and cash equivalents $ 689 $ 775", 0.9)
    assert dict((text, score) for _, text, score in found)["Inventories 60 71"] == pytest.approx(0.24)


@pytest.mark.parametrize(
    "question", ["What cash do the guarantors of note 22 have in FY2023?", "Who was Ada Lovelace?"]
)
def test_other_questions_keep_their_order(question: str) -> None:
    other = hit(107, ("Cash and cash equivalents $ 54 $ 68", 0.9))
    own = hit(50, ("Cash and cash equivalents $ 689 $ 775", 0.6))
    assert [page for page, _, _ in reordered(question, other, own)] == [107, 50]


def test_without_a_statement_of_its_own_nothing_changes() -> None:
    other = hit(107, ("Cash and cash equivalents $ 54 $ 68", 0.9), ("Inventories 60 71", 0.8))
    assert [score for _, _, score in reordered(QUESTION, other)] == [0.9, 0.8]
