"""A bidirectional encoder whose cost grows linearly with the text it reads: windows, and global tokens between them.

A *read* is one question and W windows of text. Every window holds `[CLS] question [SEP] window [SEP]` and attends fully
inside itself; a few learned **global tokens** attend to everything in all windows and are attended to from everywhere,
so that what one window knows reaches the others within two layers (the global tokens of Longformer, Beltagy et al.
2020, arXiv 2004.05150; ETC, arXiv 2004.08483). The question is repeated in each window rather than shared: a shared
copy would be a mixture over all windows, and its reading of any one of them would fade as windows are added.

    cost per layer: W * (G + L)^2 + G * (G + W * L)       never (W * L)^2; no mask or score of that size exists
    one window:     exactly full attention over G + L tokens (tests/rag/test_sliding_window.py)

The trunk's sizes and weights are those of a BERT-like sentence encoder (MiniLM-L6-H384), so its checkpoint loads as is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SPAN_START, SPAN_END, SENTENCE = range(3)  # columns of the token head and of the no-answer head


@dataclass(frozen=True)
class LocatorConfig:
    """Architecture: travels in the checkpoint, is no knob."""

    dim: int = 384
    layers: int = 6
    heads: int = 12
    ffn_dim: int = 1536
    vocabulary: int = 30522
    positions: int = 512
    norm_eps: float = 1e-12
    global_tokens: int = 4
    memory_layer: int = 3  # the external memory is read after this many layers
    entry_features: int = 0  # columns of a memory entry after its vector (rag/surroundings.py)
    question_tokens: int = 48  # longer questions are cut
    window_tokens: int = 256  # text tokens of one window; longer passages are cut into several
    window_overlap: int = 64  # text tokens shared by neighbouring windows of one passage


@dataclass(frozen=True)
class ReadOutput:
    """What the model says about B reads of W windows of L tokens. Logits are comparable over one whole read."""

    tokens: Tensor  # (B, W, L, 3): start, end, sentence relevance
    null: Tensor  # (B, 3): the same three for "the answer is in none of these windows"
    hidden: Tensor  # (B, W, L, dim): last layer


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(d)) v over the keys in `keep`, for q (N, H, T, d), k and v (N, H, S, d), keep (N, S) bool.

    Windows are short, and there the CPU's fused kernel loses to plain products (6.6 against 3.9 ms forward, and its
    backward pass takes longer than everything else together; torch 2.13, bfloat16, 5 windows of 220 tokens). Without a
    backward pass the scores are touched once: exponentials, whose sum comes out of the product with v, as one more
    column of it; keys to be left out are zero rows there, so no mask is added (11 -> 3.6 ms). No maximum is
    subtracted: exp overflows at 88, trained scores stay far below; if one does not, the slow path answers.
    """
    if q.device.type != "cpu":
        bias = None if keep is None else _bias(keep, q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    if not scores.requires_grad:
        ones = v.new_ones(*v.shape[:-1], 1)
        values = torch.cat([v, ones], dim=-1)
        if keep is not None:
            values *= keep[:, None, :, None]
        mixed = torch.matmul(scores.exp_(), values)
        total = mixed[..., -1:]
        smallest, largest = total.aminmax()
        if float(smallest) > 0 and float(largest) < float("inf"):
            return mixed[..., :-1] / total
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    weights = (scores if keep is None else scores + _bias(keep, scores.dtype)).softmax(dim=-1)
    return torch.matmul(weights.to(v.dtype), v)


def _bias(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """Boolean keys (N, S) -> what is added to scores, (N, 1, 1, S): 0, or minus infinity for all purposes."""
    return torch.zeros(keep.shape, dtype=dtype, device=keep.device).masked_fill_(~keep, -1e4)[:, None, None]


class WindowAttention(nn.Module):
    """Multi-head attention of one layer: windows see themselves and the global tokens, global tokens see everything."""

    def __init__(self, config: LocatorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, D) -> q, k, v, each (N, H, T, D / H)."""
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v

    def forward(self, x: Tensor, globals_: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B * W, L, D), globals_ (B, G, D), mask (B, W, L) True where a token stands (None: everywhere)."""
        reads, count, dim = globals_.shape
        windows, length = x.shape[0] // reads, x.shape[1]
        q, k, v = self._split(x)
        keep = None if mask is None else mask.reshape(-1, length)
        if count == 0:
            mixed = attend(q, k, v, keep)
            return self.out(mixed.transpose(1, 2).reshape(x.shape)), globals_
        gq, gk, gv = self._split(globals_)

        # Windows: keys are the global tokens and the window's own tokens.
        wk = torch.cat([gk.repeat_interleave(windows, dim=0), k], dim=2)
        wv = torch.cat([gv.repeat_interleave(windows, dim=0), v], dim=2)
        everywhere = None
        if keep is not None:
            everywhere = F.pad(keep.view(reads, windows * length), (count, 0), value=True)
            keep = F.pad(keep, (count, 0), value=True)
        mixed = attend(q, wk, wv, keep)

        # Global tokens: keys are themselves and all windows of their read, laid end to end.
        def end_to_end(t: Tensor) -> Tensor:  # (B * W, H, L, d) -> (B, H, W * L, d)
            return t.view(reads, windows, *t.shape[1:]).transpose(1, 2).flatten(2, 3)

        gmixed = attend(gq, torch.cat([gk, end_to_end(k)], dim=2), torch.cat([gv, end_to_end(v)], dim=2), everywhere)
        return (
            self.out(mixed.transpose(1, 2).reshape(x.shape)),
            self.out(gmixed.transpose(1, 2).reshape(reads, count, dim)),
        )


def _gelu_of(linear: nn.Linear, x: Tensor) -> Tensor:
    """gelu(linear(x)); where nothing is trained, by oneDNN in one pass over the wide result: 7.0 -> 3.5 ms a layer."""
    if x.device.type == "cpu" and x.dtype == torch.bfloat16 == linear.weight.dtype and not torch.is_grad_enabled():
        try:
            return torch.ops.mkldnn._linear_pointwise(x, linear.weight, linear.bias, "gelu", [], "none")
        except (AttributeError, RuntimeError):  # a torch build without oneDNN
            pass
    return F.gelu(linear(x))


class Layer(nn.Module):
    """Post-norm transformer layer, as in BERT."""

    def __init__(self, config: LocatorConfig) -> None:
        super().__init__()
        self.attention = WindowAttention(config)
        self.norm1 = nn.LayerNorm(config.dim, config.norm_eps)
        self.up = nn.Linear(config.dim, config.ffn_dim)
        self.down = nn.Linear(config.ffn_dim, config.dim)
        self.norm2 = nn.LayerNorm(config.dim, config.norm_eps)

    def _rest(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.norm1(x + attended)
        return self.norm2(x + self.down(_gelu_of(self.up, x)))

    def forward(self, x: Tensor, globals_: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        attended, global_attended = self.attention(x, globals_, mask)
        return self._rest(x, attended), self._rest(globals_, global_attended) if globals_.shape[1] else globals_


class SlidingWindowReader(nn.Module):
    """Trunk, global tokens, heads, and a place where an external memory may be read.

    `memory` is any module with `forward(x (N, L, D), entries (N, M, E) | None, entry_mask (N, M) | None) -> (N, L, D)`;
    memory/external_memory.py has ours. None: the reader works without.
    """

    def __init__(self, config: LocatorConfig, memory: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.word = nn.Embedding(config.vocabulary, config.dim)
        self.position = nn.Embedding(config.positions, config.dim)
        self.kind = nn.Embedding(2, config.dim)  # 0: question, 1: text
        self.embedding_norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.globals = nn.Parameter(torch.empty(config.global_tokens, config.dim).normal_(std=0.02))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.memory = memory
        self.token_head = nn.Linear(config.dim, 3)
        self.null_head = nn.Linear(config.dim, 3)
        for head in (self.token_head, self.null_head):
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)

    def embed(self, ids: Tensor, kinds: Tensor) -> Tensor:
        """(..., L) token ids and kinds -> (..., L, D)."""
        places = torch.arange(ids.shape[-1], device=ids.device)
        return self.embedding_norm(self.word(ids) + self.position(places) + self.kind(kinds))

    def forward(
        self,
        ids: Tensor,
        kinds: Tensor,
        mask: Tensor | None = None,
        entries: Tensor | None = None,
        entry_mask: Tensor | None = None,
    ) -> ReadOutput:
        """ids, kinds, mask (B, W, L); entries (B, W, M, E) and entry_mask (B, W, M): each window's from the memory."""
        reads, windows, length = ids.shape
        x = self.embed(ids, kinds).flatten(0, 1)
        globals_ = self.embedding_norm(self.globals).to(x.dtype).expand(reads, -1, -1)
        if mask is not None and bool(mask.all()):
            mask = None  # the unmasked kernel is faster
        for depth, layer in enumerate(self.layers):
            if depth == self.config.memory_layer and self.memory is not None:
                x = self.memory(
                    x,
                    None if entries is None else entries.flatten(0, 1),
                    None if entry_mask is None else entry_mask.flatten(0, 1),
                )
            x, globals_ = layer(x, globals_, mask)
        summary = globals_[:, 0] if globals_.shape[1] else x.view(reads, windows, length, -1)[:, :, 0].amax(dim=1)
        x = x.view(reads, windows, length, -1)
        return ReadOutput(self.token_head(x).float(), self.null_head(summary).float(), x)

    def load_trunk(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a Hugging Face BERT encoder (`embeddings.*`, `encoder.layer.*`)."""
        state = {name.removeprefix("bert."): tensor.float() for name, tensor in state.items()}
        own: dict[str, Tensor] = {
            "word.weight": state["embeddings.word_embeddings.weight"],
            "position.weight": state["embeddings.position_embeddings.weight"],
            "kind.weight": state["embeddings.token_type_embeddings.weight"],
        }
        for part in ("weight", "bias"):
            own[f"embedding_norm.{part}"] = state[f"embeddings.LayerNorm.{part}"]
            for i in range(self.config.layers):
                theirs, ours = f"encoder.layer.{i}", f"layers.{i}"
                qkv = [state[f"{theirs}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
                own[f"{ours}.attention.qkv.{part}"] = torch.cat(qkv)
                own[f"{ours}.attention.out.{part}"] = state[f"{theirs}.attention.output.dense.{part}"]
                own[f"{ours}.norm1.{part}"] = state[f"{theirs}.attention.output.LayerNorm.{part}"]
                own[f"{ours}.up.{part}"] = state[f"{theirs}.intermediate.dense.{part}"]
                own[f"{ours}.down.{part}"] = state[f"{theirs}.output.dense.{part}"]
                own[f"{ours}.norm2.{part}"] = state[f"{theirs}.output.LayerNorm.{part}"]
        self.load_state_dict(own, strict=False)
        # A global token begins as the trunk's own [CLS] (101 in uncased BERT vocabularies), each a little different.
        cls = own["word.weight"][101] + own["position.weight"][0] + own["kind.weight"][0]
        with torch.no_grad():
            self.globals.copy_(cls + torch.empty_like(self.globals).normal_(std=0.2 * float(cls.std())))
