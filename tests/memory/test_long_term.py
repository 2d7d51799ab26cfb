"""Long-term memory: what was said is found by words, meaning and speaker; Chroma may fail or be remote."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from left_on_disk import held

from core.errors import NotFoundError, UsageError
from core.settings import MemorySettings
from ingest.embedders import HashingEmbedder
from memory.dialogue_store import DialogueStore
from memory.facts import asks_about_conversation, meant, stated_fact
from memory.long_term import LongTermMemory
from memory.types import Said
from memory.vectors import FOLDER

TALK = (
    ("The boiler was replaced by Hansen in 2019.", "user"),
    ("How old is the roof?", "assistant"),
    ("It is from 1987, yes.", "user"),
    ("We keep two dogs and a parrot at the farm.", "user"),
    ("The harbour had fog on nine days.", "assistant"),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DialogueStore]:
    with DialogueStore(tmp_path) as opened:
        session = opened.create("talk").session_id
        turns = [{"question": t, "understood": t, "answer": "", "said": [Said(t, who)]} for t, who in TALK]
        opened.append_many(session, turns)
        yield opened


def texts(memory: LongTermMemory, question: str, top_k: int = 2) -> list[str]:
    return [found.text for found in memory.recall(question, top_k=top_k)]


@pytest.mark.parametrize("embedder", [None, HashingEmbedder(128)], ids=["words", "vectors"])
def test_the_turn_that_answers_is_recalled(store: DialogueStore, embedder: HashingEmbedder | None) -> None:
    memory = LongTermMemory(store, embedder)
    assert texts(memory, "Who replaced the boiler?")[0] == TALK[0][0]
    assert texts(memory, "Which animals are at the farm?")[0] == TALK[3][0]
    memory.close()


def test_an_answer_is_recalled_through_the_question_before_it(store: DialogueStore) -> None:
    """ "It is from 1987" shares no word with the question; its neighbour does."""
    memory = LongTermMemory(store, HashingEmbedder(128))
    assert TALK[2][0] in texts(memory, "When was the roof made?", 3)
    memory.close()


def test_later_facts_supersede_earlier_ones_and_both_stay(store: DialogueStore) -> None:
    session = store.sessions()[0].session_id
    for year in (2021, 2022):
        fact = stated_fact(f"I mean the {year} lease.")
        assert fact is not None
        store.append(session, fact.text, fact.text, "Noted.", said=[fact])
    [holding] = store.facts()
    assert "2022" in holding.text
    both = store.facts(holding=False)
    assert len(both) == 2 and both[1].superseded_at == holding.said_at
    memory = LongTermMemory(store)
    assert "2022" in texts(memory, "Which lease did I mean?", 1)[0]


def test_pinned_memories_always_come_and_edited_ones_are_found_anew(store: DialogueStore) -> None:
    memory = LongTermMemory(store, HashingEmbedder(128))
    fog = store.memories(contains="fog")[0]
    store.pin(fog.memory_id)
    assert texts(memory, "Who replaced the boiler?")[0] == fog.text
    store.edit(fog.memory_id, "The harbour had hail on nine days.")
    assert store.memories(contains="hail")[0].edited_at and not store.memories(contains="fog")
    assert store.turns(fog.session_id)[-1].question == TALK[4][0]  # the verbatim turn stays
    store.pin(fog.memory_id, False)
    store.forget(fog.memory_id)
    assert all("hail" not in text for text in texts(memory, "Was there hail in the harbour?", 5))
    memory.erase()
    assert memory._index().count() == 4
    with pytest.raises(NotFoundError):
        store.forget(fog.memory_id)
    with pytest.raises(UsageError):
        store.edit(1, "  ")
    memory.close()


def test_vectors_of_what_was_forgotten_leave_the_disk(store: DialogueStore) -> None:
    """Words can be guessed from a vector; Chroma by itself only marks what is deleted, and logs it."""
    memory = LongTermMemory(store, HashingEmbedder(128))
    memory.catch_up()
    farm, harbour = store.memories(contains="parrot")[0], store.memories(contains="fog")[0]
    rows = memory._index().get([farm.memory_id, harbour.memory_id])
    vectors = {memory_id: row.astype(np.float32).tobytes()[:64] for memory_id, row in rows.items()}
    folder = store.path.parent / FOLDER
    assert all(held(folder, vector) for vector in vectors.values())
    store.forget(farm.memory_id)
    memory.erase()
    assert not held(folder, vectors[farm.memory_id]) and held(folder, vectors[harbour.memory_id])
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [FOLDER]
    assert texts(memory, "Who replaced the boiler?")[0] == TALK[0][0]
    store.edit(harbour.memory_id, "The harbour was closed.")
    memory.catch_up()
    assert not held(folder, vectors[harbour.memory_id])
    assert texts(memory, "Was the harbour closed?")[0] == "The harbour was closed."
    assert memory._index().count() == 4
    memory.close()


def test_a_lost_or_damaged_vector_index_is_made_again_from_the_words(store: DialogueStore) -> None:
    first = LongTermMemory(store, HashingEmbedder(128))
    assert first.catch_up() == len(TALK)
    first.close()
    folder = store.path.parent / FOLDER
    shutil.rmtree(folder)
    second = LongTermMemory(store, HashingEmbedder(128))
    assert second.catch_up() == len(TALK)
    second.close()
    (folder / "chroma.sqlite3").write_bytes(b"garbage " * 1000)
    third = LongTermMemory(store, HashingEmbedder(128))
    assert texts(third, "Who replaced the boiler?")[0] == TALK[0][0]
    assert third._index().count() == len(TALK)
    third.close()


def test_another_embedder_means_other_vectors(store: DialogueStore) -> None:
    first = LongTermMemory(store, HashingEmbedder(64))
    first.catch_up()
    first.close()
    second = LongTermMemory(store, HashingEmbedder(128))
    assert texts(second, "Who replaced the boiler?")[0] == TALK[0][0]
    assert second._index().count() == len(TALK)
    second.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_real_chroma_server_serves_as_well(store: DialogueStore, tmp_path: Path) -> None:
    chroma, port = Path(sys.executable).with_name("chroma"), free_port()
    if not chroma.exists():
        pytest.skip("needs the chroma command, which is not installed")
    settings = MemorySettings(chroma_url=f"http://127.0.0.1:{port}")
    memory = LongTermMemory(store, HashingEmbedder(128), settings)
    assert texts(memory, "Who replaced the boiler?")[0] == TALK[0][0]  # not up yet: by words
    with (tmp_path / "chroma.log").open("wb") as log:
        process = subprocess.Popen(
            [chroma, "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(tmp_path / "server")],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.skip("the Chroma server did not start within a minute on this busy machine")
        assert memory.catch_up() == len(TALK)
        assert memory._index().count() == len(TALK)
        assert texts(memory, "Which animals are at the farm?")[0] == TALK[3][0]
        assert not (store.path.parent / FOLDER).exists()
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_an_address_that_is_none_is_refused(store: DialogueStore) -> None:
    memory = LongTermMemory(store, HashingEmbedder(32), MemorySettings(chroma_url="nonsense"))
    with pytest.raises(UsageError):
        memory.catch_up()


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("I mean the 2022 lease", "meant lease"),
        ("No, I meant the Oslo office, not the Bergen one.", "meant office"),
        ("My lawyer is Ingrid Vasquez.", "my lawyer"),
        ("Our contact at the bank is Mr Adeyemi", "my contact at the bank"),
        ("Remember that the keys are with Mrs Okafor", "the keys with"),
        ("I live in Turku.", "i live"),
    ],
)
def test_statements_are_kept_word_for_word_with_their_subject(text: str, subject: str) -> None:
    fact = stated_fact(text)
    assert fact is not None and fact.kind == "fact" and fact.subject == subject
    assert fact.text in text


@pytest.mark.parametrize(
    "text",
    ["When does the lease end?", "net sales 2022", "Tell me about the lease", "I want to know the rent",
        "the lease is what?",
        "I need the rent for 2020",
        "I have a question about the lease",
        "my rent is due when",
     "what is the rent", "", "🏠"],
)  # fmt: skip
def test_questions_state_nothing(text: str) -> None:
    assert stated_fact(text) is None


def test_what_was_meant_and_what_is_about_the_talk() -> None:
    assert meant("I mean the 2022 lease") == "2022 lease" and meant("My dog is old") == ""
    assert asks_about_conversation("What did I say about the boiler?")
    assert asks_about_conversation("What is my deadline?")
    assert not asks_about_conversation("What is the deadline of the tenant?")
