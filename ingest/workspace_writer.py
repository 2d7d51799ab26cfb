"""Changing a workspace: documents, vectors, names and failures come and go, each change in one transaction."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import StoreError
from ingest import lexical, schema
from ingest.embedders import passage_text
from ingest.originals import IncomingFile
from ingest.prepared import PreparedDocument
from ingest.records import find_document, is_sound, row_crc
from ingest.workspace_reader import CHUNK_COLUMNS, WorkspaceReader

ContentState = Literal["stored", "failed", "outdated"]


class WorkspaceWriter(WorkspaceReader):
    # -- adding and removing -------------------------------------------------------------------------------------

    def put(self, document: PreparedDocument, incoming: IncomingFile, *, source: str, recipe: str) -> bool:
        """Store a document and its original in one transaction; what had its name before goes in the same moment.

        Vectors of passages that did not change are taken over. Returns whether something was replaced.
        """
        with self._writing() as connection:
            old = connection.execute("SELECT * FROM documents WHERE name = ?", (document.name,)).fetchone()
            known = self._vectors_by_passage(connection, old) if old is not None else {}
            if old is not None:
                self._delete_document(connection, old)
            connection.execute("DELETE FROM aliases WHERE name = ?", (document.name,))
            connection.execute("DELETE FROM failures WHERE name = ?", (document.name,))
            columns: dict[str, object] = {
                "document_id": document.document_id,
                "name": document.name,
                "title": document.title,
                "media_type": document.media_type,
                "sha256": incoming.sha256,
                "size": incoming.size,
                "source": source,
                "recipe": recipe,
                "added_at": _now(),
                "pages": len(document.pages),
                "chunks": len(document.chunks),
                "metadata": json.dumps(document.metadata, default=str),
                "headings": json.dumps([[h.page, h.start, h.title, h.level] for h in document.headings]),
                "problems": json.dumps([[p.page, p.reason, p.remedy] for p in document.problems]),
            }
            columns["crc"] = row_crc(columns)
            row = connection.execute(
                f"INSERT INTO documents ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                tuple(columns.values()),
            ).lastrowid
            assert row is not None
            connection.executemany(
                "INSERT INTO pages VALUES (?,?,?,?,?,?,?)",
                ((row, p.number, p.width, p.height, p.label, p.text, p.words) for p in document.pages),
            )
            for ordinal, chunk in enumerate(document.chunks):
                chunk_row = connection.execute(
                    "INSERT INTO chunks (document, ordinal, page, start, end, context, crc) VALUES (?,?,?,?,?,?,?)",
                    (row, ordinal, chunk.page, chunk.start, chunk.end, chunk.context, chunk.crc),
                ).lastrowid
                lexical.add(connection, chunk_row, chunk.body_terms, chunk.context_terms)
            if known:
                self._take_over_vectors(connection, row, known)
            self.originals.keep(incoming, document.name)
        if old is not None:
            self.collect_originals()  # not before the commit: until then the old document may come back
        return old is not None

    def _vectors_by_passage(self, connection: sqlite3.Connection, document: sqlite3.Row) -> dict[str, bytes]:
        rows = connection.execute(
            f"SELECT {CHUNK_COLUMNS}, v.vector, v.crc AS vector_crc FROM vectors v JOIN chunks c ON c.rowid = v.chunk "
            "JOIN documents d ON d.rowid = c.document WHERE d.rowid = ?",
            (document["rowid"],),
        ).fetchall()
        return {
            passage_text(self._chunk(connection, row)): row["vector"]
            for row in rows
            if is_sound(row["vector"], row["vector_crc"])
        }

    def _take_over_vectors(self, connection: sqlite3.Connection, document: int, known: dict[str, bytes]) -> None:
        rows = connection.execute(
            f"SELECT {CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document WHERE d.rowid = ?",
            (document,),
        ).fetchall()
        found = ((row["chunk_row"], known.get(passage_text(self._chunk(connection, row)))) for row in rows)
        kept = [(chunk, vector) for chunk, vector in found if vector is not None]
        connection.executemany(
            "INSERT INTO vectors (chunk, vector, crc) VALUES (?, ?, ?)",
            [(chunk, vector, zlib.crc32(vector)) for chunk, vector in kept],
        )
        connection.execute("UPDATE documents SET embedded = ? WHERE rowid = ?", (len(kept), document))

    def remove(self, name_or_id: str) -> None:
        """Remove a document and every trace of it: rows, index terms, vectors, derived caches, the stored original.

        While the same content has a further name, that name takes its place. Raises NotFoundError.
        """
        with self._writing() as connection:
            row = find_document(connection, name_or_id)
            if row is None:
                if not connection.execute("DELETE FROM failures WHERE name = ?", (name_or_id,)).rowcount:
                    raise self._not_found(connection, name_or_id)
            elif name_or_id not in (row["name"], row["document_id"]):
                connection.execute("DELETE FROM aliases WHERE name = ?", (name_or_id,))
            else:
                connection.execute("DELETE FROM failures WHERE name = ?", (row["name"],))
                alias = connection.execute(
                    "SELECT name, source FROM aliases WHERE document = ? ORDER BY name", (row["rowid"],)
                ).fetchone()
                if alias is not None:
                    self.originals.rename(row["sha256"], row["name"], alias["name"])
                    connection.execute("DELETE FROM aliases WHERE name = ?", (alias["name"],))
                    connection.execute(  # an empty recipe: the next ingest of that file reads it under its own name
                        "UPDATE documents SET name = ?, source = ?, recipe = '' WHERE rowid = ?",
                        (alias["name"], alias["source"], row["rowid"]),
                    )
                else:
                    self._delete_document(connection, row)
        self.purge()

    def _delete_document(self, connection: sqlite3.Connection, row: sqlite3.Row) -> None:
        chunks = connection.execute(
            f"SELECT {CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document WHERE d.rowid = ?",
            (row["rowid"],),
        ).fetchall()
        damaged = False
        for chunk in chunks:  # a contentless index is told what to forget
            try:
                whole = self._chunk(connection, chunk)
            except (StoreError, zlib.error, UnicodeDecodeError):  # nobody knows its terms any more
                damaged = True
                break
            lexical.forget(connection, chunk["chunk_row"], whole.text, whole.context)
        connection.execute("DELETE FROM documents WHERE rowid = ?", (row["rowid"],))
        if damaged:
            lexical.rebuild(connection)
        self._texts.drop(row["rowid"])
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('purge', '1')")

    def purge(self) -> None:
        """Overwrite what deleted documents left behind in the index, the log and the derived caches."""
        self.collect_originals()
        shutil.rmtree(self.path / "derived", ignore_errors=True)
        if self._meta("purge"):
            with self._writing(bump=False) as connection:
                lexical.optimize(connection)
                connection.execute("DELETE FROM meta WHERE key = 'purge'")
        with schema.translated(self.database), self._connections.used() as connection:
            connection.executescript("PRAGMA incremental_vacuum")  # execute() takes one step, which is one page
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def collect_originals(self) -> None:
        """Delete stored copies that no document uses: of removed ones, and what an interrupted ingest left."""
        with self._writing(bump=False) as connection:
            self.originals.collect(self._used_originals(connection))

    def _used_originals(self, connection: sqlite3.Connection) -> set[Path]:
        rows = connection.execute("SELECT sha256, name FROM documents")
        return {self.originals.path(row["sha256"], row["name"]) for row in rows}

    # -- vectors -------------------------------------------------------------------------------------------------

    def add_vectors(self, embedder: str, rows: Sequence[int], vectors: np.ndarray) -> int:
        """Store (n, dim) unit vectors of chunk rows, all or none; rows that are gone or done by others are passed over.

        Returns how many were stored. Raises StoreError if the workspace has vectors of another embedder.
        """
        packed = np.ascontiguousarray(vectors, np.float16)
        self.require_embedder(embedder)
        with self._writing() as connection:
            current = connection.execute("SELECT value FROM meta WHERE key = 'embedder'").fetchone()
            if current is None:
                connection.execute("INSERT INTO meta VALUES ('embedder', ?)", (embedder,))
            elif current["value"] != embedder:
                raise StoreError(
                    f"workspace {self.name} is being embedded with {current['value']} by another process",
                    remedy="Wait until it has finished",
                )
            stored = 0
            for row, vector in zip(rows, packed, strict=True):
                packed_vector = vector.tobytes()
                cursor = connection.execute(
                    "INSERT OR IGNORE INTO vectors (chunk, vector, crc) SELECT rowid, ?, ? FROM chunks WHERE rowid = ?",
                    (packed_vector, zlib.crc32(packed_vector), row),
                )
                if cursor.rowcount:
                    stored += 1
                    connection.execute(
                        "UPDATE documents SET embedded = embedded + 1 "
                        "WHERE rowid = (SELECT document FROM chunks WHERE rowid = ?)",
                        (row,),
                    )
        return stored

    def forget_vectors(self) -> None:
        """Drop all vectors and the embedder's name, so that another embedder can take over."""
        with self._writing() as connection:
            connection.execute("DELETE FROM vectors")
            connection.execute("UPDATE documents SET embedded = 0")
            connection.execute("DELETE FROM meta WHERE key = 'embedder'")
        shutil.rmtree(self.path / "derived", ignore_errors=True)

    # -- what the pipeline asks before it reads a file ----------------------------------------------------------------

    def name_of_source(self, source: str) -> str | None:
        """The name under which the file at that path was added."""
        with self._reading() as connection:
            for table in ("documents", "aliases", "failures"):
                row = connection.execute(f"SELECT name FROM {table} WHERE source = ?", (source,)).fetchone()
                if row is not None:
                    return row["name"]
        return None

    def source_of(self, name: str) -> str | None:
        """The path that a name was read from; "" for an upload, None for an unused name."""
        with self._reading() as connection:
            for table in ("documents", "aliases", "failures"):
                row = connection.execute(f"SELECT source FROM {table} WHERE name = ?", (name,)).fetchone()
                if row is not None:
                    return row["source"]
        return None

    def content_state(self, name: str, sha256: str, recipe: str) -> ContentState | None:
        """What is known of this content under this name: `stored`, `failed`, `outdated` (read by another recipe)."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT recipe FROM documents WHERE name = ? AND sha256 = ?", (name, sha256)
            ).fetchone()
            if row is not None:
                return "stored" if row["recipe"] == recipe else "outdated"
            row = connection.execute(
                "SELECT 1 FROM failures WHERE name = ? AND sha256 = ? AND recipe = ?", (name, sha256, recipe)
            ).fetchone()
            return "failed" if row is not None else None

    def confirm(self, name: str, source: str) -> None:
        """The file at `source` still has the stored content: remember where it is, forget a failure in between."""
        with self._reading() as connection:
            row = connection.execute("SELECT source FROM documents WHERE name = ?", (name,)).fetchone()
            failed = connection.execute("SELECT 1 FROM failures WHERE name = ?", (name,)).fetchone()
        if (row is not None and row["source"] != source) or failed is not None:
            with self._writing(bump=False) as connection:
                connection.execute("UPDATE documents SET source = ? WHERE name = ?", (source, name))
                connection.execute("DELETE FROM failures WHERE name = ?", (name,))

    def adopt_moved(self, name: str, sha256: str, *, source: str) -> bool:
        """If this content is stored under a name whose file has gone, give its document the new name; True if so."""
        with self._reading() as connection:
            if connection.execute("SELECT 1 FROM documents WHERE name = ?", (name,)).fetchone() is not None:
                return False
            row = connection.execute(
                "SELECT rowid, source FROM documents WHERE sha256 = ? AND source <> '' ORDER BY rowid", (sha256,)
            ).fetchone()
        if row is None or os.path.exists(row["source"]):
            return False
        with self._writing() as connection:
            connection.execute("DELETE FROM aliases WHERE name = ?", (name,))
            connection.execute("DELETE FROM failures WHERE name = ?", (name,))
            changed = connection.execute(
                "UPDATE OR IGNORE documents SET name = ?, source = ?, recipe = '' WHERE rowid = ?",
                (name, source, row["rowid"]),
            )
            return changed.rowcount == 1

    def put_alias(self, name: str, sha256: str, *, source: str) -> str | None:
        """If content `sha256` is here under another name, let `name` stand for it too; returns the first name."""
        with self._writing(bump=False) as connection:
            row = connection.execute(
                "SELECT rowid, name FROM documents WHERE sha256 = ? AND name <> ? ORDER BY rowid", (sha256, name)
            ).fetchone()
            if row is None:
                return None
            connection.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (name, row["rowid"], source))
            connection.execute("DELETE FROM failures WHERE name = ?", (name,))
            return row["name"]

    def put_failure(
        self, name: str, *, sha256: str, size: int, source: str, recipe: str, reason: str, remedy: str
    ) -> None:
        """Remember that this content could not be read. A readable version stored before stays searchable."""
        with self._writing(bump=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO failures VALUES (?,?,?,?,?,?,?,?)",
                (name, sha256, size, source, recipe, _now(), reason, remedy),
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
