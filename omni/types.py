"""Sound and speech records, and the protocols of the cascade's ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class Waveform:
    """Mono sound."""

    samples: np.ndarray  # (n,) float32, -1..1
    sample_rate: int  # Hz

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class Segment:
    """A stretch of recognised speech."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Transcript:
    text: str
    segments: tuple[Segment, ...]
    seconds: float  # length of the recording
    confidence: float = 0.0  # 0..1, 0 if the recogniser has none


@runtime_checkable
class SpeechRecogniser(Protocol):
    name: str

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        """Recognise speech of any length and rate; `vocabulary`: words of the documents, a hint."""
        ...


@runtime_checkable
class SpeechSynthesiser(Protocol):
    name: str
    sample_rate: int  # Hz

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        """Speak plain written text, in pieces that may be played as they come."""
        ...
