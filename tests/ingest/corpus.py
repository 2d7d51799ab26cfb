"""Small documents made for tests, and a way to compare what two workspaces hold."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.settings import Settings, load_settings
from ingest.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
HASHING = "hashing:64"
_WORDS = [
    "lease",
    "tenant",
    "landlord",
    "rent",
    "premises",
    "deposit",
    "notice",
    "termination",
    "repair",
    "insurance",
    "clause",
    "payment",
    "month",
    "annual",
    "interest",
    "schedule",
    "property",
    "utility",
    "assignment",
    "default",
    "remedy",
    "covenant",
    "inspection",
    "access",
    "parking",
    "storage",
]


def prose(seed: int, sentences: int = 40) -> str:
    """Deterministic text of paragraphs."""
    dice = random.Random(seed)
    lines = []
    for number in range(sentences):
        words = " ".join(dice.choice(_WORDS) for _ in range(dice.randint(6, 16)))
        lines.append(f"{words.capitalize()} {seed}{number:03d}.")
    return "\n\n".join(" ".join(lines[i : i + 5]) for i in range(0, len(lines), 5)) + "\n"


def write_pdf(path: Path, pages: list[str], *, password: str = "") -> Path:
    """A PDF with a text layer; `password` encrypts it."""
    from reportlab.pdfgen import canvas

    sheet = canvas.Canvas(str(path), encrypt=password or None, invariant=1)
    for text in pages:
        y = 780
        for start in range(0, len(text), 90):
            sheet.drawString(50, y, text[start : start + 90].replace("\n", " "))
            y -= 14
        sheet.showPage()
    sheet.save()
    return path


def write_scan(path: Path) -> Path:
    """A PDF whose only page is a picture."""
    from PIL import Image, ImageDraw
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen import canvas

    picture = Image.new("L", (400, 200), 255)
    ImageDraw.Draw(picture).text((20, 80), "a scanned lease", fill=0)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    sheet = canvas.Canvas(str(path))
    sheet.drawImage(ImageReader(io.BytesIO(buffer.getvalue())), 50, 400, 400, 200)
    sheet.save()
    return path


def write_corpus(folder: Path, files: int = 8) -> Path:
    """`files` text and Markdown files, one in a subfolder, and a PDF of three pages."""
    (folder / "deep").mkdir(parents=True)
    for number in range(files):
        place = folder / ("deep" if number == 0 else "") / f"text{number}.{'md' if number % 2 else 'txt'}"
        place.write_text(("# Chapter\n\n" if number % 2 else "") + prose(number), encoding="utf-8")
    write_pdf(folder / "lease.pdf", [prose(100 + page, 12) for page in range(3)])
    return folder


def hashing_settings(home: Path, **ingest: Any) -> Settings:
    settings = load_settings(home, embedder={"model": HASHING})
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update=ingest)})


def command(home: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "ingest", *map(str, arguments), "--home", str(home)]


def environment(model: str = HASHING) -> dict[str, str]:
    return {**os.environ, "LECTERN_EMBEDDER__MODEL": model, "PYTHONPATH": str(ROOT)}


def run_cli(home: Path, *arguments: object, model: str = HASHING, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python -m ingest` to its end."""
    return subprocess.run(
        command(home, *arguments),
        env=environment(model),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        **options,
    )


def run_here(home: Path, *arguments: object, model: str = HASHING) -> subprocess.CompletedProcess[str]:
    """What `run_cli` does, in this process: nothing is imported again. For all that needs no process of its own."""
    from core.errors import cli_main
    from ingest.__main__ import main

    line = command(home, *arguments)
    before, output, errors = dict(os.environ), io.StringIO(), io.StringIO()
    try:
        os.environ.update(environment(model))
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = cli_main(lambda: main(line[3:]))
            except SystemExit as end:  # argparse: --help and its own errors
                status = int(end.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return subprocess.CompletedProcess(line, status, output.getvalue(), errors.getvalue())


def run_json(home: Path, *arguments: object, status: int = 0) -> dict[str, Any]:
    done = run_here(home, *arguments, "--json")
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def contents(home: Path, name: str = "default") -> dict[str, Any]:
    """Everything a workspace answers with, for comparison: two equal runs give equal contents."""
    with Workspace.open(home, name, create=False) as workspace:
        infos = workspace.documents()
        ids, vectors = workspace.vectors()
        order = sorted(range(len(ids)), key=lambda row: ids[row])
        return {
            "documents": {
                info.name: (info.document_id, info.status, info.pages, info.chunks, info.embedded, info.sha256)
                for info in infos
            },
            "chunks": [chunk for info in infos if info.chunks for chunk in workspace.document_chunks(info.name)],
            "pages": [page.text for info in infos if info.pages for page in workspace.pages(info.name)],
            "vectors": ([ids[row] for row in order], vectors[order].tolist() if len(order) else []),
            "found": [
                sorted((chunk, round(score, 5)) for chunk, score in workspace.lexical_search([term], 1000))
                for term in ("tenant", "rent", "insur", "1003")
            ],
            "files": sorted(path.name for path in (workspace.path / "files").iterdir()),
        }
