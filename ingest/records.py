"""Rows of the workspace's database as the records that everyone sees (ingest/types.py)."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping

from ingest.prepared import unpack_text, unpack_words
from ingest.types import DocumentInfo, Page, PageProblem


def find_document(connection: sqlite3.Connection, name_or_id: str) -> sqlite3.Row | None:
    for condition in ("name = ?", "rowid = (SELECT document FROM aliases WHERE name = ?)", "document_id = ?"):
        row = connection.execute(f"SELECT * FROM documents WHERE {condition}", (name_or_id,)).fetchone()
        if row is not None:
            return row
    return None


_FIXED = ("title", "media_type", "size", "pages", "chunks", "metadata", "headings", "problems")


def row_crc(row: Mapping[str, object] | sqlite3.Row) -> int:
    """CRC-32 of the columns of a document that stay as they were stored; its id tells about name, content, recipe."""
    return zlib.crc32("\0".join(str(row[column]) for column in _FIXED).encode("utf-8", "surrogatepass"))


def is_sound(vector: bytes, crc: int | None) -> bool:
    """Whether a stored vector is what was stored; None: stored by a program that kept no checksum."""
    return crc is None or zlib.crc32(vector) == crc


def to_page(row: sqlite3.Row) -> Page:
    ranges, boxes = unpack_words(row["words"])
    return Page(row["number"], unpack_text(row["text"]), row["width"], row["height"], row["label"], ranges, boxes)


def to_info(row: sqlite3.Row, failure: sqlite3.Row | None, aliases: tuple[str, ...]) -> DocumentInfo:
    return DocumentInfo(
        document_id=row["document_id"],
        name=row["name"],
        title=row["title"],
        media_type=row["media_type"],
        status="embedded" if row["embedded"] >= row["chunks"] else "searchable",
        pages=row["pages"],
        chunks=row["chunks"],
        embedded=row["embedded"],
        sha256=row["sha256"],
        size=row["size"],
        added_at=row["added_at"],
        reason=f"the newer version could not be read: {failure['reason']}" if failure is not None else "",
        remedy=failure["remedy"] if failure is not None else "",
        problems=tuple(PageProblem(*problem) for problem in json.loads(row["problems"])),
        aliases=aliases,
    )


def to_failed_info(row: sqlite3.Row) -> DocumentInfo:
    return DocumentInfo(
        document_id="",
        name=row["name"],
        title=row["name"],
        media_type="",
        status="failed",
        pages=0,
        chunks=0,
        embedded=0,
        sha256=row["sha256"],
        size=row["size"],
        added_at=row["failed_at"],
        reason=row["reason"],
        remedy=row["remedy"],
    )
