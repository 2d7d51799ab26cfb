"""Quoted sentences begin and end where sentences do, whatever the page's line breaks say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.types import Chunk
from rag.sentence_edges import FARTHEST, mended, whole
from rag.types import Hit, Span

PAGE = """4 Plots

It is easy. The simplest form is
plot3 (x, y, z)
in which x is a vector. The key takes a list of characters
that are kept. Nothing else.

| Rent | 1,200 |
due on the first

HILL INC.

12 Quay Road"""


def quoted(sentence: str, exact: str = "") -> str:
    start = PAGE.index(sentence)
    first = PAGE.index(exact) if exact else start
    begin, end = whole(PAGE, start, start + len(sentence), inside=(first, first + len(exact or sentence)))
    return PAGE[begin:end]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("in which x is a vector.", "The simplest form is\nplot3 (x, y, z)\nin which x is a vector."),
        ("The key takes a list of characters", "The key takes a list of characters\nthat are kept."),
        ("It is easy.", "It is easy."),
        ("Nothing else.", "Nothing else."),
        ("4 Plots\n\nIt is easy.", "It is easy."),
        ("| Rent | 1,200 |", "| Rent | 1,200 |"),
        ("due on the first", "due on the first"),
    ],
)
def test_edges(sentence: str, expected: str) -> None:
    assert quoted(sentence) == expected


def test_the_paragraph_of_the_located_words_is_quoted() -> None:
    assert quoted("Nothing else.\n\n| Rent | 1,200 |", exact="1,200") == "| Rent | 1,200 |"
    assert quoted("4 Plots\n\nIt is easy.", exact="Plots\n\nIt") == "It is easy."
    assert quoted("HILL INC.\n\n12 Quay Road", exact="INC.\n\n12 Quay Road") == "12 Quay Road"


@given(st.text(st.sampled_from("ab A.\n|"), max_size=120), st.data())
def test_any_text(text: str, data: st.DataObject) -> None:
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    if not text[start:end].strip():
        return
    begin, stop = whole(text, start, end, inside=(start, end))
    assert max(0, start - FARTHEST) <= begin < stop <= min(len(text), end + FARTHEST)
    assert text[begin:stop].strip()


def test_spans_keep_their_words_inside_the_sentence() -> None:
    chunk = Chunk("d:0", "d", "d.txt", 1, 0, len(PAGE), PAGE, "")
    place = (PAGE.index("in which"), PAGE.index(" The key"))
    span = Span("d.txt", "d", 1, place[0] + 9, place[0] + 10, "x", 0.9, "d:0", sentence=place)
    ((found,),) = [hit.spans for hit in mended([Hit(chunk, 0.5, spans=(span,))], lambda document, page: PAGE)]
    assert (found.start, found.end, found.text) == (span.start, span.end, "x")
    assert found.sentence is not None and PAGE[slice(*found.sentence)].startswith("The simplest form")
