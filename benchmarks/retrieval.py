"""Coarse retrieval: is the right passage or page among the first k? One set of settings for all collections.

    python -m benchmarks.retrieval [--short] [--data ../shared/data] [--home DIR]

 squad         SQuAD 1.1 dev paragraphs, each a document of its own; recall@k of the question's paragraph, MRR
 cmrc          the same in Chinese
 passages      three long texts; share of each answer's characters inside the first k chunks
 financebench  filings as PDF; is one of the evidence pages among the first k distinct pages: in the store shared by all
               filings, and with the document known

Side by side in one run: BM25, dense (MiniLM), both mixed by ranks (RRF) and by a fixed weight (min-max, 0.5), and this
project's retriever. Everything goes through `python -m ingest`'s pipeline; --home keeps the workspaces for the next
run. Latency is the retriever's with everything in it (embedding of the question too), on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UsageError, cli_main
from core.settings import Settings, load_settings
from ingest.embedders import Embedder, load_embedder
from ingest.pipeline import ingest_paths
from ingest.tokens import query_terms
from ingest.workspace import Workspace
from rag.fusion import min_max_fusion, reciprocal_rank_fusion
from rag.retriever import HybridRetriever
from rag.types import Hit

KS = (1, 5, 10, 20)
DEPTH = 60  # hits asked for, so that 20 distinct pages are among them
PLAIN = ("bm25", "dense", "rrf", "fixed 0.5")


@dataclass(frozen=True)
class Place:
    """Where a hit stands."""

    document: str
    page: int
    start: int
    end: int


Method = Callable[[str], list[Place]]


class Searcher:
    """One workspace, searched by every method."""

    def __init__(self, workspace: Workspace, embedder: Embedder, settings: Settings) -> None:
        self.workspace, self.embedder = workspace, embedder
        self.retriever = HybridRetriever(workspace, embedder, settings.retrieval, threads=1)
        self.retriever.warm_up()
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def lectern(self, question: str, documents: Sequence[str] | None = None) -> list[Place]:
        wall, cpu = time.perf_counter(), time.process_time()
        hits = self.retriever.search(question, DEPTH, documents=documents)
        self.wall_ms.append((time.perf_counter() - wall) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu) * 1e3)
        return [_place(hit) for hit in hits]

    def plain(self, question: str, documents: Sequence[str] | None = None) -> dict[str, list[Place]]:
        """The usual methods over the same chunks and vectors."""
        index = self.retriever.current_index()
        words = index.words
        lexical = words.lexical.score(query_terms(question)).bm25
        assert index.vectors is not None and index.vectors.complete, "not all chunks are embedded"
        dense = index.vectors.similarity(self.embedder.embed_query(question), np.arange(len(words)))
        if documents is not None:
            outside = ~np.isin(words.document_of, [i for i, d in enumerate(words.documents) if d.name in documents])
            lexical, dense = np.where(outside, -1.0, lexical), np.where(outside, -1.0, dense)
        by_words, by_meaning = _top(lexical), _top(dense)
        pool = np.union1d(by_words, by_meaning)
        mixed = pool[np.argsort(-min_max_fusion(dense[pool], lexical[pool], 0.5), kind="stable")]
        ranked = reciprocal_rank_fusion([[str(row) for row in rows] for rows in (by_words, by_meaning)], k=10)
        rows = {
            "bm25": by_words.tolist(),
            "dense": by_meaning.tolist(),
            "rrf": [int(row) for row, _ in ranked],
            "fixed 0.5": mixed.tolist(),
        }
        return {name: self._places(found[:DEPTH]) for name, found in rows.items()}

    def _places(self, rows: Iterable[int]) -> list[Place]:
        ids = self.retriever.current_index().words.chunk_ids([int(row) for row in rows])
        return [Place(chunk.document, chunk.page, chunk.start, chunk.end) for chunk in self.workspace.chunks(ids)]


def _place(hit: Hit) -> Place:
    return Place(hit.chunk.document, hit.chunk.page, hit.chunk.start, hit.chunk.end)


def _top(values: np.ndarray, depth: int = 100) -> np.ndarray:
    return np.argsort(-values, kind="stable")[:depth]


def _rank(keys: Iterable[object], right: set[object]) -> int:
    """Rank from 1 of the first right one among distinct keys; a large number if there is none."""
    for rank, key in enumerate(dict.fromkeys(keys), start=1):
        if key in right:
            return rank
    return 10**9


def _recalls(ranks: Sequence[int]) -> dict[str, float]:
    values = np.asarray(ranks, np.float64)
    result = {f"R@{k}": round(float((values <= k).mean()), 4) for k in KS}
    return result | {"MRR": round(float((1.0 / values).mean()), 4)}


def paragraphs(searcher: Searcher, questions: Sequence[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Recall of the document that holds the answer: (question, document name) pairs."""
    ranks: dict[str, list[int]] = {name: [] for name in (*PLAIN, "lectern")}
    for question, document in questions:
        for name, places in {**searcher.plain(question), "lectern": searcher.lectern(question)}.items():
            ranks[name].append(_rank((place.document for place in places), {document}))
    return {name: _recalls(found) for name, found in ranks.items()}


def filings(searcher: Searcher, questions: Sequence[dict], known: bool) -> dict[str, dict[str, float]]:
    """Recall of evidence pages among distinct (document, page)."""
    ranks: dict[str, list[int]] = {name: [] for name in (*PLAIN, "lectern")}
    for record in questions:
        document = record["doc_name"] + ".pdf"
        right: set[object] = {(document, evidence["evidence_page_num"] + 1) for evidence in record["evidence"]}
        documents = [document] if known else None
        question = record["question"]
        found = {**searcher.plain(question, documents), "lectern": searcher.lectern(question, documents)}
        for name, places in found.items():
            ranks[name].append(_rank(((place.document, place.page) for place in places), right))
    return {name: _recalls(values) for name, values in ranks.items()}


def spans(searcher: Searcher, questions: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Share of the references' characters inside the first k chunks, mean over questions."""
    shares: dict[str, list[list[float]]] = {name: [] for name in (*PLAIN, "lectern")}
    for record in questions:
        references = [(reference["start_index"], reference["end_index"]) for reference in record["references"]]
        document, question = record["corpus"] + ".md", record["question"]
        for name, places in {**searcher.plain(question), "lectern": searcher.lectern(question)}.items():
            shares[name].append([_covered(references, [p for p in places[:k] if p.document == document]) for k in KS])
    return {
        name: {f"R@{k}": round(float(value), 4) for k, value in zip(KS, np.mean(rows, axis=0), strict=True)}
        for name, rows in shares.items()
    }


def _covered(references: Sequence[tuple[int, int]], places: Sequence[Place]) -> float:
    wanted = {character for start, end in references for character in range(start, end)}
    found = {character for place in places for character in range(place.start, place.end)}
    return len(wanted & found) / max(1, len(wanted))


def squad_folder(source: Path, folder: Path, limit: int) -> list[tuple[str, str]]:
    """Write each paragraph of a SQuAD file as a text file; (question, file name) pairs, `limit` of them drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, article in enumerate(json.loads(source.read_text(encoding="utf-8"))["data"]):
        title = "".join(c if c.isalnum() else "_" for c in article.get("title", f"article_{number}"))
        for place, paragraph in enumerate(article["paragraphs"]):
            path = folder / f"{title}-{place:03}.txt"
            if not path.exists():
                path.write_text(paragraph["context"], encoding="utf-8")
            pairs += [(question["question"], path.name) for question in paragraph["qas"]]
    drawn = np.random.default_rng(0).permutation(len(pairs))[:limit]
    return [pairs[i] for i in drawn]


def run(settings: Settings, data: Path, short: bool) -> dict:
    """All collections that are there. Raises UsageError if none is."""
    embedder = load_embedder(settings.embedder, device=settings.device, threads=1)
    results: dict = {}
    sources = settings.home / "sources"

    def searcher(name: str, paths: list[Path]) -> Searcher:
        workspace = Workspace.open(settings.home, name)
        failed = [r for r in ingest_paths(workspace, paths, settings=settings) if r.status == "failed"]
        for report in failed:
            print(f"  {report.name}: {report.reason}")
        return Searcher(workspace, embedder, settings)

    def note(name: str, used: Searcher, table: dict[str, dict[str, float]], questions: int) -> None:
        results[name] = table | {"questions": questions, "latency_ms": _latency(used)}
        print(_table(name, table, questions, results[name]["latency_ms"]), flush=True)
        used.wall_ms.clear()
        used.cpu_ms.clear()

    for name, file, limit in (
        ("squad", data / "squad" / "dev-half-v1.1.json", 300 if short else 10**6),
        ("cmrc", data / "cmrc2018" / "trial.json", 100 if short else 10**6),
    ):
        if file.is_file():
            pairs = squad_folder(file, sources / name, limit)
            used = searcher(name, [sources / name])
            note(name, used, paragraphs(used, pairs), len(pairs))
    folder = data / "passages"
    if (folder / "questions.jsonl").is_file():
        records = _records(folder / "questions.jsonl")[:: 4 if short else 1]
        used = searcher("passages", sorted(folder.glob("*.md")))
        note("passages", used, spans(used, records), len(records))
    folder = data / "financebench"
    if (folder / "questions.jsonl").is_file():
        files = sorted((folder / "pdfs").glob("*.pdf"))
        files = sorted(files, key=lambda path: path.stat().st_size)[:4] if short else files
        stems = {path.stem for path in files}
        records = [record for record in _records(folder / "questions.jsonl") if record["doc_name"] in stems]
        used = searcher("financebench-short" if short else "financebench", files)
        for known in (False, True):
            title = "financebench, document known" if known else "financebench, shared store"
            note(title, used, filings(used, records, known), len(records))
    if not results:
        raise UsageError(f"{data} holds none of squad, cmrc2018, passages, financebench", remedy="Give --data PATH")
    return results


def _records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _latency(searcher: Searcher) -> dict[str, float]:
    return {
        f"{kind}_p{q}": round(float(np.percentile(values, q)), 1)
        for kind, values in (("wall", searcher.wall_ms), ("cpu", searcher.cpu_ms))
        for q in (50, 95)
    }


def _table(name: str, table: dict[str, dict[str, float]], questions: int, latency: dict[str, float]) -> str:
    columns = list(next(iter(table.values())))
    lines = [f"\n{name} ({questions} questions)", f"  {'':10}" + "".join(f"{column:>8}" for column in columns)]
    for method, values in table.items():
        lines.append(f"  {method:10}" + "".join(f"{values[column]:8.3f}" for column in columns))
    lines.append("  lectern, ms a question: " + ", ".join(f"{key} {value}" for key, value in latency.items()))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="a sample of the questions and the four smallest filings")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder (default: ../shared/data)")
    parser.add_argument(
        "--home", type=Path, help="keep the workspaces here for the next run (default: a temporary one)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = run(load_settings(options.home or Path(temporary)), options.data, options.short)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(
        json.dumps({"benchmark": "retrieval", "commit": commit, "machine": machine, "short": options.short, **results})
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
