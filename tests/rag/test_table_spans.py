"""Spans in tables become whole rows, and the row that a question names comes first."""

from __future__ import annotations

from dataclasses import replace

from ingest.types import Chunk, Page
from rag.page_tables import tables_of
from rag.table_spans import in_rows
from rag.types import Hit, Span

TEXT = """Technical data
Part | How often | How
Drip tray | every day | warm water
Water tank | every week | wash by hand, rinse well
Seal, black | every 18 months | have it replaced

The tank is made of glass and must be treated with care.
Discounts
Years without a claim | Discount
1 | 10%
3 | 25%
"""
PAGE = Page(1, TEXT)


def hit(*marked: tuple[str, float]) -> Hit:
    chunk = Chunk("d:0", "d", "manual.docx", 1, 0, len(TEXT), TEXT, "Manual > Cleaning")
    spans = []
    for words, score in marked:
        start = TEXT.index(words)
        spans.append(Span("manual.docx", "d", 1, start, start + len(words), words, score, "d:0"))
    return Hit(chunk, 0.5, spans=tuple(spans))


def asked(question: str, *marked: tuple[str, float]) -> list[tuple[str, float]]:
    tables = tables_of(PAGE)
    hits = in_rows(question, [hit(*marked)], lambda document, page: tables)
    return [(TEXT[span.start : span.end], span.score) for found in hits for span in found.spans]


def test_a_span_in_a_table_is_the_whole_row_and_one_outside_stays() -> None:
    found = asked("Is it fragile?", ("every week | wash", 0.7), ("made of glass", 0.4))
    assert found == [("Water tank | every week | wash by hand, rinse well", 0.7), ("made of glass", 0.4)]


def test_the_row_whose_label_the_question_spells_out_comes_before_another_that_the_reader_liked() -> None:
    found = asked("How often must the water tank be washed?", ("every day", 0.8), ("made of glass", 0.3))
    assert found[0][0].startswith("Water tank") and found[0][1] >= 0.8
    assert dict(found)["Drip tray | every day | warm water"] < 0.1
    assert asked("How often is the seal replaced?", ("every day", 0.8))[0][0].startswith("Seal, black")


def test_number_words_name_rows_with_figures_for_labels() -> None:
    found = asked("What discount do I get after three years without a claim?", ("1 | 10%", 0.6))
    assert found[0][0] == "3 | 25%"


def test_a_label_that_is_little_of_the_question_raises_no_row() -> None:
    question = "Which of the engineers who designed the drip tray later founded the company in Bristol?"
    assert asked(question, ("made of glass", 0.4)) == [("made of glass", 0.4)]


def test_names_of_columns_are_hardly_an_answer() -> None:
    (_, likely), (_, unlikely) = asked("What is there?", ("How often | How", 0.9), ("made of glass", 0.3))
    assert likely == 0.3 and unlikely < 0.1


def test_a_figure_that_stands_there_itself_comes_first_and_what_it_is_computed_from_stays() -> None:
    text = "Key figures | 2023 | 2022\nOperating income | 81 | 59\nEBITDA | 137 | 112\nNet debt | 9 | 8\n"
    tables = tables_of(Page(1, text))
    chunk = Chunk("k:0", "k", "key.docx", 1, 0, len(text), text, "")
    place = (text.index("Operating"), text.index("\nEBITDA"))
    first = Hit(chunk, 0.5, spans=(Span("key.docx", "k", 1, *place, text[slice(*place)], 0.8, "k:0"),))

    def rows(question: str) -> list[str]:
        (hit,) = in_rows(question, [first], lambda document, page: tables)
        return [span.text for span in hit.spans]

    assert rows("What was EBITDA in 2023?") == ["EBITDA | 137 | 112", "Operating income | 81 | 59"]
    assert rows("What was EBITDA in 2019?") == ["Operating income | 81 | 59"]  # a table of other years
    assert rows("What was the quick ratio in 2023?") == ["Operating income | 81 | 59"]


def test_hits_are_reordered_by_their_best_spans() -> None:
    tables = tables_of(PAGE)
    first = hit(("made of glass", 0.6))
    other = replace(first, chunk=replace(first.chunk, chunk_id="e:0", document_id="e", document="other.txt"))
    found = in_rows("What of the years?", [replace(other, spans=()), first], lambda document, page: tables)
    assert [item.chunk.document_id for item in found] == ["d", "e"]
