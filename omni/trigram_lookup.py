"""Probabilities out of pocketsphinx's binary trigram files, looked up where they lie: nothing is unpacked.

    general = TrigramFile(general_language_model())
    general.logp("revenue", ("the", "total"))         # log P(revenue | the total), natural
    mixed = TrigramFile(biased.language_model, general)      # shares the general file's words

The layout is told in omni/sphinx_lm.py; here single records are read by binary search from the file in memory, which
all threads and processes share.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.errors import ModelError
from omni.sphinx_lm import MAGIC, NATS, UNIGRAM, packed_size

_CODES = 1 << 16


class TrigramFile:
    """A back-off trigram model on disk. Thread-safe."""

    def __init__(self, path: Path, general: TrigramFile | None = None) -> None:
        """`general`: a model whose words this one's begin with (omni/trigram_mixture.py adds its own behind them).

        Raises ModelError for a file that is no trigram trie.
        """
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._data[: len(MAGIC) + 1] != MAGIC + b"\x03":
            raise ModelError(f"{path} is no trigram model of pocketsphinx", remedy="Delete it: it is made anew")
        position = len(MAGIC) + 1
        vocabulary, bigrams, trigrams, _ = struct.unpack_from("<4I", self._data, position)
        position += 16
        self._tables = np.frombuffer(self._data, "<f4", 3 * _CODES, position).reshape(3, _CODES)
        position += self._tables.nbytes
        unigrams = np.frombuffer(self._data, UNIGRAM, vocabulary + 1, position)
        position += unigrams.nbytes
        self.unigram_logp = unigrams["prob"][:-1] * np.float32(NATS)
        self._unigrams = unigrams
        self._word_bits, self._next_bits = vocabulary.bit_length(), trigrams.bit_length()
        self._bigrams, self._bigram_bits = position, self._word_bits + 32 + self._next_bits
        position += packed_size(bigrams + 1, self._bigram_bits)
        self._trigrams, self._trigram_bits = position, self._word_bits + 16
        position += packed_size(trigrams + 1, self._trigram_bits)
        strings = self._data[position + 4 :].split(b"\0")[:vocabulary]
        shared = len(general.words) if general else 0
        new = [word.decode() for word in strings[shared:]]
        if general and (b"" if not shared else strings[shared - 1].decode()) != general.words[-1]:
            shared, new = 0, [word.decode() for word in strings]
        self.words: list[str] = [*general.words, *new] if general and shared else new
        self._general = general if shared else None
        self._own = {word: index for index, word in enumerate(new, start=shared)}
        self.logp = lru_cache(maxsize=20_000)(self._logp)

    def number(self, word: str) -> int:
        """Of a word; -1 if it is none of the model's."""
        number = self._own.get(word, -1)
        return self._general.number(word) if number < 0 and self._general else number

    def _logp(self, word: str, history: tuple[str, ...] = ()) -> float:
        """log P(word | history), of which the last two words count; -inf for a word that the model lacks."""
        target = self.number(word)
        if target < 0:
            return -np.inf
        known = [self.number(past) for past in history[-2:]]
        if known and known[-1] < 0:
            known = []
        elif len(known) == 2 and known[0] < 0:
            known = known[1:]
        return self._trigram(target, known)

    def _trigram(self, word: int, history: list[int]) -> float:
        if not history:
            return float(self.unigram_logp[word])
        backoff = 0.0
        if len(history) == 2:
            at = self._find_bigram(word, history[1])
            if at >= 0:
                code = self._find_trigram(at, history[0])
                if code >= 0:
                    return float(self._tables[2][code]) * NATS
            of_history = self._find_bigram(history[1], history[0])
            if of_history >= 0:
                backoff = float(self._tables[1][self._bigram(of_history, self._word_bits, 16)]) * NATS
        else:
            at = self._find_bigram(word, history[0])
        if at >= 0:
            return backoff + float(self._tables[0][self._bigram(at, self._word_bits + 16, 16)]) * NATS
        return backoff + float(self._unigrams[history[-1]]["backoff"]) * NATS + float(self.unigram_logp[word])

    def _find_bigram(self, word: int, history: int) -> int:
        """The record of "history word"; -1 without."""
        low, high = int(self._unigrams[word]["next"]), int(self._unigrams[word + 1]["next"])
        at = bisect_left(range(low, high), history, key=lambda i: self._bigram(i, 0, self._word_bits)) + low
        return at if at < high and self._bigram(at, 0, self._word_bits) == history else -1

    def _find_trigram(self, bigram: int, first: int) -> int:
        """The code of "first ...", below the record of a bigram; -1 without."""
        offset = self._word_bits + 32
        low, high = (self._bigram(i, offset, self._next_bits) for i in (bigram, bigram + 1))
        bits, width = self._word_bits, self._trigram_bits
        at = bisect_left(range(low, high), first, key=lambda i: self._bits(self._trigrams, i * width, bits)) + low
        if at >= high or self._bits(self._trigrams, at * width, bits) != first:
            return -1
        return self._bits(self._trigrams, at * width + bits, 16)

    def _bigram(self, record: int, offset: int, width: int) -> int:
        return self._bits(self._bigrams, record * self._bigram_bits + offset, width)

    def _bits(self, base: int, offset: int, width: int) -> int:
        start = base + (offset >> 3)
        return int.from_bytes(self._data[start : start + 8], "little") >> (offset & 7) & ((1 << width) - 1)
