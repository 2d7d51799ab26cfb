"""One store of 100,000 documents: how quick and how good is the search, coarse and fine, and what memory does it take?

    python -m benchmarks.scale [--short] [--data ../shared/data] [--documents 100000] [--home DIR]

The documents are SQuAD train paragraphs recombined (the first half of one, the second half of another) and, among them,
the dev paragraphs, whose questions are asked. All go through `python -m ingest`'s pipeline as files of their own. The
vectors of dev paragraphs are the embedder's; a recombined document has the normalised sum of its halves' vectors, which
spares an hour of embedding and leaves the search as much to do.

 coarse       this project's retriever (words, meaning, fusion; embedding the question included), p50
 exact        the same retriever over an exact vector index: what approximation costs in recall@20
 TF-IDF       scikit-learn's TfidfVectorizer and a sparse product over the same documents in the same run (top 20)
 fine         coarse search and the locator over its best five windows, p50
 memory       resident size of the process that searches, before TF-IDF is built
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError, cli_main
from core.settings import Settings
from ingest.embedders import Embedder, load_embedder
from ingest.pipeline import embed_pending, ingest_paths
from ingest.workspace import Workspace
from rag.engine import LazyEmbedder, build_locator
from rag.retriever import HybridRetriever
from rag.types import Hit

EDGE = 48  # characters by which the first and the last half of a chunk are recognised


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Texts by file name, the halves that recombined ones are made of, and (question, file name) pairs."""

    texts: dict[str, str]
    halves: list[str]
    questions: list[tuple[str, str]]


def build_corpus(folder: Path, documents: int, base: int) -> Corpus:
    """Dev paragraphs and as many recombined train paragraphs as make up `documents`."""
    dev = json.loads((folder / "dev-half-v1.1.json").read_text(encoding="utf-8"))["data"]
    train = json.loads((folder / "train-v1.0.json").read_text(encoding="utf-8"))["data"]
    texts: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    for paragraph in (p for article in dev for p in article["paragraphs"]):
        name = f"dev-{len(texts):05}.txt"
        texts[name] = paragraph["context"]
        questions += [(qa["question"], name) for qa in paragraph["qas"]]
    rng = np.random.default_rng(0)
    contexts = [p["context"] for article in train for p in article["paragraphs"]]
    contexts = [contexts[i] for i in rng.permutation(len(contexts))[:base]]
    halves: list[str] = []
    for context in contexts:
        middle = context.find(". ", len(context) // 3)
        middle = middle + 2 if middle > 0 else len(context) // 2
        halves += [context[:middle].strip() or context, context[middle:].strip() or context]
    while len(texts) < documents:
        i, j = (int(n) for n in rng.integers(len(contexts), size=2))
        name = f"mix-{len(texts):06}.txt"
        texts[name] = f"{halves[2 * i]} {halves[2 * j + 1]}"
    return Corpus(texts, halves, questions)


class RecombiningEmbedder:
    """The embedder, but for chunks of recombined documents: those get the sum of the halves they begin and end with."""

    def __init__(self, embedder: Embedder, corpus: Corpus) -> None:
        self._embedder = embedder
        self.name, self.dim = embedder.name, embedder.dim
        self._halves = embedder.embed_passages(corpus.halves)
        self._beginning = {half[:EDGE]: i for i, half in enumerate(corpus.halves)}
        self._end = {half[-EDGE:]: i for i, half in enumerate(corpus.halves)}
        self.embedded = 0

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        own = []
        for at, text in enumerate(texts):
            body = text.split("\n", 1)[-1].strip()
            found = [i for i in (self._beginning.get(body[:EDGE]), self._end.get(body[-EDGE:])) if i is not None]
            if found:
                vectors[at] = self._halves[found].sum(axis=0)
            else:
                own.append(at)
        if own:
            vectors[own] = self._embedder.embed_passages([texts[at] for at in own])
            self.embedded += len(own)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_query(self, text: str) -> np.ndarray:
        return self._embedder.embed_query(text)

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)


def fill(home: Path, corpus: Corpus, embedder: Embedder, settings: Settings) -> Workspace:
    """Ingest all texts as files and store their vectors."""
    folder = home / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in corpus.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    workspace = Workspace.open(home, "scale")
    ingest_paths(workspace, [folder], settings=settings, embed=False)
    embed_pending(workspace, RecombiningEmbedder(embedder, corpus))
    return workspace


def resident_mib() -> float:
    """Resident memory of this process, MiB; not-a-number where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def timed(search: Callable[[str], Any], questions: Sequence[str]) -> tuple[list[Any], dict[str, float]]:
    """Results, and the median milliseconds by the clock and of this process."""
    results, wall, cpu = [], [], []
    for question in questions:
        started, used = time.perf_counter(), time.process_time()
        results.append(search(question))
        wall.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - used))
    return results, {"p50_ms": statistics.median(wall), "p50_cpu_ms": statistics.median(cpu)}


def recall(found: Sequence[Sequence[str]], gold: Sequence[str]) -> float:
    """Share of questions whose document is among the documents found."""
    return float(np.mean([name in names for names, name in zip(found, gold, strict=True)]))


def tf_idf(texts: dict[str, str]) -> Callable[[str], list[str]]:
    """scikit-learn's TF-IDF as it comes, English stop words, top 20 by cosine."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = np.array(list(texts))
    vectoriser = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    matrix = vectoriser.fit_transform(texts.values()).T.tocsr()

    def search(question: str) -> list[str]:
        scores = (vectoriser.transform([question]) @ matrix).toarray()[0]
        best = np.argpartition(-scores, 20)[:20]
        return names[best[np.argsort(-scores[best])]].tolist()

    return search


def run(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    settings = Settings()
    folder = options.data / "squad"
    if not (folder / "train-v1.0.json").is_file():
        raise UsageError(f"no SQuAD files in {folder}", remedy="Give --data the data folder")
    corpus = build_corpus(folder, options.documents, options.base)
    chosen = np.random.default_rng(1).permutation(len(corpus.questions))[: options.questions]
    questions = [corpus.questions[i][0] for i in chosen]
    gold = [corpus.questions[i][1] for i in chosen]
    embedder = load_embedder(settings.embedder, device=settings.device, threads=settings.threads)
    started = time.perf_counter()
    workspace = fill(home, corpus, embedder, settings)
    filled_s = time.perf_counter() - started
    chunks = workspace.chunk_count()
    print(f"store            {len(corpus.texts)} documents, {chunks} chunks, {filled_s:.0f} s to build", flush=True)

    lazy = LazyEmbedder(settings)
    # Below the limit the index is exact anyway: so that --short shows the approximate one, too, it is lowered there.
    limit = min(settings.retrieval.flat_limit, max(1000, chunks // 2))
    approximate = settings.retrieval.model_copy(update={"flat_limit": limit})
    exact = settings.retrieval.model_copy(update={"flat_limit": 10 * chunks + 1000})
    results: dict[str, Any] = {"documents": len(corpus.texts), "chunks": chunks, "build_s": filled_s}

    def names_of(hits: Sequence[Hit]) -> list[str]:
        return [hit.chunk.document for hit in hits]

    retriever = HybridRetriever(workspace, lazy, approximate)
    retriever.search(questions[0], 20)  # builds the index
    hits, results["coarse"] = timed(lambda q: retriever.search(q, 20), questions)
    results["coarse"]["recall_20"] = recall([names_of(h) for h in hits], gold)
    results["coarse"]["recall_5"] = recall([names_of(h)[:5] for h in hits], gold)
    locator = build_locator(lazy, workspace, settings)
    results["locator"] = locator.name
    locator.locate(questions[0], retriever.search(questions[0], 10))
    fresh = [question + " " for question in questions]  # no cache of embedded questions is hit
    _, results["coarse_and_fine"] = timed(lambda q: locator.locate(q, retriever.search(q, 10)), fresh)
    results["resident_mib"] = resident_mib()
    exactly = HybridRetriever(workspace, LazyEmbedder(settings), exact)
    exactly.search(questions[0], 20)
    hits, results["exact"] = timed(lambda q: exactly.search(q, 20), questions)
    results["exact"]["recall_20"] = recall([names_of(h) for h in hits], gold)
    found, results["tf_idf"] = timed(tf_idf(corpus.texts), questions)
    results["tf_idf"]["recall_20"] = recall(found, gold)
    workspace.close()

    results["recall_kept"] = results["coarse"]["recall_20"] / max(1e-9, results["exact"]["recall_20"])
    results["times_faster_than_tf_idf"] = results["tf_idf"]["p50_ms"] / results["coarse"]["p50_ms"]
    for name in ("coarse", "exact", "tf_idf", "coarse_and_fine"):
        values = results[name]
        print(f"{name:16} " + "  ".join(f"{k} {v:.3f}" if "recall" in k else f"{k} {v:.1f}" for k, v in values.items()))
    print(f"recall kept      {results['recall_kept']:.3f} of exact search's recall@20")
    print(f"TF-IDF / coarse  {results['times_faster_than_tf_idf']:.1f} times")
    print(f"memory           {results['resident_mib']:.0f} MiB resident, searching with the {locator.name} locator")
    return results


def main() -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="3,000 documents, 60 questions")
    parser.add_argument("--documents", type=int, help="documents in the store (default 100,000)")
    parser.add_argument("--base", type=int, help="train paragraphs to recombine (default 4,000)")
    parser.add_argument("--questions", type=int, help="questions asked (default 300)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data folder")
    parser.add_argument("--home", type=Path, help="keep the workspace here (default: a temporary folder)")
    options = parser.parse_args()
    options.documents = options.documents or (3000 if options.short else 100_000)
    options.base = options.base or (400 if options.short else 4000)
    options.questions = options.questions or (60 if options.short else 300)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, commit {commit}")
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, options.home or Path(folder))
    print(json.dumps({"benchmark": "scale", "commit": commit, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
