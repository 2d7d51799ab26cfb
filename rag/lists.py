"""Lists are quoted whole: the line that announces one answers nothing without its items, one item is cut short.

>>> text = "Do the following:\\n• Orphan your packages.\\n• Write to the list.\\nThat is all."
>>> start, end = whole_list(text, *(text.index("Write"), text.index("list.") + 5), several=True)
>>> in_words(text[start:end])
'Do the following: Orphan your packages. Write to the list.'
"""

from __future__ import annotations

import re

from ingest.sentences import sentence_spans
from rag.question_type import wants_several_sentences
from rag.two_readings import needs_both

LONGEST = 900  # characters of a list that is quoted: a minute of speech
_BULLET = re.compile(r"[ \t]*[•●○▪■◦‣∙·–—*-][ \t]+(?=\S)")
_ITEM = re.compile(rf"{_BULLET.pattern}|[ \t]*\(?(?:\d{{1,2}}|[a-z]|[ivx]{{1,4}})[.)][ \t]+(?=\S)")
_PLURAL = re.compile(
    r"\b(?:what|which) (?:\w+ ){0,2}?(?!(?:is|was|does|has|this|process|basis|status|bus|class|address|business)\b)"
    r"[a-z]{2,}(?<![sui])s (?:are|were|do|does|did|can|should|must|may|have|will|need|make|belong|come)\b",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.!?:;,…][\"”’)]*$")


def whole_list(text: str, start: int, end: int, *, several: bool) -> tuple[int, int]:
    """[start, end) grown to a list of two items or more, with the line that announces it, where there is one.

    From the announcement on always, from one of its items only where `several` things are asked for. Lists that are
    longer than LONGEST end with the last item that fits, the one at `start` always among them.
    """
    lines = _lines(text, start, end)
    here = next((i for i, (first, last) in enumerate(lines) if first <= start < last or first == start), None)
    if here is None:
        return start, end
    announcement = here
    while announcement >= 0 and _ITEM.match(text, *lines[announcement]):
        announcement -= 1
    if announcement < 0 or (announcement < here and not several):
        return start, end
    if not text[slice(*lines[announcement])].rstrip().endswith(":") or start - lines[announcement][0] > LONGEST:
        return start, end
    if announcement == here and not text[start:end].rstrip().endswith(":"):
        return start, end  # another sentence of the line
    stop = announcement + 1
    while stop < len(lines) and _ITEM.match(text, *lines[stop]):
        fits = lines[stop][1] - lines[announcement][0] <= LONGEST
        if not fits and stop > here:
            break
        stop += 1
    if stop - announcement < 3 or max(end, lines[stop - 1][1]) != lines[stop - 1][1]:
        return start, end
    if announcement == here:
        return start, lines[stop - 1][1]
    opening = lines[announcement][0]
    sentences = sentence_spans(text[slice(*lines[announcement])])  # the last of the paragraph announces
    return opening + (sentences[-1][0] if sentences else 0), lines[stop - 1][1]


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The lines around [start, end), blank ones left out, as far as a list may reach."""
    low = text.rfind("\n", 0, max(0, start - 2 * LONGEST)) + 1
    high = text.find("\n", min(len(text), end + 2 * LONGEST))
    lines = [m.span() for m in re.finditer(r"[^\n]+", text[low : high if high >= 0 else len(text)])]
    return [(low + a, low + b) for a, b in lines if text[low + a : low + b].strip()]


def asks_for_several(question: str) -> bool:
    """Whether things are asked for rather than one: "What steps ...?", "Which documents must ...?", "List the ..."

    >>> [asks_for_several(q) for q in ("What steps should I take?", "Which bus goes there?", "How do I leave?")]
    [True, False, True]
    """
    return wants_several_sentences(question) or needs_both(question) or bool(_PLURAL.search(question))


def in_words(text: str) -> str:
    """A list as running text: bullets go, items end."""
    items = [" ".join(_BULLET.sub("", line, count=1).split()) for line in text.split("\n") if line.strip()]
    return " ".join(item if _ENDED.search(item) or i == len(items) - 1 else f"{item};" for i, item in enumerate(items))


def is_list(text: str) -> bool:
    """Whether a text is an announcement with its items."""
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 2 and lines[0].rstrip().endswith(":") and all(_ITEM.match(line) for line in lines[1:])
