"""Scanned pages: a picture of text is read like text, with boxes where the words stand on the sheet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pypdf
import pytest
from PIL import Image, ImageFilter
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from core.errors import DocumentError
from core.settings import IngestSettings
from ingest import ocr
from ingest.pdf import read_pdf, render_page
from ingest.pdf_layout import read_lines
from ingest.pdf_words import Words, find_runs
from ingest.readers import read_document
from ingest.types import Document, Page

pytest.importorskip("rapidocr", reason="rapidocr is not installed: scans are reported, not read")

LINES = (
    "The tenant pays 1,250 euros on the first working day of each month.",
    "Notice is given in writing, eleven weeks before the term ends.",
    "Repairs below 75 euros are borne by Ms. Okonkwo-Reyes.",
)


def typed(path: Path) -> Path:
    """Three lines at known places, with a text layer."""
    canvas = Canvas(str(path), pagesize=(612, 792))
    canvas.setFont("Times-Roman", 12)
    for number, line in enumerate(LINES):
        canvas.drawString(72, 700 - 40 * number, line)
    canvas.save()
    return path


def scanned(source: Path, path: Path, *, askew: float = 0.0, rotate: int = 0, typed_pages: int = 0) -> Path:
    """`source`'s first page as a photograph of paper would give it, after `typed_pages` pages with text."""
    picture = render_page(source, 1, scale=200 / 72).convert("L")
    picture = picture.rotate(askew, resample=Image.Resampling.BICUBIC, fillcolor=255).filter(
        ImageFilter.GaussianBlur(0.6)
    )
    if rotate:
        picture = picture.rotate(rotate, expand=True)  # the sheet went in sideways: /Rotate below puts it upright
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=70)
    size = (792, 612) if rotate % 180 else (612, 792)
    canvas = Canvas(str(path), pagesize=size)
    for _ in range(typed_pages):
        canvas.drawString(72, 400, "A page that was typed on a machine.")
        canvas.showPage()
    canvas.drawImage(ImageReader(io.BytesIO(buffer.getvalue())), 0, 0, *size)
    canvas.save()
    if rotate:
        writer = pypdf.PdfWriter(clone_from=path)
        writer.pages[-1].rotate(rotate)
        writer.write(path)
    return path


def read(path: Path, settings: IngestSettings | None = None) -> Document:
    return read_pdf(path, name=path.name, settings=settings or IngestSettings())


def placed(page: Page) -> dict[str, tuple[float, float]]:
    """The middle of each word's box."""
    return {
        page.text[start:end]: ((x0 + x1) / 2, (y0 + y1) / 2)
        for (start, end), (x0, y0, x1, y1) in zip(page.word_ranges, page.word_boxes, strict=True)
    }


@pytest.mark.parametrize(("askew", "rotate"), [(0.0, 0), (0.7, 0), (0.0, 90)])
def test_a_scan_is_read_and_its_words_stand_where_they_are_printed(tmp_path: Path, askew: float, rotate: int) -> None:
    source = typed(tmp_path / "typed.pdf")
    document = read(scanned(source, tmp_path / "scan.pdf", askew=askew, rotate=rotate))
    [page] = document.pages
    for line in LINES:
        assert line in " ".join(page.text.split())
    assert not document.problems and document.metadata["recognised_pages"] == 1
    assert (page.width, page.height) == (612, 792)
    expected, found = placed(read(source).pages[0]), placed(page)
    for word in ("tenant", "1,250", "writing,", "Okonkwo-Reyes."):
        across, up = abs(found[word][0] - expected[word][0]), abs(found[word][1] - expected[word][1])
        assert across < 6 and up < (6 if askew else 4), word


def test_typed_pages_stay_as_they_are_and_progress_counts_each_page_once(tmp_path: Path) -> None:
    path = scanned(typed(tmp_path / "typed.pdf"), tmp_path / "mixed.pdf", typed_pages=2)
    told: list[tuple[int, int]] = []
    document = read_pdf(
        path, name="mixed.pdf", settings=IngestSettings(), on_page=lambda done, total: told.append((done, total))
    )
    assert [bool("typed on a machine" in page.text) for page in document.pages] == [True, True, False]
    assert "eleven weeks" in document.pages[2].text
    assert told == [(1, 3), (2, 3), (2, 3), (3, 3)]


def test_text_recognition_can_be_off_absent_or_out_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = typed(tmp_path / "typed.pdf")
    alone, mixed = scanned(source, tmp_path / "scan.pdf"), scanned(source, tmp_path / "mixed.pdf", typed_pages=1)
    for settings in (IngestSettings(ocr="off"), IngestSettings(ocr_s=1e-9)):
        with pytest.raises(DocumentError, match="scan") as caught:
            read(alone, settings)
        assert "ocrmypdf" in caught.value.remedy
        document = read(mixed, settings)
        assert [problem.page for problem in document.problems] == [2] and "ocrmypdf" in document.problems[0].remedy
    monkeypatch.setattr(ocr, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(DocumentError, match="scan"):
        read(alone)


def test_a_photograph_is_a_page_without_text(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "photo.pdf"), pagesize=(612, 792))
    canvas.drawString(72, 400, "The mill in spring:")
    canvas.showPage()
    hills = Image.radial_gradient("L").resize((612, 792))
    canvas.drawImage(ImageReader(hills), 0, 0, 612, 792)
    canvas.save()
    document = read(tmp_path / "photo.pdf")
    assert document.pages[1].text == "" and "recognised_pages" not in document.metadata
    assert [(problem.page, "photograph" in problem.remedy) for problem in document.problems] == [(2, True)]


def test_a_hardly_legible_scan_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scanned(typed(tmp_path / "typed.pdf"), tmp_path / "scan.pdf")
    monkeypatch.setattr("ingest.pdf_reading.UNSURE", 1.01)  # so that any reading is an unsure one
    [problem] = read(path).problems
    assert problem.page == 1 and "words may be wrong" in problem.reason and "sheet" in problem.remedy


def photographed(source: Path, path: Path, *, turned: bool = False, pages: int = 1) -> Path:
    picture = render_page(source, 1, scale=150 / 72)
    if turned:  # a phone stores the picture on its side, and says so
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.rotate(90, expand=True).save(path, exif=exif, quality=80)
    elif pages > 1:
        picture.convert("L").save(
            path, save_all=True, append_images=[picture.convert("L")] * (pages - 1), dpi=(150, 150)
        )
    else:
        picture.convert("RGBA").save(path)
    return path


@pytest.mark.parametrize(
    ("name", "turned", "pages"), [("lease.png", False, 1), ("lease.jpg", True, 1), ("lease.tiff", False, 2)]
)
def test_a_picture_of_a_page_is_a_document(tmp_path: Path, name: str, turned: bool, pages: int) -> None:
    path = photographed(typed(tmp_path / "typed.pdf"), tmp_path / name, turned=turned, pages=pages)
    document = read_document(path, settings=IngestSettings())
    assert len(document.pages) == pages
    for page in document.pages:
        assert LINES[1] in " ".join(page.text.split())
        assert 1.2 < page.height / page.width < 1.4
    drawn = render_page(path, pages, scale=1.0)
    assert drawn.size == pytest.approx((document.pages[-1].width, document.pages[-1].height), abs=2)


def test_pictures_that_cannot_be_opened_or_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = photographed(typed(tmp_path / "typed.pdf"), tmp_path / "lease.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DocumentError, match=r"cut\.png is an image that cannot be opened"):
        read_document(tmp_path / "cut.png", settings=IngestSettings())
    monkeypatch.setattr("ingest.pictures.MAX_PIXELS", 1000)
    with pytest.raises(DocumentError, match="pixels"):
        read_document(tmp_path / "lease.png", settings=IngestSettings())


def test_lines_of_a_sheet_that_lay_two_degrees_askew_stay_whole() -> None:
    slope, size, leading = 0.035, 9.0, 12.0  # a line's end stands a line and a half below its beginning
    texts, boxes = [], []
    for line in range(12):
        for place in range(14):
            x = 60.0 + 34 * place
            y = 700.0 - leading * line - slope * x
            texts.append(f"w{line}.{place}")
            boxes.append((x, y, x + 29, y + size))
    stood = np.array(boxes, np.float32)
    turns, glued = np.zeros(len(texts), np.int8), np.zeros(len(texts), bool)
    starts = find_runs(stood, turns, glued)
    words = Words(texts, stood, glued, turns, starts, np.full(len(starts), 7.0), np.zeros(len(starts), bool))
    lines = read_lines(ocr.straightened(words))
    assert [[texts[word] for word in line.words] for line in lines] == [
        [f"w{line}.{place}" for place in range(14)] for line in range(12)
    ]
    assert words.boxes is stood
