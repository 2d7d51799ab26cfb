"""Vocoding units as they come, in chunks: as the reference does it, or without seams.

    chunks = SeamlessVocoder(vocoder)            # or ContextlessVocoder(vocoder)
    for units in arriving:
        play(chunks.push(units))                 # (samples,) float32, may be empty
    play(chunks.finish())

*Contextless* (the reference): each chunk is vocoded alone, so durations at its edges are guessed without neighbours and
the waveform jumps. *Seamless*: the pieces concatenate to exactly the waveform of the whole utterance. A sample is given
out once everything that it depends on has come: `lookahead_units` more units for durations and `lookahead_frames` more
frames for the convolutions (2 units and 21 frames, 420 ms of speech, for the published vocoder).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from core.errors import ModelError
from omni.stages import Vocoder
from omni.vocoder import UnitVocoder


class ChunkVocoder(Protocol):
    def push(self, units: Sequence[int]) -> Tensor: ...
    def finish(self) -> Tensor: ...


class ContextlessVocoder:
    """Each chunk alone. Works with any vocoder."""

    def __init__(self, vocoder: Vocoder, *, rate: float = 1.0) -> None:
        self._vocoder, self._rate = vocoder, rate

    def push(self, units: Sequence[int]) -> Tensor:
        return self._vocoder(units, rate=self._rate) if len(units) else torch.zeros(0)

    def finish(self) -> Tensor:
        return torch.zeros(0)


class SeamlessVocoder:
    """Pieces of the offline waveform, each sample as soon as it is final."""

    def __init__(self, vocoder: UnitVocoder, *, rate: float = 1.0) -> None:
        for up in vocoder.ups:
            if (up.kernel_size[0] - up.stride[0]) % 2:  # type: ignore[index]
                raise ModelError(
                    "this vocoder's frames have no whole number of samples, so it cannot stream without seams",
                    remedy='Set omni.chunk_mode = "reference"',
                )
        self._vocoder, self._rate = vocoder, rate
        self._units: list[int] = []  # from a little before the first unit without a duration
        self._timed = 0  # how many of them have one
        self._frames = torch.zeros(0, dtype=torch.long)  # unit of every frame from `_first_frame` on
        self._first_frame = 0
        self._emitted = 0  # frames whose samples have been given out

    @property
    def delay_s(self) -> float:
        """Speech that is held back for the convolutions, in seconds; durations add `lookahead_units` units."""
        return self._vocoder.lookahead_frames * self._vocoder.hop / self._vocoder.sample_rate

    def push(self, units: Sequence[int]) -> Tensor:
        self._units += [unit for unit in units if unit >= 0]
        self._time(len(self._units) - self._vocoder.lookahead_units)
        return self._emit(self._known - self._vocoder.lookahead_frames)

    def finish(self) -> Tensor:
        self._time(len(self._units))
        return self._emit(self._known)

    @property
    def _known(self) -> int:
        return self._first_frame + len(self._frames)

    def _time(self, until: int) -> None:
        """Expand units up to `until` to frames."""
        if until <= self._timed:
            return
        durations = self._vocoder.durations(self._units, rate=self._rate)[self._timed : until]
        new = torch.tensor(self._units[self._timed : until], device=durations.device)
        self._frames = torch.cat([self._frames.to(new.device), new.repeat_interleave(durations)])
        # Later durations look back at most as far as the predictor reaches.
        keep_from = max(0, until - self._vocoder.lookahead_units)
        self._units, self._timed = self._units[keep_from:], until - keep_from

    def _emit(self, until: int) -> Tensor:
        """Samples of frames [emitted, until)."""
        if until <= self._emitted:
            return torch.zeros(0)
        hop = self._vocoder.hop
        first, last = self._vocoder.frames_for(self._emitted * hop, until * hop)
        first, last = max(first, self._first_frame), min(last, self._known)
        assert first <= max(0, self._vocoder.frames_for(self._emitted * hop, until * hop)[0]), "context was dropped"
        wave = self._vocoder.generate(self._frames[first - self._first_frame : last - self._first_frame])
        piece = wave[(self._emitted - first) * hop : (until - first) * hop]
        self._emitted = until
        drop = max(0, self._vocoder.frames_for(until * hop, until * hop + 1)[0]) - self._first_frame
        self._frames, self._first_frame = self._frames[drop:], self._first_frame + drop
        return piece


def chunk_vocoder(vocoder: Vocoder, mode: str, *, rate: float = 1.0) -> ChunkVocoder:
    """`mode`: seamless (UnitVocoder only; others fall back to contextless chunks) or reference."""
    if mode == "seamless" and isinstance(vocoder, UnitVocoder):
        return SeamlessVocoder(vocoder, rate=rate)
    return ContextlessVocoder(vocoder, rate=rate)
