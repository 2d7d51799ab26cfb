"""One utterance heard while it is spoken: what has been said so far is understood again and again.

While somebody speaks, words that two readings in a row agree on stay (local agreement, Liu et al., Interspeech 2020),
except for the latest ones, and later readings begin with them. At a pause the whole stretch is searched anew, as what
follows a word decides about it; a conversation asks for that before it knows that the turn has ended. Not thread-safe,
but not bound to one thread either.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UsageError
from omni.moonshine_model import END
from omni.moonshine_search import WORD
from omni.second_look import LONGEST_S
from omni.types import Transcript, Waveform
from omni.vad import SAMPLE_RATE, speech_segments

if TYPE_CHECKING:
    from omni.moonshine import Expectation, MoonshineRecogniser, Reading

LEAST_S = 0.4  # of new sound between readings
SHARE = 0.25  # of the time, at most, is spent on readings while somebody speaks
OPEN_WORDS = 3  # the latest words of a reading, which what follows may still change
TAIL_S = 0.35  # a quiet end so long changes nothing
QUIET = 0.08  # of the utterance's loudness (RMS)
SURE_WORDS = 2  # what is no longer than this may be an answer to a noise: "You"


class MoonshineSession:
    """State: the sound of the stretch at hand, what was understood of it, and what earlier stretches said."""

    def __init__(
        self,
        recogniser: MoonshineRecogniser,
        expected: Expectation | None,
        *,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._recogniser, self._expected, self._cpu = recogniser, expected, cpu
        self._blocks: list[np.ndarray] = []
        self._samples = 0
        self._heard = 0  # samples that `_reading` knows of
        self._wait_s = LEAST_S
        self._reading: Reading | None = None
        self._stable: tuple[int, ...] = ()  # tokens that readings begin with
        self._whole = False  # `_reading` is final: searched from its first word on, and looked at twice
        self._start_s = 0.0  # where the present stretch began
        self._done: list[tuple[float, float, Reading]] = []
        self._beside = recogniser.beside.listen(expected.biased) if expected is not None else None
        self._closed = False

    def accept(self, samples: np.ndarray) -> None:
        """Hear (n,) float32 at 16 kHz, any n."""
        if self._closed:
            raise UsageError("this utterance has ended", remedy="Begin another one with stream()")
        self._blocks.append(np.array(samples, np.float32))
        self._samples += len(samples)
        if self._beside is not None:
            self._beside.accept(samples)
            if self._seconds() > LONGEST_S:
                self._dismiss()
        while self._samples >= self._longest:
            self._divide()
        if self._samples - self._heard >= self._wait_s * SAMPLE_RATE and not self._only_quiet():
            self._read()

    def partial(self) -> str:
        """What has been understood so far, without a mark at its end; "" during the first moments."""
        parts = [reading.text for _, _, reading in self._done]
        parts += [self._reading.text] if self._reading else []
        return " ".join(part for part in parts if part).rstrip("?.!")

    def pause(self) -> Transcript:
        """The transcript as if the utterance had ended here; it may go on all the same."""
        if self._samples and not (self._whole and self._only_quiet()):
            self._read(whole=True)
        pieces = list(self._done)
        if self._reading is not None and self._spoken(self._reading):
            pieces.append((self._start_s, self._seconds(), self._reading))
        return self._recogniser.assemble(pieces, self._seconds())

    def finish(self) -> Transcript:
        transcript = self.pause()
        self.close()
        return transcript

    def close(self) -> None:
        self._closed = True
        self._blocks = []
        self._dismiss()

    # ----------------------------------------------------------------------------------------------------------------

    @property
    def _longest(self) -> int:
        from omni.moonshine import MAX_S

        return int(MAX_S * SAMPLE_RATE)

    def _seconds(self) -> float:
        return self._start_s + self._samples / SAMPLE_RATE

    def _sound(self) -> np.ndarray:
        if len(self._blocks) != 1:
            self._blocks = [np.concatenate(self._blocks)] if self._blocks else [np.zeros(0, np.float32)]
        return self._blocks[0]

    def _only_quiet(self) -> bool:
        """Whether a reading knows everything but a short quiet end."""
        if self._reading is None or self._samples - self._heard > TAIL_S * SAMPLE_RATE:
            return False
        if self._samples == self._heard:
            return True
        sound = self._sound()
        return _loudness(sound[self._heard :]) < QUIET * _loudness(sound[: self._heard])

    def _read(self, *, whole: bool = False) -> None:
        began = self._cpu()
        before, sound = self._reading, self._sound()
        given = () if whole else self._stable
        beside = self._beside.heard if self._beside is not None else tuple
        self._reading = self._recogniser.read(sound, self._expected, given=given, final=whole, beside=beside)
        self._heard, self._whole = self._samples, whole
        if before is not None:
            self._stable = self._agreed(before.tokens, self._reading.tokens)
        self._wait_s = max(LEAST_S, (self._cpu() - began) / SHARE)

    def _dismiss(self) -> None:
        """Let the second listener hear others."""
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    def _agreed(self, before: tuple[int, ...], now: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens that both begin with, up to the latest words."""
        same = next((i for i, pair in enumerate(zip(before, now, strict=False)) if pair[0] != pair[1]), len(before))
        starts = [i for i in range(len(now)) if self._begins_word(now[i])]
        limit = starts[-OPEN_WORDS] if len(starts) >= OPEN_WORDS else 0
        ends = [i for i in starts if i <= min(same, limit)]
        return now[: ends[-1]] if ends else ()

    def _begins_word(self, token: int) -> bool:
        return token != END and self._recogniser.model.pieces[token].decode("utf-8", "ignore").startswith(WORD)

    def _spoken(self, reading: Reading) -> bool:
        """Not a word that the network makes of noise."""
        if len(reading.text.split()) > SURE_WORDS:
            return True
        return bool(reading.text) and bool(speech_segments(Waveform(self._sound(), SAMPLE_RATE)))

    def _divide(self) -> None:
        """Read what was said before the quietest moment of the second half for good; the rest is the new stretch."""
        sound = self._sound()
        width = SAMPLE_RATE // 10
        halfway = self._longest // 2
        loudness = [_loudness(sound[at : at + width]) for at in range(halfway, self._longest - width, width)]
        end = halfway + int(np.argmin(loudness)) * width + width // 2
        reading = self._recogniser.read(sound[:end], self._expected)
        self._done.append((self._start_s, self._start_s + end / SAMPLE_RATE, reading))
        self._start_s += end / SAMPLE_RATE
        self._blocks, self._samples = [sound[end:]], len(sound) - end
        self._heard, self._reading, self._stable, self._whole = 0, None, (), False


def _loudness(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
