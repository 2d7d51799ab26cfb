"""Reads to train the locator on: windows cropped from paragraphs, hard negatives beside them, and what is lost on them.

Loss: softmax over every text token of the *whole read* plus "no answer", for start and end (shared normalisation, Clark
and Gardner 2018, arXiv 1710.10723), and over every sentence of the read plus "none". An answer that occurs several
times counts with the sum of its places, since the file marks the first occurrence only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rag.altered_questions import Alterations
from rag.reading import Batch, TokenText, sentence_logits
from rag.sliding_window import SENTENCE, SPAN_END, SPAN_START, ReadOutput
from rag.squad import Question, Squad

if TYPE_CHECKING:
    from tokenizers import Tokenizer


Alter = Callable[[Question, np.random.Generator], Question | None]  # another question, that nothing answers


@dataclass(frozen=True)
class Phase:
    """One step of the curriculum, in force until progress `until` (0..1)."""

    until: float
    windows: int  # per read
    crop: int  # text tokens of a window, at most; it is drawn from half of that on where `varied`
    unanswerable: float  # share of reads without the gold paragraph
    batch: int  # reads
    memory: float = 0.0  # share of the pools that are read with entries of the memory
    varied: bool = False
    altered: float = 0.0  # share of reads whose question was altered: the gold paragraph stands there and does not tell


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


def make_example(
    data: Squad, question: Question, phase: Phase, rng: np.random.Generator, alter: Alter | None = None
) -> Example:
    """Crop the windows of one read; an unanswerable one has negatives only, or a question that was altered."""
    crop = int(rng.integers(phase.crop // 2, phase.crop + 1)) if phase.varied else phase.crop
    if alter is not None and question.spans and rng.random() < phase.altered:
        question = alter(question, rng) or question
    negatives = question.negatives
    beside = not question.spans or len(negatives) == 0 or rng.random() >= phase.unanswerable  # its paragraph is there
    wanted = phase.windows - beside
    # Half of the negatives are hard (the likeliest), the others any of the ten: a reader meets both.
    pool = negatives[:3] if rng.random() < 0.5 else negatives
    chosen = list(rng.permutation(pool)[:wanted]) if len(pool) else []
    windows: list[tuple[TokenText, int, int]] = []
    spans: list[tuple[int, int]] = []
    if beside:
        text = data.paragraphs[question.paragraph]
        anywhere = int(rng.integers(len(text.ids)))
        anchor = question.spans[int(rng.integers(len(question.spans)))] if question.spans else (anywhere, anywhere + 1)
        low = max(0, min(anchor[1] - crop, len(text.ids) - crop))
        high = max(low, min(anchor[0], len(text.ids) - crop))
        start = int(rng.integers(low, high + 1))
        end = min(start + crop, len(text.ids))
        windows.append((text, start, end))
        spans = [(s - start, e - start) for s, e in question.spans if s >= start and e <= end]
    for i in chosen:
        text = data.paragraphs[i]
        start = int(rng.integers(0, max(1, len(text.ids) - crop + 1)))
        windows.append((text, start, min(start + crop, len(text.ids))))
    paragraphs = [*([question.paragraph] if beside else []), *map(int, chosen)]
    return Example(question, windows, spans, paragraphs)


def altering(data: Squad, tokenizer: Tokenizer) -> Alter:
    """Questions altered by `rag/altered_questions.py`, with those negatives that have nothing of what was put in."""
    alterations = Alterations(data.contexts, data.article_of, [(q.text, q.paragraph) for q in data.questions])

    def alter(question: Question, rng: np.random.Generator) -> Question | None:
        found = alterations.of(question.text, question.paragraph, rng)
        if found is None:
            return None
        ids = np.array(tokenizer.encode(found.text, add_special_tokens=False).ids, np.int64)
        apart = [i for i in question.negatives.tolist() if not alterations.stands(found.put, i)]
        return Question(found.text, ids, question.paragraph, [], [], np.array(apart, np.int64))

    return alter


def pool_of_batches(
    data: Squad, order: np.ndarray, phase: Phase, at: int, seed: int, pool: int, alter: Alter | None = None
) -> tuple[list[list[Example]], int]:
    """`pool` batches of like length from `order` at position `at`; also the position after them."""
    rng = np.random.default_rng((seed, at))
    size = pool * phase.batch
    examples = [
        make_example(data, data.questions[order[(at + i) % len(order)]], phase, rng, alter) for i in range(size)
    ]
    examples.sort(key=lambda e: e.length)
    batches = [examples[i : i + phase.batch] for i in range(0, size, phase.batch)]
    return [batches[i] for i in rng.permutation(len(batches))], at + size


def one_by_one(examples: Sequence[Example]) -> list[Example]:
    """Each window as a read of its own: what "per-window scoring" is trained on."""
    return [
        replace(example, windows=[window], spans=example.spans if w == 0 else [], paragraphs=[example.paragraphs[w]])
        for example in examples
        for w, window in enumerate(example.windows)
    ]


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
