"""How well scanned pages are read: pages of real PDFs made into scans, beside their own text layers.

    python -m benchmarks.scans [--short] [--data ../shared/data] [--pages 24]

Each page is drawn at 200 dpi, blurred, covered with noise, turned by up to half a degree and compressed, as a cheap
scanner would. Words are compared as bags (reading order is the layout's affair, the same for both), in percent of the
words of the text layer that were read and of the words read that stand there; boxes by their middles.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import DocumentError, UsageError, cli_main
from core.settings import IngestSettings
from ingest.pdf import read_pdf, render_page
from ingest.types import Page

FEWEST_WORDS = 80  # covers and blank pages say little


@dataclass(frozen=True)
class _Row:
    page: int
    words: int  # of the text layer
    recall: float
    precision: float
    cpu_s: float
    offsets: np.ndarray  # (n,) points


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scans", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with financebench/pdfs")
    parser.add_argument("--pages", type=int, default=24, help="pages, each of another place in another file")
    parser.add_argument("--short", action="store_true", help="six pages")
    options = parser.parse_args()
    files = sorted((options.data / "financebench" / "pdfs").glob("*.pdf"))
    if not files:
        raise UsageError(f"{options.data} holds no financebench/pdfs", remedy="Name a folder that does with --data")
    rng = np.random.default_rng(0)
    wanted = 6 if options.short else options.pages
    rows: list[_Row] = []
    with tempfile.TemporaryDirectory() as folder:
        while len(rows) < wanted:
            path = files[int(rng.integers(len(files)))]
            row = _one(path, rng, Path(folder))
            if row is not None:
                rows.append(row)
                print(f"{path.stem:<40} p. {row.page:>3}  read {row.recall:.1%}  right {row.precision:.1%}")
    words = [row.words for row in rows]
    recall = float(np.average([row.recall for row in rows], weights=words))
    precision = float(np.average([row.precision for row in rows], weights=words))
    cpu = float(np.mean([row.cpu_s for row in rows]))
    half, most = (float(value) for value in np.percentile(np.concatenate([row.offsets for row in rows]), (50, 95)))
    print(
        "| pages | words read | of those right | CPU s a page | middle of boxes off, p50 / p95 |\n|---|---|---|---|---|"
    )
    print(f"| {len(rows)} | {recall:.1%} | {precision:.1%} | {cpu:.1f} | {half:.1f} / {most:.1f} points |")
    result = {"pages": len(rows), "recall": recall, "precision": precision, "cpu_s": cpu, "offset_points": [half, most]}
    print(json.dumps(result))
    return 0


def _one(path: Path, rng: np.random.Generator, folder: Path) -> _Row | None:
    import pypdfium2

    with pypdfium2.PdfDocument(path) as pdf:
        number = int(rng.integers(len(pdf))) + 1
        single = pypdfium2.PdfDocument.new()
        single.import_pages(pdf, [number - 1])
        single.save(folder / "page.pdf")
    try:
        [typed] = read_pdf(folder / "page.pdf", name="page.pdf", settings=IngestSettings(ocr="off")).pages
    except DocumentError:  # a page without text is none to compare with
        return None
    if len(typed.word_ranges) < FEWEST_WORDS:
        return None
    _scan(folder / "page.pdf", folder / "scan.pdf", rng)
    started = time.process_time()
    [read] = read_pdf(folder / "scan.pdf", name="scan.pdf", settings=IngestSettings()).pages
    cpu = time.process_time() - started
    expected, found = Counter(_words(typed)), Counter(_words(read))
    common = sum((expected & found).values())
    return _Row(
        number,
        sum(expected.values()),
        common / max(sum(expected.values()), 1),
        common / max(sum(found.values()), 1),
        cpu,
        _offsets(typed, read),
    )


def _scan(source: Path, target: Path, rng: np.random.Generator) -> None:
    from PIL import Image, ImageFilter

    picture = render_page(source, 1, scale=200 / 72).convert("L")
    angle = float(rng.uniform(-0.5, 0.5))
    picture = picture.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor=250).filter(
        ImageFilter.GaussianBlur(0.7)
    )
    noisy = np.asarray(picture, np.float32) + rng.normal(0, 10, picture.size[::-1])
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    Image.open(buffer).save(target, "PDF", resolution=200)


def _words(page: Page) -> list[str]:
    return page.text.split()


def _offsets(typed: Page, read: Page) -> np.ndarray:
    """Distances in points between the middles of words that stand exactly once on both pages."""
    places = []
    for page in (typed, read):
        words = [page.text[a:b] for a, b in page.word_ranges]
        counts = Counter(words)
        middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in page.word_boxes]
        places.append({word: middle for word, middle in zip(words, middles, strict=True) if counts[word] == 1})
    common = places[0].keys() & places[1].keys()
    pairs = [(places[0][word], places[1][word]) for word in common]
    return np.array([np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in pairs])


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
