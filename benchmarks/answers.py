"""Are answers right, do their citations hold the answer, is what cannot be answered refused, and how long does it take?

    python -m benchmarks.answers [--short] [--data ../shared/data] [--questions N] [--locator auto|sentence|PATH]

`--data` is a folder with `squad/dev-half-v1.1.json` and `passages/` (texts and questions.jsonl). Measured, extractive:

- SQuAD: all articles in one store, as text files. *answer*: the answer's text contains a gold answer; *cited*: a
  citation overlaps the gold paragraph; *top*: the best span contains a gold answer.
- Refusal: then half of the articles is removed and its questions are asked again: AUROC of the confidence, and what is
  refused at the shipped threshold, of the answerable and of the removed. Small talk for good measure.
- Passages: character recall, precision and IoU of cited against reference stretches, mean over questions (as in Smith
  & Troynikov, Evaluating Chunking Strategies for Retrieval, 2024); *spans*: recall of all located spans; refused
  answers count with what they cite.
- Latency: whole question and first text, one compute thread, wall clock and process CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import UsageError, cli_main
from core.runtime import bound_kernels, stay_offline
from core.settings import Settings, load_settings
from rag.train_calibration import SMALL_TALK, auroc
from rag.types import Answer

if TYPE_CHECKING:
    from ingest.workspace import Workspace
    from rag.answer import AnswerEngine

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Question:
    text: str
    article: str
    answers: tuple[str, ...]
    start: int  # of the gold paragraph in the article's text
    end: int


@dataclass
class Clock:
    """Milliseconds of every question asked."""

    total: list[float]
    first_text: list[float]
    cpu: list[float]

    def ask(self, engine: AnswerEngine, question: str) -> Answer:
        cpu = time.process_time()
        answer = engine.answer(question)
        self.cpu.append((time.process_time() - cpu) * 1e3)
        self.total.append(answer.timings_ms["total"])
        self.first_text.append(answer.timings_ms["first_text"])
        return answer


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single blanks."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation) | set("–—’“”"))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def read_squad(path: Path) -> tuple[dict[str, str], list[Question]]:
    texts: dict[str, str] = {}
    questions: list[Question] = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        title, offset, paragraphs = article["title"], 0, []
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for qa in paragraph["qas"]:
                gold = tuple({normalise(answer["text"]) for answer in qa["answers"]})
                questions.append(Question(qa["question"].strip(), title, gold, offset, offset + len(context)))
            paragraphs.append(context)
            offset += len(context) + 2
        texts[title] = "\n\n".join(paragraphs)
    return texts, questions


def contains(text: str, answers: Sequence[str]) -> bool:
    padded = f" {normalise(text)} "
    return any(f" {answer} " in padded for answer in answers)


def measure_squad(
    engine: AnswerEngine, workspace: Workspace, questions: Sequence[Question], clock: Clock
) -> dict[str, float]:
    answered, cited, top, refused, scores = [], [], [], [], []
    for question in questions:
        answer = clock.ask(engine, question.text)
        answered.append(not answer.refused and contains(answer.text, question.answers))
        cited.append(
            any(
                Path(c.document).stem == question.article and c.start < question.end and c.end > question.start
                for c in answer.citations
            )
        )
        best = answer.hits[0].spans[0].text if answer.hits and answer.hits[0].spans else ""
        top.append(contains(best, question.answers))
        refused.append(answer.refused)
        scores.append(answer.confidence)
    removed = sorted({question.article for question in questions})[1::2]
    for name in removed:
        workspace.remove(f"{name}.txt")
    unanswerable = [engine.answer(q.text) for q in questions if q.article in set(removed)]
    talk = [engine.answer(text) for text in SMALL_TALK]
    confidence = np.array(scores + [answer.confidence for answer in unanswerable])
    labels = np.array([1.0] * len(scores) + [0.0] * len(unanswerable))
    return {
        "answer": float(np.mean(answered)),
        "cited": float(np.mean(cited)),
        "top": float(np.mean(top)),
        "refusal_auroc": auroc(confidence, labels),
        "refused_answerable": float(np.mean(refused)),
        "refused_removed": float(np.mean([answer.refused for answer in unanswerable])),
        "refused_small_talk": float(np.mean([answer.refused for answer in talk])),
        "questions": len(questions),
    }


def measure_passages(engine: AnswerEngine, rows: Sequence[dict[str, Any]], clock: Clock) -> dict[str, float]:
    recall, precision, overlap, spans, refused = [], [], [], [], []
    for row in rows:
        answer = clock.ask(engine, row["question"])
        name = f"{row['corpus']}.md"
        gold = characters((r["start_index"], r["end_index"]) for r in row["references"])
        cited_all = sum(c.end - c.start for c in answer.citations)
        cited = characters((c.start, c.end) for c in answer.citations if c.document == name)
        located = characters((s.start, s.end) for h in answer.hits for s in h.spans if s.document == name)
        shared = len(gold & cited)
        recall.append(shared / len(gold))
        precision.append(shared / cited_all if cited_all else 0.0)
        overlap.append(shared / (len(gold) + cited_all - shared))
        spans.append(len(gold & located) / len(gold))
        refused.append(answer.refused)
    return {
        "recall": float(np.mean(recall)),
        "precision": float(np.mean(precision)),
        "iou": float(np.mean(overlap)),
        "spans_recall": float(np.mean(spans)),
        "any_hit": float(np.mean([value > 0 for value in recall])),
        "refused": float(np.mean(refused)),
        "questions": len(rows),
    }


def characters(ranges: Any) -> set[int]:
    return {i for start, end in ranges for i in range(start, end)}


def store(folder: Path, name: str, files: dict[str, str], settings: Settings) -> Workspace:
    from ingest.pipeline import ingest_paths
    from ingest.workspace import Workspace

    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file).write_bytes(text.encode())
    workspace = Workspace.open(settings.home, name)
    reports = ingest_paths(workspace, [folder / name], settings=settings)
    assert len(reports) == len(files), reports
    return workspace


def commit() -> str:
    run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="80 SQuAD questions over 6 articles, 60 of passages")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with squad/ and passages/")
    parser.add_argument("--questions", type=int, default=600, help="SQuAD questions asked (default 600, 0 = all)")
    parser.add_argument("--locator", default="auto", help="auto | sentence | folder of a trained locator")
    options = parser.parse_args()
    squad_files = sorted((options.data / "squad").glob("*dev*.json"))
    if not squad_files or not (options.data / "passages" / "questions.jsonl").is_file():
        raise UsageError(f"{options.data} has no squad/*dev*.json and passages/", remedy="Give the folder by --data")

    stay_offline()
    bound_kernels()
    import torch

    from rag.engine import build_engine

    torch.set_num_threads(1)
    rng = random.Random(0)
    clock = Clock([], [], [])
    result: dict[str, Any] = {"benchmark": "answers", "commit": commit(), "threads": 1, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(Path(folder) / "home", locator={"model": options.locator})
        texts, questions = read_squad(squad_files[0])
        if options.short:
            kept = sorted(texts)[:6]
            texts = {name: texts[name] for name in kept}
            questions = [question for question in questions if question.article in texts]
        count = 80 if options.short else options.questions or len(questions)
        questions = rng.sample(questions, min(count, len(questions)))
        passages = {p.name: p.read_bytes().decode() for p in sorted((options.data / "passages").glob("*.md"))}
        lines = (options.data / "passages" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        if options.short:
            passages = {name: text for name, text in passages.items() if len(text) < 200_000}
            rows = [row for row in rows if f"{row['corpus']}.md" in passages]
            rows = rng.sample(rows, min(60, len(rows)))

        with store(Path(folder), "squad", {f"{n}.txt": t for n, t in texts.items()}, settings) as workspace:
            engine = build_engine(workspace, settings)
            engine.answer("warm up: which models and indexes are loaded at the first question?")
            result["locator"] = engine.locator.name
            result["squad"] = measure_squad(engine, workspace, questions, clock)
        with store(Path(folder), "passages", passages, settings) as workspace:
            engine = build_engine(workspace, settings)
            engine.answer("warm up")
            result["passages"] = measure_passages(engine, rows, clock)
    result["latency_ms"] = {
        name: {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
        for name, values in (("total", clock.total), ("first_text", clock.first_text), ("cpu", clock.cpu))
    }
    for part in ("squad", "passages"):
        print(
            f"{part:10s}" + "  ".join(f"{k} {v:.3f}" if k != "questions" else f"({v})" for k, v in result[part].items())
        )
    for name, value in result["latency_ms"].items():
        print(f"{name:10s}p50 {value['p50']:.0f} ms  p95 {value['p95']:.0f} ms")
    print(f"locator {result['locator']}, {result['cores']} cores, one thread, commit {result['commit']}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
