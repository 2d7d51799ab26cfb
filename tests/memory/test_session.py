"""Conversations: kept turn by turn, shared between handles, found again, deleted without trace."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import NotFoundError, StoreError
from core.settings import Settings, load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from memory.conversation import heard_details
from memory.dialogue_database import DATABASE
from memory.dialogue_store import DialogueStore
from memory.evidence import with_evidence
from memory.export import export_json, export_markdown
from memory.packing import pack_history
from memory.session import Conversation, Dialogue
from memory.types import DialogueAnswer, Memory, Said, Turn
from rag.engine import build_engine

ROOT = Path(__file__).resolve().parents[2]
LEASE = """# Lease of the mill

The tenant is Alder Holdings. The landlord is Bramble Estates.

The lease ends on 30 June 2031. The rent in 2021 was 52,000 pounds. The rent in 2020 was 48,500 pounds.

The tenant must insure the building against fire. The deposit is three months of rent.
"""
WEATHER = "# Harbour report\n\nThe harbour of Larvik had fog on nine days of March. Ferries sailed on all other days.\n"


@pytest.fixture
def settings(lectern_home: Path) -> Settings:
    return load_settings(lectern_home, embedder={"model": "hashing:256"}, locator={"model": "sentence"}, device="cpu")


@pytest.fixture
def dialogue(settings: Settings, tmp_path: Path) -> Iterator[Dialogue]:
    for name, text in (("lease.md", LEASE), ("harbour.md", WEATHER)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    workspace = Workspace.open(settings.home)
    ingest_paths(workspace, [tmp_path / "lease.md", tmp_path / "harbour.md"], settings=settings)
    with workspace, Dialogue(workspace.path, build_engine(workspace, settings), settings.memory) as opened:
        yield opened


def ask(talk: Conversation, question: str, **options: str) -> DialogueAnswer:
    events = list(talk.ask(question, **options))
    answer = events[-1].answer
    assert isinstance(answer, DialogueAnswer)
    assert "".join(event.text for event in events) == answer.text
    assert sum(event.answer is not None for event in events) == 1
    return answer


def test_a_follow_up_finds_its_sentence(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    assert "52,000" in ask(talk, "What was the rent in 2021?").text
    answer = ask(talk, "And the year before?")
    assert answer.question == "And the year before?"
    assert answer.understood == "What was the rent in 2020?"
    assert "48,500" in answer.text
    assert answer.citations[0].document == "lease.md"


def test_the_users_correction_of_the_understood_question_is_what_is_asked(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    ask(talk, "What was the rent in 2021?")
    answer = ask(talk, "And before?", understood="When does the lease end?")
    assert "30 June 2031" in answer.text
    assert talk.turns()[-1].understood == "When does the lease end?"


def test_two_handles_on_a_session_see_each_others_turns(dialogue: Dialogue, settings: Settings) -> None:
    first = dialogue.start()
    ask(first, "What was the rent in 2021?")
    with Dialogue(dialogue.store.path.parent, dialogue.engine, settings.memory) as elsewhere:
        second = elsewhere.join(first.code.lower().replace("-", " "))
        assert [turn.question for turn in second.turns()] == ["What was the rent in 2021?"]
        ask(second, "And the year before?")
        assert [turn.number for turn in first.turns(after=1)] == [2]
        assert ask(first, "When does the lease end?").turn.number == 3  # type: ignore[union-attr]


def test_concurrent_turns_of_one_session_are_all_kept_and_numbered(tmp_path: Path) -> None:
    store = DialogueStore(tmp_path)
    session = store.create().session_id
    failures: list[BaseException] = []

    def write(name: int) -> None:
        try:
            other = DialogueStore(tmp_path)
            for i in range(10):
                other.append(session, f"q{name}-{i}", "q", "a", said=[Said(f"q{name}-{i}")])
            other.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    turns = store.turns(session)
    assert [turn.number for turn in turns] == list(range(1, 41))
    assert {turn.question for turn in turns} == {f"q{n}-{i}" for n in range(4) for i in range(10)}


def test_what_was_reported_survives_a_kill(tmp_path: Path) -> None:
    """A process that appends turns and prints each number is killed at an arbitrary moment."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom memory.dialogue_store import DialogueStore\n"
        "from memory.types import Said\n"
        "store = DialogueStore(Path(sys.argv[1]))\nsession = store.create('kill').session_id\n"
        "for i in range(1, 100000):\n"
        "    store.append(session, f'question {i}', 'x', 'y' * 5000, said=[Said(f'question {i}')])\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reported = 0
    for line in process.stdout:
        reported = int(line)
        if reported == 12:
            time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            break
    reported = max([reported, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.wait()
    with DialogueStore(tmp_path) as store:
        [session] = store.sessions()
        turns = store.turns(session.session_id)
        assert [turn.question for turn in turns] == [f"question {i}" for i in range(1, len(turns) + 1)]
        assert len(turns) in (reported, reported + 1)
        assert store.memory_count() == len(turns)  # turn and memory: both or neither
        assert store.search(f"question {reported}")[0].number == reported


def test_an_interrupted_answer_is_part_of_the_talk(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    events = talk.ask("What was the rent in 2021?")
    first = next(events)
    events.close()  # type: ignore[attr-defined]
    [turn] = talk.turns()
    assert turn.details["interrupted"] and turn.answer == first.text


def test_sessions_are_listed_renamed_and_searched(dialogue: Dialogue) -> None:
    first, second = dialogue.start(), dialogue.start("Second talk")
    ask(first, "When does the lease end?")
    ask(second, "How many days of fog had the harbour?")
    assert [s.title for s in dialogue.sessions()] == ["Second talk", "When does the lease end?"]
    first.rename("Über den Pachtvertrag 契約 🏠")
    assert dialogue.store.session(first.session_id).title == "Über den Pachtvertrag 契約 🏠"
    assert [turn.session_id for turn in dialogue.store.search("foggy days")] == [second.session_id]


def test_exports_hold_every_turn_and_no_code(dialogue: Dialogue) -> None:
    talk = dialogue.start("Rent")
    answer = ask(talk, "What was the rent in 2021?")
    ask(talk, "And the year before?")
    markdown = "".join(export_markdown(dialogue.store, talk.session_id))
    assert answer.citations[0].quote in markdown and "*Understood as: What was the rent in 2020?*" in markdown
    record = json.loads("".join(export_json(dialogue.store, talk.session_id)))
    assert [turn["question"] for turn in record["turns"]] == ["What was the rent in 2021?", "And the year before?"]
    assert talk.code not in markdown and talk.code not in json.dumps(record)


def test_a_deleted_session_leaves_no_trace_on_disk(dialogue: Dialogue) -> None:
    talk, kept = dialogue.start(), dialogue.start()
    ask(talk, "Remember that the access word is xylophonistic")
    ask(kept, "When does the lease end?")
    dialogue.memory.catch_up()
    folder = dialogue.store.path.parent
    assert _holds(folder, b"xylophonist")
    talk.delete()
    dialogue.memory.catch_up()
    assert not _holds(folder, b"xylophonist")
    assert dialogue.memory._index().count() == dialogue.store.memory_count() > 0
    with pytest.raises(NotFoundError):
        list(talk.ask("Anything?"))
    assert len(kept.turns()) == 1


def _holds(folder: Path, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    DialogueStore(tmp_path).close()
    (tmp_path / DATABASE).write_bytes(b"this is no database at all " * 400)
    for sidecar in tmp_path.glob(f"{DATABASE}-*"):
        sidecar.unlink()
    with pytest.raises(StoreError) as caught:
        DialogueStore(tmp_path)
    assert DATABASE in str(caught.value) and "away" in caught.value.remedy


def test_another_programs_database_is_not_touched(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute("PRAGMA user_version = 7")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError):
        DialogueStore(tmp_path)


@pytest.mark.parametrize(
    "text", ["契約はいつ終わりますか", "Wann endet der Vertrag? 🏠", "نهاية العقد", "half \ud83d emoji", "nul \0 byte"]
)
def test_any_text_can_be_said(tmp_path: Path, text: str) -> None:
    with DialogueStore(tmp_path) as store:
        session = store.create().session_id
        store.append(session, text, text, text, said=[Said(text)])
        [turn] = store.turns(session)
        assert turn.question == text.encode("utf-8", "replace").decode()
        assert store.search(text)[0].turn_id == turn.turn_id


def _turn(number: int, answer: str) -> Turn:
    return Turn(number, "s", number, "2026-01-01T00:00:00+00:00", f"q{number}", f"question {number}", answer)


def test_history_stays_within_its_budget_and_in_order() -> None:
    turns = [_turn(i, f"answer {i} [1]. " + "word " * 300) for i in range(1, 60)]
    memories = [Memory(i, "turn", f"memory {i} " + "m " * 50, "2026-01-01T00:00:00", i, "s") for i in (9, 4, 7, 2)]

    def count(text: str) -> int:
        return len(text.split())

    packed = pack_history(turns, memories, max_tokens=500, count_tokens=count)
    assert sum(count(text) for _, text in packed) <= 500
    assert packed[-2][1] == "question 59" and "[1]" not in packed[-1][1]
    assert packed[0][1].index("memory 4") < packed[0][1].index("memory 9")  # as said, not as scored
    assert "memory 2 " not in packed[0][1]  # the least relevant has no room


def test_turns_cost_the_same_however_long_the_talk(dialogue: Dialogue) -> None:
    """Rows read by SQLite, not time: turn 300 reads as much as turn 10."""
    talk = dialogue.start()
    turn = {"question": "What was the rent in 2021?", "understood": "What was the rent in 2021?", "answer": "52,000."}
    dialogue.store.append_many(talk.session_id, [turn] * 9)
    early = _virtual_steps(dialogue.store, talk)
    dialogue.store.append_many(talk.session_id, [turn] * 290)
    late = _virtual_steps(dialogue.store, talk)
    assert late < 1.5 * early + 100


def _virtual_steps(store: DialogueStore, talk: Conversation) -> int:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = store._connection()
    connection.set_progress_handler(step, 10)
    talk.understand("And the year before?")
    connection.set_progress_handler(None, 0)
    return steps * 10


def test_a_statement_is_noted_and_told_when_asked(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    noted = ask(talk, "My lawyer is Ingrid Vasquez.")
    assert noted.model == "memory" and not noted.citations
    ask(talk, "When does the lease end?")
    told = ask(dialogue.start(), "Who is my lawyer?")  # another session of the same workspace
    assert "Ingrid Vasquez" in told.text and told.recalled[0].session_id == talk.session_id
    ask(talk, "My lawyer is Tom Okafor.")
    assert "Okafor" in ask(talk, "Who is my lawyer?").text


def test_saying_what_was_meant_asks_again_about_it(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    ask(talk, "What was the rent?")
    answer = ask(talk, "I mean the 2020 rent")
    assert answer.understood == "What was the 2020 rent?"
    assert "48,500" in answer.text
    assert dialogue.store.facts()[0].text == "I mean the 2020 rent"


def test_memory_can_be_switched_off_for_a_session(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    talk.remember(False)
    ask(talk, "My lawyer is Ingrid Vasquez.")
    assert dialogue.store.memory_count() == 0
    assert "Vasquez" not in ask(dialogue.start(), "Who is my lawyer?").text
    assert len(talk.turns()) == 1  # the turn itself is kept


def test_evidence_of_the_turn_before_stays_a_candidate(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    cited = ask(talk, "What was the rent in 2021?").turn
    assert cited is not None and cited.details["evidence"]
    engine = with_evidence(dialogue.engine, [cited], 4)
    found = {hit.chunk.chunk_id for hit in engine.retriever.search("xyzzy frobnicate")}
    assert set(cited.details["evidence"]) <= found
    assert dialogue.engine.retriever.extra == ()  # type: ignore[attr-defined]  # the shared engine is untouched


def test_only_what_was_heard_of_an_interrupted_answer_is_kept(dialogue: Dialogue) -> None:
    """The listener interrupts while a chat model is still writing, and after it has written all."""
    talk = dialogue.start()
    reply = talk.ask("What was the rent in 2021?")
    events = list(reply)  # written to its end, and stored
    assert reply.turn is not None and "52,000" in reply.turn.answer
    reply.heard("The rent in 2021")
    [turn] = talk.turns()
    assert turn.answer == "The rent in 2021" and turn.details["interrupted"]
    assert not [m for m in dialogue.store.memories() if "52,000" in m.text]
    assert not dialogue.store.search("52,000")
    assert pack_history(talk.turns())[-1] == ("assistant", "The rent in 2021 …")

    reply = talk.ask("When does the lease end?")
    next(reply)
    reply.heard("")  # nothing had been heard yet
    reply.close()
    assert [(t.question, t.answer) for t in talk.turns(after=1)] == [("When does the lease end?", "")]
    whole = talk.heard(1, events[-1].answer.text)  # type: ignore[union-attr]
    assert whole.turn_id == turn.turn_id


def test_a_turn_that_was_not_meant_leaves_nothing_behind(dialogue: Dialogue) -> None:
    talk = dialogue.start()
    store = dialogue.store
    store.append(talk.session_id, "x", "x", "y", said=[Said("The deposit is 9", kind="fact", subject="deposit")])
    reply = talk.ask("What was the rent in 2021?")
    assert "52,000" in list(reply)[-1].answer.text  # type: ignore[union-attr]
    later = store.append(talk.session_id, "Next?", "Next?", "Yes.", said=[Said("Next?")])
    wrong = store.append(talk.session_id, "No", "No", "-", said=[Said("It is 8", kind="fact", subject="deposit")])
    assert [m.text for m in store.facts()] == ["It is 8"]
    reply.forget()
    talk.withdraw(wrong)
    talk.withdraw(wrong)  # gone already
    assert [turn.question for turn in talk.turns()] == ["x", "Next?"]
    assert [m.text for m in store.facts()] == ["The deposit is 9"], "what it superseded holds again"
    assert not store.search("52,000") and not [m for m in store.memories() if "rent" in m.text or "52,000" in m.text]
    [kept] = [m for m in store.memories() if m.turn_id == later.turn_id]
    assert not store.neighbours([kept.memory_id])
    reply.heard("The rent")  # what is still being said of it changes nothing

    reply = talk.ask("When does the lease end?")
    next(reply)
    reply.forget()  # before it is stored
    assert list(reply)[-1].answer is not None and len(talk.turns()) == 2

    first = dialogue.start()
    first.withdraw(ask(first, "What was the rent in 2021?").turn)
    ask(first, "When does the lease end?")
    assert first.info.title == "When does the lease end?"


def test_citations_of_sentences_not_begun_were_not_heard() -> None:
    citations = [{"n": n} for n in (1, 2, 3)]
    turn = Turn(
        1, "s", 1, "", "q", "q", "It ends in June [1]. It began in May [2]. Rent is due [3].", {"citations": citations}
    )
    for heard, kept in (("", []), ("It ends in", [1]), ("It ends in June [1]. It", [1, 2]), ("It ends in June.", [1])):
        assert [c["n"] for c in heard_details(turn, heard)["citations"]] == kept


def test_the_engine_is_made_by_the_first_question_only(dialogue: Dialogue, settings: Settings) -> None:
    made = []
    with Dialogue(dialogue.store.path.parent, lambda: made.append(1) or dialogue.engine, settings.memory) as lazy:
        talk = lazy.start("Lazy")
        assert lazy.sessions() and not talk.turns() and not made
        ask(talk, "What was the rent in 2021?")
        ask(talk, "And the year before?")
        assert made == [1]
