"""The memory layer."""

from __future__ import annotations

import math

import numpy as np
import torch

from memory.external_memory import ExternalMemory


def unit(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def opened_layer() -> ExternalMemory:
    torch.manual_seed(0)
    layer = ExternalMemory(8, slots=3, heads=1)
    with torch.no_grad():
        layer.gate.fill_(0.7)
    return layer


def test_a_closed_gate_is_the_identity_and_still_learns():
    layer = ExternalMemory(8, slots=3, heads=2)
    x = torch.randn(2, 5, 8)
    assert torch.equal(layer(x, torch.randn(2, 4, 8)), x)
    layer(x).square().sum().backward()
    assert layer.gate.grad is not None and float(layer.gate.grad.abs()) > 0  # or it could never open


def test_the_layer_is_its_formula():
    layer = opened_layer()
    x, entries = torch.randn(1, 2, 8), torch.from_numpy(unit(4))[None]
    with torch.no_grad():
        table = layer.norm(torch.cat([layer.slots, layer.entry_in(entries[0] * math.sqrt(8))]))
        key, value = (table @ layer.key_value.weight.T).split(8, dim=1)
        weights = (x[0] @ layer.query.weight.T @ key.T / math.sqrt(8)).softmax(dim=1)
        expected = x[0] + math.tanh(0.7) * (weights @ value) @ layer.out.weight.T
        assert torch.allclose(layer(x, entries)[0], expected, atol=1e-5)


def test_masked_entries_are_as_if_not_there():
    layer = opened_layer()
    x, entries = torch.randn(2, 3, 8), torch.from_numpy(unit(8)).view(2, 4, 8)
    mask = torch.tensor([[True, True, False, False]] * 2)
    with torch.no_grad():
        assert torch.allclose(layer(x, entries, mask), layer(x, entries[:, :2]), atol=1e-5)
        assert not torch.allclose(layer(x, entries), layer(x, entries[:, :2]), atol=1e-3)
