"""Words looked for in a sound by their phones alone: what neither recogniser has ever read is found all the same.

    index = PhoneIndex({"khazars": [[...]], "kiev": [[...]]})       # pronunciations in numbers of PHONES
    index.spotted(heard)                    # [Spot("khazars", 62, 85, -0.31), ...]: best first

CTC-based word spotting (after Andrusenko et al., Interspeech 2024): the best path of each word's phones and blanks
through the frames, beginning and ending anywhere, against the likeliest phones of the same frames. All words at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omni.phone_recogniser import BLANK, READ, HeardPhones

LEAST_PHONES = 4  # shorter words are everywhere
WORST = -2.0  # nats a phone, against the likeliest phones
KEPT = 40
LEAST = -9.0  # log-probability of a phone in a frame beside the likeliest: below, the network knows nothing


@dataclass(frozen=True)
class Spot:
    """A word that may stand in a sound."""

    word: str
    start: int  # frame in which it begins
    end: int  # frame behind its last
    score: float  # log-probability of its phones minus that of the likeliest, nats a phone: at most 0


class PhoneIndex:
    """Words by their phones. Immutable after its making."""

    def __init__(self, words: Mapping[str, Sequence[Sequence[int]]]) -> None:
        said = [(word, tuple(phones)) for word, ways in words.items() for phones in ways if len(phones) >= LEAST_PHONES]
        said.sort(key=lambda pair: -len(pair[1]))  # so that those still spoken stand first
        self._words = [word for word, _ in said]
        self._lengths = np.array([len(phones) for _, phones in said], np.int64)
        self._phones = np.zeros((len(said), int(self._lengths.max(initial=1))), np.int64)
        for row, (_, phones) in enumerate(said):
            self._phones[row, : len(phones)] = phones

    def spotted(self, heard: HeardPhones, kept: int = KEPT, worst: float = WORST) -> list[Spot]:
        """Where its words are likeliest; each word once, best first."""
        if not self._words or not len(heard.logp):
            return []
        beside = np.maximum(heard.logp - heard.logp[:, :READ].max(-1, keepdims=True), LEAST).astype(np.float32)
        scores, ends = self._best_ends(beside, heard.skipped)
        scores = scores / self._lengths
        found: dict[str, Spot] = {}
        for row in np.argsort(-scores, kind="stable"):
            if scores[row] < worst or len(found) >= kept:
                break
            word = self._words[row]
            if word not in found:
                phones = self._phones[row, : self._lengths[row]]
                end = int(ends[row])
                found[word] = Spot(word, _start(beside[:end], phones), end, float(scores[row]))
        return list(found.values())

    def _best_ends(self, beside: np.ndarray, skipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score of each row's best path, and the boundary where it ends."""
        sums = _sums(beside)
        blank = sums[BLANK]
        passing = np.zeros((len(self._words), len(beside) + 1), np.float32)  # best up to each boundary
        best = np.zeros(len(self._words), np.float32)
        ends = np.zeros(len(self._words), np.int64)
        for place in range(self._phones.shape[1]):
            alive = int(np.searchsorted(-self._lengths, -place))  # rows that have a phone here
            phone = sums[self._phones[:alive, place]]
            spoken = np.full((alive, phone.shape[1]), -np.inf, np.float32)
            spoken[:, 1:] = phone[:, 1:] + np.maximum.accumulate(passing[:alive, :-1] - phone[:, :-1], axis=1)
            done = np.flatnonzero(self._lengths[:alive] == place + 1)
            ends[done] = spoken[done].argmax(1)
            best[done] = spoken[done, ends[done]]
            silent = passing[:alive] + skipped[self._phones[:alive, place], None]
            passing = np.maximum(blank + np.maximum.accumulate(spoken - blank, axis=1), silent)
        return best, ends


def _start(beside: np.ndarray, phones: np.ndarray) -> int:
    """Frame in which the best path of phones begins that ends with the last frame: the same, backwards."""
    sums = _sums(beside[::-1])
    passing = np.full(len(beside) + 1, -np.inf, np.float32)
    passing[0] = 0.0
    for place, number in enumerate(phones[::-1]):
        if place:
            passing = sums[BLANK] + np.maximum.accumulate(passing - sums[BLANK])
        passing[1:] = sums[number, 1:] + np.maximum.accumulate((passing - sums[number])[:-1])
        passing[0] = -np.inf
    return len(beside) - int(passing.argmax())


def _sums(beside: np.ndarray) -> np.ndarray:
    """(40, frames + 1): of each column over the frames before a boundary."""
    return np.concatenate([np.zeros((1, beside.shape[1]), np.float32), np.cumsum(beside, axis=0)]).T
