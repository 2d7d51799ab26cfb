"""Speech units -> durations -> 5 ms vocoder parameters: F0, mel-cepstra, band voicing.

    networks = UnitVocoder(UnitVocoderConfig(n_units=480))
    stream = VocoderStream(networks, head)
    for units in arriving:                       # unit ids from the CTC decoder
        play(stream.push(units))                 # (samples,) float32, possibly empty
    play(stream.finish())                        # the pieces are the sound of the whole utterance

A unit is a half-phone in one of a few flavours of timbre and pitch. ConvNeXt blocks (Liu et al. 2022, one dimension)
over the units see about three phones to each side; the result is spread over each unit's frames and smoothed by a few
blocks over frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from omni.voice.source_filter import N_BANDS, N_MCEP, SourceFilter

N_PARAMS = N_MCEP + 2 + N_BANDS  # mel-cepstra, log F0, voiced logit, strength logits
_POSITION_DIM = 12


@dataclass(frozen=True)
class UnitVocoderConfig:
    n_units: int
    unit_dim: int = 192
    unit_layers: int = 3
    frame_dim: int = 128
    frame_layers: int = 3
    unit_kernel: int = 5
    frame_kernel: int = 7
    pieces: int = 1  # that a unit is cut into, each with its own length and its own input to the frames


class ConvNeXtBlock(nn.Module):
    """(B, T, dim) -> (B, T, dim); `keep` (B, T, 1) is zero at padding, so that it acts as the edge of the utterance."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        if keep is not None:
            x = x * keep
        # As a picture of height one with channels last: three times as fast on a CPU, backward included, as conv1d
        picture = x[:, None].permute(0, 3, 1, 2)
        padding = (0, self.mix.kernel_size[0] // 2)
        mixed = nn.functional.conv2d(
            picture, self.mix.weight[:, :, None], self.mix.bias, padding=padding, groups=x.shape[-1]
        ).permute(0, 2, 3, 1)[:, 0]
        return x + self.down(nn.functional.gelu(self.up(self.norm(mixed))))


class UnitVocoder(nn.Module):
    mean: Tensor  # (32,) of the training data, in the parameters' own units
    scale: Tensor

    def __init__(self, config: UnitVocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.n_units, config.unit_dim)
        self.unit_blocks = nn.ModuleList(
            ConvNeXtBlock(config.unit_dim, config.unit_kernel) for _ in range(config.unit_layers)
        )
        self.unit_norm = nn.LayerNorm(config.unit_dim)
        self.duration = nn.Sequential(
            nn.Linear(config.unit_dim, config.unit_dim), nn.GELU(), nn.Linear(config.unit_dim, config.pieces)
        )
        self.spread = nn.Linear(config.unit_dim, config.pieces * config.frame_dim)
        self.position = nn.Linear(_POSITION_DIM, config.frame_dim)
        # A unit's state chooses how the parameters move within it: position gates, not only shifts.
        self.gate = nn.Linear(config.unit_dim, config.pieces * config.frame_dim)
        self.frame_blocks = nn.ModuleList(
            ConvNeXtBlock(config.frame_dim, config.frame_kernel) for _ in range(config.frame_layers)
        )
        self.frame_norm = nn.LayerNorm(config.frame_dim)
        self.out = nn.Linear(config.frame_dim, N_PARAMS)
        self.register_buffer("mean", torch.zeros(N_PARAMS))
        self.register_buffer("scale", torch.ones(N_PARAMS))

    @property
    def unit_reach(self) -> int:
        """Units to either side that a unit's state depends on."""
        return self.config.unit_layers * (self.config.unit_kernel // 2)

    @property
    def frame_reach(self) -> int:
        return self.config.frame_layers * (self.config.frame_kernel // 2)

    def unit_states(self, units: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, N) ids -> (B, N, unit_dim)."""
        x = self.embed(units)
        for block in self.unit_blocks:
            x = block(x, keep)
        return self.unit_norm(x)

    def log_frames(self, states: Tensor) -> Tensor:
        """(B, N, unit_dim) -> (B, N * pieces) log of the number of frames."""
        return self.duration(states).flatten(1)

    def spread_inputs(self, states: Tensor) -> Tensor:
        """Unit states (B, N, unit_dim) -> what a piece's frames share (B, N * pieces, 2 * frame_dim): shift, gate."""
        shape = (states.shape[0], -1, self.config.frame_dim)
        return torch.cat([self.spread(states).view(shape), torch.sigmoid(self.gate(states)).view(shape)], dim=-1)

    def frame_inputs(self, shared: Tensor, positions: Tensor) -> Tensor:
        """Spread inputs repeated over frames (B, T, 2 * frame_dim), positions (B, T, 12) -> (B, T, frame_dim)."""
        shift, gate = shared.chunk(2, dim=-1)
        place = self.position(positions)
        return shift + place + gate * torch.tanh(place)

    def params(self, inputs: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, T, frame_dim) -> (B, T, 32) parameters in their own units (logits for voicing)."""
        x = inputs
        for block in self.frame_blocks:
            x = block(x, keep)
        return self.out(self.frame_norm(x)) * self.scale + self.mean


def positions(frames: Sequence[int] | np.ndarray) -> np.ndarray:
    """Frames of each piece of a unit -> (sum, 12) where each frame lies in its piece."""
    counts = np.asarray(frames)
    total = np.repeat(counts, counts).astype(np.float32)
    index = np.concatenate([np.arange(count) for count in counts]) if len(counts) else np.zeros(0)
    fraction = (index + 0.5) / np.maximum(total, 1)
    out = np.empty((len(index), _POSITION_DIM), np.float32)
    out[:, 0], out[:, 1], out[:, 2] = fraction, fraction**2, np.log(np.maximum(total, 1)) / 2
    out[:, 3], out[:, 4] = np.exp(-index / 2), np.exp(-(total - 1 - index) / 2)
    out[:, 5], out[:, 6] = np.exp(-index / 6), np.exp(-(total - 1 - index) / 6)
    for k in range(1, 4):
        out[:, 6 + k] = np.cos(np.pi * k * fraction)
    out[:, 10], out[:, 11] = np.minimum(index, 20) / 20, np.minimum(total - 1 - index, 20) / 20
    return out


class _Window:
    """Runs a convolution of reach r over a growing sequence; each output as soon as its context is complete."""

    def __init__(self, run: Callable[[Tensor], Tensor], reach: int) -> None:
        self._run, self._reach = run, reach
        self._held: Tensor | None = None  # inputs from `reach` before the next output on
        self._before = 0  # how many of them only serve as context

    def push(self, new: Tensor | None, *, last: bool = False) -> Tensor | None:
        """(1, n, ...) inputs -> (1, m, ...) outputs, or None."""
        parts = [part for part in (self._held, new) if part is not None and part.shape[1]]
        if not parts:
            return None
        held = torch.cat(parts, dim=1)
        ready = held.shape[1] if last else held.shape[1] - self._reach
        if ready <= self._before:
            self._held = held
            return None
        out = self._run(held)[:, self._before : ready]
        keep_from = max(0, ready - self._reach)
        self._held, self._before = held[:, keep_from:], ready - keep_from
        return out


class VocoderStream:
    """One utterance: units in, sound out, all context carried over.

    `contour` may reshape the melody: (places in units, such as 12.5, log F0) -> log F0. `first_frames` bounds the
    first pause. Rounding of durations to frames is carried on, so a rate changes the whole by what it says.
    """

    def __init__(
        self,
        networks: UnitVocoder,
        head: SourceFilter,
        *,
        rate: float = 1.0,
        seed: int = 0,
        contour: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        first_frames: int | None = None,
    ) -> None:
        self._networks, self._rate, self._contour = networks, rate, contour
        self._head = head.stream(seed=seed)
        self._units = _Window(networks.unit_states, networks.unit_reach)
        self._frames = _Window(networks.params, networks.frame_reach)
        self._first_frames = first_frames
        self._carry = 0.0  # rounding of durations evens out over the utterance
        self._places: list[np.ndarray] = []  # of frames that are not yet spoken
        self._n_units = 0

    def push(self, units: Sequence[int]) -> np.ndarray:
        return self._advance(torch.tensor([list(units)], dtype=torch.long) if len(units) else None, last=False)

    def finish(self) -> np.ndarray:
        return np.concatenate([self._advance(None, last=True), self._head.finish()])

    @torch.inference_mode()
    def _advance(self, units: Tensor | None, *, last: bool) -> np.ndarray:
        states = self._units.push(units, last=last)
        inputs = self._spread(states) if states is not None else None
        params = self._frames.push(inputs, last=last)
        return self._speak(params[0].numpy()) if params is not None else np.zeros(0, np.float32)

    def _spread(self, states: Tensor) -> Tensor:
        pieces = self._networks.config.pieces
        wanted = torch.exp(self._networks.log_frames(states))[0].view(-1, pieces).numpy() / self._rate
        frames: list[int] = []
        for lengths in wanted:
            if self._first_frames is not None and self._n_units == 0:
                lengths = lengths * min(1.0, self._first_frames / lengths.sum())
            for piece, length in enumerate(lengths.tolist()):
                # No unit is skipped, though one of its pieces may be
                least = 1 if piece == pieces - 1 and not any(frames[len(frames) - piece :]) else 0
                whole = max(least, round(length + self._carry))
                self._carry = float(np.clip(self._carry + length - whole, -1, 1))
                frames.append(whole)
                within = (piece + (np.arange(whole) + 0.5) / max(whole, 1)) / pieces
                self._places.append(self._n_units + within)
            self._n_units += 1
        shared = self._networks.spread_inputs(states).repeat_interleave(torch.tensor(frames), dim=1)
        return self._networks.frame_inputs(shared, torch.from_numpy(positions(frames))[None])

    def _speak(self, params: np.ndarray) -> np.ndarray:
        mcep, log_f0 = params[:, :N_MCEP], params[:, N_MCEP]
        voiced = params[:, N_MCEP + 1] > 0
        strengths = 1 / (1 + np.exp(-params[:, N_MCEP + 2 :]))
        if self._contour is not None:
            places = np.concatenate(self._places)
            log_f0 = self._contour(places[: len(params)], log_f0)
            self._places = [places[len(params) :]]
        f0 = np.where(voiced, np.exp(np.clip(log_f0, 3.9, 6.2)), 0.0)
        return self._head.push(f0, mcep, strengths)
