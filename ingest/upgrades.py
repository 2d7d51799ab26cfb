"""Older workspaces brought to the present schema, step by step, in one transaction: all of it or nothing.

Each step takes a database of its version to the next one. A step is never changed once it has shipped.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Callable

from ingest.prepared import chunk_crc, unpack_text
from ingest.records import row_crc

logger = logging.getLogger(__name__)


def _to_2(connection: sqlite3.Connection) -> None:
    """Checksums of documents, passages and vectors."""
    connection.execute("ALTER TABLE documents ADD COLUMN crc INTEGER")
    columns = "rowid, title, media_type, size, pages, chunks, metadata, headings, problems"
    cursor = connection.execute(f"SELECT {columns} FROM documents")
    names = [column[0] for column in cursor.description]
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        connection.execute("UPDATE documents SET crc = ? WHERE rowid = ?", (row_crc(row), row["rowid"]))
    connection.execute("ALTER TABLE chunks ADD COLUMN crc INTEGER")
    connection.execute("ALTER TABLE vectors ADD COLUMN crc INTEGER")
    connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
    connection.execute("UPDATE vectors SET crc = crc32(vector)")
    for document, number, packed in connection.execute("SELECT document, number, text FROM pages").fetchall():
        text = unpack_text(packed)
        chunks = connection.execute(
            "SELECT rowid, ordinal, page, start, end, context FROM chunks WHERE document = ? AND page = ?",
            (document, number),
        ).fetchall()
        connection.executemany(
            "UPDATE chunks SET crc = ? WHERE rowid = ?",
            [
                (chunk_crc(ordinal, page, start, end, context, text[start:end]), row)
                for row, ordinal, page, start, end, context in chunks
            ],
        )


STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _to_2}  # by the version they start from


def upgrade(connection: sqlite3.Connection, target: int) -> None:
    """Inside a write transaction: bring the database to version `target`."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for step in range(version, target):
        logger.info("bringing the workspace from schema %d to %d", step, step + 1)
        STEPS[step](connection)
    connection.execute(f"PRAGMA user_version = {target}")
