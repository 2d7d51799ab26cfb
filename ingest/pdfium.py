"""PDFium as this project uses it: one lock, clear errors, pages in the coordinates in which they are shown.

PDFium keeps global state and is not thread-safe, so every call into it happens under `PDFIUM_LOCK`, held for one page
at a time: a page image can be drawn for a reader while a long file is being ingested in another thread.

>>> with open_pdf(path, name="lease.pdf") as pdf:
...     with open_page(pdf, 0) as page: ...
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium_c

from core.errors import DocumentError
from ingest.pictures import is_picture, picture_as_pdf

log = logging.getLogger(__name__)

PDFIUM_LOCK = threading.RLock()

PASSWORD_REMEDY = (
    "Save a copy without the password (for example `qpdf --password=SECRET --decrypt in.pdf out.pdf`) and add that"
)
REPAIR_REMEDY = "Download or export it again, or repair it with `qpdf in.pdf out.pdf` or `mutool clean in.pdf out.pdf`"


@dataclass(frozen=True)
class Sheet:
    """Geometry of a page: how user space maps to the page as shown (crop box and /Rotate applied)."""

    left: float  # visible box in user space, points
    bottom: float
    right: float
    top: float
    quarter_turns: int  # clockwise, 0..3

    @property
    def width(self) -> float:
        return self.top - self.bottom if self.quarter_turns % 2 else self.right - self.left

    @property
    def height(self) -> float:
        return self.right - self.left if self.quarter_turns % 2 else self.top - self.bottom

    def to_shown(self, boxes: np.ndarray) -> np.ndarray:
        """(n, 4) boxes x0, y0, x1, y1 in user space -> the same in shown coordinates, origin bottom left."""
        x0, y0, x1, y1 = boxes.T
        if self.quarter_turns == 1:  # clockwise: the left edge of user space becomes the top edge
            columns = (y0 - self.bottom, self.right - x1, y1 - self.bottom, self.right - x0)
        elif self.quarter_turns == 2:
            columns = (self.right - x1, self.top - y1, self.right - x0, self.top - y0)
        elif self.quarter_turns == 3:
            columns = (self.top - y1, x0 - self.left, self.top - y0, x1 - self.left)
        else:
            columns = (x0 - self.left, y0 - self.bottom, x1 - self.left, y1 - self.bottom)
        return np.stack(columns, axis=1)


def sheet_of(page: pypdfium2.PdfPage) -> Sheet:
    """The visible box of `page` (crop box within media box, as PDFium draws it) and its rotation."""
    left, bottom, right, top = page.get_bbox()
    return Sheet(left, bottom, right, top, (page.get_rotation() // 90) % 4)


@contextlib.contextmanager
def open_pdf(path: Path, *, name: str) -> Iterator[pypdfium2.PdfDocument]:
    """Open a PDF, an empty user password included, or a picture as one.

    Raises DocumentError that names the file and the remedy.
    """
    picture = picture_as_pdf(path, name=name) if is_picture(path) else None
    with PDFIUM_LOCK:
        pdf = _load(path, name) if picture is None else pypdfium2.PdfDocument(picture)
    try:
        yield pdf
    finally:
        with PDFIUM_LOCK:
            pdf.close()


def _load(path: Path, name: str) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == pdfium_c.FPDF_ERR_PASSWORD:
            raise DocumentError(f"{name} is encrypted and needs a password", remedy=PASSWORD_REMEDY) from error
        if code == pdfium_c.FPDF_ERR_SECURITY:
            raise DocumentError(
                f"{name} is encrypted with a scheme that cannot be read", remedy=PASSWORD_REMEDY
            ) from error
        repaired = _repair(path)
        if repaired is None:
            reason = "truncated: it ends in the middle" if is_cut_short(path) else f"a corrupt PDF: {_plain(error)}"
            raise DocumentError(f"{name} is {reason}", remedy=REPAIR_REMEDY) from error
        log.info("%s was damaged; its page tree has been rebuilt", name)
        return repaired


def is_cut_short(path: Path) -> bool:
    """Whether a PDF's end-of-file mark is missing from the last two KiB: the file was truncated."""
    if is_picture(path):
        return False
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 2048))
        return b"%%EOF" not in file.read()


def _plain(error: Exception) -> str:
    text = str(error).removeprefix("Failed to load document").strip(" .()")
    return text.removeprefix("PDFium:").strip() or "it cannot be opened"


def _repair(path: Path) -> pypdfium2.PdfDocument | None:
    """Rebuild a file that PDFium refuses: first from its page objects, then through pypdf. None when both fail."""
    data = path.read_bytes()
    return _from_page_objects(data) or _through_pypdf(data)


def _from_page_objects(data: bytes) -> pypdfium2.PdfDocument | None:
    """A truncated file has lost its catalogue, which most writers put last: give its whole pages a new one.

    PDFium finds the objects by scanning once a trailer names a root. Pages inside compressed object streams are lost.
    """
    pages = [
        int(match.group(1))
        for match in _OBJECT.finditer(data)
        if _PAGE_TYPE.search(data, match.end(), match.end() + 4096) and _is_page(data, match.end())
    ]
    if not pages:
        return None
    root = max(pages) + 1_000_000
    kids = " ".join(f"{number} 0 R" for number in dict.fromkeys(pages))
    tail = (
        f"\nendobj\n{root} 0 obj\n<</Type/Catalog/Pages {root + 1} 0 R>>\nendobj\n{root + 1} 0 obj\n"
        f"<</Type/Pages/Count {len(dict.fromkeys(pages))}/Kids[{kids}]>>\nendobj\n"
        f"trailer\n<</Root {root} 0 R/Size {root + 2}>>\nstartxref\n0\n%%EOF\n"
    )
    try:
        pdf = pypdfium2.PdfDocument(data + tail.encode("ascii"))
    except pypdfium2.PdfiumError:
        return None
    return pdf if len(pdf) else None


def _is_page(data: bytes, start: int) -> bool:
    """Whether the object at `start` is whole and itself a page, not one before a page."""
    end = data.find(b"endobj", start, start + 65_536)
    return end > 0 and _PAGE_TYPE.search(data, start, end) is not None and b"stream" not in data[start:end]


_OBJECT = re.compile(rb"(?<![\d])(\d{1,7}) 0 obj\b")
_PAGE_TYPE = re.compile(rb"/Type\s*/Page\b(?!s)")


def _through_pypdf(data: bytes) -> pypdfium2.PdfDocument | None:
    """Rewrite the file with pypdf, which forgives other faults than PDFium."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted or not reader.pages:
            return None
        writer = pypdf.PdfWriter()
        for page in reader.pages:
            writer.add_page(page)
        buffer = io.BytesIO()
        writer.write(buffer)
        return pypdfium2.PdfDocument(buffer.getvalue())
    except Exception:  # pypdf raises nearly anything on broken input; the caller reports PDFium's own reason
        return None


@contextlib.contextmanager
def open_page(pdf: pypdfium2.PdfDocument, index: int) -> Iterator[pypdfium2.PdfPage]:
    """Load page `index` (0-based) under the lock and close it again. Raises pypdfium2.PdfiumError."""
    with PDFIUM_LOCK:
        page = pdf[index]
        try:
            yield page
        finally:
            page.close()
