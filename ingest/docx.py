"""DOCX files to one page of text: paragraphs, tables row by row with " | ", headings by style."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from core.errors import DocumentError
from ingest.types import Heading

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MAX_UNPACKED_MB = 1024  # a zip of a few KiB can unpack to many GiB
MAX_PARTS = 20_000  # files in it; a long book with a picture on every page has some thousand
_OLE_MAGIC = b"\xd0\xcf\x11\xe0"  # compound file: an old .doc, or a DOCX with a password
_REPAIR = "Open it in a word processor and save it again as .docx"


def read_docx(data: bytes, *, name: str) -> tuple[str, tuple[Heading, ...], dict[str, Any]]:
    """(text, headings, metadata). Raises DocumentError: password, corrupt, no Word file, unpacks too large."""
    if data.startswith(_OLE_MAGIC):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise DocumentError(
                f"{name} is protected by a password", remedy="Save a copy without the password and add that"
            )
        raise DocumentError(f"{name} is an old Word document (.doc)", remedy="Save it as .docx or PDF and add that")
    _check_zip(data, name)
    import docx  # a tenth of a second: only when a DOCX comes

    try:
        document = docx.Document(io.BytesIO(data))
        return _read(document)
    except DocumentError:
        raise
    except Exception as error:  # python-docx lets KeyError, ValueError and lxml's errors through on broken parts
        raise DocumentError(f"{name} is a corrupt DOCX file: {error}", remedy=_REPAIR) from error


def _check_zip(data: bytes, name: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            encrypted = any(entry.flag_bits & 1 for entry in entries)
    except zipfile.BadZipFile as error:
        raise DocumentError(f"{name} is a corrupt DOCX file: {error}", remedy=_REPAIR) from error
    if encrypted:
        raise DocumentError(
            f"{name} is protected by a password", remedy="Save a copy without the password and add that"
        )
    if "[Content_Types].xml" not in names or not any(entry.startswith("word/") for entry in names):
        raise DocumentError(f"{name} is a zip archive but no Word document", remedy="Add the files inside it instead")
    # The sizes are those stated in the archive; zipfile reads no more. Pictures count: python-docx keeps them.
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_PARTS:
        raise DocumentError(f"{name} holds {len(entries):,} parts, which no real document does", remedy=_REPAIR)
    if unpacked > MAX_UNPACKED_MB * 2**20 or unpacked > 200 * len(data) + 64 * 2**20:
        raise DocumentError(
            f"{name} unpacks to {unpacked / 2**20:,.0f} MiB, which no real document does",
            remedy="Do not open it unless you know where it comes from; save it again from a word processor",
        )


def _read(document: Any) -> tuple[str, tuple[Heading, ...], dict[str, Any]]:
    parts: list[str] = []
    headings: list[Heading] = []
    length = 0
    for text, level in _blocks(document):
        text = _clean(text)
        if not text.strip():
            continue
        if parts:
            separator = "\n\n" if level else "\n"
            parts.append(separator)
            length += len(separator)
        if level:
            headings.append(Heading(1, length, " ".join(text.split())[:200], level))
        parts.append(text)
        length += len(text)
    return "".join(parts), tuple(headings), _metadata(document)


def _blocks(document: Any) -> Iterator[tuple[str, int]]:
    """(text, heading level or 0) of paragraphs and table rows in order."""
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            for row in _rows(block):
                yield row, 0
        else:
            level = _level(block)
            marker = "- " if not level and _is_list_item(block) else ""
            yield marker + block.text if block.text.strip() else "", level


def _rows(table: Any) -> Iterator[str]:
    for row in table.rows:
        cells, seen = [], set()
        for cell in row.cells:
            if id(cell._tc) in seen:  # merged cells come once a column
                continue
            seen.add(id(cell._tc))
            cells.append(" ".join(" ".join(_cell_texts(cell)).split()))
        if any(cells):
            yield " | ".join(cells)


def _cell_texts(cell: Any) -> Iterator[str]:
    from docx.table import Table

    for block in cell.iter_inner_content():
        if isinstance(block, Table):
            yield from _rows(block)
        else:
            yield block.text


def _level(paragraph: Any) -> int:
    """Heading level by style (localised names too: the style's own outline level counts), 0 for body text."""
    style = paragraph.style
    hops = 0
    while style is not None and hops < 10:
        name = (style.name or "").lower()
        if match := re.match(r"heading (\d)", name):
            return int(match.group(1))
        if name == "title":
            return 1
        outline = style.element.find(".//{*}outlineLvl")
        if outline is not None:
            value = next(iter(outline.attrib.values()), "9")
            return int(value) + 1 if value.isdigit() and int(value) < 9 else 0
        style, hops = style.base_style, hops + 1
    return 0


def _is_list_item(paragraph: Any) -> bool:
    properties = paragraph._p.pPr
    return (properties is not None and properties.numPr is not None) or (
        (paragraph.style.name or "").lower().startswith("list") if paragraph.style is not None else False
    )


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text).replace("\t", " ").strip()


def _metadata(document: Any) -> dict[str, Any]:
    core = document.core_properties
    found: dict[str, Any] = {}
    for key in ("title", "author", "subject", "keywords"):
        value = " ".join((getattr(core, key) or "").split())
        if value and value != "python-docx":
            found[key] = value[:500]
    for key in ("created", "modified"):
        value = getattr(core, key)
        if value is not None:
            found[key] = value.date().isoformat()
    return found
