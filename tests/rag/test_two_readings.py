"""Questions that a sentence answers rather than a few words are read by both locators."""

from __future__ import annotations

from ingest.types import Chunk
from rag.two_readings import blend, needs_both
from rag.types import Hit, Span

TEXT = "A matrix has rows and columns. The function inv computes the inverse of a square matrix. It warns of others."
FIRST, SECOND, THIRD = (0, 30), (31, 88), (89, 108)
CHUNK = Chunk("d:0", "d", "manual.pdf", 3, 0, len(TEXT), TEXT, "")


def span(place: tuple[int, int], score: float, *, exact: tuple[int, int] | None = None) -> Span:
    start, end = exact or place
    sentence = place if exact else None
    return Span("manual.pdf", "d", 3, start, end, TEXT[start:end], score, "d:0", sentence=sentence)


def test_what_both_think_likely_beats_what_one_does() -> None:
    read = [Hit(CHUNK, 0.9, spans=(span(FIRST, 0.6, exact=(13, 29)), span(SECOND, 0.3, exact=(44, 47))))]
    located = [Hit(CHUNK, 0.9, spans=(span(SECOND, 0.7), span(THIRD, 0.2)))]
    (hit,) = blend(read, located)
    places = [found.sentence for found in hit.spans]
    assert places == [SECOND, FIRST, THIRD]
    assert hit.spans[0].text == "inv" and hit.spans[2].text == TEXT[THIRD[0] : THIRD[1]]
    assert 0 < hit.spans[2].score < hit.spans[1].score < hit.spans[0].score < 1


def test_hits_come_in_the_order_of_their_best_spans_and_none_is_lost() -> None:
    other = Chunk("d:1", "d", "manual.pdf", 4, 0, 9, "Nothing.", "")
    read = [Hit(other, 0.9), Hit(CHUNK, 0.8, spans=(span(SECOND, 0.2, exact=(44, 47)),))]
    assert [hit.chunk.chunk_id for hit in blend(read, [])] == ["d:1", "d:0"][::-1]
    assert blend([], []) == []


def test_which_questions() -> None:
    assert needs_both("What is the difference between a cell array and a struct?") and needs_both("Why is that?")
    assert not any(needs_both(q) for q in ("Who wrote it?", "How much is the rent?", "Where is the mill?"))
