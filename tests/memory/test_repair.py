"""A store with broken pages: what can be read comes back, whole turns at a time; and the command line beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import LecternError, NotFoundError, StoreError, UsageError
from ingest.embedders import HashingEmbedder
from memory import __main__ as command_line
from memory.dialogue_database import DATABASE
from memory.dialogue_store import DialogueStore
from memory.long_term import LongTermMemory
from memory.repair import repair
from memory.sharing import Joined, joined, take_up
from memory.types import Said

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096


def fill(folder: Path, talks: int = 4, turns: int = 60) -> None:
    with DialogueStore(folder) as store:
        for talk in range(talks):
            session = store.create(f"Talk {talk} 契約 🏠").session_id
            stored = []
            for i in range(turns):
                question, subject = f"Question {talk}-{i}?", f"house {talk}"
                said = [Said(question), Said(f"I own house {talk}-{i}", kind="fact", subject=subject)]
                stored.append({
                    "question": question, "understood": question, "asked_at": f"2026-01-{1 + talk:02}T00:00:00",
                    "answer": f"Answer {talk}-{i}: " + f"word{talk}x{i} " * 40, "said": said,
                })  # fmt: skip
            store.append_many(session, stored)
        store.pin(7)
        store._scrub()


def broken(folder: Path, every: int) -> None:
    """Every nth page in the middle of the file is overwritten, the first ones are left."""
    path = folder / DATABASE
    data = bytearray(path.read_bytes())
    for page in range(12, len(data) // PAGE, every):
        data[page * PAGE : (page + 1) * PAGE] = b"\xaa" * PAGE
    path.write_bytes(data)


def test_what_can_be_read_comes_back_and_is_searched_again(tmp_path: Path) -> None:
    fill(tmp_path)
    broken(tmp_path, every=7)
    with pytest.raises(StoreError) as caught, DialogueStore(tmp_path) as store:
        for info in store.sessions():
            store.turns(info.session_id)
            store.search("word3x9")
            store.memories(limit=1000)
    assert "repair" in caught.value.remedy and tmp_path.name in caught.value.remedy
    repaired = repair(tmp_path)
    assert repaired.kept.is_file() and 60 < repaired.turns < 240 and repaired.lost > 0
    with DialogueStore(tmp_path) as store:
        found = [turn for info in store.sessions() for turn in store.turns(info.session_id)]
        assert len(found) == repaired.turns and store.memory_count() == repaired.memories > 0
        for turn in found[:: len(found) // 20]:
            talk, number = turn.question.removeprefix("Question ").rstrip("?").split("-")
            assert turn.answer.startswith(f"Answer {talk}-{number}: word{talk}x{number} ")
            assert turn.turn_id in [each.turn_id for each in store.search(f"word{talk}x{number}")]
        session = store.sessions()[0].session_id
        last = store.turns(session)[-1].number
        assert store.append(session, "Next?", "Next?", "Yes.").number == last + 1
        memory = LongTermMemory(store, HashingEmbedder(64))
        memory.catch_up()
        assert memory._index().count() == repaired.memories
        memory.close()


def test_an_undamaged_store_is_repaired_into_itself(tmp_path: Path) -> None:
    fill(tmp_path, talks=2, turns=5)
    with DialogueStore(tmp_path) as store:
        before = [(info, store.turns(info.session_id)) for info in store.sessions()], store.memories()
    repaired = repair(tmp_path)
    assert (repaired.sessions, repaired.turns, repaired.memories, repaired.lost) == (2, 10, 20, 0)
    with DialogueStore(tmp_path) as store:
        assert ([(info, store.turns(info.session_id)) for info in store.sessions()], store.memories()) == before


def test_two_processes_write_into_one_conversation(tmp_path: Path) -> None:
    with DialogueStore(tmp_path) as store:
        session = store.create().session_id
        code = (
            "import sys\nfrom pathlib import Path\nfrom memory.dialogue_store import DialogueStore\n"
            "store = DialogueStore(Path(sys.argv[1]))\n"
            "for i in range(15): store.append(sys.argv[2], f'{sys.argv[3]}-{i}', 'x', 'y')\n"
        )
        arguments = [sys.executable, "-c", code, str(tmp_path), session]
        processes = [subprocess.Popen([*arguments, name], cwd=ROOT) for name in ("first", "second")]
        for i in range(15):
            store.append(session, f"here-{i}", "x", "y")
        assert [process.wait(60) for process in processes] == [0, 0]
        turns = store.turns(session)
        assert [turn.number for turn in turns] == list(range(1, 46))
        for name in ("first", "second", "here"):
            assert [t.question for t in turns if t.question.startswith(name)] == [f"{name}-{i}" for i in range(15)]


def test_the_command_line_lists_exports_and_deletes(
    lectern_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest.workspace import Workspace

    with Workspace.open(lectern_home) as workspace:
        folder = workspace.path
    fill(folder, talks=2, turns=2)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["memory", *arguments, "--home", str(lectern_home)])
        assert command_line.main() == 0
        return capsys.readouterr().out

    listed = json.loads(run("sessions", "--json"))["sessions"]
    assert [each["title"] for each in listed] == ["Talk 1 契約 🏠", "Talk 0 契約 🏠"] and "code" not in listed[0]
    assert "Answer 0-1" in run("export", "talk 0 契約 🏠") and listed[0]["session_id"] in run("sessions")
    run("delete", listed[0]["session_id"])
    assert len(json.loads(run("sessions", "--json"))["sessions"]) == 1
    with DialogueStore(folder) as store:
        assert store.memory_count() == 4 and not store.forgotten()
        store.create("talk 0 契約 🏠")
        with pytest.raises(UsageError, match="several"):
            store.find("TALK 0 契約 🏠")
        with pytest.raises(NotFoundError):
            store.find("nothing")


def test_the_error_names_the_command_that_repairs_a_users_store(
    lectern_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With accounts each user's conversations have a folder of their own; what they had joined comes back, too."""
    from ingest.workspace import Workspace

    with Workspace.open(lectern_home, "lease", create=True) as workspace:
        mia, rob = workspace.path / "people" / "user-1", workspace.path / "people" / "user-2"
    fill(mia, talks=1, turns=4)
    fill(rob, talks=1, turns=4)
    with DialogueStore(mia) as owner, DialogueStore(rob) as store:
        shared = owner.sessions()[0]
        take_up(store, shared.code, {"user-1": mia})
    path = rob / "dialogue.sqlite"
    whole = path.read_bytes()
    path.write_bytes(b"not a database, but of the right length".ljust(len(whole), b"."))
    with pytest.raises(LecternError) as error:
        DialogueStore(rob)
    assert "python -m memory repair --workspace lease --person user-2`" in error.value.remedy
    path.write_bytes(whole)
    words = ["memory", "repair", "--workspace", "lease", "--person", "user-2", "--home", str(lectern_home)]
    monkeypatch.setattr(sys, "argv", words)
    assert command_line.main() == 0 and capsys.readouterr().out.startswith("1 conversations, 4 turns")
    with DialogueStore(rob) as store:
        assert joined(store) == {shared.session_id: Joined("user-1", shared.code)}
    monkeypatch.setattr(sys, "argv", [*words[:5], "../user-2", *words[6:]])
    assert command_line.main() != 0


def test_nothing_to_repair_is_said(tmp_path: Path) -> None:
    with pytest.raises(LecternError, match="does not exist"):
        repair(tmp_path)
