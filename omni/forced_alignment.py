"""How well other words would fit what was said, by a second acoustic model: pocketsphinx, told the words to listen for.

    with aligned(samples, ["what", "helped", "the", "chasers"]) as heard:
        heard.gain(3, 4, ["khazars"])       # 61.2: nats that the sound speaks for "khazars" in the place of "chasers"

Forced alignment (Viterbi over the phones of given words) of a whole utterance takes .01 of its length; each comparison
then hears only the words in question and their neighbours. No language model takes part: the dictionary, and the
voice's letters-to-sound for words that it lacks. Neighbouring frames are not independent: ten nats of it are worth
about one of a calibrated probability.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from omni.arpabet import pronunciations
from omni.audio import to_pcm16
from omni.sphinx_library import new_decoder
from omni.types import Waveform
from omni.vad import SAMPLE_RATE

MAX_ADDED = 4000  # words that the dictionary lacked; then a new one begins, so that nothing grows for ever
_FRAME = SAMPLE_RATE // 100 * 2  # bytes
_BEFORE, _AFTER = 2, 3  # frames of slack around the neighbours
_SPARE = 2  # words at the end that may have been heard in nothing
_NATS = 1024  # its integer scores are logarithms divided by this


class Alignment:
    """One utterance and where its words stand. Valid inside `aligned`."""

    def __init__(self, ears: _Ears, pcm: bytes, words: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        self._ears, self._pcm = ears, pcm
        self._words, self._places = words, places  # first and last frame of each
        self._memo: dict[tuple[Any, ...], tuple[float | None, bool]] = {}

    def gain(self, start: int, end: int, words: Sequence[str]) -> float | None:
        """Log-likelihood of `words` in the place of words start..end-1 minus theirs, nats; None: it cannot be told."""
        if words and not any(self._ears.knows(word) for word in words):
            return None
        count = len(self._words)
        first = max(0, start - 1)
        begins = max(0, self._places[first][0] - _BEFORE) if start else 0
        # the neighbour on the right must be heard to its end, too: another one helps a short one
        for last in sorted({min(count, end + neighbours) for neighbours in (1, 2)}):
            ends = self._places[last - 1][1] + _AFTER if end < count else len(self._pcm) // _FRAME
            left, right = self._words[first:start], self._words[end:last]
            old, whole = self._score(begins, ends, (*left, *self._words[start:end], *right))
            if whole:
                break
        new, fits = self._score(begins, ends, (*left, *words, *right))
        return new - old if fits and old is not None and new is not None else None

    def _score(self, begins: int, ends: int, words: tuple[str, ...]) -> tuple[float | None, bool]:
        key = (begins, ends, words)
        if key not in self._memo:
            self._memo[key] = self._ears.part(self._pcm[begins * _FRAME : ends * _FRAME], words)
        return self._memo[key]


@contextmanager
def aligned(samples: np.ndarray, words: Sequence[str]) -> Iterator[Alignment | None]:
    """(n,) float32 at 16 kHz and the lower-case words heard in it; None if they do not fit. One at a time."""
    pcm = to_pcm16(Waveform(samples, SAMPLE_RATE)).tobytes()
    with _LOCK:
        ears = _ears()
        places = ears.whole(pcm, words)
        yield None if places is None else Alignment(ears, pcm, words, places)
        if ears.added > MAX_ADDED:
            _ears.cache_clear()


_LOCK = threading.Lock()


class _Ears:
    def __init__(self) -> None:
        self._decoder: Any = new_decoder(language_model=False)
        self._known: dict[str, bool] = {}
        self._mean = ""
        self.added = 0

    def whole(self, pcm: bytes, words: Sequence[str]) -> list[tuple[int, int]] | None:
        heard = (self._hear(pcm, words[: len(words) - spare], full=True) for spare in range(_SPARE + 1))
        if all(score is None for score in heard):
            return None
        self._mean = self._decoder.get_cmn(False)  # of the whole utterance, for its parts
        found = self._found()
        places: list[tuple[int, int]] = []
        waiting = iter(found)
        for word in words:  # one that cannot be said, or that its sound has no room for, stands at the end of the last
            last = places[-1][1] if places else 0
            places.append(next(waiting, (last, last)) if self.knows(word) else (last, last))
        return places if found else None

    def part(self, pcm: bytes, words: Sequence[str]) -> tuple[float | None, bool]:
        """Score of the words, and whether all were heard: if not, it is that of the first of them, which is higher."""
        score = self._hear(pcm, words, full=False)
        return score, score is not None and len(self._found()) == sum(map(self.knows, words))

    def _found(self) -> list[tuple[int, int]]:
        """First and last frame of each word that was heard."""
        return [(word.start_frame, word.end_frame) for word in self._decoder.seg() if word.word[0] not in "<["]

    def _hear(self, pcm: bytes, words: Sequence[str], *, full: bool) -> float | None:
        """Score of the words, nats."""
        words = [word for word in words if self.knows(word)]
        if not words or not pcm:
            return None
        self._decoder.set_align_text(" ".join(words))
        self._decoder.start_stream()
        self._decoder.start_utt()
        try:
            if not full:
                self._decoder.set_cmn(self._mean)
            self._decoder.process_raw(pcm, no_search=False, full_utt=full)
        finally:
            self._decoder.end_utt()
        found = self._decoder.hyp()
        return math.log(found.best_score) * _NATS if found is not None and found.best_score > 0 else None

    def knows(self, word: str) -> bool:
        if word not in self._known:
            known = self._decoder.lookup_word(word) is not None
            if not known:
                said = pronunciations(word)
                for index, phones in enumerate(said, start=1):
                    self._decoder.add_word(word if index == 1 else f"{word}({index})", phones, False)
                known = bool(said)
                self.added += 1
            if len(self._known) > 2 * MAX_ADDED:
                self._known.clear()
            self._known[word] = known
        return self._known[word]


@lru_cache(maxsize=1)
def _ears() -> _Ears:
    return _Ears()
