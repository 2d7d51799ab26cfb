"""How fast files become searchable and embedded, in how much memory, and how faithful the fast embedder is.

    python -m benchmarks.ingest [--short] [--data PATH]

Side by side, in the same run over the same files, with what people do otherwise: LangChain's PyPDFLoader +
RecursiveCharacterTextSplitter + HuggingFaceEmbeddings (the same weights) + FAISS.from_documents. Both start as fresh
processes; starting Python and loading the model count. Wall time depends on what else the machine does; CPU time (all
processes) does so less, and the ratios of one run least.

Memory is the peak of the summed proportional set sizes of the process and its children, sampled every 0.2 s, at two
sizes: a flat store needs no more for more pages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UsageError, cli_main
from core.settings import EmbedderSettings
from ingest.embedders import load_embedder
from ingest.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "financebench" / "pdfs"
SHORT_FILES = 2
DEFAULT_FILES = 8
FIDELITY_PASSAGES = 128


@dataclass(frozen=True)
class Run:
    """One command, measured from its start to its end."""

    wall_s: float
    cpu_s: float  # user and system, children included
    peak_mb: float
    output: str


def measure(command: Sequence[str], environment: dict[str, str]) -> Run:
    """Run `command`. Raises RuntimeError with its last words if it fails."""
    before = os.times()
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        peak = _PeakMemory(process.pid)
        output, _ = process.communicate()
        wall = time.monotonic() - start
        errors.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:4])} ... failed: {errors.read()[-500:]}")
    after = os.times()
    cpu = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return Run(wall, cpu, peak.stop(), output)


class _PeakMemory:
    def __init__(self, pid: int) -> None:
        self._peak = 0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        import psutil

        while not self._done.wait(0.2):
            total = 0
            try:
                root = psutil.Process(self._pid)
                for process in [root, *root.children(recursive=True)]:
                    try:
                        info = process.memory_full_info()
                        total += getattr(info, "pss", info.uss)  # shared pages once, where the system tells
                    except psutil.Error:
                        continue
            except psutil.Error:
                continue
            self._peak = max(self._peak, total)

    def stop(self) -> float:
        """Peak in MiB."""
        self._done.set()
        self._thread.join()
        return self._peak / 2**20


def lectern(files: Sequence[Path], home: Path) -> tuple[Run, Run, dict[str, Any]]:
    """(to searchable, then to embedded, what was stored) by the command line itself."""
    command = [sys.executable, "-m", "ingest", *map(str, files), "--home", str(home), "--json"]
    searchable = measure([*command, "--no-embed"], {})
    embedded = measure(command, {})
    stored = json.loads(embedded.output)
    assert stored["not_embedded"] == 0
    return searchable, embedded, stored


def langchain_pipeline(files: Sequence[str]) -> dict[str, int]:
    """The usual recipe, as its documentation has it; runs in a process of its own (`--recipe`)."""
    from langchain_community.document_loaders import PyPDFLoader
    from langchain_community.vectorstores import FAISS
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    from ingest.embedders import model_source

    pages = [page for file in files for page in PyPDFLoader(file).load()]
    chunks = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200).split_documents(pages)
    model = HuggingFaceEmbeddings(model_name=model_source(EmbedderSettings().model), model_kwargs={"device": "cpu"})
    FAISS.from_documents(chunks, model)
    return {"pages": len(pages), "chunks": len(chunks)}


def fidelity(home: Path) -> tuple[float, float]:
    """Mean and smallest cosine of the stored vectors to float32 ones of the same passages."""
    from ingest.embedders import passage_text

    with Workspace.open(home, create=False) as workspace:
        ids, vectors = workspace.vectors()
        step = max(1, len(ids) // FIDELITY_PASSAGES)
        texts = [passage_text(chunk) for chunk in workspace.chunks(ids[::step])]
    exact = load_embedder(EmbedderSettings(dtype="float32")).embed_passages(texts)
    cosines = (exact * vectors[::step]).sum(axis=1)
    return float(cosines.mean()), float(cosines.min())


def choose(data: Path, short: bool) -> list[Path]:
    """The files to measure: the smallest of a folder (two, or eight), or all that `--data` names by itself."""
    files = (
        sorted(data.glob("**/*.pdf"), key=lambda path: (path.stat().st_size, path.name)) if data.is_dir() else [data]
    )
    if not files or not files[0].exists():
        raise UsageError(f"there are no PDFs in {data}", remedy="Name a folder or a file with --data PATH")
    return files[: SHORT_FILES if short else DEFAULT_FILES]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help=f"{SHORT_FILES} files instead of {DEFAULT_FILES}")
    parser.add_argument("--data", type=Path, default=DATA, metavar="PATH", help="a PDF or a folder of PDFs")
    parser.add_argument("--recipe", nargs="+", metavar="PDF", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.recipe:
        print(json.dumps(langchain_pipeline(options.recipe)))
        return 0
    files = choose(options.data, options.short)
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as folder:
        few = files[: max(1, len(files) // 4)]
        few_searchable, few_embedded, few_stored = lectern(few, Path(folder) / "few")
        searchable, embedded, stored = lectern(files, Path(folder) / "all")
        recipe = measure([sys.executable, "-m", "benchmarks.ingest", "--recipe", *map(str, files)], {})
        mean, least = fidelity(Path(folder) / "all")
    result = _result(few_stored, stored, few_searchable, few_embedded, searchable, embedded, recipe)
    result |= {"fidelity_mean": round(mean, 5), "fidelity_min": round(least, 5), **_where(), "short": options.short}
    print(_table(result))
    print(json.dumps(result))
    return 0


def _result(
    few_stored: dict[str, Any],
    stored: dict[str, Any],
    few_searchable: Run,
    few_embedded: Run,
    searchable: Run,
    embedded: Run,
    recipe: Run,
) -> dict[str, Any]:
    pages = sum(file["pages"] for file in stored["files"])
    few_pages = sum(file["pages"] for file in few_stored["files"])
    whole_wall, whole_cpu = searchable.wall_s + embedded.wall_s, searchable.cpu_s + embedded.cpu_s
    theirs = json.loads(recipe.output.strip().splitlines()[-1])
    return {
        "benchmark": "ingest",
        "files": len(stored["files"]),
        "pages": pages,
        "chunks": sum(file["chunks"] for file in stored["files"]),
        "searchable_pages_per_s": round(pages / searchable.wall_s, 1),
        "searchable_pages_per_cpu_s": round(pages / searchable.cpu_s, 1),
        "embedded_pages_per_s": round(pages / whole_wall, 2),
        "embedded_pages_per_cpu_s": round(pages / whole_cpu, 2),
        "recipe_chunks": theirs["chunks"],
        "recipe_pages_per_s": round(theirs["pages"] / recipe.wall_s, 2),
        "recipe_pages_per_cpu_s": round(theirs["pages"] / recipe.cpu_s, 2),
        "speedup_wall": round(recipe.wall_s / whole_wall, 2),
        "speedup_cpu": round(recipe.cpu_s / whole_cpu, 2),
        "few_pages": few_pages,
        "searchable_peak_mb": [round(few_searchable.peak_mb), round(searchable.peak_mb)],
        "embedded_peak_mb": [round(few_embedded.peak_mb), round(embedded.peak_mb)],
        "recipe_peak_mb": round(recipe.peak_mb),
    }


def _where() -> dict[str, Any]:
    import psutil

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load_average": round(os.getloadavg()[0], 1),
        "commit": commit.stdout.strip() or "unknown",
    }


def _table(result: dict[str, Any]) -> str:
    few, pages = result["few_pages"], result["pages"]
    rows = [
        ("", "pages/s", "pages/CPU-s", "peak MiB"),
        (
            "searchable by words",
            result["searchable_pages_per_s"],
            result["searchable_pages_per_cpu_s"],
            "{} -> {}".format(*result["searchable_peak_mb"]),
        ),
        (
            "searchable and embedded",
            result["embedded_pages_per_s"],
            result["embedded_pages_per_cpu_s"],
            "{} -> {}".format(*result["embedded_peak_mb"]),
        ),
        (
            "LangChain recipe",
            result["recipe_pages_per_s"],
            result["recipe_pages_per_cpu_s"],
            result["recipe_peak_mb"],
        ),
    ]
    lines = [f"{row[0]:<26}{row[1]!s:>10}{row[2]!s:>14}{row[3]!s:>16}" for row in rows]
    return "\n".join(
        [
            f"ingest: {result['files']} PDFs, {pages} pages, {result['chunks']} chunks"
            f" (recipe {result['recipe_chunks']}); peaks at {few} -> {pages} pages",
            f"{result['hardware']}, load {result['load_average']}, commit {result['commit']}",
            *lines,
            f"end to end {result['speedup_wall']}x the recipe by the clock, {result['speedup_cpu']}x by CPU time",
            f"cosine to float32: mean {result['fidelity_mean']}, min {result['fidelity_min']}",
        ]
    )


if __name__ == "__main__":
    sys.exit(cli_main(main))
