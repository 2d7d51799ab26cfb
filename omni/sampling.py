"""How the next token is chosen: greedy, or sampled with temperature, top-k, top-p and a repetition penalty.

    sampler = Sampler(SamplingOptions(temperature=0.7, top_p=0.9, seed=1))
    token = sampler(logits, seen_ids)           # (B, vocab), (B, n) -> (B,)

The order of the filters is transformers' (penalty, temperature, top-k, top-p), which the tests use as the judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingOptions:
    temperature: float = 0.0  # 0: greedy
    top_k: int = 0  # 0: off
    top_p: float = 1.0  # 1: off (Holtzman et al., 2020)
    repetition_penalty: float = 1.0  # 1: off (Keskar et al., 2019)
    seed: int | None = None  # None: a different reply each time


class Sampler:
    """Holds the random state of one reply."""

    def __init__(self, options: SamplingOptions, device: torch.device | str = "cpu") -> None:
        self.options = options
        self._generator: torch.Generator | None = None
        if options.temperature > 0:
            self._generator = torch.Generator(device)
            if options.seed is not None:
                self._generator.manual_seed(options.seed)
            else:
                self._generator.seed()

    @property
    def needs_history(self) -> bool:
        return self.options.repetition_penalty != 1.0

    def __call__(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """logits (B, vocab); `seen` (B, n) ids in prompt and reply so far, negative ones ignored -> ids (B,)."""
        if self.options.temperature <= 0:
            return self._penalised(logits, seen).argmax(-1)
        filtered = self.filtered(logits, seen)
        return torch.multinomial(filtered.softmax(-1), 1, generator=self._generator)[:, 0]

    def filtered(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """The logits after all filters, -inf where a token is excluded (B, vocab) float32."""
        options = self.options
        logits = self._penalised(logits, seen).float() / options.temperature
        if 0 < options.top_k < logits.shape[-1]:
            worst_kept = logits.topk(options.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < worst_kept, -torch.inf)
        if options.top_p < 1.0:
            ordered, order = logits.sort(descending=False)
            cut = ordered.softmax(-1).cumsum(-1) <= 1.0 - options.top_p
            cut[:, -1] = False  # the best token always stays
            logits = logits.masked_fill(cut.scatter(1, order, cut), -torch.inf)
        return logits

    def _penalised(self, logits: Tensor, seen: Tensor | None) -> Tensor:
        if not self.needs_history or seen is None:
            return logits
        penalised = logits.clone()
        for row, ids in enumerate(seen):
            ids = ids[ids >= 0].unique()
            scores = logits[row, ids]
            penalty = self.options.repetition_penalty
            penalised[row, ids] = torch.where(scores < 0, scores * penalty, scores / penalty)
        return penalised
