"""One read without padding: the arithmetic of rag/sliding_window.py as a CPU likes it, for reading, not for training.

All tokens of all windows lie in one row, the global tokens first, so that every linear layer is one product over what
is there and nothing else; only attention looks at windows one by one. oneDNN gets the weights in the layout that it
wants, once, and adds residuals and applies gelu while it writes. Same weights, same results up to rounding
(tests/rag/test_packed_reader.py); where this does not apply (another device or type), the model itself reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ingest.packed_linear import PackedLinear, packs
from rag.sliding_window import Layer, ReadOutput, SlidingWindowReader

Bounds = list[tuple[int, int]]  # of each window in the packed row


class PackedLayer:
    def __init__(self, layer: Layer) -> None:
        self.qkv, self.out = PackedLinear(layer.attention.qkv), PackedLinear(layer.attention.out)
        self.up, self.down = PackedLinear(layer.up), PackedLinear(layer.down)
        self.norm1, self.norm2, self.heads = layer.norm1, layer.norm2, layer.attention.heads

    def __call__(self, x: Tensor, count: int, windows: Bounds) -> Tensor:
        """x (count + T, D): `count` global tokens, then the windows."""
        rows, dim = x.shape
        q, k, v = self.qkv(x).view(rows, 3, self.heads, -1).permute(1, 2, 0, 3)
        q = q * q.shape[-1] ** -0.5
        v = torch.cat([v, v.new_ones(self.heads, rows, 1)], dim=-1)  # the last column sums the exponentials
        attended = x.new_empty(rows, self.heads, dim // self.heads)
        for start, end in [(0, count), *windows] if count else windows:
            # Global tokens see everything, a window the global tokens and itself.
            near = [slice(0, rows)] if end == count else [slice(0, count), slice(start, end)]
            keys, values = (torch.cat([t[:, part] for part in near], dim=1) for t in (k, v))
            mixed = torch.matmul(torch.matmul(q[:, start:end], keys.transpose(-1, -2)).exp_(), values)
            attended[start:end] = (mixed[..., :-1] / mixed[..., -1:]).transpose(0, 1)
        attended = attended.view(rows, dim)
        x = self.norm1(self.out.plus(attended, x))
        return self.norm2(self.down.plus(self.up(x, "gelu"), x))


class PackedReader:
    """`model.forward` for one read in inference."""

    @classmethod
    def of(cls, model: SlidingWindowReader) -> PackedReader | None:
        """None where the model itself has to read: not a CPU, not bfloat16, no oneDNN in this torch."""
        return cls(model) if packs(model.layers[0].attention.out) else None  # type: ignore[union-attr, arg-type]

    def __init__(self, model: SlidingWindowReader) -> None:
        self.model = model
        self.layers = [PackedLayer(layer) for layer in model.layers]  # type: ignore[arg-type]

    def __call__(self, ids: Tensor, kinds: Tensor, mask: Tensor, entries: Sequence[Tensor] | None = None) -> ReadOutput:
        """ids, kinds, mask (1, W, L); entries (m, E) of each window. As the model: tokens (1, W, L, 3), null (1, 3)."""
        model = self.model
        lengths = mask[0].sum(dim=1).tolist()  # windows are padded at their ends
        globals_ = model.embedding_norm(model.globals)
        count, at, windows = len(globals_), len(globals_), []
        for length in lengths:
            windows.append((at, at + length))
            at += length
        x = torch.cat([globals_, model.embed(ids, kinds)[mask]])
        for depth, layer in enumerate(self.layers):
            if depth == model.config.memory_layer and model.memory is not None:
                parts = [
                    model.memory(x[None, start:end], None if entries is None else entries[w][None])[0]
                    for w, (start, end) in enumerate(windows)
                ]
                x = torch.cat([x[:count], *parts])
            x = layer(x, count, windows)
        if not bool(x.isfinite().all()):  # an exponential overflowed: the model takes the slow way there
            padded = [None, None] if entries is None else _padded(entries)
            output: ReadOutput = model(ids, kinds, mask, *padded)
            return output
        summary = x[0] if count else torch.stack([x[start] for start, _ in windows]).amax(dim=0)
        hidden = x.new_zeros(*ids.shape, x.shape[-1])
        hidden[mask] = x[count:]
        return ReadOutput(model.token_head(hidden).float(), model.null_head(summary)[None].float(), hidden)


def _padded(entries: Sequence[Tensor]) -> list[Tensor]:
    """Entries of each window -> (1, W, M, E) and their mask."""
    table = nn.utils.rnn.pad_sequence(list(entries), batch_first=True)
    sizes = torch.tensor([len(found) for found in entries])
    return [table[None], (torch.arange(table.shape[1]) < sizes[:, None])[None]]
