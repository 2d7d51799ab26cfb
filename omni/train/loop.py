"""The training loop of both stages: AdamW, linear warm-up and cosine decay, gradient accumulation and clipping.

Not covered: several processes; wrap the modules (FSDP, DDP) in your own script and call the losses in omni/losses.py.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
B = TypeVar("B")


@dataclass(frozen=True)
class LoopOptions:
    """The paper's values are the recipes' defaults (section 4.1)."""

    learning_rate: float
    steps: int  # optimiser steps in all
    warmup_share: float = 0.03
    accumulate: int = 1  # batches per step
    clip: float = 1.0  # norm of the gradient


def learning_rate_at(step: int, options: LoopOptions) -> float:
    """Factor of the peak rate at `step` (0-based): linear rise, then half a cosine down to zero."""
    warmup = max(1, round(options.warmup_share * options.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, options.steps - warmup)))


def train(
    parameters: Iterable[nn.Parameter], batches: Iterable[B], loss_of: Callable[[B], Tensor], options: LoopOptions
) -> list[float]:
    """Run until `options.steps` or until the batches end; returns the mean loss of every step."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    assert trained, "nothing to train"
    optimiser = torch.optim.AdamW(trained, lr=options.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_at(step, options))
    losses: list[float] = []
    gathered: list[float] = []
    for batch in batches:
        loss = loss_of(batch)
        (loss / options.accumulate).backward()
        gathered.append(loss.item())
        if len(gathered) < options.accumulate:
            continue
        nn.utils.clip_grad_norm_(trained, options.clip)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(sum(gathered) / len(gathered))
        gathered = []
        if len(losses) % 10 == 1:
            log.info("step %d of %d, loss %.4f", len(losses), options.steps, losses[-1])
        if len(losses) >= options.steps:
            break
    return losses
