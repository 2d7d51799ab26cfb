"""Any supported file to a Document. What a file *is* decides, not what it is called.

>>> document = read_document(Path("lease.pdf"), settings=IngestSettings())
>>> document.title, len(document.pages), document.problems
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import DocumentError
from core.settings import IngestSettings
from ingest import pictures
from ingest.decoding import decode_text
from ingest.titles import readable_file_name, sensible_title
from ingest.types import Document, Heading, Page

PDF_SUFFIXES = frozenset({".pdf"})
MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mkd"})
TEXT_SUFFIXES = frozenset({".txt", ".text", ".rst", ".log"})
HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
DOCX_SUFFIXES = frozenset({".docx"})
SUFFIXES: frozenset[str] = (
    PDF_SUFFIXES | MARKDOWN_SUFFIXES | TEXT_SUFFIXES | HTML_SUFFIXES | DOCX_SUFFIXES | pictures.SUFFIXES
)

SUPPORTED = "PDF, DOCX, HTML, Markdown, plain text and pictures of pages (PNG, JPEG, TIFF) can be read"
_HTML_START = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_KNOWN_BINARY = (
    (b"GIF8", "a GIF image"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office file"),
    (b"%!PS", "a PostScript file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


def read_document(
    path: Path,
    *,
    name: str | None = None,
    settings: IngestSettings,
    on_page: Callable[[int, int], None] | None = None,
) -> Document:
    """Read the file at `path`; `name` is what the user calls it (default: the file's name).

    `on_page(done, total)` is called after each page. Raises DocumentError with the name, the reason and the remedy:
    missing, empty, larger than `settings.max_file_mb`, of no supported kind, encrypted, corrupt, without text.
    """
    name = name or path.name
    size = _size(path, name)
    if size == 0:
        raise DocumentError(f"{name} is empty (0 bytes)", remedy="Check that the download or copy has finished")
    if size > settings.max_file_mb * 2**20:
        raise DocumentError(
            f"{name} has {size / 2**20:,.0f} MiB, more than the {settings.max_file_mb:,} allowed",
            remedy="Split it, or raise the setting ingest.max_file_mb",
        )
    kind = _kind(path, name)
    if kind == "pdf":
        from ingest.pdf import read_pdf

        return read_pdf(path, name=name, settings=settings, on_page=on_page)
    data = path.read_bytes()
    if kind == "docx":
        from ingest import docx

        document = _one_page(name, docx.MEDIA_TYPE, *docx.read_docx(data, name=name))
    elif kind == "html":
        from ingest.html import read_html

        document = _one_page(name, "text/html", *read_html(data, name=name))
    else:
        text = decode_text(data, name=name)
        if kind == "markdown":
            from ingest.markdown import markdown_headings

            document = _one_page(name, "text/markdown", text, markdown_headings(text), {})
        else:
            document = _one_page(name, "text/plain", text, (), {})
    if on_page is not None:
        on_page(1, 1)
    return document


def _size(path: Path, name: str) -> int:
    try:
        if path.is_dir():
            raise DocumentError(f"{name} is a folder", remedy="Name the files in it")
        with path.open("rb"):
            return path.stat().st_size
    except OSError as error:
        raise DocumentError(f"{name} cannot be opened: {error.strerror or error}", remedy="Check its path") from error


def _kind(path: Path, name: str) -> str:
    """pdf, docx, html, markdown or text, by content first. Raises DocumentError."""
    suffix = Path(name).suffix.lower() or path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(4096)
    if b"%PDF-" in head[:1024]:  # readers allow junk before the header (PDF 32000-1, H.3)
        return "pdf"
    if pictures.is_picture(path):  # a photographed page: a PDF of one image, read by text recognition
        return "pdf"
    if head.startswith(b"PK\x03\x04") or (suffix in DOCX_SUFFIXES and head.startswith(b"\xd0\xcf\x11\xe0")):
        if suffix in SUFFIXES - DOCX_SUFFIXES or suffix in DOCX_SUFFIXES or not suffix:
            return "docx"
        raise DocumentError(f"{name} is a zip archive or an Office file other than Word", remedy=SUPPORTED)
    for magic, what in _KNOWN_BINARY:
        if head.startswith(magic) and (len(magic) > 2 or b"\x00" in head):
            raise DocumentError(f"{name} is {what}, not a document that can be read", remedy=SUPPORTED)
    if _HTML_START.match(head):
        return "html"
    if suffix in PDF_SUFFIXES:
        if not head.strip(b"\x00 \r\n\t"):
            raise DocumentError(f"{name} holds only blanks", remedy="Download or export it again")
        if _is_text(head):
            return "text"
        raise DocumentError(f"{name} is named .pdf but is no PDF", remedy="Download or export it again")
    if suffix in DOCX_SUFFIXES:
        if _is_text(head):
            return "text"
        raise DocumentError(f"{name} is named .docx but is no Word document", remedy="Save it again as .docx")
    if suffix in HTML_SUFFIXES:
        return "html"
    if suffix in MARKDOWN_SUFFIXES:
        return "markdown"
    if suffix in TEXT_SUFFIXES or _is_text(head):
        return "text"
    raise DocumentError(f"{name} is of no kind that can be read", remedy=SUPPORTED)


def _is_text(head: bytes) -> bool:
    try:
        decode_text(head, name="")
    except DocumentError:
        return False
    return True


def _one_page(
    name: str, media_type: str, text: str, headings: tuple[Heading, ...], metadata: dict[str, Any]
) -> Document:
    if not text.strip():
        raise DocumentError(f"{name} holds no text", remedy="Check that the file was saved whole")
    stated = metadata.pop("title", None)
    title = sensible_title(stated, name)
    if not title and headings and headings[0].level == 1:
        title = sensible_title(headings[0].title, name)
    return Document(
        name=name,
        media_type=media_type,
        title=title or readable_file_name(name),
        pages=(Page(1, text),),
        headings=headings,
        metadata=metadata,
    )
