"""Unit vocoder: discrete units -> waveform, a HiFi-GAN over unit embeddings with a duration predictor.

    vocoder = load_vocoder(Path("g_00500000"), Path("config.json"), device=device)
    waveform = vocoder(units)                                  # (n,) float32, 16 kHz

Architecture: Kong et al., 2020 (HiFi-GAN), code input and durations of Polyak et al., 2021. Two traps: the leaky
ReLU before the last convolution has slope 0.01 where all others have 0.1, and a transposed convolution's weight norm is
per *input* channel. How far a sample looks is computed from the configuration: `frames_for` is what makes exact
streaming possible (see vocoder_stream.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from core.errors import ModelError
from omni.weights import Weights, load_into, open_weights

SLOPE = 0.1


@dataclass(frozen=True)
class VocoderConfig:
    """The fields of a fairseq code-HiFi-GAN configuration that shape inference."""

    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    num_embeddings: int
    embedding_dim: int
    model_in_dim: int
    sampling_rate: int = 16_000  # Hz
    resblock: str = "1"
    dur_hidden: int = 0  # 0: no duration predictor
    dur_kernel: int = 3

    @property
    def hop(self) -> int:
        """Samples per frame; a unit lasts a whole number of frames."""
        return prod(self.upsample_rates)


def read_vocoder_config(path: Path) -> VocoderConfig:
    """Unknown fields are ignored; raises ModelError naming the field that is missing or unsupported."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"vocoder configuration {path} cannot be read: {error}") from error
    if raw.get("f0") or raw.get("multispkr"):
        raise ModelError(
            f"{path}: vocoders with pitch or speaker inputs are not supported", remedy="Use a unit vocoder"
        )
    known = {field.name for field in fields(VocoderConfig)}
    values: dict[str, Any] = {key: _frozen(value) for key, value in raw.items() if key in known}
    if raw.get("dur_predictor_params"):
        values["dur_hidden"] = raw["dur_predictor_params"]["var_pred_hidden_dim"]
        values["dur_kernel"] = raw["dur_predictor_params"]["var_pred_kernel_size"]
    try:
        return VocoderConfig(**values)
    except TypeError as error:
        raise ModelError(f"{path} lacks a field: {error}", remedy="Use the config.json beside the vocoder") from error


def _frozen(value: object) -> object:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


class ResBlock(nn.Module):
    """Dilated convolutions with residuals; type 1 has a second, undilated convolution after each, type 2 has not."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int], kind: str) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)

        self.kind = kind
        if kind == "1":
            self.convs1 = nn.ModuleList(conv(dilation) for dilation in dilations)
            self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        else:
            self.convs = nn.ModuleList(conv(dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind != "1":
            for conv in self.convs:
                x = x + conv(leaky_relu(x, SLOPE))
            return x
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            x = x + conv2(leaky_relu(conv1(leaky_relu(x, SLOPE)), SLOPE))
        return x


class DurationPredictor(nn.Module):
    """Unit embeddings (B, n, dim) -> log(frames + 1) of each unit (B, n)."""

    def __init__(self, dim: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(dim, hidden, kernel, padding=(kernel - 1) // 2))
        self.ln1 = nn.LayerNorm(hidden)
        self.conv2 = nn.Sequential(nn.Conv1d(hidden, hidden, kernel, padding=(kernel - 1) // 2))
        self.ln2 = nn.LayerNorm(hidden)
        self.proj = nn.Linear(hidden, 1)
        self.reach = 2 * ((kernel - 1) // 2)  # units to either side

    def forward(self, x: Tensor) -> Tensor:
        x = self.ln1(torch.relu(self.conv1(x.transpose(1, 2))).transpose(1, 2))
        x = self.ln2(torch.relu(self.conv2(x.transpose(1, 2))).transpose(1, 2))
        return self.proj(x).squeeze(-1)


class UnitVocoder(nn.Module):
    """Parameter names are fairseq's, weight norm folded."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sampling_rate
        self.n_units = config.num_embeddings
        self.dict = nn.Embedding(config.num_embeddings, config.embedding_dim)
        if config.dur_hidden:
            self.dur_predictor = DurationPredictor(config.embedding_dim, config.dur_hidden, config.dur_kernel)
        width = config.upsample_initial_channel
        self.conv_pre = nn.Conv1d(config.model_in_dim, width, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            self.ups.append(nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2))
            width //= 2
            for res_kernel, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
                self.resblocks.append(ResBlock(width, res_kernel, dilations, config.resblock))
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3)

    @property
    def hop(self) -> int:
        return self.config.hop

    def _codes(self, units: Sequence[int] | Tensor) -> Tensor:
        """Units as a (n,) tensor; negative ones (padding) are dropped."""
        codes = torch.as_tensor(units, dtype=torch.long, device=self.dict.weight.device).flatten()
        return codes[codes >= 0]

    def log_durations(self, units: Sequence[int] | Tensor) -> Tensor:
        """Raw predictor output (n,)."""
        return self.dur_predictor(self.dict(self._codes(units))[None])[0]

    def durations(self, units: Sequence[int] | Tensor, *, rate: float = 1.0) -> Tensor:
        """Frames of each unit, (n,) int64 >= 1; `rate` above 1 speaks faster."""
        codes = self._codes(units)
        if not self.config.dur_hidden or not len(codes):
            return torch.ones(len(codes), dtype=torch.long, device=codes.device)
        frames = torch.exp(self.log_durations(codes).float()) - 1
        return torch.clamp(torch.round(frames / rate), min=1).long()  # round is to even, as the reference's

    @torch.no_grad()
    def forward(self, units: Sequence[int] | Tensor, *, predict_durations: bool = True, rate: float = 1.0) -> Tensor:
        """Units (n,) -> waveform (samples,) float32 on the vocoder's device; one frame a unit without durations."""
        codes = self._codes(units)
        if predict_durations:
            codes = codes.repeat_interleave(self.durations(codes, rate=rate))
        return self.generate(codes)

    @torch.no_grad()
    def generate(self, frames: Tensor) -> Tensor:
        """Unit of every frame (n,) -> waveform (n * hop,)."""
        if not len(frames):
            return torch.zeros(0, device=self.dict.weight.device)
        x = self.conv_pre(self.dict(frames)[None].transpose(1, 2))
        kernels = len(self.config.resblock_kernel_sizes)
        for stage, up in enumerate(self.ups):
            x = up(leaky_relu(x, SLOPE))
            blocks = self.resblocks[stage * kernels : (stage + 1) * kernels]
            x = sum(block(x) for block in blocks) / kernels
        x = self.conv_post(leaky_relu(x))  # slope 0.01 here, not 0.1: the reference's
        return torch.tanh(x)[0, 0].float()

    def frames_for(self, start: int, end: int) -> tuple[int, int]:
        """Frames [first, last) that samples [start, end) depend on; may reach below 0 and beyond the end.

        Walks the layers backwards: a convolution widens the interval by its reach, a transposed one with kernel K,
        stride S and padding P maps output o to inputs ceil((o + P - K + 1) / S) .. floor((o + P) / S).
        """
        low, high = start - 3, end - 1 + 3  # conv_post, kernel 7; `high` is inclusive
        second = 1 if self.config.resblock == "1" else 0  # each dilated convolution is followed by a plain one
        blocks = zip(self.config.resblock_kernel_sizes, self.config.resblock_dilation_sizes, strict=True)
        reach = max(sum((kernel - 1) // 2 * (dilation + second) for dilation in row) for kernel, row in blocks)
        stages = zip(self.config.upsample_rates, self.config.upsample_kernel_sizes, strict=True)
        for stride, kernel in reversed(list(stages)):
            padding = (kernel - stride) // 2
            low = -((-(low - reach + padding - kernel + 1)) // stride)
            high = (high + reach + padding) // stride
        return low - 3, high + 3 + 1  # conv_pre, kernel 7

    @property
    def lookahead_frames(self) -> int:
        """Frames after its own that the last sample of a frame depends on."""
        return self.frames_for(0, self.hop)[1] - 1

    @property
    def lookahead_units(self) -> int:
        """Units after its own that a unit's duration depends on."""
        return self.dur_predictor.reach if self.config.dur_hidden else 0


def fold_weight_norm(weights: Weights, name: str) -> Tensor:
    """The plain weight w = g v / |v| (Salimans & Kingma, 2016), norms over all axes but the first."""
    for g_name, v_name in (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ):
        prefix = name.removesuffix("weight")
        if prefix + v_name in weights:
            g, v = weights.get(prefix + g_name).float(), weights.get(prefix + v_name).float()
            return v * (g / v.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1)))
    return weights.get(name)


class _Folded(Weights):
    """Looks like a checkpoint without weight norm."""

    def __init__(self, inner: Weights) -> None:
        super().__init__(inner.origin, {name: inner.file_of(name) for name in inner.names})
        self._inner = inner

    def get(self, name: str) -> Tensor:
        return fold_weight_norm(self._inner, name)


def load_vocoder(
    weights: Path, config: Path, *, device: torch.device, dtype: torch.dtype = torch.float32
) -> UnitVocoder:
    """From fairseq's pickle `{"generator": {...}}` or safetensors. Raises ModelError naming file and tensor."""
    with torch.device("meta"):
        vocoder = UnitVocoder(read_vocoder_config(config))
    load_into(vocoder, _Folded(open_weights(weights, inside="generator")), dtype=dtype, device=device)
    return vocoder.eval().requires_grad_(False)
