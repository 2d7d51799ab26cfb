"""The memory layer and its store."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import StoreError
from memory.external_memory import ExternalMemory, MemoryStore, WorkspaceMemory


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


def test_the_store_keeps_updates_and_forgets_over_a_restart(tmp_path: Path):
    vectors = unit(5)
    store = MemoryStore(tmp_path / "memory.sqlite", 8)
    store.write("a", {"a:0": vectors[0], "a:1": vectors[1]})
    store.write("b", {"b:0": vectors[2]})
    store.write("a", {"a:1": vectors[3]})  # an update
    store.remove("b")
    store.close()
    again = MemoryStore(tmp_path / "memory.sqlite", 8)
    assert len(again) == 2 and again.documents() == {"a"}
    nearest = again.nearest_vectors("a", vectors[3], 1)
    assert np.allclose(nearest[0], vectors[3], atol=1e-3)
    assert again.nearest_vectors("b", vectors[3], 4).shape == (0, 8)


@pytest.mark.parametrize("count", [40, 3000])  # below and above the size from which FAISS searches
def test_nearest_entries_are_those_of_an_exact_search(tmp_path: Path, count: int):
    vectors, query = unit(count), unit(1, seed=1)[0]
    store = MemoryStore(tmp_path / "memory.sqlite", 8)
    store.write("a", {f"a:{i:05}": v for i, v in enumerate(vectors)})
    stored = vectors.astype(np.float16).astype(np.float32)
    order = np.argsort(-(stored @ query), kind="stable")
    excluded = [f"a:{i:05}" for i in order[:2]]
    assert np.allclose(store.nearest_vectors("a", query, 3, exclude=excluded), stored[order[2:5]])


def test_a_full_store_gives_up_what_was_read_longest_ago(tmp_path: Path):
    vectors = unit(6)
    store = MemoryStore(tmp_path / "memory.sqlite", 8, capacity=4)
    store.write("old", {"old:0": vectors[0], "old:1": vectors[1]})
    store.write("used", {"used:0": vectors[2], "used:1": vectors[3]})
    store.nearest_vectors("old", vectors[0], 1)  # so that "used" is now the one read longest ago
    store.write("new", {"new:0": vectors[4], "new:1": vectors[5]})
    assert len(store) == 4 and store.documents() == {"old", "new"}


def test_a_store_of_another_embedder_and_a_broken_file_are_refused_with_a_remedy(tmp_path: Path):
    MemoryStore(tmp_path / "memory.sqlite", 8).close()
    with pytest.raises(StoreError, match=r"8 dimensions, not 16.*Delete the file"):
        MemoryStore(tmp_path / "memory.sqlite", 16)
    (tmp_path / "broken.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        MemoryStore(tmp_path / "broken.sqlite", 8)


class Shelf:
    """A workspace as the memory sees it."""

    def __init__(self, derived: Path) -> None:
        self.derived, self.version, self.reads = derived, 1, 0
        self.content = {"a:0": unit(1, seed=3)[0], "b:0": unit(1, seed=4)[0]}

    def vectors(self) -> tuple[list[str], np.ndarray]:
        self.reads += 1
        return list(self.content), np.stack(list(self.content.values()))


def test_the_memory_follows_its_workspace(tmp_path: Path):
    shelf = Shelf(tmp_path)
    memory = WorkspaceMemory(shelf, lambda question: shelf.content["a:0"], 8)
    assert len(memory.nearest("a", "q", 4, exclude=())) == 1
    memory.nearest("b", "q", 4, exclude=())
    assert shelf.reads == 1  # read once a version
    del shelf.content["b:0"]
    shelf.content["a:1"] = unit(1, seed=5)[0]
    shelf.version = 2
    assert len(memory.nearest("a", "q", 4, exclude=())) == 2
    assert len(memory.nearest("b", "q", 4, exclude=())) == 0
