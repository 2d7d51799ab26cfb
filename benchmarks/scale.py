"""One store of 100,000 documents: how quick and how good is the search, coarse and fine, and what memory does it take?

    python -m benchmarks.scale [--short] [--data ../shared/data] [--documents 100000] [--home DIR]

The documents are SQuAD train's paragraphs recombined (sentences of one article, drawn anew, as many as make up the
length of one of its paragraphs) and, among them, the paragraphs of SQuAD dev, whose questions are asked. Every one is
read, cut, stored and embedded as at ingest, by the same functions in one process (for so many small files the
pipeline's reading processes cost more than the reading). With --home the store is kept, found again by a second run,
and completed where a run was cut off: most of an hour of one core is the embedding of 100,000 paragraphs.

 coarse       this project's retriever (words, meaning, fusion; embedding the question included), p50; also apart:
              `embed`, the question through the sentence encoder, and `search`, everything else
 exact        the same retriever over an exact vector index: what approximation costs in recall@20
 TF-IDF       scikit-learn's TfidfVectorizer and `linear_kernel` over the same documents (top 20), as its documentation
              searches; `inverted` is the same matrix transposed, an inverted index, the quickest way to use it
 fine         coarse search and the locator over its best five windows, p50
 memory       resident size of a process that has opened the indexed store and answered, and nothing else

Each side is measured in a process of its own, one thread, one after the other, on the same questions.
"""

from __future__ import annotations

import argparse
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
from core.runtime import bound_kernels
from core.settings import RetrievalSettings, Settings
from ingest.sentences import sentence_spans

WORKSPACE = "scale"
SIDES = ("ours", "exact", "tf_idf")
MOST_WORDS = 120  # of a recombined paragraph, before its last sentence: most fit into one passage of the store


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Texts by file name, and (question, file name) pairs."""

    texts: dict[str, str]
    questions: list[tuple[str, str]]


def build_corpus(folder: Path, documents: int) -> Corpus:
    """Dev paragraphs and as many recombined train paragraphs as make up `documents`; the same at every call."""
    dev = json.loads((folder / "dev-half-v1.1.json").read_text(encoding="utf-8"))["data"]
    train = json.loads((folder / "train-v1.0.json").read_text(encoding="utf-8"))["data"]
    texts: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    for paragraph in (p for article in dev for p in article["paragraphs"]):
        name = f"dev-{len(texts):05}.txt"
        texts[name] = paragraph["context"]
        questions += [(qa["question"], name) for qa in paragraph["qas"]]
    articles = [[paragraph["context"] for paragraph in article["paragraphs"]] for article in train]
    sentences = [
        [text[start:end].strip() for text in paragraphs for start, end in sentence_spans(text)]
        for paragraphs in articles
    ]
    rng = np.random.default_rng(0)
    while len(texts) < documents:
        article = int(rng.integers(len(articles)))
        like = articles[article][int(rng.integers(len(articles[article])))]
        wanted, taken, words = min(len(like.split()), MOST_WORDS), [], 0
        for number in rng.permutation(len(sentences[article])):
            if words >= wanted:
                break
            taken.append(sentences[article][number])
            words += len(taken[-1].split())
        texts[f"mix-{len(texts):06}.txt"] = " ".join(taken)
    return Corpus(texts, questions)


def _approximate(settings: Settings, chunks: int) -> RetrievalSettings:
    """Below the limit the index is exact: so that --short shows the approximate one, too, it is lowered there."""
    limit = min(settings.retrieval.flat_limit, max(1000, chunks // 2))
    return settings.retrieval.model_copy(update={"flat_limit": limit})


def fill(home: Path, corpus: Corpus, settings: Settings) -> None:
    """Store and embed what is not in the workspace yet."""
    from ingest.embedders import load_embedder, load_token_counter
    from ingest.embedding import embed_pending
    from ingest.prepared import prepare, recipe
    from ingest.workspace import Workspace
    from rag.engine import LazyEmbedder
    from rag.retriever import HybridRetriever

    count_tokens, made_by = load_token_counter(settings.embedder), recipe(settings.ingest)
    with Workspace.open(home, WORKSPACE) as workspace, tempfile.TemporaryDirectory() as folder:
        present = {info.name for info in workspace.documents()}
        for name, text in corpus.texts.items():
            if name in present:
                continue
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            with workspace.originals.incoming(path, name) as incoming:
                document = prepare(
                    path, name=name, sha256=incoming.sha256, settings=settings.ingest, count_tokens=count_tokens
                )
                workspace.put(document, incoming, source="", recipe=made_by)
            path.unlink()
        embedder = load_embedder(settings.embedder, device=settings.device, threads=settings.threads)
        embed_pending(workspace, embedder)
        # A server keeps the index that its first question has built: this is that question.
        HybridRetriever(workspace, LazyEmbedder(settings), _approximate(settings, workspace.chunk_count())).warm_up()


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


def tf_idf(corpus: Corpus, questions: list[str], gold: list[str]) -> dict[str, Any]:
    """scikit-learn's TF-IDF as it comes, English stop words, top 20 by cosine."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import linear_kernel

    names = np.array(list(corpus.texts))
    vectoriser = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    matrix = vectoriser.fit_transform(corpus.texts.values())
    lists = matrix.T.tocsr()

    def best(scores: np.ndarray) -> list[str]:
        top = np.argpartition(-scores, 20)[:20]
        return names[top[np.argsort(-scores[top])]].tolist()

    found, as_it_comes = timed(lambda q: best(linear_kernel(vectoriser.transform([q]), matrix)[0]), questions)
    _, inverted = timed(lambda q: best((vectoriser.transform([q]) @ lists).toarray()[0]), questions)
    return {
        "tf_idf": {**as_it_comes, "recall_20": recall(found, gold), "resident_mib": resident_mib()},
        "tf_idf_inverted": inverted,
    }


def ours(options: argparse.Namespace, questions: list[str], gold: list[str], *, exact: bool) -> dict[str, Any]:
    """Coarse and fine search over the store in --home; `exact`: coarse search over an exact vector index."""
    from ingest.workspace import Workspace
    from rag.engine import LazyEmbedder, build_locator
    from rag.retriever import HybridRetriever

    settings = Settings()
    workspace = Workspace.open(options.home, WORKSPACE)
    chunks = workspace.chunk_count()
    chosen = _approximate(settings, chunks)
    if exact:
        chosen = chosen.model_copy(update={"flat_limit": 10 * chunks + 1000})
    embedder = LazyEmbedder(settings)
    retriever = HybridRetriever(workspace, embedder, chosen)
    started = time.perf_counter()
    retriever.search(questions[0], 20)
    ready_s = time.perf_counter() - started
    embedding: list[tuple[float, float]] = []  # milliseconds by the clock and of this process
    embed_query = embedder.embed_query

    def watched(text: str) -> np.ndarray:
        wall, cpu = time.perf_counter(), time.process_time()
        vector = embed_query(text)
        embedding.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
        return vector

    embedder.embed_query = watched  # type: ignore[method-assign]
    each: list[tuple[float, float]] = []

    def search(question: str) -> list[Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        found = retriever.search(question, 20)
        each.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
        return found

    hits, coarse = timed(search, questions)
    if len(embedding) == len(each):  # every question was embedded anew
        both = np.array(each) - np.array(embedding)
        coarse |= {"embed_p50_ms": float(np.median([wall for wall, _ in embedding]))}
        coarse |= {"embed_p50_cpu_ms": float(np.median([cpu for _, cpu in embedding]))}
        coarse |= {"search_p50_ms": float(np.median(both[:, 0])), "search_p50_cpu_ms": float(np.median(both[:, 1]))}
    names = [[hit.chunk.document for hit in found] for found in hits]
    coarse |= {"recall_20": recall(names, gold), "recall_5": recall([found[:5] for found in names], gold)}
    if exact:
        return {"exact": coarse}
    locator = build_locator(embedder, workspace, settings)
    locator.locate(questions[0], retriever.search(questions[0], 10))
    fresh = [question + " " for question in questions]  # no cache of embedded questions is hit
    _, fine = timed(lambda q: locator.locate(q, retriever.search(q, 10)), fresh)
    workspace.close()
    return {
        "chunks": chunks, "locator": locator.name, "ready_s": ready_s, "coarse": coarse, "coarse_and_fine": fine,
        "resident_mib": resident_mib(), "embedding_bounds": embedding_bounds(embedder),
    }  # fmt: skip


def embedding_bounds(embedder: Any) -> dict[str, float]:
    """What bounds the embedding of a question of 16 tokens: reading the weights once, and the products alone, ms CPU.

    {} where the model is not ingest/bert.py's, packed.
    """
    import torch

    layers = getattr(getattr(embedder.load(), "_model", None), "layers", None)
    if not isinstance(layers, list):
        return {}
    linears = [linear for layer in layers for linear in (layer.qkv, layer.out, layer.up, layer.down)]
    config = embedder.load()._model.config
    narrow, wide = (torch.ones(16, width, dtype=torch.bfloat16) for width in (config.dim, config.inner_dim))
    weights = config.layers * (4 * config.dim**2 + 2 * config.dim * config.inner_dim)
    as_large = np.ones(weights // 4, np.int64)  # two bytes a weight

    def products() -> None:
        with torch.inference_mode():
            for place, linear in enumerate(linears):
                linear(wide if place % 4 == 3 else narrow)

    _, reading = timed(lambda _: as_large.max(), [""] * 30)
    _, multiplying = timed(lambda _: products(), [""] * 30)
    return {
        "weights_mib": weights * 2 / 2**20,
        "read_cpu_ms": reading["p50_cpu_ms"],
        "products_cpu_ms": multiplying["p50_cpu_ms"],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    asked = options.home / "questions.json"
    if options.measure in ("ours", "exact"):  # the resident size is that of the search: the corpus is not read
        questions, gold = json.loads(asked.read_text(encoding="utf-8"))
        return ours(options, questions, gold, exact=options.measure == "exact")
    corpus = build_corpus(options.data / "squad", options.documents)
    chosen = np.random.default_rng(1).permutation(len(corpus.questions))[: options.questions]
    questions, gold = ([corpus.questions[i][part] for i in chosen] for part in (0, 1))
    if options.measure == "tf_idf":
        return tf_idf(corpus, questions, gold)
    started = time.process_time()
    options.home.mkdir(parents=True, exist_ok=True)
    asked.write_text(json.dumps([questions, gold]), encoding="utf-8")
    fill(options.home, corpus, Settings())
    return {"documents": len(corpus.texts), "fill_cpu_s": time.process_time() - started}


def in_own_process(options: argparse.Namespace, home: Path, side: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scale", "--measure", side, "--home", str(home)]
    for name in ("data", "documents", "questions"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    folder = options.data / "squad"
    if not (folder / "train-v1.0.json").is_file():
        raise UsageError(f"no SQuAD files in {folder}", remedy="Give --data the data folder")
    results = in_own_process(options, home, "fill")
    print(f"store            {results['documents']} documents, {results['fill_cpu_s']:.0f} CPU-s to build", flush=True)
    for side in SIDES:
        results |= in_own_process(options, home, side)
    results["recall_kept"] = results["coarse"]["recall_20"] / max(1e-9, results["exact"]["recall_20"])
    results["times_faster_than_tf_idf"] = results["tf_idf"]["p50_ms"] / results["coarse"]["p50_ms"]
    for name in ("coarse", "exact", "tf_idf", "tf_idf_inverted", "coarse_and_fine"):
        values = results[name]
        print(f"{name:16} " + "  ".join(f"{k} {v:.3f}" if "recall" in k else f"{k} {v:.1f}" for k, v in values.items()))
    print(f"recall kept      {results['recall_kept']:.3f} of exact search's recall@20")
    by_cpu = results["tf_idf"]["p50_cpu_ms"] / results["coarse"]["p50_cpu_ms"]
    results["times_faster_than_tf_idf_cpu"] = by_cpu
    print(f"TF-IDF / coarse  {results['times_faster_than_tf_idf']:.1f} times; by CPU time {by_cpu:.1f} times", end="")
    if "search_p50_cpu_ms" in results["coarse"]:
        ratio = results["tf_idf"]["p50_cpu_ms"] / results["coarse"]["search_p50_cpu_ms"]
        results["search_times_faster_than_tf_idf"] = ratio
        print(f", without the embedding of the question {ratio:.1f} times", end="")
    print()
    if bounds := results["embedding_bounds"]:
        print(
            f"embedding        {bounds['weights_mib']:.0f} MiB of weights are read in {bounds['read_cpu_ms']:.1f} ms; "
            f"the products of 16 tokens alone take {bounds['products_cpu_ms']:.1f} ms of CPU"
        )
    print(
        f"memory           {results['resident_mib']:.0f} MiB resident, {results['chunks']} chunks, "
        f"{results['locator']} locator; {results['ready_s']:.1f} s to the first result"
    )
    return results


def main() -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    bound_kernels()  # as the server does
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="3,000 documents, 60 questions")
    parser.add_argument("--documents", type=int, help="documents in the store (default 100,000)")
    parser.add_argument("--questions", type=int, help="questions asked (default 300)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data folder")
    parser.add_argument("--home", type=Path, help="keep the workspace here (default: a temporary folder)")
    parser.add_argument("--measure", choices=("fill", *SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.documents = options.documents or (3000 if options.short else 100_000)
    options.questions = options.questions or (60 if options.short else 300)
    if options.measure:
        print(json.dumps(measure(options)))
        return 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, commit {commit}")
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, options.home or Path(folder))
    print(json.dumps({"benchmark": "scale", "commit": commit, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
