"""Pronunciations of unknown words from their letters: a joint n-gram model of letters and phones, from the dictionary.

    guess = LettersToSound.load(SHIPPED / "letters.npz")
    guess("lectern")                           # ("l", "eh1", "k", "t", "er", "n")

Every letter stands for a chunk of none to two phones; a letter with its chunk is a symbol, and a word a sentence of
symbols (Bisani and Ney, Speech Communication 2008). The likeliest sentence for the letters is found by a beam search
under interpolated Kneser-Ney smoothing. The model is a trie of counts: per order its symbols, counts and numbers of
children, a few bytes an n-gram. Trained by omni/train/voice_letters.py.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from omni.voice.lexicon import Pronunciation
from omni.voice.phones import VOWELS

START, END = 0, 1  # symbols that are no letters
MAX_LETTERS = 40  # a longer "word" is cut: nobody says it
_BEAM = 8
_CHOICES = 40  # chunks of a letter that are tried, the most frequent


@dataclass(frozen=True)
class CountTrie:
    """n-grams of symbols, order by order; the children of a node lie side by side, in ascending order."""

    symbols: tuple[np.ndarray, ...]  # per order: (n,) uint16, the last symbol of each n-gram
    counts: tuple[np.ndarray, ...]  # per order: (n,) how often, or (below the top) after how many different ones
    children: tuple[np.ndarray, ...]  # per order but the last: (n,) number of n-grams that go on from it
    discounts: tuple[float, ...]  # per order: taken from every count, given to shorter histories


class LettersToSound:
    """Words of a to z -> phones. Thread-safe."""

    def __init__(self, symbols: Sequence[tuple[str, str]], trie: CountTrie, *, beam: int = _BEAM) -> None:
        """`symbols`: (letter, phones joined by spaces) of each id from 2, the most frequent first."""
        self._symbols, self._trie, self._beam = tuple(symbols), trie, beam
        self._order = len(trie.symbols)
        choices: dict[str, list[int]] = defaultdict(list)
        for index, (letter, _) in enumerate(self._symbols, start=2):
            if len(choices[letter]) < _CHOICES:
                choices[letter].append(index)
        self._choices = dict(choices)
        self._words = [_view(row.astype(np.uint16)) for row in trie.symbols]
        self._counts = [_view(row.astype(np.uint32)) for row in trie.counts]
        self._first: list[memoryview] = []  # where the children of each n-gram begin; one more for the end
        self._total: list[memoryview] = []  # sum of their counts
        for order, row in enumerate(trie.children):
            first = np.concatenate([[0], np.cumsum(row, dtype=np.int64)])
            sums = np.concatenate([[0], np.cumsum(trie.counts[order + 1], dtype=np.int64)])
            self._first.append(_view(first))
            self._total.append(_view(sums[first[1:]] - sums[first[:-1]]))
        self._root = int(trie.counts[0].sum())
        self._guess = lru_cache(maxsize=4096)(self._search)

    def __call__(self, word: str) -> Pronunciation:
        """Phones of a word of a to z; () for an empty one."""
        return self._guess(word[:MAX_LETTERS]) if word else ()

    def _search(self, word: str) -> Pronunciation:
        start = self._step((), START)
        beams: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = [(0.0, start, ())]
        for letter in word:
            grown = [
                (score + self._log_probability(state, symbol), state, (*said, symbol))
                for score, state, said in beams
                for symbol in self._choices.get(letter, ())
            ]
            grown.sort(key=lambda hypothesis: -hypothesis[0])
            best: dict[tuple[int, ...], tuple[float, tuple[int, ...], tuple[int, ...]]] = {}
            for score, state, said in grown:
                key = said[1 - self._order :]  # what follows depends on no more
                if key not in best:
                    best[key] = (score, self._step(state, said[-1]), said)
                    if len(best) == self._beam:
                        break
            beams = list(best.values()) or beams
        _, said = max((score + self._log_probability(state, END), said) for score, state, said in beams)
        return one_stress([phone for symbol in said for phone in self._symbols[symbol - 2][1].split()])

    def _child(self, order: int, node: int, symbol: int) -> int:
        """Index of an n-gram's continuation among those of one order more, -1 if it was never seen."""
        low, high = self._first[order][node], self._first[order][node + 1]
        words = self._words[order + 1]
        at = bisect_left(words, symbol, low, high)
        return at if at < high and words[at] == symbol else -1

    def _step(self, state: tuple[int, ...], symbol: int) -> tuple[int, ...]:
        """State: the n-grams that the history ends in, of 1, 2, ... symbols, as far as they were seen."""
        at = bisect_left(self._words[0], symbol)
        nodes = [at] if at < len(self._words[0]) and self._words[0][at] == symbol else []
        for order, node in enumerate(state[: self._order - 2]):
            if len(nodes) != order + 1 or (child := self._child(order, node, symbol)) < 0:
                break
            nodes.append(child)
        return tuple(nodes)

    def _log_probability(self, state: tuple[int, ...], symbol: int) -> float:
        """Interpolated Kneser-Ney (Chen and Goodman 1999, section 2.7)."""
        discounts = self._trie.discounts
        words = self._words[0]
        at = bisect_left(words, symbol)
        seen = at < len(words) and words[at] == symbol
        share = discounts[0] * len(words) / self._root
        p = (max(self._counts[0][at] - discounts[0], 0) if seen else 0) / self._root + share / (len(self._symbols) + 2)
        for order, node in enumerate(state):
            total = self._total[order][node]
            if not total:
                break
            kinds = self._first[order][node + 1] - self._first[order][node]
            child = self._child(order, node, symbol)
            discount = discounts[order + 1]
            count = self._counts[order + 1][child] - discount if child >= 0 else 0.0
            p = (max(count, 0.0) + discount * kinds * p) / total
        return math.log(p)

    def save(self, path: Path) -> None:
        trie = self._trie
        arrays = {f"symbols{i}": row.astype(np.uint16) for i, row in enumerate(trie.symbols)}
        arrays |= {f"counts{i}": row.astype(np.uint32) for i, row in enumerate(trie.counts)}
        arrays |= {f"children{i}": row.astype(np.uint16) for i, row in enumerate(trie.children)}
        about = json.dumps({"symbols": self._symbols, "discounts": trie.discounts})
        with path.open("wb") as file:
            np.savez_compressed(file, about=np.array(about), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path, *, beam: int = _BEAM) -> LettersToSound:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            order = len(about["discounts"])
            symbols, counts = (tuple(file[f"{name}{i}"] for i in range(order)) for name in ("symbols", "counts"))
            children = tuple(file[f"children{i}"] for i in range(order - 1))
        trie = CountTrie(symbols, counts, children, tuple(about["discounts"]))
        return cls([(letter, said) for letter, said in about["symbols"]], trie, beam=beam)


def _view(row: np.ndarray) -> memoryview:
    """Single elements are read from it, which numpy does five times as slowly."""
    return memoryview(row)  # type: ignore[arg-type]


def one_stress(phones: Sequence[str]) -> Pronunciation:
    """A word has one stress: its first one, or where there is none its first full vowel."""
    seen, out = False, []
    for phone in phones:
        if phone.endswith("1"):
            phone, seen = (phone[:-1], seen) if seen else (phone, True)
        out.append(phone)
    if not seen:
        for index, phone in enumerate(out):
            if phone in VOWELS and phone != "ax":
                out[index] += "1"
                break
    return tuple(out)
