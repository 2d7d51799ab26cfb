"""Streaming for recognisers that only hear whole recordings: the sound so far is heard again as it grows.

    session = WindowSession(lambda sound: recogniser.transcribe(sound, vocabulary=words))

A partial transcript costs a whole decoding, so it is made after LEAST_S more seconds, and after as many as keep
decoding below half of the time. What lies more than WINDOW_S back is read once and stays as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.errors import UsageError
from omni.second_opinion import combined
from omni.types import Hypothesis, Transcript, Waveform
from omni.vad import SAMPLE_RATE

LEAST_S = 1.0
WINDOW_S = 28.0  # Whisper hears 30 s at once


class WindowSession:
    """A RecognitionSession. State: the sound of the present window, its last transcript, and earlier windows'."""

    def __init__(self, transcribe: Callable[[Waveform], Transcript], *, clock: Callable[[], float] = time.monotonic):
        self._transcribe, self._clock = transcribe, clock
        self._blocks: list[np.ndarray] = []
        self._samples = 0
        self._heard = 0  # samples that the last transcript knows of
        self._wait_s = LEAST_S
        self._last = Transcript("", (), 0.0)
        self._done: list[Transcript] = []
        self._closed = False

    def accept(self, samples: np.ndarray) -> None:
        """Hear (n,) float32 at 16 kHz, any n."""
        if self._closed:
            raise UsageError("this utterance has ended", remedy="Begin another one with stream()")
        self._blocks.append(np.array(samples, np.float32))
        self._samples += len(samples)
        if self._samples - self._heard >= self._wait_s * SAMPLE_RATE:
            self._read()
        if self._samples >= WINDOW_S * SAMPLE_RATE:
            self._read()
            self._done.append(self._last)
            self._blocks, self._samples, self._heard = [], 0, 0
            self._last = Transcript("", (), 0.0)

    def partial(self) -> str:
        return " ".join(part.text for part in (*self._done, self._last) if part.text)

    def pause(self) -> Transcript:
        """The transcript as if the utterance had ended here."""
        self._read()
        parts = [part for part in (*self._done, self._last) if part.text]
        if len(parts) == 1 and not self._done:
            return parts[0]
        text = " ".join(part.text for part in parts)
        segments = []
        start_s = 0.0
        for part in (*self._done, self._last):
            segments += [replace(s, start_s=s.start_s + start_s, end_s=s.end_s + start_s) for s in part.segments]
            start_s += part.seconds
        confidence = sum(part.confidence for part in parts) / max(1, len(parts))
        n_best = combined([list(part.hypotheses) or [Hypothesis(part.text)] for part in parts])
        return Transcript(text, tuple(segments), start_s, confidence, n_best)

    def finish(self) -> Transcript:
        transcript = self.pause()
        self.close()
        return transcript

    def close(self) -> None:
        self._closed = True
        self._blocks = []

    def _read(self) -> None:
        if self._heard == self._samples:
            return
        self._blocks = [np.concatenate(self._blocks)]
        began = self._clock()
        self._last = self._transcribe(Waveform(self._blocks[0], SAMPLE_RATE))
        self._wait_s = max(LEAST_S, 2 * (self._clock() - began))
        self._heard = self._samples
