"""Refit the fusion weights (rag/fusion.py) on questions whose passage is known.

    python -m rag.train_fusion --data ../shared/data            # squad/train-v1.0.json, cmrc2018/trial.json

Stage 1, conditional logit: the softmax over a question's candidates shall be high for its passage. Stage 2, logistic
regression of "is it the passage" on the score that stage 1 gives, for a score that is a probability. SQuAD's *training*
articles and the Chinese trial set are used; neither is an evaluation set. Prints
the values to be pasted into `FusionWeights`; takes about two minutes, most of it embedding 40 articles.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from core.errors import cli_main
from ingest.tokens import index_terms, query_terms
from rag.fusion import FusionWeights, Signals, fused_score, proximity, word_information
from rag.lexical_index import LexicalIndex

CANDIDATES = 40
FITTED = (
    "cosine",
    "bm25",
    "coverage",
    "pairs",
    "window",
    "cosine_information",
    "bm25_information",
    "window_information",
)
RIDGE = 1e-3


@dataclass(frozen=True)
class Passages:
    """A pool of passages and questions with the passage that answers each."""

    texts: list[str]  # as embedded
    bodies: list[str]  # as indexed by words
    questions: list[str]
    answers: list[int]


@dataclass(frozen=True)
class Example:
    """One question: its candidates' signals, and which of them is right."""

    signals: Signals
    information: float
    right: int


def squad_passages(path: Path, articles: int, skip: int, limit: int) -> Passages:
    """Paragraphs of some articles as passages, `limit` of their questions drawn at random."""
    pool = Passages([], [], [], [])
    for article in json.loads(path.read_text(encoding="utf-8"))["data"][skip : skip + articles]:
        title = article.get("title", "").replace("_", " ")
        for paragraph in article["paragraphs"]:
            pool.questions.extend(question["question"] for question in paragraph["qas"])
            pool.answers.extend([len(pool.bodies)] * len(paragraph["qas"]))
            pool.bodies.append(paragraph["context"])
            pool.texts.append(f"{title}\n{paragraph['context']}")
    drawn = np.random.default_rng(0).permutation(len(pool.questions))[:limit]
    return Passages(pool.texts, pool.bodies, [pool.questions[i] for i in drawn], [pool.answers[i] for i in drawn])


def examples(pool: Passages, vectors: np.ndarray, question_vectors: np.ndarray) -> Iterator[Example]:
    """Candidates as the retriever would find them; questions whose passage is not among them are passed over."""
    weights = FusionWeights()
    index = LexicalIndex.build([index_terms(body) for body in pool.bodies])
    for question, vector, answer in zip(pool.questions, question_vectors, pool.answers, strict=True):
        terms = query_terms(question)
        lexical, cosine = index.score(terms), vectors @ vector
        first = weights.cosine * cosine + weights.bm25 * lexical.bm25 + weights.coverage * lexical.coverage
        rows = np.argsort(-first, kind="stable")[:CANDIDATES]
        if answer not in rows:
            continue
        signals = Signals.zeros(len(rows))
        signals.cosine[:], signals.bm25[:], signals.coverage[:] = (
            cosine[rows],
            lexical.bm25[rows],
            lexical.coverage[rows],
        )
        numbers = np.array(index.numbers(terms), np.int32)
        for i, row in enumerate(rows):
            signals.pairs[i], signals.window[i] = proximity(numbers, lexical.idf, index.sequence_of(int(row)))
        yield Example(signals, word_information(lexical.idf), int(np.flatnonzero(rows == answer)[0]))


def fit(data: Sequence[Example], ridge: float = RIDGE) -> FusionWeights:
    """Both stages. Deterministic."""
    from scipy.optimize import minimize

    design = np.stack([_design(example) for example in data])  # (questions, candidates, weights)
    right = np.array([example.right for example in data])
    scale = np.abs(design).mean(axis=(0, 1)) + 1e-6

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = (design / scale) @ w
        score -= score.max(axis=1, keepdims=True)
        chance = np.exp(score)
        chance /= chance.sum(axis=1, keepdims=True)
        picked = chance[np.arange(len(right)), right]
        chance[np.arange(len(right)), right] -= 1.0
        gradient = np.einsum("qc,qcw->w", chance, design / scale) / len(right)
        return float(-np.log(picked + 1e-12).mean() + ridge * (w @ w)), gradient + 2 * ridge * w

    solution = minimize(loss, np.zeros(design.shape[2]), jac=True, method="L-BFGS-B").x / scale
    weights = FusionWeights(**dict(zip(FITTED, np.round(solution, 3).tolist(), strict=True)))
    slope, intercept = _calibrate(data, weights)
    return FusionWeights(**{**_values(weights), "slope": round(slope, 3), "intercept": round(intercept, 3)})


def _design(example: Example) -> np.ndarray:
    s, shift = example.signals, example.information - 1.0
    columns = (s.cosine, s.bm25, s.coverage, s.pairs, s.window, s.cosine * shift, s.bm25 * shift, s.window * shift)
    return np.stack(columns, axis=-1).astype(np.float64)


def _calibrate(data: Sequence[Example], weights: FusionWeights) -> tuple[float, float]:
    """Slope and intercept: score -> probability, from the right passage and the best wrong one of each question."""
    from scipy.optimize import minimize

    scores, labels = [], []
    for example in data:
        score = fused_score(example.signals, example.information, weights)
        order = [i for i in np.argsort(-score) if i != example.right][:3]
        scores += [score[example.right], *score[order]]
        labels += [1.0] + [0.0] * len(order)
    x, y = np.array(scores, np.float64), np.array(labels)

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] * x + parameters[1]
        return float(np.mean(np.logaddexp(0.0, z) - y * z))

    slope, intercept = minimize(loss, np.array([0.3, -5.0]), method="Nelder-Mead").x
    return float(slope), float(intercept)


def _values(weights: FusionWeights) -> dict[str, float]:
    return {field.name: getattr(weights, field.name) for field in fields(weights)}


def recall(data: Sequence[Example], weights: FusionWeights, k: int) -> float:
    """Share of questions whose passage is among the first k candidates."""
    good = 0
    for example in data:
        score = fused_score(example.signals, example.information, weights)
        good += int((score > score[example.right]).sum() < k)
    return good / max(1, len(data))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rag.train_fusion", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder (default: ../shared/data)")
    parser.add_argument("--articles", type=int, default=40, help="SQuAD articles (default: 40)")
    parser.add_argument("--questions", type=int, default=3000, help="of them (default: 3000)")
    options = parser.parse_args()
    from core.settings import load_settings
    from ingest.embedders import load_embedder

    settings = load_settings()
    embedder = load_embedder(settings.embedder, device=settings.device, threads=settings.threads)
    data: list[Example] = []
    for pool in (
        squad_passages(options.data / "squad" / "train-v1.0.json", options.articles, 100, options.questions),
        squad_passages(options.data / "cmrc2018" / "trial.json", 1000, 0, 300),
    ):
        questions = np.stack([embedder.embed_query(question) for question in pool.questions])
        data += examples(pool, embedder.embed_passages(pool.texts), questions)
    weights = fit(data)
    print(f"{len(data)} questions, R@1 {recall(data, weights, 1):.3f}, R@5 {recall(data, weights, 5):.3f}")
    for name, value in _values(weights).items():
        print(f"    {name}: float = {value:g}")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
