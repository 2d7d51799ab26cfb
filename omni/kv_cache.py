"""Keys and values of a causal transformer, allocated ahead of time and written in place.

    cache = KVCache(capacity=512)
    hidden = backbone(embeds, cache=cache)       # writes positions 0..T-1 and advances
    hidden = backbone(one_more, cache=cache)     # attends to everything before

Two ways to write. *Eager*: the host knows the length, layers get slices, the buffers grow by doubling. *Static*: the
position is a tensor on the device and layers get a window of fixed size, so shapes never change and one CUDA graph
serves many steps (as in gpt-fast); the caller masks what lies beyond the position.
Duck-typed to what transformers' `LlamaAttention` calls: `update(keys, values, layer_idx)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class KVCache:
    """(B, heads, capacity, head_dim) buffers for every layer, allocated at the first write.

    `capacity` is in positions; a static cache cannot grow, an eager one doubles.
    """

    def __init__(self, capacity: int = 256, *, static: bool = False) -> None:
        assert capacity > 0, capacity
        self.capacity = capacity
        self.static = static
        self.length = 0  # positions written so far, as the host knows it
        self._buffers: dict[int, tuple[Tensor, Tensor]] = {}
        self._write_at: Tensor | None = None
        self._window = capacity  # static mode: how much of the buffers layers get to see

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *args: object) -> tuple[Tensor, Tensor]:
        """Store (B, H, T, D) keys and values behind what is there; return all that this layer may attend to."""
        if layer_idx not in self._buffers:
            self._buffers[layer_idx] = (self._new(keys, self.capacity), self._new(values, self.capacity))
        all_keys, all_values = self._buffers[layer_idx]
        if self._write_at is not None:
            all_keys.index_copy_(2, self._write_at, keys)
            all_values.index_copy_(2, self._write_at, values)
            return all_keys[:, :, : self._window], all_values[:, :, : self._window]
        end = self.length + keys.shape[2]
        if end > all_keys.shape[2]:
            all_keys, all_values = self._grow(layer_idx, end)
        all_keys[:, :, self.length : end] = keys
        all_values[:, :, self.length : end] = values
        return all_keys[:, :, :end], all_values[:, :, :end]

    def advance(self, positions: int) -> None:
        """Call once per forward pass, after the last layer."""
        self.length += positions

    def crop(self, length: int) -> None:
        """Forget all positions from `length` on; what stands before stays valid, because attention is causal."""
        assert 0 <= length <= self.length, (length, self.length)
        self.length = length

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    @contextmanager
    def writing_at(self, positions: Tensor, window: int) -> Iterator[None]:
        """Static mode: inside, `update` writes at `positions` (T,) int64 on the device, returns the first `window`."""
        assert self.static and window <= self.capacity, (self.static, window, self.capacity)
        self._write_at, self._window = positions, window
        try:
            yield
        finally:
            self._write_at = None

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for pair in self._buffers.values() for t in pair)

    def _new(self, like: Tensor, capacity: int) -> Tensor:
        batch, heads, _, dim = like.shape
        return torch.zeros(batch, heads, capacity, dim, dtype=like.dtype, device=like.device)

    def _grow(self, layer_idx: int, needed: int) -> tuple[Tensor, Tensor]:
        assert not self.static, f"static cache of {self.capacity} positions cannot hold {needed}"
        self.capacity = max(self.capacity, needed, 2 * self._buffers[layer_idx][0].shape[2])
        grown = tuple(self._new(old, self.capacity) for old in self._buffers[layer_idx])
        for old, new in zip(self._buffers[layer_idx], grown, strict=True):
            new[:, :, : self.length] = old[:, :, : self.length]
        self._buffers[layer_idx] = (grown[0], grown[1])
        return self._buffers[layer_idx]


def attention_mask(new: int, past: int, *, keep: Tensor | None, like: Tensor) -> Tensor | None:
    """Additive (B or 1, 1, new, past + new) mask of what each new position may see; None where SDPA needs none.

    `keep` (B, past + new) bool is False at padding. A padded query sees itself, since a row without any key would be
    NaN and would poison every later row through 0 * NaN. Additive, in the dtype of `like`, because SDPA would turn a
    boolean mask into one anew in every layer.
    """
    if keep is not None and bool(keep.all()):
        keep = None
    if keep is None and (past == 0 or new == 1):
        return None  # plain causal attention, or one query that sees everything
    mask = like.new_zeros(1, 1, new, past + new)
    mask[..., past:] = like.new_full((new, new), -torch.inf).triu_(1)
    if keep is None:
        return mask
    mask = mask.masked_fill(~keep[:, None, None, :], -torch.inf)
    itself = torch.arange(new, device=like.device)
    mask[:, :, itself, past + itself] = 0.0
    return mask


def static_mask(positions: Tensor, window: int, *, like: Tensor) -> Tensor:
    """Additive (1, 1, T, window) mask for queries at device tensor `positions` (T,): sees 0..position, shapes fixed."""
    later = torch.arange(window, device=like.device)[None] > positions[:, None]
    return like.new_zeros(1, 1, *later.shape).masked_fill_(later, -torch.inf)
