"""Lists are quoted whole where several things are asked for, and never without their items."""

from __future__ import annotations

import pytest

from rag.lists import LONGEST, asks_for_several, in_words, is_list, whole_list

TEXT = """Leaving

Everybody may leave. Before you leave, do the following:
• Hand over your keys
• Write to the office; they will write back.
• Say goodbye.
It takes a week.

These are not announced
• One thing
• Another thing
"""


def grown(words: str, *, several: bool) -> str:
    start = TEXT.index(words)
    first, last = whole_list(TEXT, start, start + len(words), several=several)
    return TEXT[first:last]


def test_an_announcement_brings_its_items() -> None:
    told = grown("Before you leave, do the following:", several=False)
    assert told.startswith("Before you leave") and told.endswith("Say goodbye.")
    assert is_list(told)
    items = "Hand over your keys; Write to the office; they will write back. Say goodbye."
    assert in_words(told) == f"Before you leave, do the following: {items}"


def test_an_item_brings_the_whole_list_only_where_several_things_are_asked_for() -> None:
    assert grown("Write to the office", several=True).startswith("Before you leave")
    assert grown("Write to the office", several=True).endswith("Say goodbye.")
    assert grown("Write to the office", several=False) == "Write to the office"


def test_what_no_line_announces_and_what_is_no_list_stays() -> None:
    for words in ("Another thing", "It takes a week.", "Everybody may leave.", "Leaving"):
        assert grown(words, several=True) == words
    assert whole_list("", 0, 0, several=True) == (0, 0)


def test_a_long_list_ends_with_an_item() -> None:
    items = "".join(f"- item number {i} of those that are needed here\n" for i in range(60))
    text = f"Bring these:\n{items}"
    start, end = whole_list(text, 0, len("Bring these:"), several=False)
    assert start == 0 and 0.8 * LONGEST < end <= LONGEST and text[end] == "\n"
    at = text.index("item number 50")
    assert whole_list(text, at, at + 10, several=True) == (at, at + 10)  # too far from what announces it


@pytest.mark.parametrize(
    ("question", "several"),
    [
        ("What steps should I take?", True),
        ("Which documents must be handed in?", True),
        ("How do I leave?", True),
        ("List the members.", True),
        ("Which key is it?", False),
        ("Who has the keys?", False),
    ],
)
def test_what_asks_for_several_things(question: str, several: bool) -> None:
    assert asks_for_several(question) is several
