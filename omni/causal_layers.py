"""Pre-norm Llama layers over our cache, for decoders whose neighbouring positions share their input.

A speech decoder sees every language-model state `repeat` times. The first layer's norm and Q, K, V projections are
the same for all repeats (only RoPE differs), so they are computed once per token, not once per frame.
Parameter names are the published checkpoint's; `tests/omni/test_ctc_decoder.py` holds these layers against
transformers' LlamaModel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from omni.kv_cache import KVCache, attention_mask, static_mask


@dataclass(frozen=True)
class LayerConfig:
    """One stack of causal Llama layers."""

    dim: int
    n_layers: int
    n_heads: int
    ffn_dim: int
    n_kv_heads: int = 0  # 0: as many as heads
    rope: dict[str, Any] | None = None  # transformers' `rope_parameters`; None: plain RoPE, theta 10,000
    max_positions: int = 131_072
    norm_eps: float = 1e-5
    activation: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    final_norm: bool = True

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @property
    def head_dim(self) -> int:
        return self.dim // self.n_heads

    def hf(self) -> LlamaConfig:
        """The same stack as a transformers configuration (vocabulary unused)."""
        return LlamaConfig(
            vocab_size=8,
            hidden_size=self.dim,
            intermediate_size=self.ffn_dim,
            num_hidden_layers=self.n_layers,
            num_attention_heads=self.n_heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            hidden_act=self.activation,
            max_position_embeddings=self.max_positions,
            rms_norm_eps=self.norm_eps,
            rope_parameters=dict(self.rope) if self.rope else {"rope_type": "default", "rope_theta": 10_000.0},
            attention_bias=self.attention_bias,
            mlp_bias=self.mlp_bias,
            bos_token_id=None,
            eos_token_id=None,
        )


class CausalAttention(nn.Module):
    def __init__(self, config: LayerConfig, index: int) -> None:
        super().__init__()
        self.config, self.index = config, index
        width, kv_width = config.n_heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.dim, kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.dim, kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(width, config.dim, bias=config.attention_bias)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None, repeat: int
    ) -> Tensor:
        def heads(projected: Tensor) -> Tensor:
            split = projected.unflatten(-1, (-1, self.config.head_dim))  # (B, N, H, D)
            return (split if repeat == 1 else split.repeat_interleave(repeat, dim=1)).transpose(1, 2)

        query, key = apply_rotary_pos_emb(heads(self.q_proj(x)), heads(self.k_proj(x)), *rope)
        value = heads(self.v_proj(x))
        if cache is not None:
            key, value = cache.update(key, value, self.index)
        out = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None and query.shape[2] > 1,
            enable_gqa=self.config.kv_heads != self.config.n_heads,
        )
        return self.o_proj(out.transpose(1, 2).flatten(2))


class CausalLayer(nn.Module):
    def __init__(self, config: LayerConfig, index: int) -> None:
        super().__init__()
        self.self_attn = CausalAttention(config, index)
        self.mlp = LlamaMLP(config.hf())
        self.input_layernorm = LlamaRMSNorm(config.dim, eps=config.norm_eps)
        self.post_attention_layernorm = LlamaRMSNorm(config.dim, eps=config.norm_eps)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None, repeat: int = 1
    ) -> Tensor:
        residual = x if repeat == 1 else x.repeat_interleave(repeat, dim=1)
        x = residual + self.self_attn(self.input_layernorm(x), rope, mask, cache, repeat)
        return x + self.mlp(self.post_attention_layernorm(x))


class CausalStack(nn.ModuleList):
    """The layers as a list (so that checkpoint keys read `layers.0...`), and how to run them."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__([CausalLayer(config, index) for index in range(config.n_layers)])
        self.config = config
        self._rope: LlamaRotaryEmbedding | None = None

    def run(self, x: Tensor, *, repeat: int = 1, cache: KVCache | None = None, keep: Tensor | None = None) -> Tensor:
        """(B, N, dim) inputs, each standing for `repeat` positions -> (B, N * repeat, dim).

        Attends to the cache and to itself, causally. `keep` (B, past + N * repeat): False at padding.
        """
        past, new = (cache.length if cache is not None else 0), x.shape[1] * repeat
        positions = torch.arange(past, past + new, device=x.device)[None]
        out = self._run(x, positions, attention_mask(new, past, keep=keep, like=x), cache, repeat)
        if cache is not None:
            cache.advance(new)
        return out

    def static_run(self, x: Tensor, positions: Tensor, cache: KVCache, window: int, *, repeat: int) -> Tensor:
        """The same at device tensor `positions` (N * repeat,) < window, shapes fixed: what a CUDA graph captures."""
        mask = static_mask(positions, window, like=x)
        with cache.writing_at(positions, window):
            return self._run(x, positions[None], mask, cache, repeat)

    def _run(self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: KVCache | None, repeat: int) -> Tensor:
        if self._rope is None or self._rope.inv_freq.device != x.device:
            # Held outside the module tree: no checkpoint holds it, and `.to(bfloat16)` must not round its frequencies.
            object.__setattr__(self, "_rope", LlamaRotaryEmbedding(self.config.hf()).to(x.device))
        assert self._rope is not None
        rope = self._rope(x, position_ids=positions)
        for layer in self:
            x = layer(x, rope, mask, cache, repeat)
            repeat = 1
        return x
