"""Recall over many stored turns: what it costs, stage by stage, and whether the right one is found.

Turns are people's own (LoCoMo's utterances, SQuAD's questions), a few thousand texts of which each copy gets a name and
a date of its own; vectors are those of the few thousand texts plus noise, so that nothing embeds a hundred thousand
texts. Questions are embedded by the real embedder, inside the time that is measured.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.embedders import Embedder
from memory.dialogue_store import DialogueStore
from memory.long_term import LongTermMemory
from memory.types import Said

BASES = 3000  # texts that are embedded
NOISE = 0.35  # length of the noise added to a unit vector: copies of a text have a cosine of 0.9
QUESTIONS = 100
A_SESSION = 200  # turns
_STARTS, _ENDS = (
    ("Al", "Be", "Cor", "Dun", "El", "Fan", "Gre", "Hol", "Is", "Jor", "Kel", "Lu"),
    ("a", "en", "is", "o", "ur"),
)
_MIDDLES = ("ba", "co", "di", "fe", "ga", "li", "mo", "na", "pe", "ri", "sa", "to", "vi", "wen", "ya", "zel")
_MONTHS = ("January", "March", "April", "June", "August", "October", "November")


def base_texts(data: Path) -> list[str]:
    """Utterances and questions, at most BASES, evenly drawn. Empty if the data are not there."""
    texts: dict[str, None] = {}
    if (path := data / "locomo" / "locomo-first5.json").is_file():
        for record in json.loads(path.read_text(encoding="utf-8")):
            for key, turns in record["conversation"].items():
                if key.startswith("session_") and isinstance(turns, list):
                    texts |= dict.fromkeys(turn["text"] for turn in turns if len(turn["text"].split()) > 5)
    if (path := data / "squad" / "dev-half-v1.1.json").is_file():
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                texts |= dict.fromkeys(qa["question"].strip() for qa in paragraph["qas"][:2])
    drawn = list(texts)
    random.Random(0).shuffle(drawn)
    return drawn[:BASES]


class Copies:
    """An embedder that knows the vectors of copies from those of their originals; questions it embeds for real."""

    def __init__(self, inner: Embedder, bases: Sequence[str]) -> None:
        self.inner = inner
        self.name, self.dim = f"copies of {inner.name}", inner.dim
        self.originals = inner.embed_passages(list(bases))
        self.base_of: dict[str, int] = {}  # text of a copy -> its original
        self._random = np.random.default_rng(0)

    def count_tokens(self, text: str) -> int:
        return self.inner.count_tokens(text)

    def embed_query(self, question: str) -> np.ndarray:
        return self.inner.embed_query(question)

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            lines = [line.partition(": ")[2] for line in text.split("\n")]
            row = np.mean([self.originals[self.base_of[line]] for line in lines], axis=0)
            noise = self._random.standard_normal(self.dim)
            row = row / np.linalg.norm(row) + NOISE * noise / np.linalg.norm(noise)
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, np.float32)


def scale(data: Path, folder: Path, count: int, embedder: Embedder) -> dict:
    """Latency of a recall over `count` stored turns (ms, wall and CPU), and what writing and indexing them took."""
    bases = base_texts(data)
    if not bases:
        return {"turns": 0}
    draw = random.Random(1)
    copies = Copies(embedder, bases)

    def name() -> str:
        return draw.choice(_STARTS) + draw.choice(_MIDDLES) + draw.choice(_MIDDLES) + draw.choice(_ENDS)

    with DialogueStore(folder / "scale") as store:
        started = time.process_time()
        asked: list[tuple[str, str]] = []  # question, text of the turn it means
        session = ""
        for first in range(0, count, A_SESSION):
            turns = []
            for number in range(first, min(first + A_SESSION, count)):
                base, who = number % len(bases), f"{name()} {name()}"
                day = f"{draw.randint(1, 28)} {draw.choice(_MONTHS)} {draw.randint(2005, 2025)}"
                text = f"{' '.join(bases[base].split())} This is about {who}, {day}."
                copies.base_of[text] = base
                said = [Said(text, ("user", "assistant")[number % 2])]
                turns.append({"question": text, "understood": text, "answer": "", "said": said})
                if number % max(1, count // QUESTIONS) == 7:
                    asked.append((f"What did we say about {who}: {' '.join(bases[base].split()[:8])}?", text))
            session = store.create(f"talk {first}").session_id
            store.append_many(session, turns)
        stored = time.process_time() - started
        memory = LongTermMemory(store, copies)
        while memory.catch_up(limit=2000, batch=1000):
            pass
        indexed = time.process_time() - started - stored
        memory.recall("Which lease did I mean?")  # opens what is opened once
        wall, cpu, embedding, found = [], [], [], 0
        for question, text in asked:
            begun, begun_cpu = time.perf_counter(), time.process_time()
            recalled = memory.recall(question, top_k=5)
            wall.append((time.perf_counter() - begun) * 1e3)
            cpu.append((time.process_time() - begun_cpu) * 1e3)
            found += text in [each.text for each in recalled]
            begun_cpu = time.process_time()
            copies.embed_query(question + " ")
            embedding.append((time.process_time() - begun_cpu) * 1e3)
        memory.close()
    return {
        "turns": count, "questions": len(asked), "store_cpu_s": round(stored, 1), "index_cpu_s": round(indexed, 1),
        "recall_wall_p50_ms": _percentile(wall, 50), "recall_wall_p95_ms": _percentile(wall, 95),
        "recall_cpu_p50_ms": _percentile(cpu, 50), "of_it_embedding_cpu_p50_ms": _percentile(embedding, 50),
        "found_percent": round(100 * found / len(asked), 1),
    }  # fmt: skip


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 1)
