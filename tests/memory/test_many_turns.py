"""A hundred thousand turns: kept over a restart, recalled, paged through, searched, exported and deleted."""

from __future__ import annotations

import itertools
import json
import shutil
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from left_on_disk import held

from core.errors import NotFoundError
from memory.dialogue_store import PAGE, DialogueStore
from memory.export import export_json, export_markdown
from memory.long_term import LongTermMemory
from memory.packing import pack_history
from memory.types import Said
from memory.vectors import FOLDER
from rag.prompts import rough_tokens

COUNT = 100_000
EMBEDDED = 20_000  # the oldest, as after an import: the others are still to come, which takes seconds of graph building
BATCH = 5_000
WORDS = (
    *("anchor", "barley", "copper", "dune", "ember", "fjord", "garnet", "island"),
    *("jasper", "kelp", "lantern", "meadow", "nettle", "orchard", "pebble"),
)
SPECIAL = {  # turn: (speaker, words)
    4_321: ("user", "The boiler was replaced by Hansen in 2019."),
    17_000: ("assistant", "Two terriers and a parrot live at the mill."),
    23_456: ("user", "Ottoline Vex signed for the landlord."),
    31_007: ("Melisande", "I keep bees behind the chapel."),
    31_009: ("Tancred", "I keep geese behind the chapel."),
}
ANIMALS = "Which pets are there?"  # shares no word with what answers it
MANY_TOKENS = 600


class Meanings:
    """An embedder for which all texts mean different things, but the question about pets and what answers it."""

    name, dim = "meanings", 32

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def embed_query(self, question: str) -> np.ndarray:
        return self.embed_passages([question])[0]

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        rows = self._random.standard_normal((len(texts), self.dim)).astype(np.float32)
        for row, text in zip(rows, texts, strict=True):
            if text == ANIMALS or "terriers" in text:
                row[:] = np.eye(self.dim, dtype=np.float32)[0]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def said(number: int) -> tuple[str, str]:
    """Speaker and words of a turn."""
    if number in SPECIAL:
        return SPECIAL[number]
    first, second = WORDS[number % 15], WORDS[number // 15 % 15]
    return "user", f"Note {number}: {first} before {second}."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with one session of COUNT turns and a short one; nobody has it open."""
    folder = tmp_path_factory.mktemp("many")
    with DialogueStore(folder) as store:
        short = store.create("short").session_id
        store.append(short, "Where is it?", "Where is it?", "In Larvik.", said=[Said("Larvik!")])
        session = store.create("long").session_id
        for first in range(1, COUNT + 1, BATCH):
            turns = []
            for number in range(first, first + BATCH):
                speaker, words = said(number)
                turns.append(
                    {"question": words, "understood": words, "answer": "Noted.", "said": [Said(words, speaker)]}
                )
            store.append_many(session, turns)
        memory = LongTermMemory(store, Meanings())
        assert memory.catch_up(batch=BATCH, limit=EMBEDDED) == EMBEDDED
        memory.close()
    return folder


@pytest.fixture
def store(written: Path) -> Iterator[DialogueStore]:
    """The store, opened anew."""
    with DialogueStore(written) as opened:
        yield opened


@pytest.fixture
def memory(store: DialogueStore) -> Iterator[LongTermMemory]:
    opened = LongTermMemory(store, Meanings())
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "question, number",
    [
        ("Who replaced the boiler?", 4_321),
        (ANIMALS, 17_000),
        ("What did we say about Ottoline Vex?", 23_456),
        ("What does Melisande keep behind the chapel?", 31_007),
        ("What does Tancred keep behind the chapel?", 31_009),
        ("What was note 60123?", 60_123),
    ],
    ids=["words", "meaning", "entity", "speaker", "other-speaker", "number"],
)
def test_an_old_turn_is_recalled_after_a_restart(memory: LongTermMemory, question: str, number: int) -> None:
    assert memory.store.embedded_count() >= EMBEDDED
    recalled = memory.recall(question, top_k=5)
    assert len(recalled) == 5 and memory.store.embedded_count() >= EMBEDDED  # nothing is made again
    [found] = [each for each in recalled[:2] if each.text == said(number)[1]]
    turn = memory.store.turns(found.session_id, after=number - 1, first=1)[0]
    assert (turn.turn_id, turn.number, turn.question) == (found.turn_id, number, said(number)[1])


def test_history_and_memories_fit_the_budget(memory: LongTermMemory) -> None:
    long = memory.store.find("long")
    recalled = memory.recall("Which note was about copper?", top_k=50)
    messages = pack_history(memory.store.turns(long.session_id, last=6), recalled, max_tokens=MANY_TOKENS)
    assert said(COUNT)[1] in [text for _, text in messages]  # the last turn
    assert any("copper" in text for _, text in messages[:1])
    assert sum(rough_tokens(text) for _, text in messages) <= MANY_TOKENS


def test_it_is_paged_through_from_both_ends(store: DialogueStore) -> None:
    assert {info.title: info.turns for info in store.sessions()} == {"long": COUNT, "short": 1}
    session = store.find("long").session_id
    numbers = lambda turns: [turn.number for turn in turns]  # noqa: E731
    assert numbers(store.turns(session, last=3)) == [COUNT - 2, COUNT - 1, COUNT]
    assert numbers(store.turns(session, before=COUNT - 2, last=2)) == [COUNT - 4, COUNT - 3]
    assert numbers(store.turns(session, after=70_000, first=2)) == [70_001, 70_002]
    assert numbers(store.turns(session, after=9, before=12)) == [10, 11]
    latest = store.memories(limit=100)
    assert [m.text for m in store.memories(before=latest[-1].memory_id, limit=1)] == [said(COUNT - 100)[1]]


def test_a_long_talk_hides_no_other_from_a_search(store: DialogueStore) -> None:
    """Both say "Larvik" or "note", one of them a hundred thousand times."""
    short, long = store.find("short").session_id, store.find("long").session_id
    assert [turn.question for turn in store.search("Ottoline Vex")] == [SPECIAL[23_456][1]]
    assert [turn.session_id for turn in store.search_sessions("a note from Larvik", limit=2)] == [short, long]
    assert len(store.search("note", session_id=long, limit=7)) == 7
    assert [turn.number for turn in store.search("note Larvik", session_id=short)] == [1]


def test_it_is_exported_without_being_held_in_memory(store: DialogueStore) -> None:
    session = store.find("long").session_id
    tracemalloc.start()
    size = sum(len(piece) for piece in itertools.islice(export_markdown(store, session), 40 * PAGE))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 1_000_000 and most < 2_000_000  # bytes; PAGE turns are less than a million
    turns = 0
    for number, turn in enumerate(json.loads("".join(export_json(store, session)))["turns"], start=1):
        assert (turn["number"], turn["question"]) == (number, said(number)[1])
        turns = number
    assert turns == COUNT


def test_it_is_deleted_without_trace(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "copy")
    with DialogueStore(tmp_path / "copy") as store:
        memory = LongTermMemory(store, Meanings())
        parrot = store.memories(contains="parrot")[0]
        vector = memory._index().get([parrot.memory_id])[parrot.memory_id].astype(np.float32).tobytes()[:64]
        traces = (b"ttoline", b"ttolin", b"terrier", b"parrot", vector)
        assert all(held(tmp_path, trace) for trace in traces)
        session = store.find("long").session_id
        store.delete(session)
        assert not [found for found in memory.recall("Ottoline Vex") if found.text != "Larvik!"]  # at once
        memory.erase()
        assert not any(held(tmp_path, trace) for trace in traces)
        assert memory._index().count() == store.memory_count() == 1
        assert memory.recall("Larvik")[0].text == "Larvik!"
        with pytest.raises(NotFoundError):
            store.each_turn(session)
        memory.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 2_000_000, sizes  # the space is free
    assert {path.name for path in (tmp_path / "copy").iterdir() if path.is_dir()} == {FOLDER}
