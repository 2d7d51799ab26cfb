"""The language model: transformers' Llama with our cache, every hidden state out, and an optional external memory.

    backbone = LlamaBackbone(config)
    cache = KVCache(1024)
    hidden = backbone(backbone.embed(ids), cache=cache)     # (B, T, dim), after the final norm
    logits = backbone.logits(hidden[:, -1:])                # only where they are needed

The blocks (attention, MLP, norms, RoPE with llama3 scaling) are transformers' own; only the loop over layers is ours,
because the speech decoder needs the *normed* last hidden state of every step and CUDA graphs need a static cache.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from omni.kv_cache import KVCache, attention_mask, static_mask


class MemoryReader(Protocol):
    """A neural memory: reads for hidden states (B, T, dim) and returns them enriched, same shape."""

    def __call__(self, hidden: Tensor) -> Tensor: ...


class LlamaBackbone(nn.Module):
    """Any Llama (3.1-8B-Instruct in the published model): embeddings in, normed hidden states out."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        config._attn_implementation = "sdpa"
        self.hf = LlamaForCausalLM(config)
        self.memory: MemoryReader | None = None
        self.memory_layer = -1

    @property
    def config(self) -> LlamaConfig:
        return self.hf.config

    @property
    def dim(self) -> int:
        return self.config.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def device(self) -> torch.device:
        return self.hf.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hf.lm_head.weight.dtype

    def attach_memory(self, memory: MemoryReader | None, *, layer: int) -> None:
        """Let `memory` enrich the hidden states after decoder layer `layer` (0-based; negative counts from the end)."""
        self.memory = memory
        self.memory_layer = layer % self.config.num_hidden_layers

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (B, T) -> embeddings (B, T, dim)."""
        return self.hf.model.embed_tokens(ids)

    def logits(self, hidden: Tensor) -> Tensor:
        """Normed hidden states (..., dim) -> vocabulary logits (..., vocab_size)."""
        return self.hf.lm_head(hidden)

    def forward(
        self,
        embeds: Tensor,
        *,
        cache: KVCache | None = None,
        keep: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Embeddings (B, T, dim) -> hidden states after the final norm (B, T, dim).

        `keep` (B, past + T) bool: False at padding (left or right). `positions` (B, T): default counts on from the
        cache. Without a cache the pass is differentiable and stores nothing.
        """
        past = cache.length if cache is not None else 0
        new = embeds.shape[1]
        if positions is None:
            positions = torch.arange(past, past + new, device=embeds.device)[None]
        mask = attention_mask(new, past, keep=keep, like=embeds)
        hidden = self._layers(embeds, positions, mask, cache)
        if cache is not None:
            cache.advance(new)
        return hidden

    def static_forward(self, embeds: Tensor, position: Tensor, cache: KVCache, window: int) -> Tensor:
        """One step (B, 1, dim) at device tensor `position` (1,) < window, shapes fixed: what a CUDA graph captures."""
        mask = static_mask(position, window, like=embeds)
        with cache.writing_at(position, window):
            return self._layers(embeds, position[None], mask, cache)

    def _layers(self, hidden: Tensor, positions: Tensor, mask: Tensor | None, cache: KVCache | None) -> Tensor:
        model = self.hf.model
        rope = model.rotary_emb(hidden, position_ids=positions)
        for index, layer in enumerate(model.layers):
            hidden = layer(hidden, attention_mask=mask, position_embeddings=rope, past_key_values=cache)
            if self.memory is not None and index == self.memory_layer:
                hidden = self.memory(hidden)
        return model.norm(hidden)

    def reset_rope(self) -> None:
        """Recompute the RoPE frequencies, which no checkpoint holds (needed after building on the meta device)."""
        self.hf.model.rotary_emb = LlamaRotaryEmbedding(self.config).to(self.device)
