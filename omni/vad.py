"""When somebody speaks and when they have stopped: Silero VAD (the ONNX model inside its wheel) and turn taking.

    detector = TurnDetector()
    for block in microphone:                  # 16 kHz float32, blocks of any length
        for event in detector.feed(block):
            ...                               # speech_start, speech_end
    segments = speech_segments(waveform)      # the same detector over a whole recording

The model is recurrent and reads frames of 512 samples with 64 samples of the past before them, at 16 kHz
(https://github.com/snakers4/silero-vad). It is run with onnxruntime: importing `silero_vad` would import torch.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.errors import MissingDependencyError
from core.runtime import require
from omni.audio import resample
from omni.types import Waveform

if TYPE_CHECKING:
    import onnxruntime

SAMPLE_RATE = 16_000  # Hz
FRAME = 512  # samples, 32 ms
CONTEXT = 64  # samples of the previous frame that the model sees again
FRAME_S = FRAME / SAMPLE_RATE


@dataclass(frozen=True)
class VadSettings:
    """Thresholds of turn taking."""

    threshold: float = 0.5  # speech begins at this probability
    end_threshold: float = 0.35  # and ends below this one
    min_speech_ms: int = 96  # shorter bursts (clicks, coughs) are no speech
    min_silence_ms: int = 500  # silence that ends a turn
    pad_ms: int = 160  # kept around a segment, so that soft consonants survive
    max_segment_s: float = 28.0  # longer segments are divided at their weakest moment (Whisper hears 30 s)


@dataclass(frozen=True)
class TurnEvent:
    kind: Literal["speech_start", "speech_end"]
    time_s: float  # when it happened
    detected_s: float  # how much had been heard when it was noticed


@lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    onnxruntime = require("onnxruntime", needed_for="voice activity detection")
    spec = importlib.util.find_spec("silero_vad")  # finds the wheel's files without running its code
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "voice activity detection needs the package silero-vad, which is not installed",
            remedy="Install it with `pip install silero-vad`",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


class SpeechProbability:
    """Silero's recurrent state over one stream: a frame of 512 samples in, a probability of speech (0..1) out."""

    def __init__(self) -> None:
        self._session = _session()
        self._rate = np.array(SAMPLE_RATE, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._context = np.zeros(CONTEXT, dtype=np.float32)

    def __call__(self, frame: np.ndarray) -> float:
        assert frame.shape == (FRAME,), frame.shape
        heard = np.concatenate([self._context, frame]).astype(np.float32, copy=False)
        inputs = {"input": heard[None, :], "state": self._state, "sr": self._rate}
        probability, self._state = self._session.run(None, inputs)
        self._context = heard[-CONTEXT:]
        return float(probability[0, 0])


class TurnDetector:
    """Turns of a live stream. State: the model's, a rest shorter than one frame, and where the present turn began."""

    def __init__(self, settings: VadSettings | None = None) -> None:
        self.settings = settings or VadSettings()
        self._model = SpeechProbability()
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new stream begins at 0 s."""
        self._model.reset()
        self._rest = np.zeros(0, dtype=np.float32)
        self.probabilities: list[float] = []  # one per frame so far
        self._candidate: int | None = None  # frame where what may be speech began
        self._speaking = False
        self._silent_since: int | None = None

    @property
    def speaking(self) -> bool:
        return self._speaking

    def feed(self, samples: np.ndarray) -> list[TurnEvent]:
        """Hear (n,) float32 at 16 kHz, any n; what has been noticed by now."""
        heard = np.concatenate([self._rest, samples.astype(np.float32, copy=False)])
        whole = len(heard) // FRAME * FRAME
        self._rest = heard[whole:]
        events: list[TurnEvent] = []
        for frame in heard[:whole].reshape(-1, FRAME):
            events += self._step(self._model(frame))
        return events

    def flush(self) -> list[TurnEvent]:
        """The stream has ended: judge the rest and close an open turn."""
        events = self.feed(np.zeros(FRAME - len(self._rest), dtype=np.float32)) if len(self._rest) else []
        if self._speaking:
            end = self._silent_since if self._silent_since is not None else len(self.probabilities)
            self._speaking = False
            events.append(TurnEvent("speech_end", end * FRAME_S, len(self.probabilities) * FRAME_S))
        self._candidate = self._silent_since = None
        return events

    def _step(self, probability: float) -> list[TurnEvent]:
        settings, now = self.settings, len(self.probabilities)
        self.probabilities.append(probability)
        heard_s = (now + 1) * FRAME_S
        if not self._speaking:
            if self._candidate is None:
                if probability >= settings.threshold:
                    self._candidate = now
            elif probability < settings.end_threshold:
                self._candidate = None
            if self._candidate is None or (now + 1 - self._candidate) * FRAME_S * 1000 < settings.min_speech_ms:
                return []
            self._speaking, self._silent_since = True, None
            return [TurnEvent("speech_start", self._candidate * FRAME_S, heard_s)]
        if probability >= settings.end_threshold:
            # Between the two thresholds a pause that has begun goes on only while it stays below the lower one.
            self._silent_since = None
            return []
        if self._silent_since is None:
            self._silent_since = now
        if (now + 1 - self._silent_since) * FRAME_S * 1000 < settings.min_silence_ms:
            return []
        end, self._speaking, self._candidate = self._silent_since, False, None
        self._silent_since = None
        return [TurnEvent("speech_end", end * FRAME_S, heard_s)]


def speech_segments(waveform: Waveform, settings: VadSettings | None = None) -> list[tuple[float, float]]:
    """(start, end) in seconds of each stretch of speech, padded, in order, not overlapping, none longer than
    `max_segment_s`; [] if nobody speaks."""
    settings = settings or VadSettings()
    detector = TurnDetector(settings)
    events = detector.feed(resample(waveform, SAMPLE_RATE).samples) + detector.flush()
    times = [event.time_s for event in events]
    segments: list[tuple[float, float]] = []
    for start, end in zip(times[::2], times[1::2], strict=True):
        segments += _divide(start, end, detector.probabilities, settings.max_segment_s)
    return _pad(segments, settings.pad_ms / 1000, waveform.seconds)


def trim(waveform: Waveform, settings: VadSettings | None = None) -> Waveform:
    """The recording without the silence before the first and after the last word; unchanged if nobody speaks."""
    segments = speech_segments(waveform, settings)
    return cut(waveform, segments[0][0], segments[-1][1]) if segments else waveform


def cut(waveform: Waveform, start_s: float, end_s: float) -> Waveform:
    """The stretch between two times in seconds."""
    rate = waveform.sample_rate
    return Waveform(waveform.samples[max(0, round(start_s * rate)) : round(end_s * rate)], rate)


def _divide(start: float, end: float, probabilities: list[float], limit_s: float) -> list[tuple[float, float]]:
    """Cut what is longer than `limit_s` at the least speech-like frame of the second half of each piece."""
    pieces = []
    while end - start > limit_s:
        low, high = round((start + limit_s / 2) / FRAME_S), round((start + limit_s) / FRAME_S)
        weakest = low + int(np.argmin(probabilities[low:high]))
        pieces.append((start, weakest * FRAME_S))
        start = weakest * FRAME_S
    return [*pieces, (start, end)]


def _pad(segments: list[tuple[float, float]], pad_s: float, total_s: float) -> list[tuple[float, float]]:
    """Widen each segment by `pad_s`, at most to the middle of the gap to its neighbour."""
    padded = []
    for index, (start, end) in enumerate(segments):
        left = (segments[index - 1][1] + start) / 2 if index else 0.0
        right = (end + segments[index + 1][0]) / 2 if index + 1 < len(segments) else total_s
        padded.append((max(left, start - pad_s), min(right, end + pad_s, total_s)))
    return padded
