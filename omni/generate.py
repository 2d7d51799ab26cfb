"""The decoding loop: prompt in, one `Step` per token out, text and speech alignment side by side.

    for step in decode(pipeline, prompt, options=GenerationOptions(max_new_tokens=64)):
        print(step.token, step.alignment)

Every state that predicts a token is also spoken, from the last prompt position to the one that predicts the end of
the reply; the end token itself is never fed back. On a GPU the next step is launched before the host reads this one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from omni.pipeline import OmniPipeline, Prompt
from omni.sampling import Sampler, SamplingOptions
from omni.steppers import EagerStepper, Stepper

Finish = Literal["", "end", "length", "cancelled"]


@dataclass(frozen=True)
class GenerationOptions:
    max_new_tokens: int = 256
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    eos_ids: tuple[int, ...] | None = None  # None: the pipeline's
    speak: bool = True
    keep_states: bool = False  # steps carry the hidden state and the logits (tests, training data)


@dataclass(frozen=True)
class Step:
    """One generated token."""

    index: int  # 0-based
    token: int  # its id; the end token included
    alignment: tuple[int, ...]  # unit or blank of each of its frames
    finish: Finish = ""  # why this step is the last
    hidden: Tensor | None = None  # (dim,) the state that predicted it
    logits: Tensor | None = None  # (vocab,)


def decode(
    pipeline: OmniPipeline,
    prompt: Prompt,
    *,
    options: GenerationOptions | None = None,
    stepper: Stepper | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Step]:
    """Generate until an end token, `max_new_tokens` or `stop`, which is looked at before every step."""
    options = options or GenerationOptions()
    stepper = stepper or EagerStepper(pipeline, speak=options.speak)
    eos = set(pipeline.eos_ids if options.eos_ids is None else options.eos_ids)
    stepper.prefill(prompt)
    ahead = stepper.logits.device.type == "cuda"
    sampler = Sampler(options.sampling, stepper.logits.device)
    seen = torch.tensor([prompt.token_ids], device=stepper.logits.device) if sampler.needs_history else None

    for index in range(options.max_new_tokens):
        if stop is not None and stop.is_set():
            return
        token = sampler(stepper.logits, seen)
        alignment = stepper.speak() if options.speak else None
        host = _HostCopy(token, alignment)
        states = (stepper.hidden[0, 0].clone(), stepper.logits[0].clone()) if options.keep_states else (None, None)
        last = index + 1 == options.max_new_tokens
        if ahead and not last:
            stepper.think(token)
        token_id, frames = host.read()
        finish: Finish = "end" if token_id in eos else "length" if last else ""
        if finish and options.speak:
            frames += stepper.flush()[0].tolist()
        yield Step(index, token_id, tuple(frames), finish, *states)
        if finish:
            return
        if seen is not None:
            seen = torch.cat([seen, token[None]], dim=1)
        if not ahead:
            stepper.think(token)
        stepper.remember(token_id)


class _HostCopy:
    """A token and its alignment on their way to the host, without waiting for what is launched after them."""

    def __init__(self, token: Tensor, alignment: Tensor | None) -> None:
        both = token if alignment is None else torch.cat([token, alignment[0].to(token.device)])
        self._event: torch.cuda.Event | None = None
        if both.device.type == "cuda":
            self._values = torch.empty(both.shape, dtype=both.dtype, pin_memory=True)
            self._values.copy_(both, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._values = both

    def read(self) -> tuple[int, list[int]]:
        if self._event is not None:
            self._event.synchronize()
        values = self._values.tolist()
        return values[0], values[1:]
