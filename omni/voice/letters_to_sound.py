"""Pronunciations of unknown words from their letters: a small network, trained on the dictionary.

    guess = LettersToSound.load(SHIPPED / "letters.safetensors")
    guess("lectern")                           # ("l", "eh1", "k", "t", "er", "n")

Every letter stands for a chunk of none to two phones. Convolutions see the whole word; a recurrent cell goes through it
from left to right and knows the chunks chosen so far; a narrow beam keeps the likeliest pronunciations of the word as a
whole. A monotone transducer, as in Rao et al. (ICASSP 2015), with a fixed alignment instead of CTC.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omni.voice.lexicon import Pronunciation
from omni.voice.phones import VOWELS
from omni.voice.unit_vocoder import ConvNeXtBlock

_BEAM = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EDGE, N_LETTERS = 0, len(_LETTERS) + 1
MAX_LETTERS = 40  # a longer "word" is cut: nobody says it


@dataclass(frozen=True)
class LetterConfig:
    n_chunks: int  # ids of chunks; n_chunks itself stands before the first letter
    dim: int = 192
    layers: int = 4
    kernel: int = 5
    chunk_dim: int = 64
    hidden: int = 256
    dropout: float = 0.1  # while training


class LetterNetwork(nn.Module):
    def __init__(self, config: LetterConfig) -> None:
        super().__init__()
        self.config = config
        self.letters = nn.Embedding(N_LETTERS, config.dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config.dim, config.kernel) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.chunks = nn.Embedding(config.n_chunks + 1, config.chunk_dim)
        self.cell = nn.GRU(config.dim + config.chunk_dim, config.hidden, batch_first=True)
        self.out = nn.Linear(config.hidden + config.dim, config.n_chunks)
        self.dropout = nn.Dropout(config.dropout)

    def read(self, letters: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, T) letter ids -> (B, T, dim); `keep` (B, T, 1) is 0 at padding."""
        x = self.dropout(self.letters(letters))
        for block in self.blocks:
            x = block(x, keep)
        return self.dropout(self.norm(x))

    def choose(self, read: Tensor, previous: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Letters as read (B, T, dim), the chunk before each (B, T) -> logits (B, T, n_chunks), state."""
        said, state = self.cell(torch.cat([read, self.chunks(previous)], dim=-1), state)
        return self.out(torch.cat([self.dropout(said), read], dim=-1)), state

    def forward(self, letters: Tensor, chunks: Tensor, keep: Tensor) -> Tensor:
        """Teacher forcing: letters and right chunks (B, T) -> logits (B, T, n_chunks)."""
        start = torch.full_like(chunks[:, :1], self.config.n_chunks)
        return self.choose(self.read(letters, keep), torch.cat([start, chunks[:, :-1]], dim=1), None)[0]


class LettersToSound:
    """Words of a to z -> phones. Thread-safe."""

    def __init__(self, network: LetterNetwork, chunks: Sequence[str]) -> None:
        """`chunks`: phones joined by spaces, "" for a silent letter."""
        assert network.config.n_chunks == len(chunks), (network.config, len(chunks))
        self._network = network.eval()
        self._chunks = tuple(chunks)
        self._guess = lru_cache(maxsize=4096)(self._search)

    def __call__(self, word: str) -> Pronunciation:
        """Phones of a word of a to z; () for an empty one."""
        return self._guess(word[:MAX_LETTERS]) if word else ()

    @torch.inference_mode()
    def _search(self, word: str) -> Pronunciation:
        read = self._network.read(letter_ids(word)[None])
        previous = torch.full((1, 1), self._network.config.n_chunks)
        scores, state = torch.zeros(1), torch.zeros(1, 1, self._network.config.hidden)
        paths: list[list[int]] = [[]]
        for at in range(len(word)):
            letter = read[:, at : at + 1].expand(len(paths), -1, -1)
            logits, state = self._network.choose(letter, previous, state)
            total = scores[:, None] + logits[:, 0].log_softmax(-1)
            scores, best = total.flatten().topk(min(_BEAM, total.numel()))
            parents, chosen = best // total.shape[1], best % total.shape[1]
            state, previous = state[:, parents], chosen[:, None]
            paths = [[*paths[p], c] for p, c in zip(parents.tolist(), chosen.tolist(), strict=True)]
        return one_stress([phone for chunk in paths[0] for phone in self._chunks[chunk].split()])

    def save(self, path: Path) -> None:
        """Weights in half precision; sizes and chunks in the same file."""
        from safetensors.torch import save_file

        about = {"config": json.dumps(asdict(self._network.config)), "chunks": json.dumps(self._chunks)}
        state = {key: value.half().contiguous() for key, value in self._network.state_dict().items()}
        save_file(state, path, metadata=about)

    @classmethod
    def load(cls, path: Path) -> LettersToSound:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = file.metadata()
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        network = LetterNetwork(LetterConfig(**json.loads(about["config"])))
        network.load_state_dict(state)
        return cls(network, json.loads(about["chunks"]))


def letter_ids(word: str) -> Tensor:
    """(letters,) ids from 1; 0 is beyond the edges."""
    return torch.tensor([_LETTERS.index(letter) + 1 for letter in word])


def one_stress(phones: Sequence[str]) -> Pronunciation:
    """A word has one stress: its first one, or where there is none its first full vowel."""
    seen, out = False, []
    for phone in phones:
        if phone.endswith("1"):
            phone, seen = (phone[:-1], seen) if seen else (phone, True)
        out.append(phone)
    if not seen:
        for index, phone in enumerate(out):
            if phone in VOWELS and phone != "ax":
                out[index] += "1"
                break
    return tuple(out)
