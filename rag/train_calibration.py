"""Refit rag/calibration.json on SQuAD train: which sentence answers, and when to refuse.

    python -m rag.train_calibration --data ../shared/data/squad/train-v1.0.json

Articles are divided into two workspaces. A question asked where its article is stored is answerable; asked of the
other workspace, it is not (it is about an article that was never added). Small talk is unanswerable in both. The
threshold is MARGIN times the confidence below which FALSE_REFUSALS of the answerable questions of held-out articles
fall: a refused good question costs a user more than a weak answer that is shown with its low confidence, and SQuAD's
questions, written with the paragraph in view, share more words with it than those of people who have not read it.
Five minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import UsageError, cli_main
from core.settings import Settings, load_settings
from rag.calibrate_locator import expected_calibration_error, further_questions
from rag.calibrate_locator import load_articles as squad_articles
from rag.calibration import PATH, LogisticModel
from rag.locator import whole_sentences
from rag.query import understand
from rag.sentence_locator import FEATURES as SENTENCE_FEATURES
from rag.sentence_locator import SentenceLocator
from rag.support import FEATURES as SUPPORT_FEATURES
from rag.support import support_features
from rag.types import Locator, Retriever

FALSE_REFUSALS = 0.015
MARGIN = 0.5
SMALL_TALK = (
    "How are you today?", "What is the weather like tomorrow?", "Can you tell me a joke?", "What is two plus two?",
    "Who are you?", "What should I cook for dinner tonight?", "Please translate good morning into French.",
    "How do I reset my password?", "What time is it now?", "Which phone should I buy?", "Where did I park my car?",
    "Can you book a table for four?", "Write a poem about the sea.", "Is my flight delayed?", "What is my balance?",
    "How do I fix a leaking kitchen tap?", "Who won the match last night?", "Turn on the lights in the living room.",
    "What is the capital gains tax on my shares?", "How many calories are in a banana?",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    text: str
    article: str
    start: int  # of the answer in the article's text
    end: int


@dataclass(frozen=True)
class Support:
    """One question asked of one shelf."""

    article: str
    features: dict[str, float]
    answerable: bool


@dataclass
class Shelf:
    """One workspace with its articles and their questions."""

    retriever: Retriever
    locator: SentenceLocator
    trained: Locator | None
    questions: list[Question]
    unanswerable: list[Question] = field(default_factory=list)  # about its articles, which do not tell
    support: dict[str, list[Support]] = field(default_factory=dict)  # by the locator's name


def load_articles(path: Path, count: int, per_article: int, seed: int) -> dict[str, tuple[str, list[Question]]]:
    """name -> (text, questions), `count` articles chosen at random from a file in SQuAD's layout."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as SQuAD ({error})", remedy="Give SQuAD's train file by --data"
        ) from error
    rng = random.Random(seed)
    chosen = rng.sample(data, min(count, len(data)))
    articles = {}
    for article in chosen:
        texts: list[str] = []
        questions: list[Question] = []
        offset = 0
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                start = offset + qa["answers"][0]["answer_start"]
                end = start + len(qa["answers"][0]["text"])
                questions.append(Question(qa["question"].strip(), article["title"], start, end))
            texts.append(paragraph["context"])
            offset += len(paragraph["context"]) + 2
        articles[article["title"]] = ("\n\n".join(texts), rng.sample(questions, min(per_article, len(questions))))
    return articles


def add_more(articles: dict[str, tuple[str, list[Question]]], data: Path, more: Path) -> list[Question]:
    """Add the articles and answerable questions of a file in SQuAD 2.0 layout; return those that nothing answers.

    `data`: the file that has the articles' whole texts.
    """
    whole = {article.title: article.text for article in squad_articles(data)}
    asked = further_questions(more, {title: (title, text) for title, text in whole.items()})
    for question in asked:
        _, questions = articles.setdefault(question.document, (whole[question.document], []))
        if question.places:
            questions.append(Question(question.text, question.document, *question.places[0]))
    return [Question(question.text, question.document, 0, 0) for question in asked if not question.places]


def build_shelf(home: Path, name: str, articles: dict[str, tuple[str, list[Question]]], settings: Settings) -> Shelf:
    """Ingest the articles as text files into a workspace of their own."""
    from ingest.pipeline import ingest_paths
    from ingest.workspace import Workspace
    from rag.engine import LazyEmbedder, build_locator
    from rag.retriever import HybridRetriever

    folder = home / "articles" / name
    folder.mkdir(parents=True)
    for title, (text, _) in articles.items():
        (folder / f"{title}.txt").write_text(text, encoding="utf-8")
    workspace = Workspace.open(home, name)
    ingest_paths(workspace, [folder], settings=settings)
    embedder = LazyEmbedder(settings)
    retriever = HybridRetriever(workspace, embedder, settings.retrieval)
    start = LogisticModel(  # before the first fit: by cosine
        SENTENCE_FEATURES, np.zeros(len(SENTENCE_FEATURES)), np.ones(len(SENTENCE_FEATURES)),
        np.eye(len(SENTENCE_FEATURES))[SENTENCE_FEATURES.index("cosine")], 0.0,
    )  # fmt: skip
    locator = SentenceLocator(embedder, workspace, settings.locator, model=start)
    trained: Locator | None = build_locator(embedder, workspace, settings)
    if isinstance(trained, SentenceLocator):
        trained = None
    return Shelf(retriever, locator, trained, [q for _, questions in articles.values() for q in questions])


def sentence_examples(shelf: Shelf) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """For each question: its article, (n, F) features of the candidates, (n,) whether each holds the answer."""
    names, features, labels = [], [], []
    for question in shelf.questions:
        hits = shelf.retriever.search(question.text, 10)[: shelf.locator.settings.top_windows]
        candidates = shelf.locator.candidates(hits, understand(question.text))
        if not candidates:
            continue
        candidates, x = shelf.locator.features(understand(question.text).core, hits, candidates)
        y = [
            Path(hits[c.hit].chunk.document).stem == question.article
            and c.start <= question.start
            and question.end <= c.end
            for c in candidates
        ]
        names.append(question.article)
        features.append(x)
        labels.append(np.array(y, dtype=float))
    return names, features, labels


def collect_support(shelf: Shelf, texts: Sequence[tuple[str, str]], *, answerable: bool) -> None:
    """Add the support features of (article, question) pairs asked of this shelf, for each of its locators."""
    workspace, embedder = shelf.locator.workspace, shelf.locator.embedder
    for article, text in texts:
        hits = shelf.retriever.search(text, 10)
        for locator in (shelf.locator, shelf.trained):
            if locator is not None:
                located = locator.locate(text, hits)  # widened, as the answer engine judges them
                located = whole_sentences(located, lambda document, page: workspace.page(document, page).text)
                features = support_features(text, located, workspace, embedder)
                shelf.support.setdefault(locator.name, []).append(Support(article, features, answerable))


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: P(a positive scores above a negative), ties half."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    for value in np.unique(scores):
        ranks[scores == value] = ranks[scores == value].mean()
    positives = labels.sum()
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def fit(shelves: Sequence[Shelf], command: str) -> dict[str, object]:
    """Fit both models; numbers in the result are from articles that were held out of the fit they measure."""
    examples = [sentence_examples(shelf) for shelf in shelves]
    names = [name for part in examples for name in part[0]]
    x = [rows for part in examples for rows in part[1]]
    y = [labels for part in examples for labels in part[2]]
    held_out = set(sorted(set(names))[::3])
    train = [i for i, name in enumerate(names) if name not in held_out]
    test = [i for i, name in enumerate(names) if name in held_out]
    trial = LogisticModel.fit(
        SENTENCE_FEATURES, np.vstack([x[i] for i in train]), np.concatenate([y[i] for i in train])
    )
    top = float(np.mean([y[i][int(np.argmax(trial.probabilities(x[i])))] for i in test]))
    by_cosine = float(np.mean([y[i][int(np.argmax(x[i][:, 0]))] for i in test]))
    sentence = LogisticModel.fit(SENTENCE_FEATURES, np.vstack(x), np.concatenate(y))
    print(
        f"best sentence holds the answer: {top:.3f} (by cosine alone {by_cosine:.3f}), {len(test)} held-out questions"
    )

    talk = [("", text) for text in SMALL_TALK]
    for shelf, other in zip(shelves, reversed(shelves), strict=True):
        shelf.locator.model = sentence
        collect_support(shelf, [(q.article, q.text) for q in shelf.questions], answerable=True)
        collect_support(shelf, [(q.article, q.text) for q in other.questions], answerable=False)
        collect_support(shelf, [(q.article, q.text) for q in shelf.unanswerable], answerable=False)
        collect_support(shelf, talk, answerable=False)
    fitted: dict[str, object] = {
        "refit": command,
        "sentence": {"held_out_top1": round(top, 4), **sentence.to_json()},
        "refusal": fit_refusal([row for shelf in shelves for row in shelf.support["sentence"]], held_out),
    }
    if all("trained" in shelf.support for shelf in shelves):
        fitted["refusal_trained"] = fit_refusal(
            [row for shelf in shelves for row in shelf.support["trained"]], held_out
        )
    return fitted


def fit_refusal(support: Sequence[Support], held_out: set[str]) -> dict[str, object]:
    """P(the hits support an answer) from FEATURES, and the threshold; figures are of the held-out articles."""
    rows = [row for row in support if row.features]
    z = np.array([[row.features.get(name, np.nan) for name in SUPPORT_FEATURES] for row in rows])
    z = np.where(np.isnan(z), np.nanmean(z, axis=0), z)
    labels = np.array([float(row.answerable) for row in rows])
    is_test = np.array([row.article in held_out for row in rows])
    trial = LogisticModel.fit(SUPPORT_FEATURES, z[~is_test], labels[~is_test], l2=5.0)
    p, truth = trial.probabilities(z[is_test]), labels[is_test]
    threshold = float(np.quantile(p[truth == 1], FALSE_REFUSALS))
    area, error = auroc(p, truth), expected_calibration_error(p, truth)
    refused = float((p[truth == 0] < threshold).mean())
    print(
        f"refusal: AUROC {area:.3f}, ECE {error:.3f}; at threshold {threshold:.3f} {FALSE_REFUSALS:.1%} of answerable "
        f"and {refused:.0%} of unanswerable questions are refused, {is_test.sum()} held-out questions"
    )
    return {
        "threshold": round(MARGIN * threshold, 4),
        "held_out_threshold": round(threshold, 4),
        "held_out_auroc": round(area, 4),
        "held_out_ece": round(error, 4),
        "held_out_false_refusals": FALSE_REFUSALS,
        "held_out_true_refusals": round(refused, 4),
        **LogisticModel.fit(SUPPORT_FEATURES, z, labels, l2=5.0).to_json(),
    }


def command_line() -> int:
    parser = argparse.ArgumentParser(prog="python -m rag.train_calibration", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="SQuAD train, JSON")
    parser.add_argument("--articles", type=int, default=24, help="articles used, half in each workspace (default 24)")
    parser.add_argument("--questions", type=int, default=16, help="questions of each article (default 16)")
    parser.add_argument("--more", type=Path, help="further questions about its articles, SQuAD 2.0 JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=PATH, help="default: the file that is shipped")
    arguments = parser.parse_args()
    articles = load_articles(arguments.data, arguments.articles, arguments.questions, arguments.seed)
    unanswerable = add_more(articles, arguments.data, arguments.more) if arguments.more else []
    titles = sorted(articles)
    command = (
        f"python -m rag.train_calibration --data {arguments.data.name} --articles {arguments.articles} "
        f"--questions {arguments.questions} --seed {arguments.seed}{' --more FILE' if arguments.more else ''}"
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = load_settings(home)
        shelves = [build_shelf(home, f"half{i}", {t: articles[t] for t in titles[i::2]}, settings) for i in range(2)]
        for i, shelf in enumerate(shelves):
            shelf.unanswerable = [question for question in unanswerable if question.article in titles[i::2]]
        fitted = fit(shelves, command)
    arguments.out.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(command_line))
