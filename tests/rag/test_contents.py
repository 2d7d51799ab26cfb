"""Tables of contents and indexes are told from text, and come behind it."""

from __future__ import annotations

import pytest

from ingest.types import Chunk
from rag.contents import is_listing, listings_last
from rag.doubts import NO_STATEMENT, doubts
from rag.types import Hit

DOTTED = (
    "3 Binary packages 13\n3.1 The package name .... 13\n3.2 The version .... 14\n3.3 Files .... 15\n3.4 Names .... 15"
)
PLAIN = "Contents\nIntroduction 1\nThe parties and what they own 3\nThe rent 7\nRepairs and improvements 12\nNotice 15"
INDEX = "\n".join(
    f"{name}, {n}, {n + 7}" for n, name in enumerate(("ash", "birch", "cedar", "elm", "fir", "oak", "yew"), 3)
)
TABLE = "Item 2021 2022\nNet sales 34,229 31,208\nCost of sales 12,004 11,998\nInterest 210 190\nTaxes 77 81\nOther 3 9"
RENTS = "Rent by room in pounds\nKitchen 700\nParlour 1200\nCellar 90\nAttic 310\nYard 55"
PROSE = (
    "The rent is due on the first of May 2021.\nIt is paid in arrears, see page 14.\nThe tenant repairs.\nHe pays 12."
)


@pytest.mark.parametrize("text", [DOTTED, PLAIN, INDEX + "\nzinc, 40"])
def test_listings(text: str) -> None:
    assert is_listing(text)


@pytest.mark.parametrize("text", [TABLE, RENTS, PROSE, "", "13", "Wait .... what?"])
def test_tables_and_prose_are_none(text: str) -> None:
    assert not is_listing(text)


def test_listings_come_last_and_scores_fall() -> None:
    hits = [
        Hit(Chunk(str(i), "d", "d.pdf", i, 0, len(t), t, ""), s)
        for i, (t, s) in enumerate([(DOTTED, 0.9), (PROSE, 0.8), (TABLE, 0.3)])
    ]
    ordered = listings_last(hits)
    assert [hit.chunk.text for hit in ordered] == [PROSE, TABLE, DOTTED]
    assert [hit.score for hit in ordered] == [0.8, 0.3, 0.3]
    assert listings_last(hits[1:]) == hits[1:]


def test_entries_with_their_pages_answer_nothing() -> None:
    lines = [
        "3.1 The package name .... 13",
        "9.3. Starting system services 83",
        "3 A name has at least two letters.",
        "ode23 (fun, init)",
    ]
    text, places, at = "\n".join(lines), [], 0
    for line in lines:
        places.append((at, at + len(line)))
        at += len(line) + 1
    contents, running, prose, signature = doubts("How long is a package name?", [text] * 4, places)
    assert contents == running == NO_STATEMENT
    for empty in ("See also: unique, page 791.", "(see note 5)", "3.1 Enabling the features"):
        assert doubts("What is it?", [empty], [(0, len(empty))]) == [NO_STATEMENT]
    for full in (
        "See note 5 for the rent, which is 1,200.",
        "4.2 The tenant repairs the roof.",
        "He can see also the sea.",
    ):
        assert doubts("What is it?", [full], [(0, len(full))]) == [0]
    assert prose == 0 < signature < NO_STATEMENT
