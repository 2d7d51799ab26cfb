"""Fit how a trained locator's scores are read, on articles that were held out of its training:

    python -m rag.calibrate_locator --data ../shared/data/squad/train-v1.0.json --model models/locator

Four things go into config.json: the weight of the coarse score as a prior, the logistic model from a span's
log-probabilities to the probability that its sentence answers, the one to the probability that none does, and from
which probability on a question counts as unanswered. The reads are those of the product: articles ingested into a
workspace, the coarse search, its best windows. For a question without an answer the windows that hold the answer are
taken away and the next best come up. `--more` adds questions in people's own words, and such as nothing answers:
SQuAD's were written with the paragraph in view. Five minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UsageError, cli_main
from core.runtime import set_up_logging
from core.settings import Settings
from rag.calibration import LogisticModel
from rag.locator import TrainedLocator, load_locator
from rag.locator_card import CONFIG
from rag.locator_scores import REFUSAL_FEATURES, SPAN_FEATURES, Candidate, Scores, candidate_spans
from rag.span_metrics import exact_match, token_f1
from rag.types import Hit

if TYPE_CHECKING:
    from ingest.workspace import Workspace
    from rag.retriever import HybridRetriever

log = logging.getLogger("rag.calibrate_locator")  # also when run with -m
PRIORS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
SKIPS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
TIE = 0.002  # F1 that tells nothing at this number of questions
SKIP_LOSS = 0.005  # F1 that may be lost by not reading windows
UNANSWERABLE_ONE_IN = 8  # unanswerable reads that the span model is fitted on
FALSE_REFUSALS = 0.02  # share of answerable questions that may be refused as unanswered
PER_READ = 1  # candidates of a read that the span model is fitted on: with 8 the best was stated 0.15 too low


@dataclass(frozen=True)
class Article:
    """A SQuAD article as one text, paragraphs divided by blank lines."""

    title: str
    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Question:
    text: str
    document: str  # file name of its article
    places: tuple[tuple[int, int], ...]  # gold answers, characters in the article's text
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """One question's windows as the reader saw them."""

    question: Question
    hits: list[Hit]
    scores: Scores


def load_articles(path: Path) -> list[Article]:
    """All articles of a file in SQuAD layout, in file order."""
    articles = []
    for number, article in enumerate(json.loads(path.read_text(encoding="utf-8"))["data"]):
        document, offset, texts, questions = f"{number:03}.txt", 0, [], []
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                found = {(a["answer_start"], a["text"]) for a in qa["answers"]}
                places = sorted((offset + s + len(t) - len(t.lstrip()), offset + s + len(t.rstrip())) for s, t in found)
                answers = tuple(sorted({text.strip() for _, text in found}))
                questions.append(Question(qa["question"].strip(), document, tuple(places), answers))
            texts.append(paragraph["context"])
            offset += len(paragraph["context"]) + 2
        articles.append(Article(article["title"], "\n\n".join(texts), tuple(questions)))
    return articles


def further_questions(path: Path, articles: Mapping[str, tuple[str, str]]) -> list[Question]:
    """Questions of a file in SQuAD 2.0 layout about paragraphs of `articles`: title -> (file name, text).

    Those that have no answer have no places.
    """
    found = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        if article["title"] not in articles:
            raise UsageError(f"{path} asks about {article['title']}, which is not held out", remedy="Leave it out")
        document, text = articles[article["title"]]
        for paragraph in article["paragraphs"]:
            offset = text.index(paragraph["context"])
            for qa in paragraph["qas"]:
                places = tuple(
                    (offset + a["answer_start"], offset + a["answer_start"] + len(a["text"])) for a in qa["answers"]
                )
                answers = tuple(sorted({a["text"] for a in qa["answers"]}))
                found.append(Question(qa["question"].strip(), document, places, answers))
    return found


def ingest_articles(
    home: Path, articles: Sequence[tuple[str, str]], settings: Settings
) -> tuple[Workspace, HybridRetriever]:
    """(file name, text) pairs into a workspace under `home`, unless they are there already, and its coarse search."""
    from ingest.pipeline import ingest_paths
    from ingest.workspace import Workspace
    from rag.engine import LazyEmbedder
    from rag.retriever import HybridRetriever

    folder = home / "articles"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in articles:
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8")
    workspace = Workspace.open(home, "articles")
    ingest_paths(workspace, [folder], settings=settings)
    return workspace, HybridRetriever(workspace, LazyEmbedder(settings), settings.retrieval)


def holds(hit: Hit, question: Question) -> bool:
    """Whether the window contains a gold answer whole."""
    chunk = hit.chunk
    return chunk.document == question.document and any(chunk.start <= s and e <= chunk.end for s, e in question.places)


def answers(candidate: Candidate, read: Read) -> bool:
    """Whether the candidate's sentence holds a gold place, or its words are a gold answer."""
    chunk = read.hits[candidate.passage].chunk
    start, end = chunk.start + candidate.sentence[0], chunk.start + candidate.sentence[1]
    placed = chunk.document == read.question.document and any(start <= s < end for s, _ in read.question.places)
    text = chunk.text[candidate.start : candidate.end]
    return placed or (chunk.document == read.question.document and exact_match(text, read.question.answers) == 1)


def collect(
    locator: TrainedLocator, retriever: HybridRetriever, questions: Sequence[Question], *, answerable: bool
) -> list[Read]:
    """One read for each question that the coarse search lets us ask so."""
    reads = []
    for question in questions:
        hits = retriever.search(question.text, 2 * locator.settings.top_windows)
        if not answerable:  # for those that nothing answers nothing is taken away
            hits = [hit for hit in hits if not holds(hit, question)]
        hits = hits[: locator.settings.top_windows]
        if hits and (not answerable or any(holds(hit, question) for hit in hits)):
            reads.append(Read(question, hits, locator.score(question.text, hits)))
    return reads


def candidates_of(read: Read, prior: float, skip_below: float = 0.0) -> tuple[list[Candidate], tuple[float, ...]]:
    """The best candidate of each sentence, best first, and the read's refusal features."""
    coarse = np.array([hit.score for hit in read.hits])
    skipped = np.where(coarse < skip_below * coarse.max(), -50.0, 0.0)  # as if those windows had not been read
    found, refusal = candidate_spans(read.scores, prior * coarse + skipped, 40)
    kept: dict[tuple[int, tuple[int, int]], Candidate] = {}
    for candidate in found:
        kept.setdefault((candidate.passage, candidate.sentence), candidate)
    return list(kept.values())[:PER_READ], refusal


def top_f1(reads: Sequence[Read], prior: float, skip_below: float = 0.0) -> float:
    """Mean F1 of the best span over reads that hold an answer."""
    values = []
    for read in reads:
        best = candidates_of(read, prior, skip_below)[0][0]
        values.append(token_f1(read.hits[best.passage].chunk.text[best.start : best.end], read.question.answers))
    return float(np.mean(values))


def expected_calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Mean gap between stated and observed frequency over equal-width bins, weighted by size (Guo et al. 2017)."""
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [
        (index == b).mean() * abs(probabilities[index == b].mean() - truth[index == b].mean())
        for b in range(bins) if (index == b).any()
    ]  # fmt: skip
    return float(sum(gaps))


def auroc(negatives: np.ndarray, positives: np.ndarray) -> float:
    """P(a positive scores above a negative), ties half."""
    above = (positives[:, None] > negatives[None]).mean() + 0.5 * (positives[:, None] == negatives[None]).mean()
    return float(above)


def calibrate(answerable: Sequence[Read], without: Sequence[Read]) -> dict[str, object]:
    """Fit on all reads; the figures reported come from a fit on one half of the articles, measured on the other."""
    by_prior = {prior: top_f1(answerable, prior) for prior in PRIORS}
    best = max(by_prior.values())
    # Held-out stores are small; the larger the store, the more the coarse score has to say.
    prior = max(p for p, f1 in by_prior.items() if f1 >= best - TIE)
    log.info("F1 of the best span by prior: %s", {p: round(v, 4) for p, v in by_prior.items()})
    by_skip = {skip: top_f1(answerable, prior, skip) for skip in SKIPS}
    skip_below = max(skip for skip, f1 in by_skip.items() if f1 >= by_prior[prior] - SKIP_LOSS)
    windows = [sum(h.score >= skip_below * max(g.score for g in r.hits) for h in r.hits) for r in answerable]
    log.info("F1 by share of the best score below which windows are skipped: %s", by_skip)
    x, y, article, z, refuse, z_article = [], [], [], [], [], []
    for reads, empty in ((answerable, False), (without, True)):
        for number, read in enumerate(reads):
            found, refusal = candidates_of(read, prior, skip_below)
            z.append(refusal)
            refuse.append(empty)
            z_article.append(read.question.document)
            if empty and number % UNANSWERABLE_ONE_IN:
                continue  # people ask more often than not what their documents answer
            for candidate in found:
                x.append(candidate.features)
                y.append(not empty and answers(candidate, read))
                article.append(read.question.document)
    features, labels = np.array(x), np.array(y, dtype=float)
    refusal_features, empty_labels = np.array(z), np.array(refuse, dtype=float)
    half = set(sorted(set(article))[::2])
    left = np.array([name in half for name in article])
    z_left = np.array([name in half for name in z_article])
    trial = LogisticModel.fit(SPAN_FEATURES, features[left], labels[left]).probabilities(features[~left])
    z_trial = LogisticModel.fit(REFUSAL_FEATURES, refusal_features[z_left], empty_labels[z_left]).probabilities(
        refusal_features[~z_left]
    )
    truth = empty_labels[~z_left]
    refusal_model = LogisticModel.fit(REFUSAL_FEATURES, refusal_features, empty_labels)
    stated = refusal_model.probabilities(refusal_features)
    refuse_above = float(np.quantile(stated[empty_labels == 0], 1 - FALSE_REFUSALS))
    trial_above = float(np.quantile(z_trial[truth == 0], 1 - FALSE_REFUSALS))
    figures = {
        "reads": len(z),
        "best_span_f1": round(by_skip[skip_below], 4),
        "windows_read": round(float(np.mean(windows)), 2),
        "span_ece": round(expected_calibration_error(trial, labels[~left]), 4),
        "no_answer_auroc": round(auroc(z_trial[truth == 0], z_trial[truth == 1]), 4),
        "no_answer_ece": round(expected_calibration_error(z_trial, truth), 4),
        "false_refusals": FALSE_REFUSALS,
        "true_refusals": round(float((z_trial[truth == 1] > trial_above).mean()), 4),
    }
    log.info("held-out half: %s", figures)
    return {
        "prior": prior,
        "skip_below": skip_below,
        "span": LogisticModel.fit(SPAN_FEATURES, features, labels).to_json(),
        "refusal": refusal_model.to_json(),
        "refuse_above": round(refuse_above, 4),
        "calibration": figures,
    }


def main() -> int:
    from rag.train_locator import held_out_articles

    set_up_logging()
    parser = argparse.ArgumentParser("python -m rag.calibrate_locator", description="Calibrate a trained locator.")
    parser.add_argument("--data", type=Path, required=True, help="the SQuAD file it was trained on")
    parser.add_argument("--model", type=Path, default=Path("models/locator"), help="model folder to calibrate")
    parser.add_argument("--questions", type=int, default=1000, help="of the held-out articles")
    parser.add_argument("--more", type=Path, help="further questions about them, SQuAD 2.0 JSON, as people would ask")
    parser.add_argument("--others", type=int, default=14, help="further articles in the store")
    parser.add_argument("--home", type=Path, help="keep the workspace here (default: a temporary folder)")
    options = parser.parse_args()
    articles = load_articles(options.data)
    held = sorted(held_out_articles(len(articles)))
    others = [i for i in range(len(articles)) if i not in held][:: max(1, len(articles) // max(1, options.others))]
    texts = [(f"{i:03}.txt", articles[i].text) for i in [*held, *others]]
    asked = [question for i in held for question in articles[i].questions]
    asked = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))[: options.questions]]
    titles = {articles[i].title: (f"{i:03}.txt", articles[i].text) for i in held}
    more = further_questions(options.more, titles) if options.more else []
    asked += [question for question in more if question.places]
    settings = Settings()
    with tempfile.TemporaryDirectory() as folder:
        workspace, retriever = ingest_articles(options.home or Path(folder), texts, settings)
        locator = load_locator(options.model, workspace=workspace, settings=settings)
        answerable = collect(locator, retriever, asked, answerable=True)
        unanswerable = [question for question in more if not question.places]
        without = collect(locator, retriever, [*asked, *unanswerable], answerable=False)
        workspace.close()
    found = calibrate(answerable, without)
    path = options.model / CONFIG
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **found}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
