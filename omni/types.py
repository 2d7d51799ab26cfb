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
class Hypothesis:
    """Another reading of the same sound."""

    text: str
    score: float = 0.0  # log-probability, comparable inside one list


@dataclass(frozen=True)
class Correction:
    """A word of the documents that sounds like something that was heard."""

    heard: str  # == transcript.text[start:end]
    term: str
    start: int
    end: int
    weight: float  # 0..1: how likely it is that the term was said
    applied: bool = False  # the term already stands in the transcript, in the place of what was `heard`


@dataclass(frozen=True)
class Transcript:
    text: str
    segments: tuple[Segment, ...]
    seconds: float  # length of the recording
    confidence: float = 0.0  # 0..1, 0 if the recogniser has none
    hypotheses: tuple[Hypothesis, ...] = ()  # n-best of the whole, best first, `text` among them; may be empty
    corrections: tuple[Correction, ...] = ()  # likeliest first
    closed: float | None = None  # 0..1: how likely the recogniser's own marks end a sentence here; None: it writes none


@runtime_checkable
class SpeechRecogniser(Protocol):
    name: str

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        """Recognise speech of any length and rate; `vocabulary`: words of the documents, a hint."""
        ...


class RecognitionSession(Protocol):
    """One utterance being heard. Used by one thread at a time, not always the same one; several may be open at once."""

    def accept(self, samples: np.ndarray) -> None:
        """Hear (n,) float32 at 16 kHz, any n; decodes as far as it goes, so that `finish` has little left to do."""
        ...

    def partial(self) -> str:
        """What has been understood so far; its last words may still change. Cheap: decodes nothing."""
        ...

    def pause(self) -> Transcript:
        """The speaker is silent, perhaps for good: do now what `finish` would do and return its transcript.

        `accept` may follow all the same and makes this transcript void. `finish` right after it costs nothing.
        """
        ...

    def finish(self) -> Transcript:
        """The utterance has ended: the final transcript with its hypotheses. The session cannot be used any more."""
        ...

    def close(self) -> None:
        """Give the utterance up without a transcript; harmless after `finish`."""
        ...


@runtime_checkable
class StreamingRecogniser(SpeechRecogniser, Protocol):
    """A recogniser that decodes while somebody speaks; others are heard as a whole at the end of the turn."""

    def stream(self, vocabulary: Sequence[str] = ()) -> RecognitionSession:
        """Begin an utterance. The caller has found the speech (omni.vad): no silence is searched for in it."""
        ...


@runtime_checkable
class SpeechSynthesiser(Protocol):
    name: str
    sample_rate: int  # Hz

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        """Speak plain written text, in pieces that may be played as they come."""
        ...
