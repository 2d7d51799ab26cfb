"""What an abbreviation stands for is found by initials."""

from __future__ import annotations

import pytest

from ingest.types import Chunk
from rag.abbreviations import abbreviation_asked, expansions, spelt_out
from rag.types import Hit, Span


@pytest.mark.parametrize(
    ("question", "abbreviation"),
    [
        ("What does FHS stand for?", "FHS"),
        ("What is the abbreviation “MIA” short for?", "MIA"),
        ("What does the acronym R&D mean?", "R&D"),
        ("What is an NDA?", ""),
        ("What does Mia say?", ""),
        ("WHAT DOES IT MEAN?", ""),
        ("What does the lease mean?", ""),
    ],
)
def test_the_abbreviation_that_is_asked_for(question: str, abbreviation: str) -> None:
    assert abbreviation_asked(question) == abbreviation


def test_words_with_these_initials_in_capitals_or_beside_it() -> None:
    def found(abbreviation: str, text: str) -> list[str]:
        return [text[start:end] for start, end in expansions(abbreviation, text)]

    assert found("FHS", "The Filesystem Hierarchy Standard is old.") == ["Filesystem Hierarchy Standard"]
    assert found("NMU", "A non-maintainer upload (NMU) is made by others.") == ["non-maintainer upload"]
    assert found("BOE", "the Bank of England said") == ["Bank of England"]
    assert found("FHS", "few have stayed. Filesystem. Hierarchy. Standard") == []


def test_the_sentence_that_spells_it_out_comes_first() -> None:
    texts = ["Ask the MIA team. They know.", "It is slow. Some are deemed Missing In Action there. So be it."]
    hits = []
    for i, text in enumerate(texts):
        span = Span("a.txt", "a", 1, 100 * i, 100 * i + 10, text[:10], 0.6 - 0.1 * i, f"a:{i}")
        hits.append(Hit(Chunk(f"a:{i}", "a", "a.txt", 1, 100 * i, 100 * i + len(text), text, ""), 0.5, spans=(span,)))
    first = spelt_out("What does MIA stand for?", hits)[0]
    assert first.chunk.chunk_id == "a:1" and first.spans[0].text == "Missing In Action"
    start, end = first.spans[0].sentence or (0, 0)
    assert texts[1][start - 100 : end - 100] == "Some are deemed Missing In Action there."
    assert first.spans[0].score > hits[0].spans[0].score
    assert spelt_out("Who is missing?", hits) == hits
    assert spelt_out("What does FHS stand for?", hits) == hits
