"""Sentences out of a stream of text, as early as they can be spoken.

    for sentence in speakable_sentences(pieces):       # pieces: "The rent is $1,2", "00. It is d", "ue monthly."
        speak(sentence)

A citation mark after the full stop belongs to the sentence before it. A stop after an abbreviation, an initial or a
number ends nothing unless what follows shows it. Chinese and Japanese stops end a sentence without a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MAX_SENTENCE = 400  # characters; longer ones are divided at a comma or a space, so that speech never waits for long

_ABBREVIATIONS = frozenset(
    str.split(
        """mr mrs ms dr prof st jr sr vs e.g i.e etc cf approx no nos fig figs eq eqs sec secs art arts ch vol
        pp p ed eds al inc ltd co corp llc bros dept est tel ext app ref refs sect vols
        messrs capt lt sgt u.s.c c.f.r gen gov sen rep hon rev jan feb mar apr jun
        jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun u.s u.k u.n e.u d.c
        a.m p.m ph.d b.a m.a b.c a.d ca viz resp incl excl max min ave blvd rd ft para"""
    )
)
# These may well be the last word: what follows decides.
_MAY_END = frozenset(str.split("etc inc ltd co corp llc jr sr d.c a.m p.m ph.d b.c a.d al est ext app ref refs"))

_MARKS = r"(?:\s*\[\d+(?:\s*,\s*\d+)*\])*"  # [1], [2, 3]
_STOP = re.compile(
    rf"[.!?…]+[\"'”’»)\]]*{_MARKS}(?=\s|\Z)"
    rf"|[。！？]+[”’」』）]*{_MARKS}"
    r"|\n\s*\n"
    r"|\n(?=\s*(?:[-*•#|]|\d+[.)])\s)"  # before a list item, heading or table row
)
_MARK_BEGINS = re.compile(r"\s*(?:\[[\d,\s]*)?$")
_LAST_WORD = re.compile(r"[\w.’'&-]+$")


class SentenceSplitter:
    """Collects text and gives back every sentence that is certainly complete. State: the unfinished rest."""

    def __init__(self) -> None:
        self._rest = ""

    def push(self, piece: str) -> list[str]:
        """Add text; the sentences that it completes."""
        self._rest += piece
        return self._take(final=False)

    def looks_complete(self) -> bool:
        """Whether what is held back would be a sentence if nothing followed ("... monthly." without a space yet)."""
        rest = self._rest.rstrip()
        return bool(rest) and rest[-1] in '.!?…"”’)]:' and bool(re.search(r"[.!?…][\"'”’)\]\d\[, ]*$", rest))

    def flush(self) -> list[str]:
        """The text has ended: everything that is left."""
        sentences = self._take(final=True)
        rest, self._rest = self._rest.strip(), ""
        return [*sentences, *_divide(rest)] if rest else sentences

    def _take(self, *, final: bool) -> list[str]:
        sentences: list[str] = []
        start = 0
        for stop in _STOP.finditer(self._rest):
            before, after = self._rest[start : stop.end()], self._rest[stop.end() :]
            verdict = _ends_here(self._rest[start : stop.start()], stop.group(), after, final=final)
            if verdict is None:
                break  # the next piece will tell
            if verdict and before.strip():
                sentences += _divide(before.strip())
                start = stop.end()
        self._rest = self._rest[start:]
        if len(self._rest) > 2 * MAX_SENTENCE:  # a "sentence" without an end
            *ready, self._rest = _divide(self._rest)
            sentences += ready
        return sentences


def speakable_sentences(text_pieces: Iterable[str]) -> Iterator[str]:
    """Sentences of a text that arrives in pieces of any length, each as soon as it is known to be complete."""
    splitter = SentenceSplitter()
    for piece in text_pieces:
        yield from splitter.push(piece)
    yield from splitter.flush()


def split_sentences(text: str) -> list[str]:
    """The sentences of a whole text."""
    return list(speakable_sentences([text]))


def _ends_here(before: str, stop: str, after: str, *, final: bool) -> bool | None:
    """Whether the stop ends the sentence `before`; None if only the text to come can tell."""
    if stop[0] == "\n":
        return True
    if not final and _MARK_BEGINS.match(after):
        return None  # a citation mark may follow, and belongs to this sentence
    if stop[0] in "!?…。！？" or len(stop.rstrip()) > 1:
        return True
    match = _LAST_WORD.search(before)
    word = match.group().lower() if match else ""
    number = word.isdigit()
    initial = len(word) == 1 and word.isalpha() and word != "i"
    dotted = re.fullmatch(r"(?:[a-z]\.)+[a-z]", word)  # U.S.C., C.F.R., and whatever else is shortened so
    if not (number or initial or dotted or word in _ABBREVIATIONS):
        return True
    if number and before.strip().lower() == word:
        return False  # "2. " at the beginning numbers a list
    following = after.lstrip()
    if not following:
        return True
    if number:
        return not following[0].islower()
    return (word in _MAY_END or (bool(dotted) and word not in _ABBREVIATIONS)) and (
        following[0].isupper() and not re.match(r"[A-Z]\.", following)
    )


def _divide(sentence: str) -> list[str]:
    """Pieces of at most MAX_SENTENCE characters, cut after the last comma or space that fits."""
    pieces = []
    while len(sentence) > MAX_SENTENCE:
        window = sentence[:MAX_SENTENCE]
        cut = max(window.rfind(mark) for mark in (", ", "; ", "，", "；", ": ", "、"))
        cut = cut + 1 if cut > MAX_SENTENCE // 3 else window.rfind(" ")
        cut = cut if cut > 0 else MAX_SENTENCE
        pieces.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [*pieces, sentence] if sentence else pieces
