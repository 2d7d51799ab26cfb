"""A linear layer for inference in bfloat16 on a CPU: weights in oneDNN's own layout, what follows fused into it.

    up, down = PackedLinear(layer.up), PackedLinear(layer.down)
    x = down.plus(up(x, "gelu"), x)               # x + down(gelu(up(x)))

A plain layer's weights are brought into that layout at every call, which for a question of a dozen tokens takes longer
than the product itself. Where this does not apply (another device or type, a torch without oneDNN) `packs` says so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PackedLinear:
    """A linear layer in oneDNN's own layout; it holds a copy of the weights."""

    def __init__(self, linear: nn.Linear) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = linear.bias.detach()

    def __call__(self, x: Tensor, after: str = "none") -> Tensor:
        """linear(x), or gelu of it with `after` = "gelu"."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], "none")
        return found

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + linear(x)."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return found


def packs(linear: nn.Linear) -> bool:
    """Whether this layer can be packed here: frozen, in bfloat16, on a CPU whose torch has oneDNN."""
    weight = linear.weight
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or weight.requires_grad:
        return False
    try:
        row = torch.zeros(1, linear.in_features, dtype=weight.dtype)
        packed = PackedLinear(linear)
        packed.plus(row, packed(row, "gelu"))
    except (AttributeError, RuntimeError):
        return False
    return True
