"""Files in the layout of SQuAD 1.1 or 2.0, tokenised, with the paragraphs that a search would confuse."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError
from rag.reading import TokenText, load_tokenizer, tokenise


@dataclass(frozen=True)
class Question:
    text: str
    ids: np.ndarray  # (n,) tokens
    paragraph: int
    answers: list[str]
    spans: list[
        tuple[int, int]
    ]  # token ranges of every occurrence of the answer in its paragraph; none: not told there
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
                raw += [(qa, len(self.contexts)) for qa in paragraph["qas"] if qa["answers"] or qa.get("is_impossible")]
                self.contexts.append(paragraph["context"])
                self.article_of.append(number)
        self.paragraphs: list[TokenText] = tokenise(tokenizer, self.contexts)
        encoded = tokenizer.encode_batch([qa["question"] for qa, _ in raw], add_special_tokens=False)
        rank = _OverlapRanking(self.paragraphs, self.article_of)
        self.questions: list[Question] = []
        for (qa, paragraph), encoding in zip(raw, encoded, strict=True):
            ids = np.array(encoding.ids, np.int64)
            answers = sorted({answer["text"].strip() for answer in qa["answers"]} - {""})
            spans = [s for a in answers for s in _occurrences(self.contexts[paragraph], a, self.paragraphs[paragraph])]
            lowered = [a.lower() for a in answers]
            ranked = [
                i for i in rank(ids, self.article_of[paragraph])
                if i != paragraph and not any(a in self.contexts[i].lower() for a in lowered)
            ]  # fmt: skip
            if spans or not answers:
                # Of what a paragraph does not tell, another of its article may well tell.
                found = np.array(ranked[:negatives] if spans else [], np.int64)
                self.questions.append(Question(qa["question"], ids, paragraph, answers, spans, found))


def together(data: Squad, more: Squad) -> Squad:
    """Both as one: the questions and paragraphs of `more` come after those of `data`, its articles get new numbers."""
    joined = copy.copy(data)
    paragraphs, articles = len(data.paragraphs), max(data.article_of, default=-1) + 1
    joined.contexts = [*data.contexts, *more.contexts]
    joined.paragraphs = [*data.paragraphs, *more.paragraphs]
    joined.article_of = [*data.article_of, *(articles + number for number in more.article_of)]
    moved = [
        replace(question, paragraph=question.paragraph + paragraphs, negatives=question.negatives + paragraphs)
        for question in more.questions
    ]
    joined.questions = [*data.questions, *moved]
    return joined


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
