"""One turn being recognised: sound in from the conversation, words back to it, decoding in the threads of `Work`.

    hearing = Hearing(recogniser, vocabulary, work, post, told)
    hearing.accept(frame)            # as it comes; decoded in strides of 160 ms
    hearing.pause(frame)             # silence: finish in advance, perhaps for good
    hearing.finish()                 # the turn has ended

`told(Heard(...))` is called through `post`, which brings it into the conversation's thread. Jobs of one turn run one
after the other. Recognisers that cannot stream hear the whole turn at its pauses.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import LecternError
from omni.live.work import Priority, Ticket, Work
from omni.types import RecognitionSession, SpeechRecogniser, StreamingRecogniser, Transcript, Waveform
from omni.vad import FRAME, SAMPLE_RATE

log = logging.getLogger(__name__)

STRIDE_FRAMES = 5  # decoded at once: 160 ms


@dataclass(frozen=True)
class Heard:
    """What a turn sounds like so far."""

    kind: Literal["partial", "pause", "final", "failed"]
    transcript: Transcript
    frames: int  # of the turn, that it takes into account
    error: LecternError | None = None  # of "failed"


class Hearing:
    """State: frames that wait to be decoded, and what is to be done when they are."""

    def __init__(
        self,
        recogniser: Callable[[], SpeechRecogniser],
        vocabulary: Callable[[], Sequence[str]],
        work: Work,
        post: Callable[[Callable[[], None]], None],
        told: Callable[[Heard], None],
    ) -> None:
        """`recogniser` and `vocabulary` are called in a thread of `work`: they may load models."""
        self._recogniser, self._vocabulary = recogniser, vocabulary
        self._work, self._post, self._told = work, post, told
        self._session: RecognitionSession | None = None
        self._lock = threading.Lock()
        self._waiting: list[np.ndarray] = []
        self._held: list[np.ndarray] = []  # silence since the pause: decoded only if speech goes on
        self._whole: Transcript | None = None  # as it was understood at the pause that lasts
        self._given = 0  # frames handed over so far, without what is held
        self._pausing = self._paused = self._finishing = self._closed = False
        self._running = False
        self.ticket: Ticket | None = None  # of the latest job

    @property
    def behind_s(self) -> float:
        """Sound that has not been decoded yet."""
        with self._lock:
            return len(self._waiting) * FRAME / SAMPLE_RATE

    def accept(self, frame: np.ndarray) -> None:
        """One frame of 512 float32 samples."""
        with self._lock:
            if self._finishing or self._closed:
                return
            if self._paused:
                self._held.append(frame)
                return
            self._waiting.append(frame)
            if len(self._waiting) >= STRIDE_FRAMES:
                self._start(Priority.HEAR)

    def pause(self) -> None:
        """The speaker is silent: decode what there is to the end."""
        with self._lock:
            self._pausing = self._paused = True
            self._start(Priority.PAUSE)

    def resume(self) -> None:
        """The speaker goes on."""
        with self._lock:
            self._pausing = self._paused = False
            self._whole = None
            self._waiting += self._held
            self._held = []

    def finish(self) -> None:
        """The turn has ended: the final transcript follows."""
        with self._lock:
            self._finishing = True
            self._held = []
            if self._whole is not None and self._paused and not self._closed:  # understood already: wait for no thread
                self._tell("final", self._whole)
                self._closed = True
                self._start(Priority.GUESS)  # to hand the decoders back
                return
            if self.ticket is not None and self.ticket.started is None and not self._running:
                self.ticket.cancel()  # it would wait behind others: start again, more urgently
            self._start(Priority.FINISH, again=True)

    def close(self) -> None:
        """Give the turn up; nothing more is told."""
        with self._lock:
            self._closed = True
            self._waiting, self._held = [], []
            self._start(Priority.GUESS)

    def _start(self, priority: Priority, *, again: bool = False) -> None:
        """One job at a time; a running one looks for more when it is done."""
        if self._running:
            return
        if not again and self.ticket is not None and self.ticket.started is None and not self.ticket.cancelled:
            if self.ticket.priority <= priority:
                return
            self.ticket.cancel()
        self.ticket = self._work.submit(self._job, priority=priority)

    def _job(self) -> None:
        with self._lock:
            if self._running:
                return
            self._running = True
        try:
            while self._step():
                pass
        except LecternError as error:
            self._fail(error)
        except Exception as error:
            log.exception("recognising")
            self._fail(LecternError(f"recognition failed: {error}", remedy="Say it again, or type your question"))

    def _step(self) -> bool:
        """Decode what is waiting, then do the one thing that is wanted; False: nothing is left to do."""
        with self._lock:
            closed = self._closed
            block, self._waiting = self._waiting, []
            pausing, finishing = self._pausing, self._finishing
            self._pausing = False
            if not (block or pausing or finishing or closed):
                self._running = False
                return False
        if closed:
            if self._session is not None:
                self._session.close()
                self._session = None
            with self._lock:
                self._running = False
            return False
        session = self._session
        if session is None:
            session = self._session = open_session(self._recogniser(), self._vocabulary())
        if block:
            session.accept(np.concatenate(block))
            self._given += len(block)
        if finishing:
            self._tell("final", session.finish())
            with self._lock:
                self._closed = True
            self._session = None
            return True
        if pausing:
            transcript = session.pause()
            with self._lock:
                going_on = not self._paused or self._pausing or bool(self._waiting)  # meanwhile
                self._whole = None if going_on else transcript
            self._tell("pause", transcript)
        elif block and (text := session.partial()):
            self._tell("partial", Transcript(text, (), self._given * FRAME / SAMPLE_RATE))
        return True

    def _tell(self, kind: Literal["partial", "pause", "final"], transcript: Transcript) -> None:
        heard = Heard(kind, transcript, self._given)
        self._post(lambda: self._told(heard))

    def _fail(self, error: LecternError) -> None:
        with self._lock:
            self._closed, self._running = True, False
            self._waiting, self._held = [], []
        heard = Heard("failed", Transcript("", (), 0.0), self._given, error)
        self._post(lambda: self._told(heard))


def open_session(recogniser: SpeechRecogniser, vocabulary: Sequence[str]) -> RecognitionSession:
    """The recogniser's own stream, or one that hears the whole utterance whenever the speaker pauses."""
    if isinstance(recogniser, StreamingRecogniser):
        return recogniser.stream(vocabulary)
    return WholeUtterance(recogniser, vocabulary)


class WholeUtterance:
    """RecognitionSession of a recogniser that hears whole recordings."""

    def __init__(self, recogniser: SpeechRecogniser, vocabulary: Sequence[str]) -> None:
        self._recogniser, self._vocabulary = recogniser, vocabulary
        self._samples: list[np.ndarray] = []
        self._transcript: Transcript | None = None  # of everything so far
        self._last = ""

    def accept(self, samples: np.ndarray) -> None:
        self._samples.append(samples)
        self._transcript = None

    def partial(self) -> str:
        return self._last

    def pause(self) -> Transcript:
        if self._transcript is None:
            heard = np.concatenate(self._samples) if self._samples else np.zeros(0, np.float32)
            self._transcript = self._recogniser.transcribe(Waveform(heard, SAMPLE_RATE), vocabulary=self._vocabulary)
            self._last = self._transcript.text
        return self._transcript

    def finish(self) -> Transcript:
        return self.pause()

    def close(self) -> None:
        self._samples.clear()
