"""PDFs with known text at known places, made with reportlab and pypdf: the tests' own truth."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pypdf
from pypdf.generic import RectangleObject
from reportlab.pdfgen.canvas import Canvas

PAGE = (612.0, 792.0)
_TEXT = (
    "lease tenant landlord premises rent notice party term repair insurance payment clause deposit building access "
    "period interest damage consent written agreement commence deliver maintain obligation schedule annual month"
)
WORDS = _TEXT.split()


def prose(seed: int, words: int) -> list[str]:
    """Words of made-up sentences, the same for the same seed; one of them is unique to the seed."""
    chooser = random.Random(seed)
    chosen = [chooser.choice(WORDS) for _ in range(words)]
    chosen[words // 2] = f"marker{seed}"
    for i in range(0, words, 12):
        chosen[i] = chosen[i].capitalize()
        if i:
            chosen[i - 1] += "."
    chosen[-1] += "."
    return chosen


def set_column(
    canvas: Canvas, words: Sequence[str], x: float, top: float, width: float, size: float = 10, leading: float = 12
) -> float:
    """Set `words` ragged right in a column; returns the baseline below the last line."""
    canvas.setFont("Times-Roman", size)
    line: list[str] = []
    for word in [*words, None]:
        too_wide = word is None or canvas.stringWidth(" ".join([*line, word]), "Times-Roman", size) > width
        if too_wide and line:
            canvas.drawString(x, top, " ".join(line))
            top -= leading
            line = []
        if word is not None:
            line.append(word)
    return top


def make_pdf(path: Path, pages: Sequence[Callable[[Canvas], None]], size: tuple[float, float] = PAGE) -> Path:
    """One call of each function draws one page."""
    canvas = Canvas(str(path), pagesize=size)
    for draw in pages:
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return path


def turned(
    source: Path, target: Path, *, degrees: int = 0, crop: tuple[float, float, float, float] | None = None
) -> Path:
    """A copy with /Rotate and a crop box on every page."""
    writer = pypdf.PdfWriter(clone_from=source)
    for page in writer.pages:
        if degrees:
            page.rotate(degrees)
        if crop:
            page.cropbox = RectangleObject(crop)
    writer.write(target)
    return target
