"""Speech adapters: encoder states -> embeddings that a language model reads in place of words.

`LinearAdapter` is the published one: k = 5 neighbouring states concatenated, a two-layer perceptron with ReLU
(LLaMA-Omni, section 2.3). `CrossModalAdapter` adds attention from the speech over the words around it and the speech
itself, behind a gate that starts at zero, so that it begins as the linear adapter and learns to deviate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class LinearAdapter(nn.Module):
    """(B, T, encoder_dim) -> (B, T // downsample, output_dim). Names as in the checkpoint's `speech_projector`."""

    def __init__(self, encoder_dim: int, output_dim: int, *, downsample: int = 5, hidden_dim: int = 2048) -> None:
        super().__init__()
        self.downsample = downsample
        self.input_dim = encoder_dim
        self.output_dim = output_dim
        self.linear1 = nn.Linear(encoder_dim * downsample, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, output_dim)

    def forward(self, states: Tensor, text: Tensor | None = None, text_keep: Tensor | None = None) -> Tensor:
        """`text` (the prompt's embeddings) is ignored here. States beyond a multiple of `downsample` are dropped."""
        whole = states.shape[1] // self.downsample * self.downsample
        grouped = states[:, :whole].unflatten(1, (-1, self.downsample)).flatten(2)
        return self.linear2(torch.relu(self.linear1(grouped)))

    def length(self, states: int) -> int:
        """How many embeddings come from so many encoder states."""
        return states // self.downsample


class CrossModalAdapter(nn.Module):
    """A linear adapter followed by gated attention of each speech embedding over [text; speech]."""

    def __init__(self, linear: LinearAdapter, *, n_heads: int = 8) -> None:
        super().__init__()
        dim = linear.output_dim
        assert dim % n_heads == 0, (dim, n_heads)
        self.linear = linear
        self.n_heads = n_heads
        self.norm_speech, self.norm_text = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.modality = nn.Parameter(torch.zeros(2, dim))  # added to text and speech keys, so they can be told apart
        self.gate = nn.Parameter(torch.zeros(1))  # tanh(0) = 0: starts as the linear adapter

    @property
    def downsample(self) -> int:
        return self.linear.downsample

    @property
    def input_dim(self) -> int:
        return self.linear.input_dim

    @property
    def output_dim(self) -> int:
        return self.linear.output_dim

    def length(self, states: int) -> int:
        return self.linear.length(states)

    def forward(self, states: Tensor, text: Tensor | None = None, text_keep: Tensor | None = None) -> Tensor:
        """states (B, T, encoder_dim), text (B, N, output_dim) -> (B, T // downsample, output_dim).

        `text_keep` (B, N) bool: False at padding.
        """
        speech = self.linear(states)
        sound = self.norm_speech(speech)
        context = sound + self.modality[1]
        keep = None
        if text is not None and text.shape[1]:
            context = torch.cat([self.norm_text(text.to(sound.dtype)) + self.modality[0], context], dim=1)
            if text_keep is not None:
                keep = nn.functional.pad(text_keep, (0, sound.shape[1]), value=True)[:, None, None]
        key, value = self.key_value(context).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for x in (self.query(sound), key, value))
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=keep).transpose(1, 2).flatten(2)
        return speech + torch.tanh(self.gate) * self.out(mixed)
