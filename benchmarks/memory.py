"""Dialogue memory: are evidence turns recalled, follow-ups understood, and does a turn cost the same late as early?

    python -m benchmarks.memory [--short] [--data ../shared/data] [--home DIR] [--only PART,PART]

 locomo   long conversations; share of the evidence turns among the first 5 and 10, categories 1-4, beside plain BM25.
          Every turn is one memory: its words, and the caption of the picture that it shares, in brackets
 squad    follow-ups made from pairs of SQuAD questions of one article that share a name: in the second it becomes a
          pronoun (he, she, it, they: whichever the paragraph uses most). History: the first question, one before it,
          and their answers. Is the paragraph found: as asked, as understood, as it stood (gold)?
 layer    the same follow-ups, their earlier turns read as entries of the reader's external memory layer; after `squad`
 canard   people's follow-ups with their gold rewrites; what is to be found is the answer's text under its article's and
          section's title, among the answers of all dialogues. Those for fitting memory/referents.py are left out.
          Ours knows the article's title, as a talk knows the titles of what it cited; "untitled" has to do without,
          and most of these dialogues never say what they are about
 script   thirty turns over one document; facts stated in turn 1 asked for in turn 30. And time of turn 200 over turn 5
 scale    recall over many stored turns (benchmarks/memory_scale.py)

`raw`, `ours` and `gold` go through the same retriever; gap closed = (ours - raw) / (gold - raw), with the 95 % interval
of a bootstrap over the questions. What a follow-up may mean besides is searched as the product does (rag/wordings.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.memory_follow_ups import canard_follow_ups, follow_ups, layer, squad_follow_ups
from benchmarks.memory_scale import scale
from core.errors import UsageError, cli_main
from core.settings import Settings, load_settings
from ingest.embedders import Embedder, load_embedder
from ingest.pipeline import ingest_paths
from ingest.tokens import query_terms
from ingest.workspace import Workspace
from memory.dialogue_store import DialogueStore
from memory.long_term import LongTermMemory
from memory.session import Dialogue
from memory.types import Said
from rag.engine import build_engine

PARTS = ("locomo", "squad", "layer", "canard", "script", "scale")


# -- LoCoMo ---------------------------------------------------------------------------------------------------------


def locomo(path: Path, folder: Path, embedder: Embedder, short: bool) -> dict:
    """Mean share of evidence turns (recall) and share of questions with one (any) in the top 5 and 10, percent."""
    sums: dict[str, list[list[float]]] = {"bm25": [], "lectern": []}
    for number, record in enumerate(json.loads(path.read_text(encoding="utf-8"))[: 1 if short else None]):
        with DialogueStore(folder / f"locomo-{number}") as store:
            places = _fill(store, record["conversation"])
            memory = LongTermMemory(store, embedder)
            memory.catch_up()
            now = datetime.fromisoformat(store.memories(limit=1)[0].said_at)
            for qa in record["qa"]:
                evidence = {e for text in qa["evidence"] for e in re.findall(r"D\d+:\d+", text)} & set(places.values())
                if qa["category"] == 5 or not evidence:
                    continue
                words = [i for i, _ in store.memory_words(query_terms(qa["question"]), 10)]
                ours = [m.memory_id for m in memory.recall(qa["question"], top_k=10, now=now)]
                for name, ids in (("bm25", words), ("lectern", ours)):
                    found = [places[i] for i in ids]
                    shares = [len(evidence & set(found[:k])) / len(evidence) for k in (5, 10)]
                    sums[name].append([*shares, *(float(share > 0) for share in shares)])
            memory.close()
    columns = ("recall@5", "recall@10", "any@5", "any@10")
    table = {
        name: {c: round(100 * float(v), 1) for c, v in zip(columns, np.mean(rows, axis=0), strict=True)}
        for name, rows in sums.items()
    }
    return table | {"questions": len(sums["bm25"])}


def _fill(store: DialogueStore, conversation: dict) -> dict[int, str]:
    """Store the sessions of a LoCoMo conversation; memory id -> dialogue id."""
    ids: list[str] = []
    number = 1
    while f"session_{number}" in conversation:
        said_at = conversation[f"session_{number}_date_time"]
        when = datetime.strptime(said_at, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC).isoformat()
        turns = []
        for turn in conversation[f"session_{number}"]:
            caption = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            said = [Said(turn["text"] + caption, turn["speaker"])]
            turns.append({"question": turn["text"], "understood": "", "answer": "", "asked_at": when, "said": said})
            ids.append(turn["dia_id"])
        store.append_many(store.create(f"session {number}").session_id, turns)
        number += 1
    memories = reversed(store.memories(limit=len(ids) + 1))
    return {memory.memory_id: name for memory, name in zip(memories, ids, strict=True)}


# -- a talk of thirty turns, many turns, late turns ----------------------------------------------------------------

FACTS = (
    ("My company is called Alder Holdings.", "What is my company called?", "Alder Holdings"),
    ("I mean the 2022 lease.", "Which lease did I mean?", "2022"),
    ("Remember that the keys are with Mrs Okafor.", "Do you remember who has the keys?", "Okafor"),
    ("My deadline is 14 March.", "What is my deadline?", "14 March"),
    ("We signed in the town hall of Lübeck.", "Where did I say we signed?", "Lübeck"),
    ("My lawyer is Ingrid Vasquez.", "Who is my lawyer?", "Vasquez"),
    ("Please note that my budget is 48,000 euros.", "What is my budget?", "48,000"),
    ("The boiler was replaced in 2019, by Hansen and Sons.", "What did I say about the boiler?", "Hansen"),
    ("I prefer answers in pounds.", "What currency did I say I prefer?", "pounds"),
    ("Our contact at the bank is Mr Adeyemi.", "Who is our contact at the bank?", "Adeyemi"),
)


def script(source: Path, settings: Settings, short: bool) -> dict:
    """Facts of turn 1 told at turn 30, each in a talk of its own with 28 questions between, over one document."""
    lines = source.with_name("questions.jsonl").read_text(encoding="utf-8").splitlines()
    between = [r["question"] for r in map(json.loads, lines) if r["corpus"] == source.stem][:28]
    recalled = answered = 0
    chosen = FACTS[:3] if short else FACTS
    with Workspace.open(settings.home, "script") as workspace:
        ingest_paths(workspace, [source], settings=settings)
        with Dialogue(workspace.path, build_engine(workspace, settings), settings.memory) as dialogue:
            for fact, question, wanted in chosen:
                talk = dialogue.start()
                list(talk.ask(fact))
                turns = [{"question": q, "understood": q, "answer": "It says so.", "said": [Said(q)]} for q in between]
                dialogue.store.append_many(talk.session_id, turns)  # what was asked; answering is measured elsewhere
                dialogue.memory.catch_up()
                recalled += any(wanted in memory.text for memory in dialogue.memory.recall(question))
                answered += wanted in list(talk.ask(question))[-1].answer.text  # type: ignore[union-attr]
                talk.delete()
    share = 100 / len(chosen)
    return {"facts": len(chosen), "recalled_percent": recalled * share, "answered_percent": answered * share}


def late_turns(source: Path, settings: Settings) -> dict:
    """CPU time of turn 200 over turn 5, medians of turns around them, in one talk."""
    with Workspace.open(settings.home, "late") as workspace:
        ingest_paths(workspace, [source], settings=settings)
        with Dialogue(workspace.path, build_engine(workspace, settings), settings.memory) as dialogue:
            talk = dialogue.start()
            ask: Callable[[str], list] = lambda question: list(talk.ask(question))  # noqa: E731
            questions = ["What does it say about inflation?", "And about jobs?", "Why is that?", "Who said it?"]
            for question in questions:
                ask(question)

            def median_ms() -> float:
                times = []
                for i in range(8):
                    begun = time.thread_time()
                    ask(questions[i % len(questions)])
                    times.append((time.thread_time() - begun) * 1e3)
                return float(np.median(times))

            early = median_ms()
            turn = {"question": "And jobs?", "understood": "What about jobs?", "answer": "Jobs grew.", "said": []}
            dialogue.store.append_many(talk.session_id, [turn] * (196 - len(talk.turns())))
            for question in questions:
                ask(question)
            late = median_ms()
    return {"turn_5_cpu_ms": round(early, 1), "turn_200_cpu_ms": round(late, 1), "ratio": round(late / early, 3)}


# -- all ------------------------------------------------------------------------------------------------------------


def run(settings: Settings, data: Path, short: bool, only: Sequence[str], turns: int) -> dict:
    """The parts whose data are there. Raises UsageError if none is."""
    results: dict = {}
    embedder = load_embedder(settings.embedder, device=settings.device, threads=1)
    sources = settings.home / "sources"

    def note(name: str, result: dict) -> None:
        results[name] = result
        print(f"\n{name}")
        for key, value in result.items():
            print(f"  {key:20} {value}", flush=True)

    if "locomo" in only and (path := data / "locomo" / "locomo-first5.json").is_file():
        with tempfile.TemporaryDirectory() as temporary:
            note("locomo", locomo(path, Path(temporary), embedder, short))
    if "squad" in only and (path := data / "squad" / "dev-half-v1.1.json").is_file():
        found = squad_follow_ups(path, sources / "squad", 100 if short else 500)
        note("squad", follow_ups(found, sources / "squad", "follow-squad", settings, embedder))
        if "layer" in only:
            note("layer", layer(found[: 20 if short else 60], "follow-squad", settings, embedder))
    if "canard" in only and (path := data / "canard" / "dev-half.json").is_file():
        found = canard_follow_ups(path, sources / "canard", 100 if short else 400)
        note("canard", follow_ups(found, sources / "canard", "follow-canard", settings, embedder))
        untitled = [replace(item, topics=()) for item in found]
        note("canard untitled", follow_ups(untitled, sources / "canard", "follow-canard", settings, embedder))
    if "script" in only and (path := data / "passages" / "state_of_the_union.md").is_file():
        with tempfile.TemporaryDirectory() as temporary:
            small = settings.model_copy(update={"home": Path(temporary)})
            note("script", script(path, small, short))
            note("late turns", late_turns(path, small))
    if "scale" in only:
        with tempfile.TemporaryDirectory() as temporary:
            note("scale", scale(data, Path(temporary), 5_000 if short else turns, embedder))
    if not results:
        raise UsageError(f"{data} holds none of locomo, squad, canard, passages", remedy="Give --data PATH")
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="a sample of everything")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder (default: ../shared/data)")
    parser.add_argument(
        "--home", type=Path, help="keep the workspaces here for the next run (default: a temporary one)"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--turns", type=int, default=100_000, help="stored turns of `scale` (default: 100000)")
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := set(only) - set(PARTS):
        raise UsageError(
            f"--only: there is no part {', '.join(sorted(unknown))}", remedy=f"There are {', '.join(PARTS)}"
        )
    with tempfile.TemporaryDirectory() as temporary:
        settings = load_settings(options.home or Path(temporary))
        results = run(settings, options.data, options.short, only, options.turns)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"benchmark": "memory", "commit": commit, "machine": machine, "short": options.short, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
