"""A backup holds one state, made while others write; it is verified; restoring gives the same workspace or nothing."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from benchmarks._reliability_worker import marker, settings_of
from benchmarks.reliability import backups_under_load, make_sound
from core.errors import LecternError, NotFoundError, StoreError, UsageError
from ingest import schema
from ingest.backup import backup_workspace, restore_workspace, verify_backup
from ingest.embedders import load_embedder
from ingest.integrity import check_workspace
from ingest.workspace import Workspace, list_workspaces
from memory.dialogue_store import DialogueStore
from memory.long_term import LongTermMemory
from memory.types import Said
from rag.retriever import HybridRetriever
from tests.ingest.corpus import contents


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with documents, vectors, a conversation with a memory, and one of another user."""
    home = tmp_path_factory.mktemp("backup") / "home"
    make_sound(home, 4)
    folder = home / "workspaces" / "default"
    for place in (folder, folder / "people" / "anna"):
        with DialogueStore(place) as dialogue:
            session = dialogue.create("talk").session_id
            dialogue.append(session, "Who pays?", "Who pays?", "The tenant.", said=[Said("My flat is in Ghent.")])
            with_vectors = LongTermMemory(dialogue, load_embedder(settings_of(home).embedder))
            with_vectors.catch_up()
            with_vectors.close()
    return home


@pytest.fixture(scope="module")
def backup(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "default.zip"
    report = backup_workspace(home, "default", path)
    assert (report.documents, report.files) == (4, 7)  # three databases, four stored copies
    return path


def test_a_restored_workspace_is_the_same(home: Path, backup: Path, tmp_path: Path) -> None:
    restore_workspace(backup, tmp_path, name="copy")
    assert list_workspaces(tmp_path) == ["copy"] and check_workspace(tmp_path, "copy") == []
    (tmp_path / "workspaces" / "copy").rename(tmp_path / "workspaces" / "default")
    assert contents(tmp_path) == contents(home)
    settings = settings_of(tmp_path)
    with Workspace.open(tmp_path) as workspace:
        retriever = HybridRetriever(workspace, load_embedder(settings.embedder), settings.retrieval)
        assert marker(3, 1) in retriever.search(marker(3, 1))[0].chunk.text
        for place in (workspace.path, workspace.path / "people" / "anna"):
            with DialogueStore(place) as dialogue:
                [session] = dialogue.sessions()
                assert dialogue.turns(session.session_id)[0].answer == "The tenant."
                recall = LongTermMemory(dialogue, load_embedder(settings.embedder))
                assert "Ghent" in " ".join(memory.text for memory in recall.recall("Where is my flat?"))
                recall.close()


def test_backups_made_while_a_process_writes_hold_one_state(tmp_path: Path) -> None:
    assert backups_under_load(tmp_path, 2)["wrong"] == 0


def test_nothing_is_left_behind_and_nothing_overwritten(home: Path, backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        backup_workspace(home, "default", backup)
    assert backup.read_bytes() == before and os.listdir(backup.parent) == [backup.name]
    assert not [path for path in (home / "workspaces" / "default").iterdir() if path.name.startswith("backup-")]
    with pytest.raises(NotFoundError, match="nowhere"):
        backup_workspace(home, "nowhere", tmp_path / "x.zip")
    restore_workspace(backup, tmp_path)
    with pytest.raises(UsageError, match=r"--as another name, or add --replace"):
        restore_workspace(backup, tmp_path)
    with Workspace.open(tmp_path) as workspace:
        workspace.remove("document1.md")
    restore_workspace(backup, tmp_path, replace=True)
    with Workspace.open(tmp_path) as workspace:
        assert len(workspace.documents()) == 4
        with pytest.raises(StoreError, match="open in another process"):
            restore_workspace(backup, tmp_path, replace=True)
    assert os.listdir(tmp_path) == ["workspaces"] and list_workspaces(tmp_path) == ["default"]


@pytest.mark.parametrize("where", [0.0005, 0.3, 0.6, 0.97, "cut"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(backup: Path, tmp_path: Path, where: float | str) -> None:
    broken = tmp_path / "broken.zip"
    data = bytearray(backup.read_bytes())
    if where == "cut":
        del data[len(data) // 2 :]
    else:
        data[int(len(data) * float(where))] ^= 1
    broken.write_bytes(data)
    home = tmp_path / "home"
    home.mkdir()
    try:
        restore_workspace(broken, home)
    except LecternError as error:
        assert isinstance(error, StoreError) and error.remedy
        assert list_workspaces(home) == [] and not [p for p in home.iterdir() if p.name != "workspaces"]
    else:  # the bit was in a date or another note of ZIP's own
        assert check_workspace(home, "default") == []


def rewritten(backup: Path, to: Path, change: dict[str, object], extra: dict[str, bytes] | None = None) -> Path:
    """The backup with other manifest entries and further members."""
    with zipfile.ZipFile(backup) as old, zipfile.ZipFile(to, "w") as new:
        manifest = json.loads(old.read("manifest.json"))
        for name in manifest["files"]:
            new.writestr(name, old.read(name))
        for name, data in (extra or {}).items():
            new.writestr(name, data)
            manifest["files"][name] = {"sha256": "0" * 64, "size": len(data)}
        new.writestr("manifest.json", json.dumps({**manifest, **change}))
    return to


@pytest.mark.parametrize(
    "member", ["../../evil.sqlite", "/tmp/evil.sqlite", "files/../../evil", "run.py", "derived/x.npz", "files\\..\\x"]
)
def test_a_forged_backup_writes_nothing_outside(backup: Path, tmp_path: Path, member: str) -> None:
    forged = rewritten(backup, tmp_path / "forged.zip", {}, {member: b"evil"})
    with pytest.raises(StoreError, match="which no backup has"):
        restore_workspace(forged, tmp_path / "home")
    assert not list(tmp_path.rglob("*evil*"))


def test_bombs_and_newer_backups_are_refused(backup: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(schema.DATABASE, bytes(50_000_000))
        entry = {"sha256": "0" * 64, "size": 1000}
        files = {schema.DATABASE: entry}
        archive.writestr("manifest.json", json.dumps({"format": 1, "schema": 1, "workspace": "b", "files": files}))
    with pytest.raises(StoreError, match="not what was backed up"):
        restore_workspace(bomb, tmp_path / "home")
    for change in ({"format": 99}, {"schema": schema.SCHEMA_VERSION + 1}):
        newer = rewritten(backup, tmp_path / "newer.zip", change)
        with pytest.raises(StoreError, match=r"newer Lectern.*Update"):
            verify_backup(newer)
    with pytest.raises(UsageError, match="no workspace name"):
        restore_workspace(backup, tmp_path / "home", name="../out")


def test_a_changed_stored_copy_is_not_backed_up_as_if_it_were_sound(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "home"
    shutil.copytree(home, other)
    [original, *_] = sorted((other / "workspaces" / "default" / "files").iterdir())
    data = bytearray(original.read_bytes())
    data[10] ^= 1
    original.write_bytes(data)
    with pytest.raises(StoreError, match=r"changed since it was stored.*check"):
        backup_workspace(other, "default", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
