"""One pocketsphinx decoder: which words it expects, an utterance as a whole or as it comes, and several readings of it.

    decoder = SphinxDecoder()
    decoder.expect(biased_model)                  # or None: its own general trigram
    decoder.begin(cepstral_mean(first_second))
    decoder.hear(pcm); decoder.heard()            # "what was the"
    reading = decoder.end()

Scores are natural log-probabilities of the path: the acoustic model's plus LANGUAGE_WEIGHT times the language model's.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import ModelError
from core.runtime import require
from omni.language_bias import BiasedModel
from omni.sphinx_library import new_decoder

LANGUAGE_WEIGHT = 6.5  # pocketsphinx's default: nats of the language model count so much more than acoustic ones
N_BEST = 8
_SEARCHED = 200  # lattice paths looked at: many differ in fillers and pronunciations only
_GENERAL = "_default"  # pocketsphinx's name for the search it starts with
_NATS = 1024 * math.log(1.0001)  # its integer scores are logarithms to the base 1.0001, divided by 1024


@dataclass(frozen=True)
class Reading:
    """What one decoder understood of one utterance."""

    words: str = ""  # lower case
    score: float = -math.inf  # of the whole path, nats; comparable between decoders of one acoustic model
    confidence: float = 0.0  # 0..1: geometric mean of the words' posteriors
    alternatives: tuple[tuple[str, float], ...] = ()  # other words and their scores, best first
    frames: int = 0  # of 10 ms


class SphinxDecoder:
    """Used by one thread at a time. Keeps one biased model beside the general one."""

    def __init__(self, *, general: bool = True) -> None:
        """`general`: with the general model; without (30 MB less), it hears nothing until it expects documents."""
        try:
            self._decoder: Any = new_decoder(language_model=general)
        except RuntimeError as error:
            raise ModelError(
                f"pocketsphinx cannot load its model: {error}",
                remedy="Reinstall it with `pip install --force-reinstall pocketsphinx`",
            ) from error
        self.loaded = ""  # the biased model that is kept
        self.biased: BiasedModel | None = None

    def expect(self, biased: BiasedModel | None) -> None:
        """Make a biased model, or the general one, the one to decode with."""
        self.biased = biased
        if biased is None:
            self._decoder.activate_search(_GENERAL)
            return
        name = str(biased.language_model)
        if name != self.loaded:
            for word, said in biased.pronunciations.items():
                if not self.knows(word):
                    for index, phones in enumerate(said, start=1):
                        self._decoder.add_word(word if index == 1 else f"{word}({index})", phones, False)
            # Not add_lm(NGramModel.readfile(...)): that model would lack the decoder's language weight (6.5), which
            # makes decoding five times slower and visibly worse.
            self._decoder.add_lm_file(name, name)
            self._decoder.activate_search(name)
            if self.loaded:
                self._decoder.remove_search(self.loaded)
            self.loaded = name
        self._decoder.activate_search(name)

    def knows(self, word: str) -> bool:
        """Whether the pronouncing dictionary has it."""
        return self._decoder.lookup_word(word) is not None

    def read(self, pcm: bytes) -> Reading:
        """A whole utterance of 16-bit samples at 16 kHz."""
        self._decoder.start_stream()  # forget the last speaker's noise
        self._decoder.start_utt()
        # full_utt: cepstral means of the whole segment instead of a running guess: WER 51 -> 35 % on fluent readers
        self._decoder.process_raw(pcm, no_search=False, full_utt=True)
        return self.end()

    def begin(self, mean: str) -> None:
        """Begin an utterance that comes piece by piece; `mean` as `cepstral_mean` gives it."""
        self._decoder.start_stream()
        self._decoder.start_utt()
        self._decoder.set_cmn(mean)

    def hear(self, pcm: bytes) -> None:
        self._decoder.process_raw(pcm, no_search=False, full_utt=False)

    def heard(self) -> str:
        """The likeliest words so far."""
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis is not None else ""

    def end(self) -> Reading:
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        frames = self._decoder.n_frames()
        if hypothesis is None or not hypothesis.hypstr:
            return Reading(frames=frames)
        posteriors = [min(1.0, segment.prob) for segment in self._decoder.seg() if segment.word[0] not in "<["]
        confidence = 0.0
        if posteriors:
            confidence = math.exp(sum(math.log(max(p, 1e-6)) for p in posteriors) / len(posteriors))
        best = hypothesis.hypstr
        found: dict[str, float] = {}
        for other in islice(self._decoder.nbest(), _SEARCHED):
            if other.hypstr:
                value = _nats(other.score)
                found[other.hypstr] = max(value, found.get(other.hypstr, value))
        # The lattice's scores lie on a scale of their own; the distance to its own score of the best words counts.
        score = _nats(hypothesis.best_score)
        top = found.pop(best, max(found.values(), default=0.0))
        ranked = sorted(found.items(), key=lambda item: item[1], reverse=True)[:N_BEST]
        return Reading(best, score, confidence, tuple((w, score + min(0.0, v - top)) for w, v in ranked), frames)

    def abandon(self) -> None:
        """Give an utterance up."""
        self._decoder.end_utt()


def _nats(score: float) -> float:
    """pocketsphinx's Python binding takes 1.0001 to the power of its scores; back to nats."""
    return math.log(score) / math.log(1.0001) * _NATS if score > 0 else -math.inf


class _Front:
    """The decoder's own feature extraction, without a search: where cepstral means come from."""

    def __init__(self) -> None:
        self._decoder: Any = new_decoder(language_model=False)
        self._decoder.add_keyphrase("none", "hello")  # it wants something to search for
        self._decoder.activate_search("none")
        self._lock = threading.Lock()

    def mean(self, pcm: bytes) -> str:
        with self._lock:
            self._decoder.start_stream()
            self._decoder.start_utt()
            self._decoder.process_raw(pcm, no_search=True, full_utt=False)
            mean = self._decoder.get_cmn(True)
            self._decoder.end_utt()
        return str(mean)


@lru_cache(maxsize=1)
def _front() -> _Front:
    return _Front()


def cepstral_mean(pcm: bytes) -> str:
    """The mean cepstrum of what has been heard. One second of it makes decoding live as good as decoding the whole
    utterance at once; without, WER is 4 points higher (benchmarks/speech.py)."""
    return _front().mean(pcm)


def general_language_model() -> Path:
    """The trigram inside pocketsphinx's wheel."""
    sphinx: Any = require("pocketsphinx", needed_for="speech recognition")
    return Path(sphinx.get_model_path("en-us/en-us.lm.bin"))


def dictionary_words() -> frozenset[str]:
    """The 135,000 words that pocketsphinx's dictionary can say; read anew each time."""
    sphinx: Any = require("pocketsphinx", needed_for="speech recognition")
    lines = Path(sphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines()
    return frozenset(line.partition(" ")[0] for line in lines if line)
