"""Phones of an utterance and the state vectors that the decoder reads.

`utterance(...)` and `states(...)` are shared by training (phones of the teacher) and speaking (phones of our lexicon),
so both see the same description: phone, stress, word edges, the punctuation that ends the phrase, and how many
syllables lie before and after within the phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PAUSE = "pau"
VOWELS = tuple(str.split("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw"))
CONSONANTS = tuple(str.split("b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh"))
PHONES = (PAUSE, *VOWELS, *CONSONANTS)  # ARPAbet in lower case, with ax for the unstressed AH
INDEX = {phone: index for index, phone in enumerate(PHONES)}

_MARKS = {",": 0, ";": 0, ":": 0, "-": 0, ".": 1, "!": 1, "?": 2}  # how a phrase ends; 3: not by punctuation
_BUCKETS = 8  # of syllables before and after, the last one open
STATE_DIM = len(PHONES) + 3 + 4 + 2 * _BUCKETS + 2


@dataclass(frozen=True)
class Phone:
    name: str
    stress: int = 0  # 1: the vowel of a stressed syllable
    starts_word: bool = False
    ends_word: bool = False
    mark: str = ""  # on a pause: the punctuation that it stands for


def states(phones: Sequence[Phone]) -> np.ndarray:
    """Phones of one utterance, pauses at both ends included -> (N, STATE_DIM) float32 of zeros and ones."""
    out = np.zeros((len(phones), STATE_DIM), np.float32)
    stops = [index for index, phone in enumerate(phones) if phone.name == PAUSE] or [len(phones)]
    phrase_start = 0
    for stop in [*stops, len(phones)]:
        mark = phones[stop].mark if stop < len(phones) else "."
        _phrase(phones, out, phrase_start, min(stop + 1, len(phones)), mark, last=not stops or stop >= stops[-1])
        phrase_start = min(stop + 1, len(phones))
    return out


def _phrase(phones: Sequence[Phone], out: np.ndarray, start: int, stop: int, mark: str, *, last: bool) -> None:
    n_vowels = sum(phones[i].name in VOWELS for i in range(start, stop))
    before = 0
    for i in range(start, stop):
        phone = phones[i]
        at = len(PHONES)
        out[i, INDEX[phone.name]] = 1
        is_vowel = phone.name in VOWELS
        out[i, at : at + 3] = (phone.stress if is_vowel else 0, phone.starts_word, phone.ends_word)
        at += 3
        out[i, at + _MARKS.get(mark[:1], 3)] = 1
        at += 4
        out[i, at + min(before, _BUCKETS - 1)] = 1
        at += _BUCKETS
        before += is_vowel
        out[i, at + min(n_vowels - before, _BUCKETS - 1)] = 1
        at += _BUCKETS
        out[i, at : at + 2] = (start <= 1, last)
