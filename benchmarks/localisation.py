"""Fine location: are the exact words found, in the right place, in time, and is it noticed when they are not there?

    python -m benchmarks.localisation [--short] [--data ../shared/data] [--model models/locator] [--home DIR]

 paragraph   SQuAD 1.1 dev, the gold paragraph given: F1 and EM of the best span, the answer in the best sentence; AUROC
             of "no answer" against the paragraph of the same article that shares most words with the question
 store       the same questions asked of all articles: coarse search, top 5 windows, best span; calibration of its score
 article     the document known: its best 5 windows by words and meaning; deep: all of its windows read
 refusal     the answer engine over all articles, and the same with every passage taken away that tells the answer: what
             is refused of either, by the rule shipped and by the reader's "no answer" at other thresholds
 passages    three long texts with the exact answer places: characters of the top 5 spans (sentences) against these
 length      time and peak memory of the encoder's layers from 1k to 32k tokens, windows against full attention

The first locator (sentences by meaning and words, rag/sentence_locator.py) runs beside it. The ablations take parts
away from the trained reader when it reads, they are not trained without them. One thread; times are wall-clock medians.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError, cli_main
from core.settings import Settings
from ingest.tokens import query_terms
from ingest.types import Chunk
from rag.answer import AnswerEngine
from rag.calibrate_locator import Question, auroc, expected_calibration_error, holds, ingest_articles, load_articles
from rag.document_memory import DocumentMemory
from rag.locator import TrainedLocator, load_locator
from rag.sentence_locator import SentenceLocator
from rag.span_metrics import exact_match, token_f1
from rag.surroundings import NEAREST
from rag.types import Hit, Span

PARTS = ("paragraph", "store", "article", "refusal", "latency", "passages", "length")
LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768)
KINDS = ("windows", "full", "fused")
LONGEST_HELD = 8192  # twice as many tokens hold 6.4 GB of scores a layer
BINS = 10


def paragraph_hits(name: str, text: str) -> list[Hit]:
    return [Hit(Chunk(f"{name}:0", name, name, 1, 0, len(text), text, ""), score=1.0)]


def best_span(hits: Sequence[Hit]) -> Span | None:
    return max((span for hit in hits for span in hit.spans), key=lambda span: span.score, default=None)


def in_sentence(span: Span | None, question: Question) -> bool:
    """Whether the sentence of `span` holds the beginning of a gold answer."""
    if span is None or span.document != question.document:
        return False
    start, end = span.sentence or (span.start, span.end)
    return any(start <= s < end for s, _ in question.places)


def in_words(span: Span | None, text: str, question: Question) -> bool:
    """Whether the sentence of `span` in `text` has the words of a gold answer, be it elsewhere than the file marks it:
    it often marks the first place where the words stand, not that which answers."""
    if span is None:
        return False
    start, end = span.sentence or (span.start, span.end)
    return any(answer.lower() in text[start:end].lower() for answer in question.answers)


class Dev:
    """Questions of a SQuAD file with their paragraphs, and all its articles in one workspace."""

    def __init__(self, path: Path, home: Path, count: int, settings: Settings) -> None:
        self.articles = load_articles(path)
        raw = json.loads(path.read_text(encoding="utf-8"))["data"]
        self.paragraphs: dict[str, list[tuple[int, str]]] = {}  # document -> (offset, text)
        for number, article in enumerate(raw):
            offset, found = 0, []
            for paragraph in article["paragraphs"]:
                found.append((offset, paragraph["context"]))
                offset += len(paragraph["context"]) + 2
            self.paragraphs[f"{number:03}.txt"] = found
        texts = [(f"{i:03}.txt", article.text) for i, article in enumerate(self.articles)]
        self.workspace, self.retriever = ingest_articles(home, texts, settings)
        asked = [question for article in self.articles for question in article.questions]
        self.questions = [asked[i] for i in np.random.default_rng(1).permutation(len(asked))[:count]]
        self.ids = {info.name: info.document_id for info in self.workspace.documents()}

    def gold(self, question: Question) -> tuple[int, str]:
        place = question.places[0][0]
        return [p for p in self.paragraphs[question.document] if p[0] <= place][-1]

    def unanswerable(self, question: Question) -> str:
        """The paragraph of the same article that shares most words with the question and holds no answer."""
        asked = set(query_terms(question.text))
        others = [
            text for _, text in self.paragraphs[question.document]
            if not any(answer.lower() in text.lower() for answer in question.answers)
        ] or [""]  # fmt: skip
        return max(others, key=lambda text: len(asked & set(query_terms(text))))


def on_paragraphs(dev: Dev, trained: TrainedLocator, sentence: SentenceLocator) -> dict[str, float]:
    f1, em, right, words, first, gold, other = [], [], [], [], [], [], []
    for question in dev.questions:
        offset, text = dev.gold(question)
        here = dataclasses.replace(question, places=tuple((s - offset, e - offset) for s, e in question.places))
        reading = trained.read(question.text, paragraph_hits(question.document, text))
        span = best_span(reading.hits)
        f1.append(token_f1(span.text if span else "", question.answers))
        em.append(exact_match(span.text if span else "", question.answers))
        right.append(in_sentence(span, here))
        words.append(right[-1] or in_words(span, text, question))
        first.append(
            in_sentence(best_span(sentence.locate(question.text, paragraph_hits(question.document, text))), here)
        )
        gold.append(reading.no_answer)
        other.append(trained.read(question.text, paragraph_hits("other", dev.unanswerable(question))).no_answer)
    return {
        "f1": float(np.mean(f1)), "em": float(np.mean(em)), "sentence": float(np.mean(right)),
        "sentence_words": float(np.mean(words)), "sentence_first_locator": float(np.mean(first)),
        "no_answer_auroc": auroc(np.array(gold), np.array(other)),
    }  # fmt: skip


def per_window(locator: TrainedLocator) -> Callable[[str, list[Hit]], Span | None]:
    """Each window read alone and ranked by its raw span logit: the known failure."""

    def locate(question: str, hits: list[Hit]) -> Span | None:
        best: tuple[float, Hit] | None = None
        for hit in hits[: locator.settings.top_windows]:
            spans = locator.network.score(question, [hit.chunk.text], None).best_spans(1)
            if spans and (best is None or spans[0].logit > best[0]):
                best = (spans[0].logit, hit)
        return best_span(locator.locate(question, [best[1]])) if best else None

    return locate


def on_store(
    dev: Dev, methods: dict[str, Callable[[str, list[Hit]], Span | None]]
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """F1, EM, right sentence and right passage of each method over the same hits; calibration of the first's scores."""
    names = list(methods)
    values: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    scores, truth, reachable = [], [], []
    for question in dev.questions:
        hits = dev.retriever.search(question.text, 5)
        reachable.append(any(holds(hit, question) for hit in hits))
        for name in names:
            span = methods[name](question.text, hits)
            text = span.text if span else ""
            right = in_sentence(span, question)
            passage = any(span and hit.chunk.chunk_id == span.chunk_id and holds(hit, question) for hit in hits)
            values[name].append(
                (token_f1(text, question.answers), exact_match(text, question.answers), float(right), float(passage))
            )
            if name == names[0]:
                scores.append(span.score if span else 0.0)
                truth.append(right)
    table = {
        name: dict(zip(("f1", "em", "sentence", "passage"), np.mean(values[name], axis=0).tolist(), strict=True))
        for name in names
    }
    stated, observed = np.array(scores), np.array(truth, dtype=float)
    index = np.minimum((stated * BINS).astype(int), BINS - 1)
    bins = [
        {"from": b / BINS, "n": int((index == b).sum()), "stated": float(stated[index == b].mean()),
         "observed": float(observed[index == b].mean())}
        for b in range(BINS) if (index == b).any()
    ]  # fmt: skip
    calibration = {
        "ece": expected_calibration_error(stated, observed), "bins": bins, "answer_in_top_5": float(np.mean(reachable))
    }  # fmt: skip
    return table, calibration


def on_articles(dev: Dev, locator: TrainedLocator, deep: int) -> dict[str, float]:
    f1, right, milliseconds, cpu, deep_f1, deep_ms = [], [], [], [], [], []
    for number, question in enumerate(dev.questions):
        started, used = time.perf_counter(), time.process_time()
        hits = dev.retriever.search(question.text + " ", 5, documents=[question.document])  # embedded anew
        span = best_span(locator.locate(question.text, hits))
        milliseconds.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - used))
        f1.append(token_f1(span.text if span else "", question.answers))
        right.append(in_sentence(span, question))
        if number < deep:
            started = time.perf_counter()
            span = best_span(locator.locate_document(question.text, question.document))
            deep_ms.append(1e3 * (time.perf_counter() - started))
            deep_f1.append(token_f1(span.text if span else "", question.answers))
    return {
        "f1": float(np.mean(f1)), "sentence": float(np.mean(right)), "p50_ms": statistics.median(milliseconds),
        "p50_cpu_ms": statistics.median(cpu),
        "deep_f1": float(np.mean(deep_f1)), "deep_p50_ms": statistics.median(deep_ms),
    }  # fmt: skip


class Without:
    """A retriever that passes over the windows holding a gold answer of `question`, or the words of one."""

    def __init__(self, retriever: Any, question: Question) -> None:
        self.retriever, self.question = retriever, question

    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        def tells(hit: Hit) -> bool:
            text = hit.chunk.text.lower()
            return holds(hit, self.question) or any(answer.lower() in text for answer in self.question.answers)

        return [hit for hit in self.retriever.search(question, 4 * top_k) if not tells(hit)][:top_k]


def on_refusal(dev: Dev, locator: TrainedLocator, embedder: Any, count: int) -> dict[str, Any]:
    """What the default engine refuses where the store tells, and where it speaks of the matter and does not tell."""
    stated: dict[bool, list[float]] = {True: [], False: []}
    refused: dict[bool, list[bool]] = {True: [], False: []}
    wrong = []
    for question in dev.questions[:count]:
        for tells in (True, False):
            retriever = dev.retriever if tells else Without(dev.retriever, question)
            engine = AnswerEngine(retriever, locator, workspace=dev.workspace, embedder=embedder)
            answer = engine.answer(question.text)
            stated[tells].append(max((hit.no_answer or 0.0 for hit in answer.hits), default=1.0))
            refused[tells].append(answer.refused)
            if tells and answer.refused:
                wrong.append(not in_sentence(best_span(answer.hits), question))
    told, silent = (np.array(stated[tells]) for tells in (True, False))
    curve = [
        {"told_refused": share, "silent_refused": float((silent > np.quantile(told, 1 - share)).mean())}
        for share in (0.01, 0.02, 0.03, 0.05, 0.08, 0.1)
    ]
    return {
        "told_refused": float(np.mean(refused[True])),
        "of_these_wrong_anyway": float(np.mean(wrong)) if wrong else 0.0,
        "silent_refused": float(np.mean(refused[False])),
        "no_answer_auroc": auroc(told, silent),
        "curve": curve,
    }


def on_passages(
    folder: Path, home: Path, count: int, settings: Settings, makers: dict[str, Callable[[Any], Any]]
) -> dict[str, dict[str, float]]:
    """Characters of the five best spans, widened to sentences, against the marked places: recall, precision, F1."""
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.md"))]
    workspace, retriever = ingest_articles(home, texts, settings)
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines if line.strip()]
    questions = [questions[i] for i in np.random.default_rng(1).permutation(len(questions))[:count]]
    locators = {name: make(workspace) for name, make in makers.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in locators}
    for question in questions:
        document = question["corpus"] + ".md"
        gold = {i for r in question["references"] for i in range(r["start_index"], r["end_index"])}
        hits = retriever.search(question["question"], 10)
        for name, locator in locators.items():
            spans = [span for hit in locator.locate(question["question"], hits) for span in hit.spans]
            covered: set[tuple[str, int]] = set()
            for span in sorted(spans, key=lambda span: -span.score)[:5]:
                start, end = span.sentence or (span.start, span.end)
                covered |= {(span.document, i) for i in range(start, end)}
            shared = sum(1 for name_, i in covered if name_ == document and i in gold)
            found[name].append((shared / max(1, len(gold)), shared / max(1, len(covered))))
    workspace.close()
    table = {}
    for name, rows in found.items():
        recall, precision = np.mean(rows, axis=0).tolist()
        table[name] = {
            "recall": recall,
            "precision": precision,
            "f1": 2 * recall * precision / max(1e-9, recall + precision),
        }
    return table


def latency(dev: Dev, locator: TrainedLocator, count: int) -> dict[str, float]:
    """One question over five windows, the reader alone."""
    wall, cpu = [], []
    for question in dev.questions[:count]:
        hits = dev.retriever.search(question.text, 5)
        started, used = time.perf_counter(), time.process_time()
        locator.locate(question.text, hits)
        wall.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - used))
    return {"p50_ms": statistics.median(wall), "p50_cpu_ms": statistics.median(cpu)}


def measure_length(tokens: int, kind: str) -> dict[str, float]:
    """Six layers over `tokens` tokens in this process: seconds and peak memory, MiB above what stood before.

    kind: windows; full (one window over everything, by the same code: scores held); fused (full attention by torch's
    fused kernel, which holds no scores and is the strongest opponent).
    """
    import torch
    from torch.nn import functional as F

    from rag import sliding_window
    from rag.sliding_window import Layer, LocatorConfig

    torch.set_num_threads(1)
    if kind == "fused":
        sliding_window.attend = lambda q, k, v, keep: F.scaled_dot_product_attention(q, k, v)
    config = LocatorConfig()
    layers = [Layer(config).bfloat16().eval().requires_grad_(False) for _ in range(config.layers)]
    length = config.window_tokens if kind == "windows" else tokens
    x = torch.randn(tokens // length, length, config.dim).bfloat16()
    globals_ = torch.randn(1, config.global_tokens, config.dim).bfloat16()
    before = memory_mib("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of importing torch, is forgotten
    started = time.process_time()
    with torch.inference_mode():
        for layer in layers:
            x, globals_ = layer(x, globals_, None)
    return {"cpu_s": time.process_time() - started, "peak_mib": memory_mib("VmHWM") - before}


def memory_mib(name: str) -> float:
    """A memory figure of this process from Linux's /proc, MiB; not-a-number elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def on_lengths(lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Each point in a process of its own, so that peaks do not mix."""
    rows = []
    for tokens in lengths:
        row: dict[str, Any] = {"tokens": tokens}
        for name in KINDS:
            if name == "full" and tokens > LONGEST_HELD:
                continue
            command = [sys.executable, "-m", "benchmarks.localisation", "--measure", str(tokens), name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row[name] = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
    return rows


def _numbers(values: dict[str, float]) -> str:
    return "  ".join(
        f"{key} {value:.1f}" if key.endswith("ms") else f"{key} {value:.3f}" for key, value in values.items()
    )


def run(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    settings = Settings()
    short = options.short
    count = options.questions or (120 if short else 1000)
    file = options.data / "squad" / "dev-half-v1.1.json" if options.data.is_dir() else options.data
    if not file.is_file():
        raise UsageError(f"no SQuAD dev file at {file}", remedy="Give --data the data folder or a file in SQuAD layout")
    dev = Dev(file, home / "squad", count, settings)
    trained = load_locator(options.model, workspace=dev.workspace, settings=settings)
    embedder = dev.retriever.embedder
    sentence = SentenceLocator(embedder, dev.workspace, settings.locator)
    trained.locate(dev.questions[0].text, dev.retriever.search(dev.questions[0].text, 5))  # load and warm up
    results: dict[str, Any] = {"questions": len(dev.questions), "model": str(options.model)}

    wanted = set(options.only.split(",")) if options.only else set(PARTS)
    if "paragraph" in wanted:
        results["paragraph"] = on_paragraphs(dev, trained, sentence)
        print("paragraph        " + _numbers(results["paragraph"]), flush=True)
    methods: dict[str, Callable[[str, list[Hit]], Span | None]] = {
        "trained": lambda q, hits: best_span(trained.locate(q, hits)),
        "first locator": lambda q, hits: best_span(sentence.locate(q, hits)),
        "per-window scoring": per_window(trained),
    }
    if trained.card.memory and trained.card.architecture.get("entry_features"):
        assert embedder is not None
        for name, entries in (
            ("memory entries read", DocumentMemory(dev.workspace, embedder, nearest=NEAREST)),
            ("no memory entries", None),
        ):
            other = TrainedLocator(options.model, trained.card, settings=settings, entries=entries)
            methods[name] = lambda q, hits, other=other: best_span(other.locate(q, hits))  # type: ignore[misc]
    alone = TrainedLocator(options.model, trained.card, settings=settings)
    alone.network.model.globals = type(alone.network.model.globals)(
        alone.network.model.globals[:0], requires_grad=False
    )
    methods["no global tokens"] = lambda q, hits: best_span(alone.locate(q, hits))
    if "store" in wanted:
        results["store"], results["calibration"] = on_store(dev, methods)
        for name, values in results["store"].items():
            print(f"store            {name:36} " + _numbers(values), flush=True)
        calibration = results["calibration"]
        print(
            f"calibration      ECE {calibration['ece']:.3f}; answer in the windows {calibration['answer_in_top_5']:.3f}"
        )
        for row in calibration["bins"]:
            bar = "#" * round(40 * row["observed"])
            print(f"  stated {row['stated']:.2f} observed {row['observed']:.2f} n {row['n']:4} {bar}")
    if "article" in wanted:
        results["article"] = on_articles(dev, trained, deep=10 if short else 100)
        print("article          " + _numbers(results["article"]), flush=True)
    if "refusal" in wanted:
        results["refusal"] = on_refusal(dev, trained, embedder, 120 if short else 300)
        print("refusal          " + _numbers({k: v for k, v in results["refusal"].items() if k != "curve"}), flush=True)
        for row in results["refusal"]["curve"]:
            print(f"  told refused {row['told_refused']:.2f}  silent refused {row['silent_refused']:.3f}")
    if "latency" in wanted:
        results["latency"] = latency(dev, trained, 40 if short else 200)
        print("top 5 windows    " + _numbers(results["latency"]), flush=True)
    passages = options.data / "passages"
    if "passages" in wanted and passages.is_dir():
        locators = {
            "trained": lambda workspace: load_locator(options.model, workspace=workspace, settings=settings),
            "first locator": lambda workspace: SentenceLocator(embedder, workspace, settings.locator),
        }
        results["passages"] = on_passages(passages, home / "passages", 60 if short else 317, settings, locators)
        for name, values in results["passages"].items():
            print(f"passages top 5   {name:36} " + _numbers(values), flush=True)
    elif "passages" in wanted:
        print(f"passages         skipped: no {passages}")
    if "length" in wanted:
        results["length"] = on_lengths(LENGTHS[:4] if short else LENGTHS)
    for row in results.get("length", ()):
        print(
            f"length {row['tokens']:6}"
            + "".join(f"  {k} {row[k]['cpu_s']:7.2f} s {row[k]['peak_mib']:6.0f} MiB" for k in KINDS if k in row)
        )
    return results


def main() -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser("python -m benchmarks.localisation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="120 questions, up to 8k tokens")
    parser.add_argument("--questions", type=int, help="number of SQuAD questions")
    parser.add_argument("--only", help="some of: " + ", ".join(PARTS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data folder, or a SQuAD file")
    parser.add_argument("--model", type=Path, default=Path("models/locator"))
    parser.add_argument("--home", type=Path, help="keep the workspaces here (default: a temporary folder)")
    parser.add_argument("--measure", nargs=2, metavar=("TOKENS", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_length(int(options.measure[0]), options.measure[1])))
        return 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, commit {commit}")
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, options.home or Path(folder))
    print(json.dumps({"benchmark": "localisation", "commit": commit, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
