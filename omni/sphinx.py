"""Recognition with pocketsphinx, whose wheel carries a US English model: offline on any machine, no GPU.

Strong on read speech in a quiet room, weak on accents and noise; what it hears is biased towards the words of the
documents (omni/language_bias.py) when the caller hands them over.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

from core.errors import ModelError
from core.runtime import require
from omni.audio import resample, to_pcm16
from omni.transcript_text import tidy
from omni.types import Segment, Transcript, Waveform
from omni.vad import SAMPLE_RATE, VadSettings, cut, speech_segments


class SphinxRecogniser:
    """pocketsphinx with its own acoustic model, dictionary and trigram. Thread-safe: one decoding at a time."""

    name = "pocketsphinx"

    def __init__(self, *, min_silence_ms: int = 500) -> None:
        pocketsphinx = require("pocketsphinx", needed_for="speech recognition")
        try:
            self._decoder: Any = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        except RuntimeError as error:
            raise ModelError(
                f"pocketsphinx cannot load its model: {error}",
                remedy="Reinstall it with `pip install --force-reinstall pocketsphinx`",
            ) from error
        self._vad = VadSettings(min_silence_ms=min_silence_ms)
        self._lock = threading.Lock()

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        heard = resample(waveform, SAMPLE_RATE)
        segments: list[Segment] = []
        confidences: list[float] = []
        for start, end in speech_segments(heard, self._vad):
            words, confidence = self._decode(cut(heard, start, end))
            if words:
                segments.append(Segment(start, end, tidy(words)))
                confidences.append(confidence)
        text = " ".join(segment.text for segment in segments)
        mean = sum(confidences) / len(confidences) if confidences else 0.0
        return Transcript(text, tuple(segments), waveform.seconds, mean)

    def _decode(self, speech: Waveform) -> tuple[str, float]:
        """Words and confidence (0..1) of one segment."""
        with self._lock:
            self._decoder.start_utt()
            # full_utt: cepstral means of the whole segment instead of a running guess
            self._decoder.process_raw(to_pcm16(speech).tobytes(), no_search=False, full_utt=True)
            self._decoder.end_utt()
            hypothesis = self._decoder.hyp()
            if hypothesis is None:
                return "", 0.0
            words = hypothesis.hypstr
            posteriors = [min(1.0, segment.prob) for segment in self._decoder.seg() if segment.word[0] not in "<["]
        confidence = math.exp(sum(math.log(max(p, 1e-6)) for p in posteriors) / len(posteriors)) if posteriors else 0.0
        return words, confidence
