"""Several prompts at once: left-padded, one pass of the language model and the speech decoder a token.

    replies = generate_batch(pipeline, [prompt_a, prompt_b], options=GenerationOptions(max_new_tokens=64))

For offline work (evaluation, making training data). Each row is what it would be alone; tests hold it to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from omni.ctc_decoder import UnitCollapser
from omni.generate import Finish, GenerationOptions
from omni.kv_cache import KVCache
from omni.pipeline import OmniPipeline, Prompt
from omni.sampling import Sampler


@dataclass
class BatchReply:
    """One row's reply."""

    token_ids: list[int]  # the end token included
    alignment: list[int]  # raw unit or blank of every frame
    units: list[int]
    finish: Finish = ""

    def text(self, tokenizer: object) -> str:
        return tokenizer.decode(self.token_ids, skip_special_tokens=True)  # type: ignore[attr-defined]


@torch.inference_mode()
def generate_batch(
    pipeline: OmniPipeline, prompts: Sequence[Prompt], *, options: GenerationOptions | None = None
) -> list[BatchReply]:
    """Replies in the order of `prompts`. Rows that have ended wait for the others without being extended."""
    options = options or GenerationOptions()
    if not prompts:
        return []
    llm, decoder = pipeline.llm, pipeline.speech_decoder if options.speak else None
    eos = set(pipeline.eos_ids if options.eos_ids is None else options.eos_ids)
    embeds, keep = _left_pad(prompts)
    cache = KVCache(embeds.shape[1] + options.max_new_tokens)
    positions = (keep.long().cumsum(1) - 1).clamp(min=0)
    hidden = llm(embeds, cache=cache, keep=keep, positions=positions)[:, -1:]
    stream = decoder.streaming(len(prompts)) if decoder is not None else None
    collapsers = [UnitCollapser(decoder.blank if decoder is not None else -1) for _ in prompts]
    replies = [BatchReply([], [], []) for _ in prompts]
    sampler = Sampler(options.sampling, llm.device)
    seen = _pad_ids([prompt.token_ids for prompt in prompts]).to(llm.device) if sampler.needs_history else None

    def spoken(alignment: Tensor, rows: Sequence[int]) -> None:
        values = alignment.tolist()
        for row in rows:
            replies[row].alignment += values[row]
            replies[row].units += collapsers[row].push(values[row])

    for index in range(options.max_new_tokens):
        active = [row for row, reply in enumerate(replies) if not reply.finish]
        tokens = sampler(llm.logits(hidden)[:, 0], seen)
        if stream is not None:
            spoken(stream.align(hidden), active)
        for row, token in enumerate(tokens.tolist()):
            if row in active:
                replies[row].token_ids.append(token)
                last = index + 1 == options.max_new_tokens
                replies[row].finish = "end" if token in eos else "length" if last else ""
        still = [row for row in active if not replies[row].finish]
        if not still:
            break
        if seen is not None:
            seen = torch.cat([seen, tokens[:, None]], dim=1)
        keep = pad(keep, (0, 1), value=True)
        positions = positions[:, -1:] + 1
        hidden = llm(llm.embed(tokens[:, None]), cache=cache, keep=keep, positions=positions)
    return replies


def _left_pad(prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """(B, T, dim) embeddings and (B, T) bool, False at padding."""
    longest = max(len(prompt) for prompt in prompts)
    rows = [pad(prompt.embeds[0], (0, 0, longest - len(prompt), 0)) for prompt in prompts]
    device = prompts[0].embeds.device
    keep = torch.stack([torch.arange(longest, device=device) >= longest - len(prompt) for prompt in prompts])
    return torch.stack(rows), keep


def _pad_ids(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[-1] * (longest - len(row)) + list(row) for row in rows])
