"""Several readings of one sound, word by word: where they differ from one of them, and what they have in its place.

words = words_in("What did the chasers help with?")           # Word("What", 0, 4), ...
other = OtherReading([word.key for word in words], "what did the khazars help with", 0.4)
list(other.differences())                                     # [(3, 4, ["khazars"])]
other.at(3, 4)                                                # ("khazars",)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

RUN = 5  # words that another reading may have in the place of others
FITS = 0.4  # of the words, at least, are understood by another recogniser as well

_WORD = re.compile(r"[A-Za-z0-9$%]+(?:[.,][0-9]+)*(?:'[A-Za-z]+)*")
Readings = Sequence[tuple[str, float]]  # texts and their probabilities


@dataclass(frozen=True)
class Word:
    """One written word of a line."""

    text: str  # as written
    start: int
    end: int

    @property
    def key(self) -> str:
        return self.text.lower()


def words_in(line: str) -> list[Word]:
    return [Word(match[0], match.start(), match.end()) for match in _WORD.finditer(line)]


def fits(line: str, second: Readings, least: float = FITS) -> bool:
    """Whether pocketsphinx understands the voice about as the network does; its model knows few accents."""
    words = [word.key for word in words_in(line)]
    return bool(second) and OtherReading(words, *second[0]).shared >= least * len(words)


class OtherReading:
    """Another reading's words beside those of a line."""

    def __init__(self, words: Sequence[str], text: str, p: float) -> None:
        """words: of the line, in lower case; text: the other reading; p: its probability."""
        self.p = p
        self._words = _WORD.findall(text)
        self._keys = tuple(word.lower() for word in self._words)
        matcher = SequenceMatcher(None, words, self._keys, autojunk=False)
        self._blocks = matcher.get_opcodes()
        self._count = len(words)

    @property
    def shared(self) -> int:
        """Words that both have in the same order."""
        return sum(end - start for kind, start, end, _, _ in self._blocks if kind == "equal")

    def differences(self) -> Iterator[tuple[int, int, list[str]]]:
        """Where it has other words: start and end in the line, and its own."""
        for kind, start, end, first, last in self._blocks:
            if kind == "equal":
                continue
            if kind == "insert":  # a word beside it goes along: there must be something to replace
                if start > 0:
                    start, first = start - 1, first - 1
                elif end < self._count:
                    end, last = end + 1, last + 1
            if 0 < end - start <= RUN and last - first <= RUN:
                yield start, end, self._words[first:last]
            if kind == "replace" and 1 < end - start == last - first:  # perhaps only some of them
                for offset in range(end - start):
                    yield start + offset, start + offset + 1, [self._words[first + offset]]

    def at(self, start: int, end: int) -> tuple[str, ...]:
        """Its words in the place of words start..end-1 of the line."""
        places: list[int] = []
        for kind, begins, ends, first, last in self._blocks:
            if kind == "insert":
                if start < begins < end:
                    places += [first, last]
            elif begins < end and start < ends:
                if kind == "equal" or ends - begins == last - first:
                    places += [first + max(0, start - begins), first + min(ends, end) - begins]
                else:
                    places += [first, last]
        return self._keys[min(places) : max(places)] if places else ()
