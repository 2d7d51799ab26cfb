"""A model's claims are aligned with its passages; what cannot be found is marked, and streaming changes nothing."""

from __future__ import annotations

import re

import pytest

from ingest.types import Chunk
from rag.citations import CitationWriter, align, is_refusal
from rag.types import Citation, Hit

LEASE = (
    "The lease begins on 1 March 2021 and runs for five years. The monthly rent is $1,200, due on the first day of "
    "each month. Pets are not allowed without written consent of the landlord. Mr. Hale keeps the keys."
)
TABLE = """Consolidated Statement of Income
(In millions) 2022 2021
Net sales $ 34,229 $ 35,355
Operating income 6,539 7,369"""


def hit(text: str, name: str = "lease.pdf", page: int = 3, start: int = 100) -> Hit:
    chunk = Chunk(f"{name}:{start}", name, name, page, start, start + len(text), text, name)
    return Hit(chunk, score=1.0)


def write(reply: str, passages: list[Hit], size: int = 1000) -> tuple[str, list[Citation]]:
    writer = CitationWriter(passages)
    pieces = [reply[i : i + size] for i in range(0, len(reply), size)]
    events = [event for piece in pieces for event in writer.feed(piece)] + list(writer.finish())
    return "".join(text for text, _ in events), [citation for _, citation in events if citation]


def test_a_marked_claim_quotes_the_sentence_that_holds_it() -> None:
    text, (citation,) = write("The monthly rent is $1,200 [1].", [hit(LEASE)])
    assert text == "The monthly rent is $1,200 [1]."
    assert citation.quote == "The monthly rent is $1,200, due on the first day of each month."
    assert LEASE[citation.start - 100 : citation.end - 100] == citation.quote
    assert citation.verified and citation.page == 3


@pytest.mark.parametrize(
    "claim",
    [
        "The monthly rent is $1,300 [1].",  # another number
        "The lease does not begin on 1 March 2021 [1].",  # the opposite
        "Pets are allowed without written consent of the landlord [1].",  # the opposite, by leaving out a word
        "The tenant must repaint the kitchen every second summer [1].",  # invented
    ],
)
def test_what_the_source_does_not_say_is_marked_unverified(claim: str) -> None:
    _, (citation,) = write(claim, [hit(LEASE)])
    assert not citation.verified


def test_markers_that_point_to_nothing_disappear() -> None:
    text, citations = write("The lease runs for five years [7]. Hello [0] there.", [hit(LEASE)])
    assert "[7]" not in text and "[0]" not in text
    assert {int(n) for n in re.findall(r"\[(\d+)\]", text)} == {citation.n for citation in citations}


def test_a_wrong_marker_is_led_to_the_passage_that_holds_the_claim() -> None:
    _, (citation,) = write("Net sales were $34,229 million in 2022 [1].", [hit(LEASE), hit(TABLE, "3M.pdf", 48)])
    assert (citation.document, citation.quote) == ("3M.pdf", "Net sales $ 34,229 $ 35,355")


def test_a_claim_without_marker_gets_one() -> None:
    text, (citation,) = write("Pets are not allowed without written consent. Fine.", [hit(TABLE), hit(LEASE)])
    assert text == "Pets are not allowed without written consent. [1] Fine."
    assert citation.verified and "Pets" in citation.quote


def test_the_same_quote_keeps_its_number() -> None:
    reply = "The monthly rent is $1,200 [1]. The rent is due on the first day of each month [1]."
    text, citations = write(reply, [hit(LEASE)])
    assert text.count("[1]") == 2 and len(citations) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 19])
@pytest.mark.parametrize(
    "reply",
    [
        "The monthly rent is $1,200 [1]. Mr. Hale keeps the keys. [1] It runs for five years [1, 2] and "
        "pets are not allowed.",
        "Net sales were $34,229 million [2][1].\n\nThe lease begins on 1 March 2021. [9] Odd [text] stays, "
        "a list[0] too.",
        "No markers at all, but the lease runs for five years",
    ],
)
def test_streamed_equals_whole(reply: str, size: int) -> None:
    passages = [hit(LEASE), hit(TABLE, "3M.pdf", 48)]
    assert write(reply, passages, size) == write(reply, passages)


def test_text_is_shown_before_its_sentence_is_complete() -> None:
    writer = CitationWriter([hit(LEASE)])
    shown = "".join(text for text, _ in writer.feed("The monthly rent is "))
    assert shown == "The monthly rent is"


def test_a_claim_over_two_sentences_quotes_both() -> None:
    found = align("It begins on 1 March 2021, for five years, and the monthly rent is $1,200.", hit(LEASE))
    quote = LEASE[found.start - 100 : found.end - 100]
    assert found.verified and quote.startswith("The lease begins") and "$1,200" in quote


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ("The documents do not answer this.", True),
        ("I'm sorry, but I cannot find that in the passages.", True),
        ("The passages don’t mention a deposit.", True),
        ("The rent is $1,200.", False),
        ("Pets are not allowed.", False),
    ],
)
def test_refusals_are_recognised(reply: str, refused: bool) -> None:
    assert is_refusal(reply) is refused
