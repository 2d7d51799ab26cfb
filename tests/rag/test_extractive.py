"""Which located spans an answer quotes."""

from __future__ import annotations

import pytest

from ingest.types import Chunk, Page
from rag.extractive import choose_spans, refusal_lines, spoken_line
from rag.page_tables import tables_of
from rag.types import Hit, Span

TEXT = "The mill was built by Ann Lee. It was painted by Tom Ray. ## 2. Later years"
PARTS = ("The mill was built by Ann Lee.", "It was painted by Tom Ray.", "## 2. Later years")


def hits(scores: tuple[float, ...], *, read: bool) -> list[Hit]:
    """One hit with a span for each part; `read`: the spans carry the sentence that the trained reader names."""
    chunk = Chunk("d:0", "d", "mill.txt", 1, 0, len(TEXT), TEXT, "")
    spans = []
    for part, score in zip(PARTS, scores, strict=False):
        place = (TEXT.index(part), TEXT.index(part) + len(part))
        spans.append(Span("mill.txt", "d", 1, *place, part, score, "d:0", sentence=place if read else None))
    return [Hit(chunk, 0.9, spans=tuple(spans))]


@pytest.mark.parametrize(("read", "quoted"), [(True, 2), (False, 1)])
def test_calibrated_spans_lie_farther_apart(read: bool, quoted: bool) -> None:
    assert len(choose_spans("Which people were at the mill?", hits((0.9, 0.3), read=False), 3)) == 1
    assert len(choose_spans("Who worked there?", hits((0.9, 0.4), read=read), 3)) == quoted


def test_a_heading_is_quoted_only_where_there_is_nothing_else() -> None:
    chosen = choose_spans("Who built the mill?", hits((0.5, 0.1, 0.9), read=True), 3)
    assert [span.text for span in chosen] == [PARTS[0]]
    only = [hit for hit in hits((0.0, 0.0, 0.9), read=True)]
    only[0] = Hit(only[0].chunk, 0.9, spans=only[0].spans[2:])
    assert [span.text for span in choose_spans("Who built the mill?", only, 3)] == [PARTS[2]]


def test_a_refusal_names_what_is_unmentioned() -> None:
    lines = [text for text, _ in refusal_lines(hits((0.9,), read=True), unmentioned="2012")]
    assert lines[1] == "Nothing that comes near it mentions 2012." and "page 1 of mill.txt" in lines[2]


FIGURES = """In 2024 we expect a profit of 9
(in thousands of pounds)
| | 2023 | 2022 |
|---|---|---|
| Profit | 8,412 | 7,633 |
| Margin % | 14.1 | 13.0 |
In brief
| | 2023 | 2022 |
|---|---|---|
| Profit | 8.4 | 7.6 |
"""


def figures(*lines: str) -> tuple[list[Hit], dict[str, Span]]:
    """One hit with a span a line, the first the likeliest, rows of tables marked as such."""
    spans = {}
    for i, line in enumerate(lines):
        place = (FIGURES.index(line), FIGURES.index(line) + len(line))
        spans[line] = Span("f.md", "f", 1, *place, line, 0.9 - 0.1 * i, "f:0", sentence=place, row="|" in line)
    return [Hit(Chunk("f:0", "f", "f.md", 1, 0, len(FIGURES), FIGURES, ""), 0.9, spans=tuple(spans.values()))], spans


def told(span: Span) -> str:
    return spoken_line(span, FIGURES, tables=tables_of(Page(1, FIGURES)))


def test_rows_are_told_with_their_heads_and_the_unit_above_the_table() -> None:
    _, spans = figures("| Profit | 8,412 | 7,633 |", "| Margin % | 14.1 | 13.0 |")
    assert [told(span) for span in spans.values()] == [
        "Profit (in thousands): 8,412 (2023), 7,633 (2022).",
        "Margin %: 14.1 (2023), 13.0 (2022).",
    ]


def test_the_same_line_of_another_table_is_not_quoted_beside_the_first() -> None:
    found, _ = figures("| Profit | 8,412 | 7,633 |", "| Profit | 8.4 | 7.6 |", "| Margin % | 14.1 | 13.0 |")
    chosen = choose_spans("How did the business do?", found, 3, told=told)
    assert [span.text for span in chosen] == ["| Profit | 8,412 | 7,633 |", "| Margin % | 14.1 | 13.0 |"]


def test_figures_of_other_years_are_not_quoted_beside_what_speaks_of_the_year_asked_for() -> None:
    found, _ = figures("In 2024 we expect a profit of 9", "| Margin % | 14.1 | 13.0 |")
    chosen = choose_spans("How will the business do in 2024?", found, 3, told=told)
    assert [span.text for span in chosen] == ["In 2024 we expect a profit of 9"]
    assert len(choose_spans("How will the business do?", found, 3, told=told)) == 2
