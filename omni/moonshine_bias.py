"""What the words of some documents are worth to the recogniser: the ratio of two language models, word by word.

    bias = DocumentBias(TrigramFile(biased.language_model, general), general, model.pieces)
    bias.word("Khazars,", ("help", "the"))         # (3.1, ("the", "khazars")): nats
    bias.ahead("Khaz")                             # 4.0: what a word that begins so may be worth

The models are those that pocketsphinx uses (omni/language_bias.py): the general trigram, and the one mixed with the
documents. Their ratio never falls below the general model's share, so that speech about something else loses little.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from omni.moonshine_search import TEXT_TOKENS, WORD, History
from omni.moonshine_text import numerals
from omni.question_patterns import STOP_WORDS
from omni.sphinx_decoder import general_language_model
from omni.trigram_lookup import TrigramFile

WEIGHT = 0.5  # of the ratio
STOP_WEIGHT = 0.25  # of the ratio of a word that says little
START_WEIGHT = 0.25  # of the ratio of a line's first word
UNKNOWN = 1e-6  # general probability of a word that the general model lacks
MOST = 6.0  # nats that one word is worth at most, before WEIGHT
STRANGE = -0.5  # nats: a word that neither model knows

_LETTERS = re.compile(r"[A-Z](?:\.?[A-Z])+\.?(?:'?s)?$")


@lru_cache(maxsize=1)
def general_trigram() -> TrigramFile:
    """pocketsphinx's own model."""
    return TrigramFile(general_language_model())


class DocumentBias:
    """A Bias (omni/moonshine_search.py) towards the words of a model that documents are mixed into. Thread-safe."""

    def __init__(
        self, mixed: TrigramFile, general: TrigramFile, pieces: Sequence[bytes], *, weight: float = WEIGHT
    ) -> None:
        self._mixed, self._general, self._weight = mixed, general, weight
        self._begin = _beginnings(self._mixed, general)
        self.ahead = lru_cache(maxsize=20_000)(self._ahead)
        self.word = lru_cache(maxsize=20_000)(self._word)
        self.starts = np.zeros(TEXT_TOKENS, np.float32)
        for token, piece in enumerate(pieces[:TEXT_TOKENS]):
            text = piece.decode("utf-8", "ignore")
            if text.startswith(WORD) and len(text) > 1:
                self.starts[token] = self._ahead(text[1:])

    def _ahead(self, beginning: str) -> float:
        letters = re.sub(r"[^a-z']", "", beginning.lower().rpartition("-")[2])
        if not letters:
            return 0.0
        return self._weight * max(0.0, min(MOST, self._begin.ratio(letters)))

    def _word(self, written: str, history: History) -> tuple[float, History]:
        total = 0.0
        if any(character.isdigit() for character in written):
            return 0.0, ()
        for word in spoken_words(written, self._mixed):
            value = self._ratio(word, history or ("<s>",))
            weight = START_WEIGHT if not history else STOP_WEIGHT if word in STOP_WORDS else self._weight
            total += value * weight
            history = (*history[-1:], word)
        return total, history

    def _ratio(self, word: str, history: History) -> float:
        expected = self._mixed.logp(word, history)
        if expected == -math.inf:
            return STRANGE
        usual = max(self._general.logp(word, history), math.log(UNKNOWN))
        return min(MOST, expected - usual)


def spoken_words(written: str, known: TrigramFile) -> list[str]:
    """A written word as the language models count it: "low-voltage," -> low, voltage; "BYU's" -> b, y, u's."""
    bare = numerals(written.replace("\u2019", "'").strip(".,;:!?\"()[]$%&'"))
    if _LETTERS.match(bare) and known.number(bare.lower().replace(".", "")) < 0:
        letters = [letter.lower() for letter in re.findall(r"[A-Z]", bare)]
        return [*letters[:-1], f"{letters[-1]}'s"] if bare.endswith("s") else letters
    return re.findall(r"[a-z]+(?:'[a-z]+)*", bare.lower())


class _Beginnings:
    """log P_mixed / P_general of all words with a common beginning, by their frequencies alone."""

    def __init__(self, words: list[str], general: np.ndarray, gained: np.ndarray, share: float) -> None:
        """`gained`: probability in the mixed model beyond `share` times the general one, of few of the words."""
        self._share = share
        order = sorted(range(len(words)), key=words.__getitem__)
        self._words = [words[index] for index in order]
        self._general = np.concatenate([[0.0], np.cumsum(general[order])])
        self._gained = np.concatenate([[0.0], np.cumsum(gained[order])])

    def ratio(self, beginning: str) -> float:
        low = bisect_left(self._words, beginning)
        high = bisect_left(self._words, beginning + "\x7f")
        general = float(self._general[high] - self._general[low])
        gained = float(self._gained[high] - self._gained[low])
        if gained <= 0.0:
            return 0.0
        return math.log((self._share * general + gained) / max(general, UNKNOWN))


def _beginnings(mixed: TrigramFile, general: TrigramFile) -> _Beginnings:
    p_general = np.zeros(len(mixed.words))
    p_general[: len(general.words)] = np.exp(general.unigram_logp.astype(np.float64))
    p_mixed = np.exp(mixed.unigram_logp.astype(np.float64))
    shared = p_general > 1e-12
    share = float(np.median(p_mixed[shared] / p_general[shared]))  # most words stand in no document
    gained = p_mixed - share * p_general
    gained[gained < 0.02 * p_mixed] = 0.0
    return _Beginnings(mixed.words, p_general, gained, share)
