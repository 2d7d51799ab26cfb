"""What is damaged on disk is found and put right or refused, never quoted; older schemas are upgraded; two at once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ingest.upgrades
import ingest.workspace_writer
import memory.dialogue_database
from benchmarks._reliability_worker import marker, settings_of
from benchmarks.reliability import kill_moments, make_sound
from core import seals
from core.errors import StoreError
from ingest import lexical, schema
from ingest.embedders import load_embedder
from ingest.embedding import embed_pending
from ingest.integrity import check_workspace, repair_workspace
from ingest.originals import Originals
from ingest.workspace import Workspace
from ingest.workspace_writer import WorkspaceWriter
from memory.dialogue_store import DialogueStore
from rag.retriever import HybridRetriever

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with documents, vectors, conversations and every derived file; never opened by a test."""
    home = tmp_path_factory.mktemp("reliable") / "home"
    make_sound(home, 4)
    with DialogueStore(home / "workspaces" / "default") as dialogue:
        dialogue.append(dialogue.create("talk").session_id, "Who pays?", "Who pays?", "The tenant.")
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "home"))


def folder_of(home: Path) -> Path:
    return home / "workspaces" / "default"


@contextlib.contextmanager
def database(home: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(folder_of(home) / schema.DATABASE)) as connection:
        yield connection
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def found(home: Path, number: int) -> list[tuple[str, str]]:
    """Chunk ids and texts of the hits for a document's own word."""
    settings = settings_of(home)
    with Workspace.open(home, create=False) as workspace:
        retriever = HybridRetriever(workspace, load_embedder(settings.embedder), settings.retrieval)
        return [(hit.chunk.chunk_id, hit.chunk.text) for hit in retriever.search(marker(number, 1), top_k=3)]


def spoil(path: Path, where: float = 0.5) -> None:
    """Flip a bit at a share of the file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 4
    path.write_bytes(data)


# -- derived files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coarse.npz", "coarse_texts.json", "vectors.npy", "dense.faiss"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_broken_derived_file_is_announced_and_built_anew(
    home: Path, name: str, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder_of(home) / "derived" / name
    before, sound_bytes = found(home, 2), path.stat().st_size
    assert not caplog.records
    if cut:
        os.truncate(path, sound_bytes // 2)
    else:
        spoil(path)
    with caplog.at_level(logging.WARNING):
        assert found(home, 2) == before
    assert "built anew" in caplog.text
    caplog.clear()
    assert found(home, 2) == before and not caplog.records, "the new file is sound"


def test_a_seal_notices_a_flip_a_cut_and_its_own_loss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(range(256)) * 40)
    assert not seals.sealed(path), "no seal, no trust"
    seals.seal(path)
    assert seals.sealed(path)
    for damage in (lambda: spoil(path), lambda: os.truncate(path, 100), lambda: spoil(tmp_path / "model.bin.crc", 0.1)):
        original = path.read_bytes(), (tmp_path / "model.bin.crc").read_bytes()
        damage()
        assert not seals.sealed(path)
        path.write_bytes(original[0])
        (tmp_path / "model.bin.crc").write_bytes(original[1])
    assert "built anew" in caplog.text and seals.sealed(path)
    seals.unseal(path)
    assert list(tmp_path.iterdir()) == []


# -- the database ------------------------------------------------------------------------------------------------------


def test_a_changed_vector_is_not_used_and_made_again(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = found(home, 2)
    shutil.rmtree(folder_of(home) / "derived")
    with database(home) as connection:
        row, vector = connection.execute("SELECT chunk, vector FROM vectors ORDER BY chunk LIMIT 1").fetchone()
        spoilt = bytes([vector[0] ^ 0x80]) + vector[1:]
        connection.execute("UPDATE vectors SET vector = ? WHERE chunk = ?", (spoilt, row))
    assert any("vectors have changed" in str(damage) for damage in check_workspace(home, "default"))
    settings = settings_of(home)
    with caplog.at_level(logging.WARNING), Workspace.open(home) as workspace:
        count = workspace.chunk_count()
        assert len(workspace.vectors()[0]) == count - 1
        assert "made again" in caplog.text and workspace.pending_count() == 1
        embed_pending(workspace, load_embedder(settings.embedder))
        assert len(workspace.vectors()[0]) == count
    assert check_workspace(home, "default") == [] and found(home, 2) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunks SET start = start + 1 WHERE document = 3",
        "UPDATE pages SET text = zeroblob(length(text)) WHERE document = 3",
        "UPDATE chunks SET context = 'another heading' WHERE document = 3",
    ],
)
def test_a_changed_passage_is_refused_then_repaired_from_its_stored_copy(home: Path, damage: str) -> None:
    before = found(home, 2)
    with database(home) as connection:
        connection.execute(damage)
    with pytest.raises(StoreError, match=r"(changed on disk|damaged).*--repair"):
        found(home, 2)
    assert {d.document for d in check_workspace(home, "default") if d.document} == {"document2.md"}
    assert any("document2.md was read again" in line for line in repair_workspace(home, "default", settings_of(home)))
    with Workspace.open(home) as workspace:
        embed_pending(workspace, load_embedder(settings_of(home).embedder))
    assert check_workspace(home, "default") == []
    assert found(home, 2) == before, "same passages under the same ids: old citations still hold"


def test_a_damaged_document_whose_copy_is_lost_can_be_removed(home: Path) -> None:
    with database(home) as connection:
        connection.execute("UPDATE pages SET text = zeroblob(length(text)) WHERE document = 3")
        sha256 = connection.execute("SELECT sha256 FROM documents WHERE rowid = 3").fetchone()[0]
    (folder_of(home) / "files" / f"{sha256}.md").unlink()
    lines = repair_workspace(home, "default", settings_of(home))
    assert any("cannot be read again" in line for line in lines)
    with Workspace.open(home) as workspace:
        workspace.remove("document2.md")
        assert len(workspace.documents()) == 3
    assert check_workspace(home, "default") == []


@pytest.mark.parametrize("how", ["emptied", "scribbled"])
def test_a_broken_database_is_a_clear_error_and_comes_back_from_the_stored_copies(home: Path, how: str) -> None:
    path = folder_of(home) / schema.DATABASE
    if how == "emptied":
        os.truncate(path, 0)
    else:
        data = bytearray(path.read_bytes())
        data[100:4096] = os.urandom(3996)
        path.write_bytes(data)
    with pytest.raises(StoreError, match=r"--repair") as error, Workspace.open(home) as workspace:
        workspace.documents()
        found(home, 3)
    assert "restore" in str(error.value)
    assert check_workspace(home, "default")
    repair_workspace(home, "default", settings_of(home))
    assert check_workspace(home, "default") == []
    with Workspace.open(home) as workspace:
        embed_pending(workspace, load_embedder(settings_of(home).embedder))
        assert len(workspace.documents()) == 4
    assert marker(3, 1) in found(home, 3)[0][1]


def test_a_database_that_contradicts_itself_is_an_error_not_an_empty_answer(home: Path) -> None:
    """A bit in SQLite's own index of document ids: the document is there, and is not found by its id."""
    with database(home) as connection:
        [identifier] = connection.execute("SELECT document_id FROM documents WHERE rowid = 3").fetchone()
    path = folder_of(home) / schema.DATABASE
    data, at = path.read_bytes(), -1
    while (at := data.find(identifier.encode(), at + 1)) >= 0:
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        path.write_bytes(spoilt)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            [stored] = connection.execute("SELECT document_id FROM documents NOT INDEXED WHERE rowid = 3").fetchone()
            if stored == identifier and "index" in connection.execute("PRAGMA integrity_check(1)").fetchone()[0]:
                break
    assert at >= 0, "the id stands in the index, too"
    with pytest.raises(StoreError, match=r"damaged.*--repair"):
        found(home, 2)
    assert repair_workspace(home, "default", settings_of(home)) == ["the database's own indexes were built anew"]
    assert check_workspace(home, "default") == [] and marker(2, 1) in found(home, 2)[0][1]


def test_broken_conversations_are_a_clear_error(home: Path) -> None:
    path = folder_of(home) / memory.dialogue_database.DATABASE
    data = bytearray(path.read_bytes())
    data[100:] = os.urandom(len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(StoreError) as error, DialogueStore(folder_of(home)) as dialogue:
        dialogue.sessions()
    assert error.value.remedy
    [damage] = check_workspace(home, "default")
    assert not damage.curable and "restore a backup" in str(damage)


# -- versions ----------------------------------------------------------------------------------------------------------


def make_old(home: Path) -> None:
    """The same content in a database as schema 1 had it."""
    path = folder_of(home) / schema.DATABASE
    path.rename(path.with_name("new.db"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript((Path(__file__).parent / "schema_1.sql").read_text())
        connection.execute("ATTACH ? AS new", (str(path.with_name("new.db")),))
        for table in ("meta", "documents", "aliases", "failures", "pages", "chunks", "vectors"):
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        lexical.rebuild(connection)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA user_version = 1")


def test_an_older_workspace_is_upgraded_when_opened(home: Path) -> None:
    before = found(home, 1)
    with database(home) as connection:
        crcs = [connection.execute(f"SELECT crc FROM {t} ORDER BY rowid").fetchall() for t in ("documents", "chunks")]
    make_old(home)
    assert found(home, 1) == before and check_workspace(home, "default") == []
    with database(home) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.SCHEMA_VERSION
        again = [connection.execute(f"SELECT crc FROM {t} ORDER BY rowid").fetchall() for t in ("documents", "chunks")]
        assert again == crcs and connection.execute("SELECT count(*) FROM vectors WHERE crc IS NULL").fetchone() == (0,)


def test_an_upgrade_that_fails_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(home)

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE documents ADD COLUMN crc INTEGER")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setitem(ingest.upgrades.STEPS, 1, fails)
    with pytest.raises(StoreError, match="full"):
        Workspace.open(home)
    with database(home) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
        assert "crc" not in [row[1] for row in connection.execute("PRAGMA table_info(documents)")]


def test_a_newer_workspace_is_refused(home: Path) -> None:
    with database(home) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match=r"newer Lectern.*Update"):
        Workspace.open(home)


# -- kills, clocks, other processes, other users ----------------------------------------------------------------------


def test_nothing_acknowledged_is_lost_by_kills(tmp_path: Path) -> None:
    """A few of the moments of benchmarks/reliability.py."""
    counts = kill_moments(tmp_path, 3, longest_s=2.0, seed=3)
    assert counts["wrong"] == 0 and counts["acknowledged"] > 0


@pytest.mark.parametrize("moment", ["before the commit", "after it"])
def test_a_removal_that_is_cut_short_keeps_all_or_nothing(
    home: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored copy goes after the commit, never before: a kill in between would leave a document without it."""

    def killed(*_: object) -> None:
        raise SystemExit

    with Workspace.open(home) as workspace:
        copy = workspace.source_path("document1.md")
        if moment == "before the commit":
            delete = WorkspaceWriter._delete_document
            monkeypatch.setattr(WorkspaceWriter, "_delete_document", lambda *args: (delete(*args), killed()))
        else:
            monkeypatch.setattr(Originals, "collect", killed)
        with pytest.raises(SystemExit):
            workspace.remove("document1.md")
    monkeypatch.undo()
    with Workspace.open(home) as workspace:
        there = "document1.md" in [info.name for info in workspace.documents()]
        assert there == copy.is_file() == (moment == "before the commit")
    assert check_workspace(home, "default") == []


def test_a_further_name_with_another_suffix_keeps_the_stored_copy(home: Path) -> None:
    with Workspace.open(home) as workspace:
        sha256 = workspace.document("document1.md").sha256
        assert workspace.put_alias("document1.txt", sha256, source="") == "document1.md"
        workspace.remove("document1.md")
        assert workspace.source_path("document1.txt").suffix == ".txt"
        assert len(list((folder_of(home) / "files").iterdir())) == 4
    assert check_workspace(home, "default") == []


def test_a_clock_that_goes_back_loses_no_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DialogueStore(folder_of(home)) as dialogue, Workspace.open(home) as workspace:
        session = dialogue.create("clock").session_id
        for number, days in enumerate((0, 400, 3)):

            class Clock(datetime):
                @classmethod
                def now(cls, tz: object = None, days: int = days) -> datetime:
                    return datetime.now(UTC) - timedelta(days=days)

            monkeypatch.setattr(memory.dialogue_database, "datetime", Clock)
            monkeypatch.setattr(ingest.workspace_writer, "datetime", Clock)
            version = workspace.version
            workspace.remove(f"document{number}.md")
            assert workspace.version > version, "caches are keyed by a counter, not by time"
            dialogue.append(session, f"days {days}", f"days {days}", "noted")
        turns = dialogue.turns(session)
        assert [turn.question for turn in turns] == ["days 0", "days 400", "days 3"]
        assert [turn.number for turn in turns] == [1, 2, 3]
        assert turns[1].asked_at < turns[0].asked_at, "the clock did go back"


def test_repair_and_restore_wait_for_nobody_but_say_who_is_in_the_way(home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ingest.workspace import Workspace\n"
        "with Workspace.open(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(home)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "open\n"
    with Workspace.open(home) as workspace:
        assert len(workspace.documents()) == 4, "two processes share a workspace"
    with pytest.raises(StoreError, match=r"open in another process.*Stop the page"):
        repair_workspace(home, "default", settings_of(home))
    other.communicate()
    assert repair_workspace(home, "default", settings_of(home)) == []


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
@pytest.mark.parametrize("made", [True, False])
def test_a_home_that_may_not_be_written_is_one_clear_line(home: Path, tmp_path: Path, made: bool) -> None:
    if not made:
        home = tmp_path / "new"
        home.mkdir()
    (tmp_path / "a.txt").write_text("The tenant pays the rent.")
    for path in [*home.rglob("*"), home]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*plain, sys.executable, "-m", "ingest", str(tmp_path / "a.txt"), "--home", str(home), "--no-embed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o700)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert "permissions" in done.stderr
