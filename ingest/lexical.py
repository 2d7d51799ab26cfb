"""The lexical index inside the workspace's database: SQLite's FTS5, fed with our own terms (ingest/tokens.py).

It lives in the same transaction as the document, so that nothing is searchable by half. Contentless: the inverted index
alone is kept, and a chunk is forgotten by naming its terms again, which the stored page text gives.
BM25 with k1 = 1.2, b = 0.75 (https://sqlite.org/fts5.html, 5.1.1); lengths count both columns; more is better.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Sequence

from core.errors import StoreError
from ingest import schema
from ingest.prepared import lexical_row, unpack_text
from ingest.tokens import TOKENIZER_VERSION

logger = logging.getLogger(__name__)


def add(connection: sqlite3.Connection, row: int | None, body_terms: str, context_terms: str) -> None:
    connection.execute("INSERT INTO lexical (rowid, body, context) VALUES (?, ?, ?)", (row, body_terms, context_terms))


def forget(connection: sqlite3.Connection, row: int, text: str, context: str) -> None:
    connection.execute(
        "INSERT INTO lexical (lexical, rowid, body, context) VALUES ('delete', ?, ?, ?)",
        (row, lexical_row(text), lexical_row(context)),
    )


def optimize(connection: sqlite3.Connection) -> None:
    """Merge all segments into one: the terms of forgotten chunks really go."""
    connection.execute("INSERT INTO lexical (lexical) VALUES ('optimize')")


def search(
    connection: sqlite3.Connection,
    terms: Sequence[str],
    limit: int,
    *,
    documents: Sequence[int] | None = None,
    context_weight: float = 0.0,
) -> list[tuple[str, float]]:
    """(chunk id, BM25 > 0) of chunks with any of the terms, best first; `documents` are row ids."""
    clean = (term.replace('"', "").replace("\0", "") for term in terms)
    phrases = " OR ".join(f'"{term}"' for term in clean if term)
    if not phrases or limit <= 0 or (documents is not None and not documents):
        return []
    where, arguments = "", []
    if documents is not None:
        # the unary plus keeps SQLite from searching once per row
        marks = ",".join("?" * len(documents))
        where, arguments = f"AND +rowid IN (SELECT rowid FROM chunks WHERE document IN ({marks}))", list(documents)
    match = f"({phrases})" if context_weight > 0 else f"{{body}} : ({phrases})"
    rows = connection.execute(
        "SELECT d.document_id, c.ordinal, found.rank FROM "
        f"(SELECT rowid AS row, rank FROM lexical WHERE lexical MATCH ? AND rank MATCH ? {where} ORDER BY rank LIMIT ?)"
        " AS found JOIN chunks c ON c.rowid = found.row JOIN documents d ON d.rowid = c.document"
        " ORDER BY found.rank, found.row",
        (match, f"bm25(1.0, {max(context_weight, 0.0):.6f})", *arguments, limit),
    ).fetchall()
    return [(f"{document_id}:{ordinal}", -rank) for document_id, ordinal, rank in rows]


def document_frequency(connection: sqlite3.Connection, terms: Sequence[str]) -> dict[str, int]:
    """In how many chunks' bodies each term occurs."""
    counts = dict.fromkeys(terms, 0)
    for term in counts:
        row = connection.execute(
            "SELECT doc FROM lexical_vocabulary WHERE term = ? AND col = 'body'", (term,)
        ).fetchone()
        if row is not None:
            counts[term] = row[0]
    return counts


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Build the index again if it holds the terms of another tokeniser."""
    if _tokenizer(connection) == TOKENIZER_VERSION:
        return
    with schema.transaction(connection):
        if _tokenizer(connection) == TOKENIZER_VERSION:
            return
        logger.info("the tokeniser has changed: building the lexical index again")
        rebuild(connection)


def rebuild(connection: sqlite3.Connection) -> None:
    """Inside a write transaction: the whole index again from the stored texts."""
    connection.execute("INSERT INTO lexical (lexical) VALUES ('delete-all')")
    pages = connection.execute("SELECT document, number, text FROM pages")
    for document, number, packed in pages:
        try:
            text = unpack_text(packed)
        except (zlib.error, UnicodeDecodeError) as error:  # its passages cannot be shown either
            logger.warning("page %d of document row %d does not unpack and is left out: %s", number, document, error)
            continue
        chunks = connection.execute(
            "SELECT rowid, start, end, context FROM chunks WHERE document = ? AND page = ?", (document, number)
        )
        for row, start, end, context in chunks.fetchall():
            add(connection, row, lexical_row(text[start:end]), lexical_row(context))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('tokenizer', ?)", (TOKENIZER_VERSION,))
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")


def require_current(connection: sqlite3.Connection) -> None:
    """Inside a write transaction: terms of two tokenisers must never mix."""
    if _tokenizer(connection) != TOKENIZER_VERSION:
        raise StoreError(
            "the workspace has been opened by another version of Lectern meanwhile", remedy="Start this program again"
        )


def _tokenizer(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = 'tokenizer'").fetchone()
    return row[0] if row else ""
