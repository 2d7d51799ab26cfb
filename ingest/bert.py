"""A BERT sentence encoder for inference, in plain torch: token ids in, mean-pooled unit vectors out.

    encoder = BertEncoder.load(folder, device=torch.device("cpu"), dtype=torch.bfloat16)
    vectors = encoder([[101, 7592, 102], [101, 102]])           # (n, dim) float32 unit vectors, rows as given

The default embedder runs through this instead of sentence-transformers: a process that embeds imports neither that nor
transformers (2.8 instead of 6.1 CPU seconds to its first vector, 450 instead of 610 MiB), queries, keys and values are
one matrix product, and GELU and residuals happen inside others.

Not covered, left to sentence-transformers: other architectures, other pooling than the mean, further modules.
Architecture: Devlin et al., NAACL 2019 (post-norm transformer); pooling: Reimers and Gurevych, EMNLP 2019.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ingest.packed_linear import PackedLinear, packs

PAD_TO = 16  # tokens: oneDNN keeps what it compiled for every shape met (2 MiB each), so few shapes are used
BRIEF = 48  # tokens up to which a text that comes alone, as questions do, has a way of its own: 4.0 -> 2.5 ms
BRIEF_PAD_TO = 8  # packed: of 32 kernels kept (core.runtime.bound_kernels), all lengths would evict one another's
PLAIN_FROM = 64  # tokens; the fused kernel is quicker for a batch of shorter ones


@dataclass(frozen=True)
class BertConfig:
    vocabulary: int
    dim: int
    layers: int
    heads: int
    inner_dim: int
    positions: int
    kinds: int
    norm_eps: float
    max_tokens: int  # longer texts are cut, special tokens included

    @classmethod
    def read(cls, folder: Path) -> BertConfig | None:
        """Of a sentence-transformers folder; None where the model is not one that this file covers."""
        try:
            model = _json(folder / "config.json")
            modules = [module["type"].rsplit(".", 1)[-1] for module in _json(folder / "modules.json")]
            pooling = _json(folder / "1_Pooling" / "config.json")
            sentence = _json(folder / "sentence_bert_config.json")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        modes = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode") and on]
        covered = (
            model.get("model_type") == "bert"
            and model.get("hidden_act") == "gelu"
            and model.get("position_embedding_type", "absolute") == "absolute"
            and modules in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
            and modes == ["pooling_mode_mean_tokens"]
            and not sentence.get("do_lower_case")
            and bool(sentence.get("max_seq_length"))
            and all((folder / name).is_file() for name in ("model.safetensors", "tokenizer.json"))
        )
        if not covered:
            return None
        return cls(
            vocabulary=model["vocab_size"],
            dim=model["hidden_size"],
            layers=model["num_hidden_layers"],
            heads=model["num_attention_heads"],
            inner_dim=model["intermediate_size"],
            positions=model["max_position_embeddings"],
            kinds=model["type_vocab_size"],
            norm_eps=model["layer_norm_eps"],
            max_tokens=sentence["max_seq_length"],
        )


class BertEmbeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.dim)
        self.position_embeddings = nn.Embedding(config.positions, config.dim)
        self.token_type_embeddings = nn.Embedding(config.kinds, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, config.norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids of texts of one kind -> (B, T, dim)."""
        places = self.position_embeddings.weight[: ids.shape[1]] + self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(ids) + places)


class BertLayer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.out_norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.up = nn.Linear(config.dim, config.inner_dim)
        self.down = nn.Linear(config.inner_dim, config.dim)
        self.down_norm = nn.LayerNorm(config.dim, config.norm_eps)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """x (B, T, dim), keep (B, T) bool (None: all) -> (B, T, dim)."""
        x = self.out_norm(x + self.out(attended(self.qkv(x), self.heads, keep)))
        return self.down_norm(x + self.down(F.gelu(self.up(x))))


class PackedBertLayer:
    """A `BertLayer` as a CPU likes it (ingest/packed_linear.py): 4.7 -> 3.1 ms CPU for a question of 15 tokens."""

    def __init__(self, layer: BertLayer) -> None:
        self.heads, self.out_norm, self.down_norm = layer.heads, layer.out_norm, layer.down_norm
        self.qkv, self.out = PackedLinear(layer.qkv), PackedLinear(layer.out)
        self.up, self.down = PackedLinear(layer.up), PackedLinear(layer.down)

    def __call__(self, x: Tensor, keep: Tensor | None) -> Tensor:
        return self._after(attended(self.qkv(x), self.heads, keep), x)

    def brief(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The same for one short text, x (T, dim); `hidden` as in `_briefly`."""
        return self._after(_briefly(self.qkv(x), self.heads, hidden), x)

    def _after(self, attention: Tensor, x: Tensor) -> Tensor:
        x = _normed(self.out.plus(attention, x), self.out_norm)
        return _normed(self.down.plus(self.up(x, "gelu"), x), self.down_norm)


def attended(qkv: Tensor, heads: int, keep: Tensor | None) -> Tensor:
    """Multi-head attention over queries, keys and values (B, T, 3 * dim) and the keys (B, T) to keep -> (B, T, dim)."""
    batch, length, width = qkv.shape
    q, k, v = qkv.view(batch, length, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)  # each (B, H, T, d)
    mixed = None
    if length >= PLAIN_FROM and qkv.device.type == "cpu" and qkv.dtype == torch.bfloat16:
        mixed = _plainly(q, k, v, keep)
    if mixed is None:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if keep is None else keep[:, None, None])
    return mixed.transpose(1, 2).reshape(batch, length, width // 3)


def _plainly(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor | None:
    """Attention by plain products, which for passages beat torch's fused kernel on a CPU: 10.0 -> 4.8 ms a layer.

    (12 passages of 160 tokens, one thread, torch 2.13.) Scores are touched once: a column of ones beside the values
    sums the exponentials, and rows of zeros leave out keys. No maximum is subtracted; where an exponential overflows,
    which no text met does, there is no result.
    """
    values = torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1)
    if keep is not None:
        values *= keep[:, None, :, None]
    mixed = torch.matmul(torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)).exp_(), values)
    total = mixed[..., -1:]
    smallest, largest = (float(bound) for bound in total.aminmax())
    return mixed[..., :-1] / total if smallest > 0 and largest < float("inf") else None


def _briefly(qkv: Tensor, heads: int, hidden: Tensor) -> Tensor:
    """Attention of one short text, (T, 3 * dim) -> (T, dim), in float32: half the time of the fused kernel.

    `hidden` (T,) float32 is added to the scores of each key: far below zero for padding.
    (16 tokens: 27 instead of 50 us; what oneDNN does with such small products in bfloat16 is mostly preparation.)
    """
    length, width = qkv.shape
    q, k, v = qkv.float().view(length, 3, heads, width // 3 // heads).permute(1, 2, 0, 3)  # each (H, T, d)
    scores = torch.baddbmm(hidden, q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), v).transpose(0, 1).reshape(length, width // 3).to(qkv.dtype)


def _normed(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


class BertEncoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.layers: Any = nn.ModuleList(BertLayer(config) for _ in range(config.layers))
        self._brief_places: Tensor | None = None  # (BRIEF, dim) once packed: what places add to the words of one text

    def pack(self) -> None:
        """Give the layers the form that this machine computes fastest in, if there is one; the plain one is let go."""
        if len(self.layers) and packs(self.layers[0].out):
            packed = [PackedBertLayer(layer) for layer in self.layers]
            del self.layers  # a module's attribute, which takes nothing but modules
            self.layers = packed
            table = self.embeddings
            self._brief_places = (table.position_embeddings.weight + table.token_type_embeddings.weight[0])[:BRIEF]

    @classmethod
    def load(cls, folder: Path, config: BertConfig, *, device: torch.device, dtype: torch.dtype) -> BertEncoder:
        """Raises OSError, KeyError or RuntimeError if the weights are absent, damaged or of another shape."""
        from safetensors.torch import load_file

        weights = {
            name.removeprefix("bert."): tensor for name, tensor in load_file(folder / "model.safetensors").items()
        }
        with torch.device("meta"):  # no time for random numbers that are overwritten at once
            encoder = cls(config)
        encoder.load_state_dict(_our_names(weights, config.layers), assign=True)
        encoder = encoder.to(device=device, dtype=dtype).eval().requires_grad_(False)
        encoder.pack()
        return encoder

    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Token ids of texts, special tokens included -> (n, dim) float32 unit vectors on the model's device."""
        if self._brief_places is not None and len(ids) == 1 and len(ids[0]) <= BRIEF:
            return self._brief(ids[0], self._brief_places)
        lengths = torch.tensor([len(text) for text in ids])
        longest = int(lengths.max())
        step = 1 if len(ids) == 1 and longest <= BRIEF else PAD_TO
        width = min(-(-longest // step) * step, self.config.positions)
        padded = torch.tensor([[*text, *[0] * (width - len(text))] for text in ids])
        device = self.embeddings.word_embeddings.weight.device
        keep = None if int(lengths.min()) == width else (torch.arange(width) < lengths[:, None]).to(device)
        x = self.embeddings(padded.to(device))
        for layer in self.layers:
            x = layer(x, keep)
        if keep is None:
            return F.normalize(x.float().mean(dim=1), dim=1)
        mean = (x.float() * keep[..., None]).sum(dim=1) / lengths[:, None].to(device)
        return F.normalize(mean, dim=1)

    def _brief(self, ids: Sequence[int], places: Tensor) -> Tensor:
        """The same of one text of at most BRIEF tokens, (1, dim), without all that only a batch needs."""
        length = len(ids)
        width = min(-(-length // BRIEF_PAD_TO) * BRIEF_PAD_TO, len(places))
        norm = self.embeddings.LayerNorm
        words = F.embedding(torch.tensor([*ids, *[0] * (width - length)]), self.embeddings.word_embeddings.weight)
        x = _normed(words.add_(places[:width]), norm)
        hidden = torch.zeros(width)
        hidden[length:] = -1e4
        for layer in self.layers:
            x = layer.brief(x, hidden)
        mean = x[:length].float().mean(dim=0)
        return (mean / mean.norm())[None]


def _our_names(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The checkpoint's tensors under the names of `BertEncoder`, queries, keys and values stacked."""
    ours = {
        f"embeddings.{name}": weights[f"embeddings.{name}"]
        for name in (
            "word_embeddings.weight",
            "position_embeddings.weight",
            "token_type_embeddings.weight",
            "LayerNorm.weight",
            "LayerNorm.bias",
        )
    }
    theirs = {
        "out": "attention.output.dense",
        "out_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "down_norm": "output.LayerNorm",
    }
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        for kind in ("weight", "bias"):
            parts = [weights[f"{prefix}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            ours[f"layers.{layer}.qkv.{kind}"] = torch.cat(parts)
            for our, their in theirs.items():
                ours[f"layers.{layer}.{our}.{kind}"] = weights[f"{prefix}{their}.{kind}"]
    return ours


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
