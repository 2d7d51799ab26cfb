"""One utterance heard while it is spoken: decoded as it comes, so that little is left to do at its end.

The first second is only collected: its cepstral mean makes what follows as good as decoding the whole at once
(omni/sphinx_decoder.py). When all decoders listen elsewhere, sound is kept until one is free. Not thread-safe, but not
bound to one thread either.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as all_done
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from core.errors import UsageError
from omni.audio import to_pcm16
from omni.language_bias import BiasedModel
from omni.sphinx_decoder import Reading, SphinxDecoder, cepstral_mean
from omni.transcript_text import tidy
from omni.types import Transcript, Waveform
from omni.vad import SAMPLE_RATE

if TYPE_CHECKING:
    from omni.sphinx import Ears, SphinxRecogniser

T = TypeVar("T")
_BYTES_A_SECOND = 2 * SAMPLE_RATE
FIRST_S = 1.0  # collected before decoding begins
REPLAY_S = 6.0  # an utterance that goes on after a pause is decoded again as one, up to this length
MAX_S = 28.0  # a longer utterance is divided, so that its end stays quick and its memory bounded


@lru_cache(maxsize=1)
def _others() -> ThreadPoolExecutor:
    """Threads for the decoders beside the first; decoding lets go of the interpreter's lock."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="second-opinion")


class SphinxSession:
    """State: the sound of the stretch at hand, what earlier ones said, and the decoders while they are borrowed."""

    def __init__(self, recogniser: SphinxRecogniser, biased: BiasedModel | None, *, patient: bool = True) -> None:
        """`patient`: wait for decoders that listen elsewhere; else nothing is understood then."""
        self._recogniser = recogniser
        self._patient = patient
        self._biased = biased
        self._ears: Ears | None = None
        self._sound = bytearray()  # of the present stretch
        self._decoded = 0  # bytes of it that the decoders have heard
        self._begun = False
        self._start_s = 0.0  # where the present stretch began
        self._done: list[tuple[float, float, list[Reading]]] = []
        self._paused: Transcript | None = None
        self._last: list[tuple[float, float, list[Reading]]] = []  # the present stretch as it was read at the pause
        self._partial = ""
        self._closed = False

    def accept(self, samples: np.ndarray) -> None:
        """Hear (n,) float32 at 16 kHz, any n."""
        if self._closed:
            raise UsageError("this utterance has ended", remedy="Begin another one with stream()")
        if self._paused is not None:
            self._go_on()
        self._sound += to_pcm16(Waveform(samples, SAMPLE_RATE)).tobytes()
        if len(self._sound) >= FIRST_S * _BYTES_A_SECOND:
            self._decode(wait=False)
        if len(self._sound) >= MAX_S * _BYTES_A_SECOND:
            self._end_stretch()

    def partial(self) -> str:
        """The likeliest words so far, without a mark at their end; "" during the first second."""
        if self._begun and self._ears is not None:
            self._partial = self._ears.first.heard()
        said = [readings[0].words for _, _, readings in self._done]
        words = " ".join(words for words in (*said, self._partial) if words)
        # Written as the transcript will be: a follow-up is understood by the names in it.
        return tidy(words, self._biased.names if self._biased else {}).rstrip("?.")

    def pause(self) -> Transcript:
        """The transcript as if the utterance had ended here; it may go on all the same."""
        if self._paused is None:
            from omni.sphinx import assemble

            self._last = self._read()
            self._paused = assemble([*self._done, *self._last], self._seconds(), self._biased)
        return self._paused

    def finish(self) -> Transcript:
        transcript = self.pause()
        self.close()
        return transcript

    def close(self) -> None:
        """Hand the decoders back."""
        self._closed = True
        if self._ears is not None:
            if self._begun:
                for decoder in self._ears.decoders:
                    decoder.abandon()
                self._begun = False
            self._recogniser.give_back(self._ears)
            self._ears = None

    # ------------------------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self._start_s + len(self._sound) / _BYTES_A_SECOND

    def _decode(self, *, wait: bool) -> None:
        """Let the decoders hear what they have not heard yet."""
        if self._ears is None:
            self._ears = self._recogniser.borrow(self._biased, wait=wait)
            if self._ears is None:
                return
        if not self._begun:
            mean = cepstral_mean(bytes(self._sound))
            for decoder in self._ears.decoders:
                decoder.begin(mean)
            self._begun, self._decoded = True, 0
        pcm = bytes(self._sound[self._decoded :])
        self._decoded = len(self._sound)
        if pcm:
            self._each(lambda decoder: decoder.hear(pcm))

    def _read(self) -> list[tuple[float, float, list[Reading]]]:
        """End the present stretch and hand the decoders back: others may speak during a pause."""
        if not self._sound:
            return []
        self._decode(wait=self._patient)
        if self._ears is None:
            return []
        readings = self._each(lambda decoder: decoder.end())
        self._begun = False
        self._partial = readings[0].words
        self._recogniser.give_back(self._ears)
        self._ears = None
        return [(self._start_s, self._seconds(), readings)]

    def _each(self, job: Callable[[SphinxDecoder], T]) -> list[T]:
        """Of both decoders at the same time: somebody waits for the slower one only."""
        assert self._ears is not None
        first, *others = self._ears.decoders
        under_way = [_others().submit(job, decoder) for decoder in others]
        try:
            return [job(first), *(future.result() for future in under_way)]
        finally:
            all_done(under_way)  # nobody else may borrow a decoder that is at work

    def _end_stretch(self) -> None:
        self._done += self._read()
        self._next_stretch()

    def _next_stretch(self) -> None:
        self._start_s = self._seconds()
        self._sound.clear()
        self._decoded = 0
        self._partial = ""

    def _go_on(self) -> None:
        """Speech after a pause: a short stretch is heard again together with what follows, as one sentence; a longer
        one stays as it was read, as hearing it again would keep the speaker waiting."""
        self._paused = None
        if self._last and len(self._sound) > REPLAY_S * _BYTES_A_SECOND:
            self._done += self._last
            self._next_stretch()
        self._last = []
        self._decoded = 0
