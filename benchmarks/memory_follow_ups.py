"""The follow-ups of `python -m benchmarks.memory`, made of SQuAD or taken from CANARD, and the gap that is closed."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.settings import Settings
from ingest.embedders import Embedder
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from memory.conversation import readings
from memory.follow_up import understand
from memory.train_referents import examples
from rag.retriever import HybridRetriever
from rag.types import Hit
from rag.wordings import search_wordings

RESAMPLED = 2000  # bootstrap samples


@dataclass(frozen=True)
class FollowUp:
    raw: str
    gold: str
    turns: tuple[tuple[str, str], ...]
    topics: tuple[str, ...]
    document: str  # file name that is to be found


_CAPITALISED = re.compile(r"(?<=[a-z,] )[A-Z][\w'-]+(?: (?:of |the )?[A-Z][\w'-]+)*")
_PRONOUNS = {"he": "his", "she": "her", "it": "its", "they": "their"}


def squad_follow_ups(path: Path, folder: Path, limit: int) -> list[FollowUp]:
    """Write the paragraphs as files; follow-ups drawn evenly from them."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[FollowUp] = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        asked: list[tuple[str, str]] = []  # the article's questions so far, with their answers
        for place, paragraph in enumerate(article["paragraphs"]):
            name = "".join(c if c.isalnum() else "_" for c in article["title"]) + f"-{place:03}.txt"
            text = paragraph["context"]
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8")
            used = Counter(word for word in re.findall(r"[a-z]+", text.lower()) if word in _PRONOUNS)
            pronoun = used.most_common(1)[0][0] if used else "it"
            for qa in paragraph["qas"]:
                question, answer = qa["question"].strip(), qa["answers"][0]["text"]
                for entity in sorted(_CAPITALISED.findall(question), key=len, reverse=True):
                    earlier = [i for i, (q, _) in enumerate(asked) if entity in q]
                    raw = _with_pronoun(question, entity, pronoun)
                    if earlier and entity not in raw:
                        last = earlier[-1]
                        found.append(FollowUp(raw, question, tuple(asked[max(0, last - 1) : last + 1]), (), name))
                        break
                asked.append((question, answer))
    return random.Random(0).sample(found, min(limit, len(found)))


def _with_pronoun(question: str, name: str, pronoun: str) -> str:
    possessive = re.sub(rf"(?:the )?{re.escape(name)}['’]s?(?!\w)", _PRONOUNS[pronoun], question, count=1)
    if possessive != question:
        return possessive
    return re.sub(rf"(?:the )?{re.escape(name)}(?!\w)", pronoun, question, count=1)


def canard_follow_ups(path: Path, folder: Path, limit: int) -> list[FollowUp]:
    """Write each answer as a file under its titles; held-out follow-ups whose answer is known."""
    folder.mkdir(parents=True, exist_ok=True)
    records = json.loads(path.read_text(encoding="utf-8"))
    held_out = [example.held_out for example in examples(path)]
    found: list[FollowUp] = []
    for i, (record, following) in enumerate(pairwise(records)):
        dialogue, number = record["QuAC_dialog_id"], record["Question_no"]
        if following["QuAC_dialog_id"] != dialogue or following["Question_no"] != number + 1:
            continue  # its answer is given with the next question only
        title, section, *said = following["History"]
        name = f"{dialogue}-{number:02}.md"
        if said[-1] in ("", "CANNOTANSWER", "I don't know."):
            continue
        if not (folder / name).exists():
            (folder / name).write_text(f"# {title}\n\n## {section}\n\n{said[-1]}\n", encoding="utf-8")
        turns = tuple((said[j], said[j + 1]) for j in range(0, len(said) - 2, 2))
        if held_out[i] and turns:
            found.append(FollowUp(record["Question"], record["Rewrite"], turns, (title,), name))
    return random.Random(0).sample(found, min(limit, len(found)))


def follow_ups(found: Sequence[FollowUp], folder: Path, name: str, settings: Settings, embedder: Embedder) -> dict:
    """MRR and recall of the right document for the three forms of each question; the share of the gap closed."""
    with Workspace.open(settings.home, name) as workspace:
        ingest_paths(workspace, [folder], settings=settings)
        retriever = HybridRetriever(workspace, embedder, settings.retrieval)
        ranks: dict[str, list[float]] = {"raw": [], "ours": [], "gold": []}
        for item in found:
            turns: list[tuple[str, str]] = []
            for asked, answer in item.turns:  # earlier questions as they would have been understood
                turns.append((understand(asked, turns, topics=item.topics).query, answer))
            ours = understand(item.raw, turns, topics=item.topics)
            found_by = {
                "raw": retriever.search(item.raw, 20),
                "ours": search_wordings(retriever, readings(ours), 20),
                "gold": retriever.search(item.gold, 20),
            }
            for form, hits in found_by.items():
                ranks[form].append(_rank(hits, item.document))
    table = {form: _measures(values) for form, values in ranks.items()}
    return table | {"gap_closed_percent": _closed(ranks), "questions": len(found)}


def layer(found: Sequence[FollowUp], name: str, settings: Settings, embedder: Embedder) -> dict:
    """Follow-ups as asked, read with the turns before them as entries of the reader's external memory, and without.

    The reader gets the five best hits of the question in full. `gate`: tanh of the layer's gate, the factor of what it
    adds. `largest_change`: of any token's log-odds. `same_first`: reads whose first passage and span stay the same.
    """
    import torch

    from rag.engine import TRAINED_LOCATOR
    from rag.locator import load_locator

    locator = load_locator(TRAINED_LOCATOR, settings=settings)
    right = {"without": 0, "with": 0}
    same, change = 0, 0.0
    with Workspace.open(settings.home, name) as workspace:
        retriever = HybridRetriever(workspace, embedder, settings.retrieval)
        for item in found:
            hits = retriever.search(item.gold, 5)
            said = [f"{asked} {answer}" for asked, answer in item.turns]
            entries = np.ascontiguousarray(embedder.embed_passages(said), np.float32)
            texts = [hit.chunk.text for hit in hits]
            reads = {
                "without": locator.network.score(item.raw, texts, None),
                "with": locator.network.score(item.raw, texts, [entries] * len(hits)),
            }
            firsts = {}
            for form, scores in reads.items():
                located = locator._interpret(item.raw, hits, scores)[0]
                firsts[form] = (located[0].chunk.chunk_id, [span.text for span in located[0].spans[:1]])
                right[form] += located[0].chunk.document == item.document
            same += firsts["with"] == firsts["without"]
            change = max(change, float((reads["with"].tokens - reads["without"].tokens).abs().nan_to_num().max()))
    gate = float(torch.tanh(locator.network.model.get_parameter("memory.gate").float()).item())
    shares = {f"right_paragraph_{form}": round(count / len(found), 4) for form, count in right.items()}
    return {
        **shares, "same_first": round(same / len(found), 4), "largest_change": round(change, 5), "gate": round(gate, 5),
        "questions": len(found),
    }  # fmt: skip


def _rank(hits: Sequence[Hit], document: str) -> float:
    """Of a document among those of the hits, from 1; infinite if it is not there."""
    names = list(dict.fromkeys(hit.chunk.document for hit in hits))
    return names.index(document) + 1 if document in names else np.inf


def _closed(ranks: dict[str, list[float]]) -> dict[str, list[float]]:
    """Percent of the gap raw -> gold that is closed, and its 95 % interval, by measure."""
    chosen = np.random.default_rng(0).integers(0, len(ranks["raw"]), (RESAMPLED, len(ranks["raw"])))
    closed: dict[str, list[float]] = {}
    for measure in _measures(ranks["raw"]):
        raw, ours, gold = (_values(ranks[form], measure) for form in ("raw", "ours", "gold"))
        gaps = (gold[chosen] - raw[chosen]).mean(axis=1)
        shares = (ours[chosen] - raw[chosen]).mean(axis=1)[gaps > 0] / gaps[gaps > 0]
        share = (ours - raw).mean() / max(1e-9, float((gold - raw).mean()))
        low, high = np.quantile(shares, (0.025, 0.975)) if len(shares) else (np.nan, np.nan)
        closed[measure] = [round(100 * float(value), 1) for value in (share, low, high)]
    return closed


def _values(ranks: Sequence[float], measure: str) -> np.ndarray:
    values = np.asarray(ranks, np.float64)
    return 1 / values if measure == "MRR" else (values <= int(measure[2:])).astype(np.float64)


def _measures(ranks: Sequence[float]) -> dict[str, float]:
    return {measure: round(float(_values(ranks, measure).mean()), 4) for measure in ("R@1", "R@5", "R@20", "MRR")}
