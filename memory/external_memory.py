"""A layer that attends to vectors outside the window: learned slots, and entries that a store brings with each call.

    layer = ExternalMemory(dim=384)                    # part of a reader, trained with it

    y = x + tanh(gate) * W_o softmax(q(x) k([slots; entries])') v([slots; entries])

(gated cross-attention as in Flamingo, arXiv 2204.14198; slots as in "External Attention", arXiv 2105.02358). The gate
starts at zero, so adding the layer leaves a reader exactly as it was. What a token reads costs O(slots + entries),
whatever the store holds. The store of the locator's entries is rag/document_memory.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ExternalMemory(nn.Module):
    """The layer. Stateless: entries come with each call."""

    def __init__(self, dim: int = 384, *, slots: int = 64, heads: int = 6, entry_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.slots = nn.Parameter(torch.empty(slots, dim).normal_(std=0.5))
        self.entry_in = nn.Linear(entry_dim or dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Parameter(torch.zeros(1))
        nn.init.normal_(self.entry_in.weight, std=(entry_dim or dim) ** -0.5)

    def forward(self, x: Tensor, entries: Tensor | None = None, entry_mask: Tensor | None = None) -> Tensor:
        """x (B, T, dim); entries (B, M, entry_dim) unit vectors or None; entry_mask (B, M) True where one stands."""
        batch, _, dim = x.shape
        table = self.slots.to(x.dtype).expand(batch, -1, -1)
        bias = None
        if entries is not None and entries.shape[1]:
            scale = entries.shape[-1] ** 0.5  # a unit vector's components are 1 / sqrt(d); give them variance one
            written = self.entry_in((entries * scale).to(self.entry_in.weight.dtype))
            table = torch.cat([table, written.to(x.dtype)], dim=1)
            if entry_mask is not None:
                keep = F.pad(entry_mask, (self.slots.shape[0], 0), value=True)
                bias = torch.zeros(keep.shape, device=x.device).masked_fill_(~keep, -1e4)[:, None, None].to(x.dtype)
        split = (batch, -1, self.heads, dim // self.heads)
        key, value = self.key_value(self.norm(table)).chunk(2, dim=-1)
        query = self.query(x).view(split).transpose(1, 2)
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.reshape(split).transpose(1, 2).transpose(-1, -2))
        weights = (scores if bias is None else scores + bias).softmax(dim=-1)
        read = torch.matmul(weights.to(value.dtype), value.reshape(split).transpose(1, 2))
        return x + torch.tanh(self.gate).to(x.dtype) * self.out(read.transpose(1, 2).reshape(x.shape))
