"""The quick way of reading against the model's own forward pass."""

from __future__ import annotations

import pytest
import torch

from memory.external_memory import ExternalMemory
from rag.packed_reader import PackedReader
from rag.sliding_window import LocatorConfig, SlidingWindowReader

CONFIG = LocatorConfig(dim=64, layers=4, heads=4, ffn_dim=128, vocabulary=50, memory_layer=2, entry_features=3)


def tiny(global_tokens: int = 4, scale: float = 1.0) -> SlidingWindowReader:
    torch.manual_seed(0)
    config = LocatorConfig(**{**CONFIG.__dict__, "global_tokens": global_tokens})
    model = SlidingWindowReader(config, ExternalMemory(64, slots=5, heads=2, entry_dim=67))
    with torch.no_grad():
        model.memory.gate.fill_(0.6)  # type: ignore[union-attr, operator]
        for layer in model.layers:
            layer.attention.qkv.weight.mul_(scale)  # type: ignore[union-attr, operator]
    return model.bfloat16().eval().requires_grad_(False)


def a_read() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.zeros(1, 3, 20, dtype=torch.bool)
    for w, length in enumerate((20, 7, 13)):
        mask[0, w, :length] = True
    ids = torch.randint(1, 50, mask.shape) * mask
    return ids, (torch.arange(20) > 4).long().expand(mask.shape) * mask, mask


@pytest.mark.parametrize("scale", [1.0, 60.0])  # 60: exponentials overflow, the slow way answers
@pytest.mark.parametrize("global_tokens", [0, 4])
@pytest.mark.parametrize("remembering", [False, True])
def test_the_packed_reader_says_what_the_model_says(global_tokens: int, remembering: bool, scale: float):
    model = tiny(global_tokens, scale)
    packed = PackedReader.of(model)
    if packed is None:
        pytest.skip("this torch or CPU has no oneDNN for bfloat16")
    ids, kinds, mask = a_read()
    entries = [torch.randn(m, 67) / 8 for m in (4, 0, 2)] if remembering else None
    with torch.inference_mode():
        fast = packed(ids, kinds, mask, entries)
        exact = model.float()
        if entries is None:
            slow = exact(ids, kinds, mask)
        else:
            table = torch.zeros(1, 3, 4, 67)
            keep = torch.zeros(1, 3, 4, dtype=torch.bool)
            for w, found in enumerate(entries):
                table[0, w, : len(found)], keep[0, w, : len(found)] = found, True
            slow = exact(ids, kinds, mask, table, keep)
    spread = float(slow.tokens[mask].std())
    assert torch.isfinite(fast.tokens).all()
    if scale == 1.0:
        assert float((fast.tokens - slow.tokens)[mask].abs().max()) < 0.15 * spread
        assert float((fast.null - slow.null).abs().max()) < 0.15 * float(slow.null.std()) + 0.02


def test_other_types_are_left_to_the_model():
    assert PackedReader.of(tiny().float()) is None
