"""The sentence that answers is located once, with its place; table rows are read with their heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from core.settings import EmbedderSettings, LocatorSettings
from ingest.embedders import Embedder, load_embedder
from ingest.types import Box, Chunk, Page
from rag.extractive import years_asked
from rag.question_type import expected, holds, wants_several_sentences
from rag.quotable import quotable_spans
from rag.sentence_locator import SentenceLocator
from rag.table_rows import describe_row, parse_row
from rag.types import Hit

RIVER = (
    "The Aldra rises in the northern hills and flows past three towns. Its stone bridge was built in 1742 by Anselm "
    "Ott. Salmon return to the river every September. The bridge was widened after the flood of 1910 because carts "
    "could no longer pass each other. Today the valley lives mostly from orchards and a paper mill that employs 340 "
    "people."
)
INCOME = """Brightwater Tools Inc.
Consolidated Statement of Income
(In millions, except per share data)
Years ended December 31, 2022 2021 2020
Net sales $ 4,310 $ 3,982 $ 3,705
Cost of sales 2,601 2,480 2,333
Operating income 612 540 498
Earnings per share:
Basic $ 3.10 $ 2.75 $ 2.51
The accompanying notes are an integral part of this statement."""


class OnePage:
    """A workspace of one page."""

    def __init__(self, text: str) -> None:
        self.text = text

    def page(self, document: str, number: int) -> Page:
        return Page(number, self.text)

    def boxes(self, document: str, page: int, start: int, end: int) -> list[Box]:
        return [(0.0, 0.0, 100.0, float(end - start))]

    def document_frequency(self, terms: Sequence[str]) -> dict[str, int]:
        return {}

    def chunk_count(self) -> int:
        return 1


class Counting:
    """An embedder that records what it is given."""

    name, dim = "counting", 384

    def __init__(self, inner: Embedder) -> None:
        self.inner, self.texts = inner, []

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += list(texts)
        return self.inner.embed_passages(texts)

    def embed_query(self, text: str) -> np.ndarray:
        return self.inner.embed_query(text)

    def count_tokens(self, text: str) -> int:
        return self.inner.count_tokens(text)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder(EmbedderSettings())


def hits(text: str, *ranges: tuple[int, int]) -> list[Hit]:
    return [
        Hit(Chunk(f"d:{i}", "d", "d.pdf", 1, start, end, text[start:end], "Document"), 0.9 - 0.1 * i, dense=0.5)
        for i, (start, end) in enumerate(ranges or [(0, len(text))])
    ]


def locate(embedder: Embedder | None, text: str, question: str, *ranges: tuple[int, int]) -> list[Hit]:
    return SentenceLocator(embedder, OnePage(text), LocatorSettings()).locate(question, hits(text, *ranges))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who built the bridge over the Aldra?", "Anselm Ott"),
        ("When do salmon come back?", "September"),
        ("Why was the bridge widened?", "carts"),
        ("How many people work at the paper mill?", "340"),
    ],
)
def test_the_best_span_is_the_sentence_that_answers(embedder: Embedder, question: str, answer: str) -> None:
    span = locate(embedder, RIVER, question)[0].spans[0]
    assert answer in span.text and span.text.endswith(".") and span.text.count(". ") == 0
    assert RIVER[span.start : span.end] == span.text and 0 < span.score < 1 and span.boxes


def test_words_alone_do_where_vectors_are_missing() -> None:
    assert "Anselm Ott" in locate(None, RIVER, "Who built the stone bridge?")[0].spans[0].text


def test_overlapping_chunks_give_a_sentence_once(embedder: Embedder) -> None:
    middle = RIVER.index("Salmon")
    located = locate(embedder, RIVER, "When do salmon return?", (0, len(RIVER)), (middle, len(RIVER)))
    starts = [span.start for hit in located for span in hit.spans]
    assert len(starts) == len(set(starts)) and middle in starts


def test_the_window_with_the_best_span_comes_first(embedder: Embedder) -> None:
    middle = RIVER.index("Salmon")
    located = locate(embedder, RIVER, "When do salmon return to the river?", (0, middle), (middle, len(RIVER)))
    assert located[0].chunk.start == middle
    scores = [hit.spans[0].score for hit in located]
    assert scores == sorted(scores, reverse=True)


def test_windows_beyond_the_depth_are_kept_unread(embedder: Embedder) -> None:
    locator = SentenceLocator(embedder, OnePage(RIVER), LocatorSettings(top_windows=1))
    middle = RIVER.index("Salmon")
    located = locator.locate("When do salmon return?", hits(RIVER, (0, middle), (middle, len(RIVER))))
    assert len(located) == 2 and located[0].spans and not located[1].spans


def test_only_so_many_sentences_are_embedded(embedder: Embedder) -> None:
    text = " ".join(f"Sentence number {i} is about the harbour of town {i}." for i in range(300))
    counting = Counting(embedder)
    located = SentenceLocator(counting, OnePage(text)).locate("Which harbour is in town 250?", hits(text))
    assert "250" in located[0].spans[0].text and len(counting.texts) <= 32


def test_a_figure_is_found_in_its_row_in_the_year_asked(embedder: Embedder) -> None:
    hit = locate(embedder, INCOME, "What was Brightwater's operating income in FY2021?")[0]
    assert hit.spans[0].text == "Operating income 612 540 498"


@pytest.mark.parametrize(
    ("line", "label", "cells"),
    [
        ("Net sales $ 34,229 $ 35,355", "Net sales", ("$34,229", "$35,355")),
        ("Gain on business divestitures (2,724) — (389)", "Gain on business divestitures", ("(2,724)", "—", "(389)")),
        ("Organic sales (0.9) % 9.8 %", "Organic sales", ("(0.9)%", "9.8%")),
        ("total revenue | $11287 | $8512", "total revenue", ("$11287", "$8512")),
        ("Total assets ....... $59,268", "Total assets", ("$59,268",)),
    ],
)
def test_rows_are_recognised(line: str, label: str, cells: tuple[str, ...]) -> None:
    row = parse_row(line)
    assert row is not None and (row.label, row.cells) == (label, cells)


@pytest.mark.parametrize("line", ["The bridge was built in 1742", "See page 48", "12 34 56", "", "Chapter 7"])
def test_prose_is_no_row(line: str) -> None:
    assert parse_row(line) is None


def test_a_row_is_put_in_words_with_years_unit_and_group() -> None:
    def describe(line: str) -> str:
        start = INCOME.index(line)
        return describe_row(INCOME, start, start + len(line))

    assert describe("Net sales $ 4,310 $ 3,982 $ 3,705") == (
        "Net sales (in millions): $4,310 (2022), $3,982 (2021), $3,705 (2020)"
    )
    assert (
        describe("Basic $ 3.10 $ 2.75 $ 2.51") == "Earnings per share: Basic: $3.10 (2022), $2.75 (2021), $2.51 (2020)"
    )


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        (
            "2015 2014 2013 2015 vs. 2014 2014 vs. 2013",
            "Members 44,738 39,114 33,420 5,624 14 % 5,694 17 %",
            "Members: 44,738 (2015), 39,114 (2014), 33,420 (2013), 5,624 (change 2015 vs. 2014), "
            "14% (change 2015 vs. 2014), 5,694 (change 2014 vs. 2013), 17% (change 2014 vs. 2013)",
        ),
        (
            "2019 2018 2019 vs. 2018",
            "Rent $ 40 $ 50 (20)%",
            "Rent: $40 (2019), $50 (2018), (20)% (change 2019 vs. 2018)",
        ),
        ("2019 Percentage Change 2018", "Sales $ 9.2 (2)% $ 9.4", "Sales: $9.2 (2019), (2)% (change), $9.4 (2018)"),
        ("2022 2021 2020", "Sales $ 9.2 $ 9.4", "Sales: $9.2, $9.4"),
    ],
)
def test_a_change_is_not_told_as_the_figure_of_a_year(header: str, row: str, told: str) -> None:
    page = f"Year ended December 31,\n{header}\n{row}\n"
    start = page.index(row)
    assert describe_row(page, start, start + len(row)) == told


def test_the_year_that_is_asked_for_is_told_alone() -> None:
    line = "Net sales $ 4,310 $ 3,982 $ 3,705"
    start = INCOME.index(line)

    def told(question: str) -> str:
        return describe_row(INCOME, start, start + len(line), years=years_asked(question))

    assert told("What were net sales in 2021?") == "Net sales (in millions): $3,982 (2021)"
    assert told("What were net sales in FY2022 and FY2020?").endswith("$4,310 (2022), $3,705 (2020)")
    assert told("How did net sales change in 2022?").count("$") == 3
    assert told("What were net sales in 1999?").count("$") == 3


def test_headings_contents_and_boilerplate_are_never_quoted() -> None:
    text = "Table of Contents\nItem 1. Business 4\nRisk factors ........ 12\n" + INCOME
    kinds = {text[q.start : q.end].split("\n")[0]: q.kind for q in quotable_spans(text)}
    for line in ("Table of Contents", "Item 1. Business 4", "Risk factors ........ 12"):
        assert kinds.get(line) == "junk", line
    assert kinds["Consolidated Statement of Income"] == "heading"
    assert kinds["Years ended December 31, 2022 2021 2020"] == "header"
    assert kinds["The accompanying notes are an integral part of this statement."] == "junk"


def test_wrapped_lines_make_whole_sentences() -> None:
    text = (
        "# Rent\n\nThe rent is due on the first day\nof each month. A fee is charged\nafterwards.\n\n- Keys: two sets."
    )
    found = [text[q.start : q.end] for q in quotable_spans(text) if q.kind == "sentence"]
    assert found[:2] == ["The rent is due on the first day\nof each month.", "A fee is charged\nafterwards."]


def test_very_long_sentences_are_divided_at_semicolons() -> None:
    clause = "the company may be affected by changes in the law of any country in which it operates or sells"
    text = "; ".join([clause] * 8) + "."
    spans = [q for q in quotable_spans(text) if q.kind == "sentence"]
    assert len(spans) == 8 and all(q.end - q.start < 120 for q in spans)


@pytest.mark.parametrize(
    ("question", "kind", "several"),
    [
        ("Who built it?", "person", False),
        ("When was it built?", "date", False),
        ("How many bridges are there?", "number", False),
        ("Where does it rise?", "place", False),
        ("Why was it widened?", "reason", True),
        ("Tell me about the mill.", "other", False),
    ],
)
def test_question_types(question: str, kind: str, several: bool) -> None:
    assert (expected(question), wants_several_sentences(question)) == (kind, several)


def test_what_the_question_says_already_is_no_answer() -> None:
    assert not holds("number", "In 1910 there were 340 people.", "Did 340 people work there in 1910?")
    assert holds("person", "It was built by Anselm Ott.", "Who built it?")
