"""The memory of a workspace: written at ingest, follows every change of it, and lies around the windows as trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.settings import EmbedderSettings, Settings
from ingest.embedders import load_embedder
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from rag.document_memory import DocumentMemory
from rag.surroundings import ENTRY_FEATURES, ROLES, entries_around, stacked

SETTINGS = Settings(embedder=EmbedderSettings(model="hashing:64"))
PARTS = ("The heron nests early in spring.", "Herons eat frogs and fish.", "The marsh is drained by a canal.",
         "A mill stands by the canal.", "The miller grinds barley.", "Barley is sold in the town.")  # fmt: skip


def unit(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def roles_of(entries: np.ndarray) -> list[str]:
    return [ROLES[i] for i in entries[:, -len(ROLES) :].argmax(axis=1)]


def test_a_window_knows_itself_its_neighbours_and_the_nearest_that_nobody_shows():
    document, question = unit(9), unit(1, seed=1)[0]
    found = entries_around(question, document, 4, {4, 7}, nearest=2)
    assert roles_of(found) == ["own", "before", "after", "nearest", "nearest"]
    assert np.array_equal(found[:3, :8], document[[4, 3, 5]])
    order = [int(i) for i in np.argsort(-(document @ question)) if i not in {4, 7}]
    assert np.array_equal(found[3:, :8], document[order[:2]])
    assert np.allclose(found[:, 8], found[:, :8] @ question)
    first = entries_around(question, document, 0, {0}, nearest=0)
    assert roles_of(first) == ["own", "after"]  # nothing stands before the first


def test_padding_is_masked():
    reads = [[np.ones((2, 5), np.float32), np.ones((0, 5), np.float32)], [np.ones((3, 5), np.float32)]]
    table, mask = stacked(reads)
    assert table.shape == (2, 2, 3, 5) and mask.tolist() == [[[1, 1, 0], [0, 0, 0]], [[1, 1, 1], [0, 0, 0]]]
    assert table[~mask].sum() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "marsh.txt").write_text("\n\n".join(f"{part} " * 40 for part in PARTS))
    return tmp_path / "in"


def ingest(home: Path, folder: Path) -> Workspace:
    workspace = Workspace.open(home, "w")
    ingest_paths(workspace, [folder], settings=SETTINGS)
    return workspace


def test_the_memory_is_written_at_ingest_replaced_and_evicted_with_its_document(tmp_path: Path, folder: Path):
    embedder = load_embedder(SETTINGS.embedder)
    with ingest(tmp_path / "home", folder) as workspace:
        memory = DocumentMemory(workspace, embedder, nearest=2)
        chunks = workspace.document_chunks("marsh.txt")
        assert len(chunks) > 4
        before = memory.around("Who grinds barley?", chunks[1:3])
        assert [roles_of(found) for found in before] == [["own", "before", "after", "nearest", "nearest"]] * 2
        ids, vectors = workspace.vectors()
        stored = dict(zip(ids, vectors, strict=True))
        assert np.array_equal(before[0][0, :64], stored[chunks[1].chunk_id])
        assert np.array_equal(before[0][2, :64], stored[chunks[2].chunk_id])

    with Workspace.open(tmp_path / "home", "w") as workspace:  # after a restart
        again = DocumentMemory(workspace, embedder, nearest=2).around("Who grinds barley?", chunks[1:3])
        assert all(np.array_equal(a, b) for a, b in zip(before, again, strict=True))

        memory = DocumentMemory(workspace, embedder, nearest=2)
        memory.around("Who grinds barley?", chunks[1:3])
        (folder / "marsh.txt").write_text("\n\n".join(f"{part} " * 40 for part in reversed(PARTS)))
        ingest_paths(workspace, [folder], settings=SETTINGS)
        replaced = workspace.document_chunks("marsh.txt")
        now = memory.around("Who grinds barley?", replaced[1:3])
        stored = dict(zip(*workspace.vectors(), strict=True))
        assert np.array_equal(now[0][0, :64], stored[replaced[1].chunk_id])
        assert not np.array_equal(now[0][0], before[0][0])

        workspace.remove("marsh.txt")
        assert [len(found) for found in memory.around("Who grinds barley?", replaced[1:3])] == [0, 0]
        ingest_paths(workspace, [folder], settings=SETTINGS)
        workspace.forget_vectors()  # nothing is embedded: nothing is known, and nothing fails
        assert [len(found) for found in memory.around("Who grinds barley?", replaced[1:3])] == [0, 0]
        assert memory.around("?", replaced[:1])[0].shape[1] == 64 + ENTRY_FEATURES
