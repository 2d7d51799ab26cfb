"""What an abbreviation stands for: words whose initials it is, where a passage has them side by side.

"What does FHS stand for?" shares no word with "the Filesystem Hierarchy Standard (FHS)" but the abbreviation itself,
and none at all with "the Filesystem Hierarchy Standard". Initials are what tells.

>>> text = "Those who are deemed Missing In Action are recorded."
>>> [text[start:end] for start, end in expansions("MIA", text)]
['Missing In Action']
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ingest.sentences import sentence_spans
from rag.types import Hit, Span

_ASKED = re.compile(
    r"\bwhat (?:does|do|did|is|are) (?:the )?(?:abbreviations? |acronyms? |letters? |initials? )?[\"“'‘]?"
    r"([A-Z][A-Za-z]?(?:[A-Z&.]){1,7})[\"”'’]?s?"
    r"(?: (?:stand|mean|short|an? (?:abbreviation|acronym))\b|\s*\?|$)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SMALL = frozenset(("a", "an", "and", "at", "by", "de", "for", "in", "of", "on", "or", "the", "to", "with"))


def abbreviation_asked(question: str) -> str:
    """The abbreviation whose meaning is asked for; "" if none is.

    >>> abbreviation_asked("What does MIA stand for?"), abbreviation_asked("What does Mia say?")
    ('MIA', '')
    """
    found = _ASKED.search(question)
    letters = found.group(1) if found else ""
    return letters if sum(letter.isupper() for letter in letters) >= 2 and not question.isupper() else ""


def expansions(abbreviation: str, text: str) -> list[tuple[int, int]]:
    """Places [start, end) in `text` of words with the abbreviation's letters as initials.

    They are capitals, or the abbreviation stands beside them. Small words ("of", "the") may be left out of the letters.
    """
    letters = [letter.lower() for letter in abbreviation if letter.isalpha()]
    words = list(_WORD.finditer(text))
    found = []
    for first in range(len(words)):
        last = _spelt(letters, words, first, text)
        if last is None:
            continue
        start, end = words[first].start(), words[last].end()
        near = text[max(0, start - len(abbreviation) - 4) : start] + text[end : end + len(abbreviation) + 4]
        capitals = [w for w in words[first : last + 1] if w.group().lower() not in _SMALL]
        beside = re.search(rf"[(\"“=–—-]\s*{re.escape(abbreviation)}\b", near)
        if beside or all(w.group()[0].isupper() for w in capitals):
            found.append((start, end))
    return found


def _spelt(letters: Sequence[str], words: Sequence[re.Match[str]], first: int, text: str) -> int | None:
    """The last of the words from `first` on that spell the letters; None if they do not."""
    at = 0
    for number in range(first, min(len(words), first + 2 * len(letters))):
        word = words[number].group().lower()
        if number > first and not re.fullmatch(r"[\s/&,-]{1,3}", text[words[number - 1].end() : words[number].start()]):
            return None
        if word[0] == letters[at]:
            at += 1
            if at == len(letters):
                return number if len(word) > 1 else None
        elif number == first or word not in _SMALL:
            return None
    return None


def spelt_out(question: str, hits: Sequence[Hit]) -> list[Hit]:
    """Hits, the sentence that spells out the abbreviation asked for first; unchanged where none is or none does."""
    abbreviation = abbreviation_asked(question)
    if not abbreviation:
        return list(hits)
    for number, hit in enumerate(hits):
        chunk = hit.chunk
        for start, end in expansions(abbreviation, chunk.text):
            sentence = next((s for s in sentence_spans(chunk.text) if s[0] <= start and end <= s[1]), (start, end))
            score = max([0.9, *(span.score + 1e-6 for other in hits for span in other.spans)])
            span = Span(
                chunk.document, chunk.document_id, chunk.page, chunk.start + start, chunk.start + end,
                chunk.text[start:end], min(score, 1.0), chunk.chunk_id,
                sentence=(chunk.start + sentence[0], chunk.start + sentence[1]),
            )  # fmt: skip
            rest = [s for s in hit.spans if s.end <= span.sentence[0] or span.sentence[1] <= s.start]  # type: ignore[index]
            first = replace(hit, spans=(span, *rest), no_answer=0.0)
            others = [replace(other, no_answer=0.0) for i, other in enumerate(hits) if i != number]
            return [first, *others]
    return list(hits)
