"""The pronouncing dictionary: words -> phones with stress, in one compressed file, read at the first word.

Lines `word ph on e1 s`, digits only on stressed vowels. Built by `python -m omni.train.voice lexicon`: the words of
CMUdict with the pronunciations that the teacher uses, so that the voice hears the phones it was trained on.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

from omni.voice.phones import VOWELS

Pronunciation = tuple[str, ...]  # "l", "iy1", "s"

_SIBILANTS = frozenset(str.split("s z sh zh ch jh"))
_VOICELESS = frozenset(str.split("p t k f th"))

LETTERS: dict[str, Pronunciation] = {
    letter: tuple(phones.split())
    for letter, phones in {
        "a": "ey1", "b": "b iy1", "c": "s iy1", "d": "d iy1", "e": "iy1", "f": "eh1 f", "g": "jh iy1", "h": "ey1 ch",
        "i": "ay1", "j": "jh ey1", "k": "k ey1", "l": "eh1 l", "m": "eh1 m", "n": "eh1 n", "o": "ow1", "p": "p iy1",
        "q": "k y uw1", "r": "aa1 r", "s": "eh1 s", "t": "t iy1", "u": "y uw1", "v": "v iy1",
        "w": "d ah1 b ax l y uw", "x": "eh1 k s", "y": "w ay1", "z": "z iy1",
    }.items()
}  # fmt: skip


class Lexicon:
    """Words -> pronunciations; `guess` answers for words that it does not hold."""

    def __init__(self, entries: dict[str, Pronunciation], guess: Callable[[str], Pronunciation] | None = None) -> None:
        self._entries = entries
        self._guess = guess

    @classmethod
    def load(cls, path: Path, guess: Callable[[str], Pronunciation] | None = None) -> Lexicon:
        entries = {}
        with gzip.open(path, "rt", encoding="ascii") as file:
            for line in file:
                word, _, phones = line.rstrip("\n").partition(" ")
                entries[word] = tuple(phones.split())
        return cls(entries, guess)

    def save(self, path: Path) -> None:
        lines = "".join(f"{word} {' '.join(phones)}\n" for word, phones in sorted(self._entries.items()))
        path.write_bytes(gzip.compress(lines.encode("ascii"), mtime=0))

    @property
    def words(self) -> list[str]:
        return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, word: str) -> bool:
        return word in self._entries

    def __call__(self, word: str) -> Pronunciation:
        """A lower-case word of a to z and apostrophes -> its phones; never empty for a word with letters."""
        found = self._entries.get(word) or self._inflected(word) or self._compound(word)
        if found:
            return found
        letters = re.sub(r"[^a-z]", "", word)
        if len(letters) == 1:
            return LETTERS[letters]
        guessed = self._guess(letters) if self._guess and letters else ()
        # no vowel at all ("hmm" is in the dictionary, "xkcd" is not): letters
        if not any(phone.rstrip("1") in VOWELS for phone in guessed):
            return tuple(phone for letter in letters for phone in LETTERS[letter])
        return guessed

    def _inflected(self, word: str) -> Pronunciation:
        """Possessives and plurals of words that are known."""
        for ending in ("'s", "s'", "s"):
            stem = word.removesuffix(ending)
            if stem != word and (phones := self._entries.get(stem)):
                return plural(phones)
        return ()

    def _compound(self, word: str) -> Pronunciation:
        """Two known words in one ("videoboard"), cut as late as possible; short ones are too often chance."""
        for cut in range(len(word) - 4, 3, -1):
            if (first := self._entries.get(word[:cut])) and (second := self._entries.get(word[cut:])):
                return first + tuple(phone.rstrip("1") for phone in second)
        return ()


def plural(phones: Pronunciation) -> Pronunciation:
    last = phones[-1]
    if last in _SIBILANTS:
        return (*phones, "ax", "z")
    return (*phones, "s" if last in _VOICELESS else "z")
