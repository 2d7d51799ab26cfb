"""How well words fit a sound, by the phones that are heard in it: P(their phones | sound), summed over all timings.

    line = PhoneAlignment(heard, ["what", "helped", "the", "chasers"], pronounce)
    line.gain(3, 4, ["khazars"])        # 9.2: log P of the line with "khazars" instead of "chasers" minus without
    line.starts                         # frame in which each word most likely begins, and the number of frames

The forward-backward algorithm of CTC (Graves et al., ICML 2006) over the words' phones, each perhaps before blanks;
of several pronunciations of a word each may have been said. What stands before and behind the words in question is
computed once, so each comparison costs only their own phones. A sound said once at the end of a word and the beginning
of the next may count for both, as people say "this summer".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from omni.phone_recogniser import BLANK, READ, HeardPhones

Pronounce = Callable[[str], Sequence[Sequence[int]]]  # a word's pronunciations, each as numbers of PHONES
LEAST = -14.0  # log-probability of a phone in a frame: below, the network knows nothing
SLACK = 12  # frames around words in question in which others may stand


class PhoneAlignment:
    """One utterance and its words. Immutable after its making."""

    def __init__(self, heard: HeardPhones, words: Sequence[str], pronounce: Pronounce) -> None:
        """words: lower case; one that cannot be said counts as silent."""
        self._pronounce = pronounce
        self._skipped = heard.skipped
        frames = len(heard.logp)
        clipped = np.maximum(heard.logp, LEAST).astype(np.float64)
        self._sums = np.zeros((clipped.shape[1], frames + 1))  # of each phone over frames 0..b-1
        np.cumsum(clipped.T, axis=1, out=self._sums[:, 1:])
        self._blank = self._sums[BLANK]
        before = self._blank.copy()  # log P(words so far, blanks and all, end before frame b)
        self._before = [before]
        for word in words:
            before = self._through(before, word, 0, frames)
            self._before.append(before)
        behind = np.full(frames + 1, -np.inf)  # log P(words from here on | the first begins in frame b)
        behind[-1] = 0.0
        self._behind = [behind]
        for word in reversed(words):
            behind = self._back(behind, word)
            self._behind.append(behind)
        self._behind.reverse()
        self.total = float(self._before[-1][-1])
        self.starts = [
            int(np.argmax(ahead + rest)) for ahead, rest in zip(self._before, self._behind, strict=True)
        ]  # the last: the number of frames

    def gain(self, start: int, end: int, words: Sequence[str]) -> float | None:
        """log P(sound's phones are those of the line with `words` for words start..end-1) minus without, nats.

        None: none of the words can be said.
        """
        if words and not any(self._pronounce(word) for word in words):
            return None
        first = max(0, self.starts[start] - SLACK)
        last = min(len(self._blank) - 1, self.starts[end] + SLACK)
        passing = self._before[start][first : last + 1]
        for word in words:
            passing = self._through(passing, word, first, last)
        return float(np.logaddexp.reduce(passing + self._behind[end][first : last + 1])) - self.total

    # ----------------------------------------------------------------------------------------------------------------

    def _through(self, entry: np.ndarray, word: str, first: int, last: int) -> np.ndarray:
        """log P at boundaries first..last before a word -> behind it and the blanks after it."""
        said = self._pronounce(word)
        if not said:
            return entry
        blank = self._blank[first : last + 1]
        exits = []
        for phones in said:
            passing = entry
            for phone in phones:
                sums = self._sums[phone, first : last + 1]
                spoken = np.concatenate([[-np.inf], sums[1:] + np.logaddexp.accumulate((passing - sums)[:-1])])
                spoken = blank + np.logaddexp.accumulate(spoken - blank)
                passing = spoken if phone < READ else np.logaddexp(spoken, passing + self._skipped[phone])
            exits.append(passing)
        return exits[0] if len(exits) == 1 else np.logaddexp.reduce(exits)

    def _back(self, behind: np.ndarray, word: str) -> np.ndarray:
        """The same from the other side: the word begins in just that frame."""
        said = self._pronounce(word)
        if not said:
            return behind
        entries = []
        for phones in said:
            rest = behind
            for phone in reversed(phones):
                sums = self._sums[phone]
                spoken = np.logaddexp.accumulate((rest + self._blank)[::-1])[::-1] - self._blank
                ahead = np.logaddexp.accumulate((spoken + sums)[:0:-1])[::-1]  # of later boundaries only
                spoken = np.concatenate([ahead - sums[:-1], [-np.inf]])
                rest = spoken if phone < READ else np.logaddexp(spoken, rest + self._skipped[phone])
            entries.append(rest)
        return entries[0] if len(entries) == 1 else np.logaddexp.reduce(entries)
