"""Which located spans an answer quotes."""

from __future__ import annotations

import pytest

from ingest.types import Chunk
from rag.extractive import choose_spans, refusal_lines
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
