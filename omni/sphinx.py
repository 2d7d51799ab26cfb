"""Recognition with pocketsphinx, whose wheel carries a US English model: offline on any machine, no GPU.

Good on clear speech in a quiet room, weak on accents and noise; biased towards the words of the documents
(omni/language_bias.py) when the caller hands over their language.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import ModelError
from core.runtime import require
from omni.audio import resample, to_pcm16
from omni.language_bias import DocumentLanguage, biased_model, phrase_language
from omni.transcript_text import tidy
from omni.types import Segment, Transcript, Waveform
from omni.vad import SAMPLE_RATE, VadSettings, cut, speech_segments

_GENERAL = "_default"  # pocketsphinx's name for the search it starts with


class SphinxRecogniser:
    """pocketsphinx with its own acoustic model, dictionary and trigram. Thread-safe: one decoding at a time."""

    name = "pocketsphinx"

    def __init__(self, *, min_silence_ms: int = 500) -> None:
        self._sphinx: Any = require("pocketsphinx", needed_for="speech recognition")
        try:
            self._decoder: Any = self._sphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        except RuntimeError as error:
            raise ModelError(
                f"pocketsphinx cannot load its model: {error}",
                remedy="Reinstall it with `pip install --force-reinstall pocketsphinx`",
            ) from error
        self._vad = VadSettings(min_silence_ms=min_silence_ms)
        self._lock = threading.Lock()
        self._search = _GENERAL

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        """vocabulary: `document_language(workspace)` or a list of words; its first use builds the mixed model."""
        heard = resample(waveform, SAMPLE_RATE)
        segments: list[Segment] = []
        confidences: list[float] = []
        with self._lock:
            self._choose(vocabulary)
            for start, end in speech_segments(heard, self._vad):
                words, confidence = self._decode(cut(heard, start, end))
                if words:
                    segments.append(Segment(start, end, tidy(words)))
                    confidences.append(confidence)
        text = " ".join(segment.text for segment in segments)
        mean = sum(confidences) / len(confidences) if confidences else 0.0
        return Transcript(text, tuple(segments), waveform.seconds, mean)

    def prepare(self, vocabulary: Sequence[str]) -> None:
        """Build and load the model of a vocabulary ahead of the first question."""
        with self._lock:
            self._choose(vocabulary)

    def _choose(self, vocabulary: Sequence[str]) -> None:
        """Make the language model of `vocabulary` the active one; the last one used stays loaded."""
        if isinstance(vocabulary, DocumentLanguage):
            language = vocabulary
        elif vocabulary:
            language = phrase_language(vocabulary)
        else:
            self._decoder.activate_search(_GENERAL)
            return
        name = f"{language.folder}/{language.key}"
        if name != self._search:
            general = Path(self._sphinx.get_model_path("en-us/en-us.lm.bin"))
            biased = biased_model(language, general, self._knows)
            for word, phones in biased.pronunciations.items():
                if not self._knows(word):
                    self._decoder.add_word(word, phones, False)
            # Not add_lm(NGramModel.readfile(...)): that model would lack the decoder's language weight (6.5), which
            # makes decoding five times slower and visibly worse.
            self._decoder.add_lm_file(name, str(biased.language_model))
            self._decoder.activate_search(name)
            if self._search != _GENERAL:
                self._decoder.remove_search(self._search)
            self._search = name
        self._decoder.activate_search(name)

    def _knows(self, word: str) -> bool:
        return self._decoder.lookup_word(word) is not None

    def _decode(self, speech: Waveform) -> tuple[str, float]:
        """Words and confidence (0..1: geometric mean of the words' posteriors) of one segment."""
        self._decoder.start_utt()
        # full_utt: cepstral means of the whole segment instead of a running guess: WER 51 -> 35 % on fluent readers
        self._decoder.process_raw(to_pcm16(speech).tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            return "", 0.0
        posteriors = [min(1.0, segment.prob) for segment in self._decoder.seg() if segment.word[0] not in "<["]
        if not posteriors:
            return hypothesis.hypstr, 0.0
        return hypothesis.hypstr, math.exp(sum(math.log(max(p, 1e-6)) for p in posteriors) / len(posteriors))
