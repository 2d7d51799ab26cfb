"""Streaming speech decoder: language-model states -> discrete speech units, by CTC (LLaMA-Omni, section 2.4).

    units = decoder.units(hidden)                       # whole utterance: (1, N, input_dim) -> list of unit ids
    with decoder.streaming() as stream:                 # as the states come, the same units
        for state in states:                            # (1, n, input_dim)
            units += stream.step(state)
        units += stream.finish()

Every state is upsampled `upsample` times (25 in the paper), passed through causal Llama layers and classified into
units or blank; repeated units merge, blanks vanish. With a cache each state costs `upsample` positions; the reference
recomputes the whole past at every token.

The same class serves small voices of our own (phones -> units): layers, sizes, RoPE, final norm and lookahead are in
`CTCDecoderConfig`. Lookahead is a row convolution over the next `lookahead` states (Deep Speech 2, section 3.7): the
output for a state then waits for that many more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from omni.causal_layers import CausalStack, LayerConfig
from omni.kv_cache import KVCache

_BLOCK_STATES = 16  # states per pass behind a cache: bounds the (frames x past) mask


@dataclass(frozen=True)
class CTCDecoderConfig:
    """Sizes of the speech decoder; all but the last two are the reference's."""

    input_dim: int  # width of the language model's states
    layers: LayerConfig
    n_units: int = 1000  # the blank is one more: id n_units
    upsample: int = 25  # frames per state
    final_norm: bool = False  # the reference has none
    lookahead: int = 0  # states after its own that an output may depend on


class CTCDecoder(nn.Module):
    """States (B, N, input_dim) -> logits over units and blank (B, N * upsample, n_units + 1)."""

    def __init__(self, config: CTCDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.layers.dim
        self.input_proj = nn.Linear(config.input_dim, dim)
        self.layers = CausalStack(config.layers)
        self.output_proj = nn.Linear(dim, config.n_units + 1)
        self.norm = LlamaRMSNorm(dim, eps=config.layers.norm_eps) if config.final_norm else nn.Identity()
        if config.lookahead:
            # Depthwise weights of the states that follow; zero at first, so a new decoder starts out causal.
            self.lookahead_weight = nn.Parameter(torch.zeros(config.lookahead, dim))

    @property
    def input_dim(self) -> int:
        return self.config.input_dim

    @property
    def n_units(self) -> int:
        return self.config.n_units

    @property
    def blank(self) -> int:
        return self.config.n_units

    @property
    def upsample(self) -> int:
        return self.config.upsample

    def embed(self, hidden: Tensor) -> Tensor:
        """States (B, N, input_dim) -> decoder inputs (B, N, dim), one per state, lookahead mixed in."""
        x = self.input_proj(hidden)
        out = x
        for step in range(1, self.config.lookahead + 1):
            ahead = nn.functional.pad(x[:, step:], (0, 0, 0, min(step, x.shape[1])))
            out = out + ahead * self.lookahead_weight[step - 1]
        return out

    def frames(self, hidden: Tensor, *, keep: Tensor | None = None) -> Tensor:
        """Decoder states before the output projection (B, N * upsample, dim), whole utterance at once."""
        return self.norm(self.layers.run(self.embed(hidden), repeat=self.upsample, keep=keep))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.output_proj(self.frames(hidden))

    def units(self, hidden: Tensor) -> list[int]:
        """Collapsed units of one utterance (1, N, input_dim)."""
        return collapse(self(hidden)[0].argmax(-1).tolist(), self.blank)

    def streaming(self, batch_size: int = 1) -> CTCStream:
        return CTCStream(self, batch_size)


def collapse(alignment: Sequence[int], blank: int) -> list[int]:
    """CTC's map from frames to units: merge repeats, then drop blanks (Graves et al., ICML 2006)."""
    return UnitCollapser(blank).push(alignment)


class UnitCollapser:
    """The collapse, one stretch of frames after the other: a repeat across a boundary still merges."""

    def __init__(self, blank: int) -> None:
        self.blank = blank
        self._previous = blank

    def push(self, alignment: Sequence[int]) -> list[int]:
        units = []
        for frame in alignment:
            if frame != self._previous and frame != self.blank:
                units.append(frame)
            self._previous = frame
        return units


class CTCStream:
    """State of one utterance (or a batch that advances together): cache, held-back lookahead, last frame."""

    def __init__(self, decoder: CTCDecoder, batch_size: int = 1) -> None:
        self.decoder = decoder
        self.batch_size = batch_size
        self.cache = KVCache(capacity=64 * decoder.upsample)
        self.collapsers = [UnitCollapser(decoder.blank) for _ in range(batch_size)]
        self._waiting: Tensor | None = None  # projected states whose lookahead has not come yet

    def __enter__(self) -> CTCStream:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.cache = KVCache(capacity=1)

    def step(self, hidden: Tensor) -> list[int]:
        """New states (1, n, input_dim) -> the units that they complete."""
        assert self.batch_size == 1, "a batch gets its alignments from align()"
        return self.collapsers[0].push(self.align(hidden)[0].tolist())

    def finish(self) -> list[int]:
        """The units of states that were still waiting for their lookahead."""
        return self.collapsers[0].push(self.align(None, last=True)[0].tolist())

    def align(self, hidden: Tensor | None, *, last: bool = False) -> Tensor:
        """New states (B, n, input_dim) -> raw unit or blank id of every completed frame (B, frames)."""
        return self.logits(hidden, last=last).argmax(-1)

    def logits(self, hidden: Tensor | None, *, last: bool = False) -> Tensor:
        """New states -> logits of every completed frame (B, frames, n_units + 1)."""
        frames = self.frames(hidden, last=last)
        return self.decoder.output_proj(frames)

    @torch.no_grad()
    def frames(self, hidden: Tensor | None, *, last: bool = False) -> Tensor:
        """New states -> decoder states of every completed frame (B, frames, dim)."""
        decoder, config = self.decoder, self.decoder.config
        new = decoder.input_proj(hidden) if hidden is not None else None
        x = self._mix_lookahead(new, last) if config.lookahead else new
        done = [
            decoder.norm(decoder.layers.run(block, repeat=config.upsample, cache=self.cache))
            for block in (x.split(_BLOCK_STATES if self.cache.length else x.shape[1], dim=1) if x is not None else ())
            if block.shape[1]
        ]
        weight = decoder.output_proj.weight
        empty = weight.new_zeros(self.batch_size, 0, weight.shape[1])
        return torch.cat(done, dim=1) if done else empty

    def _mix_lookahead(self, new: Tensor | None, last: bool) -> Tensor | None:
        config, weights = self.decoder.config, self.decoder.lookahead_weight
        parts = [part for part in (self._waiting, new) if part is not None]
        if not parts:
            return None
        x = torch.cat(parts, dim=1)
        ready = x.shape[1] if last else max(0, x.shape[1] - config.lookahead)
        out = x[:, :ready]
        for step in range(1, config.lookahead + 1):
            ahead = x[:, step : step + ready]
            out = out + nn.functional.pad(ahead, (0, 0, 0, ready - ahead.shape[1])) * weights[step - 1]
        self._waiting = x[:, ready:]
        return out
