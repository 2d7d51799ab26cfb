"""What each stage of a speech language model must offer, so that any of them can be exchanged.

waveform -> FrontEnd -> Encoder -> Adapter -> LanguageModel -> (text, states) -> SpeechDecoder -> units -> Vocoder
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core.errors import ModelError
from omni.kv_cache import KVCache


class FrontEnd(Protocol):
    sample_rate: int  # Hz
    n_mels: int

    def __call__(self, samples: np.ndarray | Tensor, *, device: torch.device | str = "cpu") -> Tensor:
        """(n,) samples -> (windows, frames, n_mels)."""
        ...


class Encoder(Protocol):
    @property
    def n_mels(self) -> int: ...
    @property
    def dim(self) -> int: ...
    def __call__(self, mel: Tensor) -> Tensor:
        """(B, frames, n_mels) -> (B, frames / 2, dim)."""
        ...


class Adapter(Protocol):
    @property
    def input_dim(self) -> int: ...
    @property
    def output_dim(self) -> int: ...
    @property
    def downsample(self) -> int: ...
    def length(self, states: int) -> int: ...
    def __call__(self, states: Tensor, text: Tensor | None = None, text_keep: Tensor | None = None) -> Tensor:
        """(B, T, input_dim) [and the prompt's words (B, N, output_dim)] -> (B, length(T), output_dim)."""
        ...


class LanguageModel(Protocol):
    @property
    def dim(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def embed(self, ids: Tensor) -> Tensor: ...
    def logits(self, hidden: Tensor) -> Tensor: ...
    def __call__(
        self,
        embeds: Tensor,
        *,
        cache: KVCache | None = None,
        keep: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """(B, T, dim) -> normed hidden states (B, T, dim)."""
        ...


class SpeechDecoder(Protocol):
    @property
    def input_dim(self) -> int: ...
    @property
    def n_units(self) -> int: ...
    @property
    def blank(self) -> int: ...
    @property
    def upsample(self) -> int: ...
    def streaming(self, batch_size: int = 1) -> AlignmentStream: ...


class AlignmentStream(Protocol):
    def align(self, hidden: Tensor | None, *, last: bool = False) -> Tensor:
        """New states (B, n, input_dim) -> unit or blank of every completed frame (B, frames)."""
        ...


class Vocoder(Protocol):
    sample_rate: int  # Hz
    n_units: int

    @property
    def hop(self) -> int: ...
    def __call__(self, units: Sequence[int] | Tensor, *, predict_durations: bool = True, rate: float = 1.0) -> Tensor:
        """Units -> (samples,) float32."""
        ...


def check_sizes(
    front_end: FrontEnd,
    encoder: Encoder,
    adapter: Adapter,
    llm: LanguageModel,
    speech_decoder: SpeechDecoder | None,
    vocoder: Vocoder | None,
) -> None:
    """Raise ModelError naming the first two neighbours that do not fit together.

    All sizes must be equal but one: a vocoder may know more units than the decoder says, never fewer.
    """
    pairs: list[tuple[str, int, str, int]] = [
        ("front_end.n_mels", front_end.n_mels, "encoder.n_mels", encoder.n_mels),
        ("encoder.dim", encoder.dim, "adapter.input_dim", adapter.input_dim),
        ("adapter.output_dim", adapter.output_dim, "llm.dim", llm.dim),
    ]
    if speech_decoder is not None:
        pairs.append(("llm.dim", llm.dim, "speech_decoder.input_dim", speech_decoder.input_dim))
    if speech_decoder is not None and vocoder is not None and speech_decoder.n_units > vocoder.n_units:
        raise ModelError(
            f"these stages do not fit: speech_decoder.n_units is {speech_decoder.n_units}, "
            f"vocoder.n_units is only {vocoder.n_units}, so units from {vocoder.n_units} on would have no sound",
            remedy="Use the vocoder that was trained on the same units (omni.vocoder)",
        )
    for left, left_size, right, right_size in pairs:
        if left_size != right_size:
            raise ModelError(
                f"these stages do not fit: {left} is {left_size}, {right} is {right_size}",
                remedy="Replace both stages together, or use one of the same size",
            )
