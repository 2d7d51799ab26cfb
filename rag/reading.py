"""Text -> the tensors that a reader takes, and back: windows, sentences, character offsets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ingest.sentences import sentence_spans
from rag.sliding_window import LocatorConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLS, SEP, PAD = 101, 102, 0
_HASHES = re.compile(r"^#{1,6}(?= )", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|[ \t:|-]*-{2,}[ \t:|-]*$", re.MULTILINE)
_PIPED = re.compile(r"(?<![^\n])\|[^\n]*\|(?![^\n])")  # a whole line between bars


@dataclass(frozen=True)
class TokenText:
    """A tokenised text: ids (n,), character offsets (n, 2), and the index of each token's sentence (n,)."""

    ids: np.ndarray
    offsets: np.ndarray
    sentences: np.ndarray


@dataclass(frozen=True)
class Window:
    """A stretch of a TokenText: tokens [start, end) of text number `passage`."""

    passage: int
    start: int
    end: int


@dataclass(frozen=True)
class Batch:
    """B reads of W windows, padded to L tokens."""

    ids: Tensor  # (B, W, L) int64
    kinds: Tensor  # (B, W, L) 0 question, 1 text
    mask: Tensor  # (B, W, L) bool: a token stands here
    text: Tensor  # (B, W, L) bool: a text token, where a span may lie
    sentences: Tensor  # (B, W, L) int64 number of the token's sentence in its read, -1 outside the text
    first: list[list[int]]  # position of each window's first text token


@lru_cache(maxsize=2)
def load_tokenizer(path: str) -> Tokenizer:
    """The trunk's WordPiece tokeniser from a `tokenizer.json`, without padding and truncation."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenise(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenText]:
    """Tokens with offsets and sentence numbers; no special tokens."""
    found = []
    plain = [without_markup(text) for text in texts]
    for text, encoding in zip(texts, tokenizer.encode_batch(plain, add_special_tokens=False), strict=True):
        offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        starts = np.array([start for start, _ in sentence_spans(text)] or [0])
        sentences = np.maximum(np.searchsorted(starts, offsets[:, 0], side="right") - 1, 0)
        found.append(TokenText(np.array(encoding.ids, np.int32), offsets, sentences.astype(np.int32)))
    return found


def without_markup(text: str) -> str:
    """Markdown's marks of headings and tables as blanks and commas, every character where it was.

    The reader knows prose. It took the names of columns for the answer, whatever a row said.

    >>> without_markup("## Rates\\n| Role | Rate |\\n|---|---|\\n| Clerk | 820 |")
    '   Rates\\n  Role , Rate  \\n         \\n  Clerk , 820  '
    """
    if "|" not in text and "#" not in text:
        return text
    text = _HASHES.sub(lambda m: " " * len(m.group()), text)
    text = _RULE.sub(lambda m: " " * len(m.group()), text)
    return _PIPED.sub(lambda m: " " + m.group()[1:-1].replace("|", ",") + " ", text)


def cut_windows(lengths: Sequence[int], config: LocatorConfig) -> list[Window]:
    """Cover texts of `lengths` tokens with windows of at most config.window_tokens; neighbours overlap."""
    windows = []
    for passage, length in enumerate(lengths):
        start = 0
        while True:
            end = min(start + config.window_tokens, length)
            windows.append(Window(passage, start, end))
            if end >= length:
                break
            # The last window reaches back as far as it may: a short tail alone would be read without its context.
            start = min(end - config.window_overlap, max(length - config.window_tokens, start + 1))
    return windows


def assemble(
    questions: Sequence[np.ndarray], reads: Sequence[Sequence[tuple[TokenText, int, int]]], config: LocatorConfig
) -> Batch:
    """Pad reads into one batch. reads[b][w] = (text, first token, end token); missing windows are masked out."""
    questions = [question[: config.question_tokens] for question in questions]
    width = max(len(read) for read in reads)
    length = max(len(q) + 3 + max(e - s for _, s, e in read) for q, read in zip(questions, reads, strict=True))
    shape = (len(reads), width, length)
    ids, kinds = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    mask, is_text = np.zeros(shape, bool), np.zeros(shape, bool)
    sentences = np.full(shape, -1, np.int64)
    firsts = []
    for b, (question, read) in enumerate(zip(questions, reads, strict=True)):
        offset = 0
        seen: dict[int, int] = {}  # text -> number of its first sentence
        head = len(question) + 2
        for w, (text, start, end) in enumerate(read):
            row = ids[b, w]
            row[0], row[1 : head - 1], row[head - 1] = CLS, question, SEP
            last = head + end - start
            row[head:last], row[last] = text.ids[start:end], SEP
            kinds[b, w, head : last + 1] = 1
            mask[b, w, : last + 1] = True
            is_text[b, w, head:last] = True
            # Windows that overlap share their sentences' numbers.
            base = seen.get(id(text))
            if base is None:
                base = seen[id(text)] = offset
                offset += int(text.sentences[-1]) + 1 if len(text.sentences) else 0
            sentences[b, w, head:last] = text.sentences[start:end] + base
        firsts.append([head] * len(read))
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(kinds),
        torch.from_numpy(mask),
        torch.from_numpy(is_text),
        torch.from_numpy(sentences),
        firsts,
    )


@dataclass(frozen=True)
class TokenSpan:
    """A candidate answer: tokens [start, end) of window `window`, row positions; logit = start + end logit."""

    window: int
    start: int
    end: int
    logit: float


def best_spans(
    start_logits: Tensor, end_logits: Tensor, text: Tensor, *, count: int = 20, max_tokens: int = 30
) -> list[TokenSpan]:
    """Best `count` spans of one read, best first. Inputs (W, L); only a band of L x max_tokens pairs is ever scored."""
    floor = torch.finfo(torch.float32).min / 4
    start = start_logits.masked_fill(~text, floor)
    end = torch.nn.functional.pad(end_logits.masked_fill(~text, floor), (0, max_tokens - 1), value=floor)
    pairs = start[..., None] + end.unfold(-1, max_tokens, 1)  # (W, L, max_tokens): start, length - 1
    values, places = pairs.flatten().topk(min(count, pairs.numel()))
    length = start.shape[1]
    spans = []
    for value, place in zip(values.tolist(), places.tolist(), strict=True):
        if value <= floor / 2:
            break
        row, size = divmod(place, max_tokens)
        window, first = divmod(row, length)
        spans.append(TokenSpan(window, first, first + size + 1, value))
    return spans


def sentence_logits(relevance: Tensor, sentences: Tensor, count: int) -> Tensor:
    """Mean relevance of each sentence's tokens: (B, W, L), (B, W, L) numbers -> (B, count); absent ones -1e4."""
    index = sentences.flatten(1).clamp(min=0)
    inside = (sentences.flatten(1) >= 0).float()
    zeros = torch.zeros(len(index), count, device=relevance.device)
    totals = zeros.scatter_add(1, index, relevance.flatten(1) * inside)
    sizes = zeros.scatter_add(1, index, inside)
    return torch.where(sizes > 0, totals / sizes.clamp(min=1), torch.full_like(totals, -1e4))
