"""A workspace: one folder with everything known about a set of documents.

    with Workspace.open(settings.home, "default") as workspace:
        for info in workspace.documents(): ...
        hits = workspace.lexical_search(query_terms("net sales"), limit=10)

    <home>/workspaces/<name>/
        lectern.sqlite    documents, pages, word boxes, chunks, lexical index, vectors: the truth (ingest/schema.py)
        files/            the originals under their hash (ingest/originals.py)
        derived/          what can be built again from the truth (FAISS); emptied by a removal
        *.lock            who ingests, who embeds

Opening loads neither torch nor faiss. A `Workspace` may be used from several threads (a connection each) and several
processes; readers are never blocked. `document` arguments take a name, a further name (alias) or a document id.
Texts are never changed in place: a chunk id stands for the same text until its document is replaced or removed.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import NotFoundError, StoreError, UsageError
from ingest import lexical, schema
from ingest.embedders import passage_text
from ingest.originals import IncomingFile, Originals
from ingest.prepared import PreparedDocument
from ingest.records import find_document, to_failed_info, to_info, to_page
from ingest.text_cache import TextCache
from ingest.types import Box, Chunk, DocumentInfo, Heading, Page

_NAME = re.compile(r"[^\W_](?:[\w .-]{0,62}[\w-])?")
ContentState = Literal["stored", "failed", "outdated"]

_TEXT_CACHE_CHARACTERS = 8_000_000
_IDS_A_QUERY = 500  # below SQLite's limit of variables

_CHUNK_COLUMNS = (
    "c.rowid AS chunk_row, c.ordinal, c.page, c.start, c.end, c.context, "
    "d.rowid AS document_row, d.document_id, d.name AS document"
)


class Workspace:
    def __init__(self, path: Path, name: str) -> None:
        """Use `Workspace.open`."""
        self.name = name
        self.path = path
        self.database = path / schema.DATABASE
        self.originals = Originals(path / "files")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._texts = TextCache(_TEXT_CACHE_CHARACTERS)

    # -- opening and closing -------------------------------------------------------------------------------------

    @classmethod
    def open(cls, home: Path, name: str = "default", *, create: bool = True) -> Workspace:
        """Raises UsageError (bad name), NotFoundError (absent, not `create`), StoreError (damaged, newer, locked)."""
        path = workspace_path(home, name)
        if not create and not (path / schema.DATABASE).is_file():
            known = ", ".join(list_workspaces(home)) or "none yet"
            raise NotFoundError(
                f"there is no workspace {name!r} in {Path(home)} (there are: {known})",
                remedy=f"Create it with `python -m ingest PATH --workspace {name}`",
            )
        workspace = cls(path, name)
        with schema.translated(workspace.database):
            path.mkdir(parents=True, exist_ok=True)
            try:
                lexical.bring_up_to_date(workspace._connection())
            except BaseException:
                workspace.close()
                raise
        return workspace

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None or self._closed:
            if self._closed:
                raise StoreError(f"workspace {self.name} has been closed", remedy="Open it again")
            connection = schema.connect(self.database, create=True)
            connection.row_factory = sqlite3.Row
            with self._lock:
                self._connections.append(connection)
            self._local.connection = connection
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with schema.translated(self.database), schema.snapshot(self._connection()) as connection:
            yield connection

    @contextmanager
    def _writing(self, *, bump: bool = True) -> Iterator[sqlite3.Connection]:
        with schema.translated(self.database), schema.transaction(self._connection()) as connection:
            lexical.require_current(connection)
            yield connection
            if bump:
                connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")

    # -- what is in it -------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows with every change of what is searchable or embedded."""
        return int(self._meta("version") or 0)

    @property
    def embedder_name(self) -> str | None:
        """The embedder its vectors were made with; None before the first vector."""
        return self._meta("embedder")

    def _meta(self, key: str) -> str | None:
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row["value"] if row else None

    @property
    def derived(self) -> Path:
        """Folder for what can be built again; a removal empties it."""
        path = self.path / "derived"
        with schema.translated(self.database):
            path.mkdir(exist_ok=True)
        return path

    def documents(self) -> list[DocumentInfo]:
        """All documents by name, those that failed to be read among them."""
        with self._reading() as connection:
            failures = {row["name"]: row for row in connection.execute("SELECT * FROM failures")}
            aliases: dict[int, list[str]] = {}
            for row in connection.execute("SELECT name, document FROM aliases ORDER BY name"):
                aliases.setdefault(row["document"], []).append(row["name"])
            infos = []
            for row in connection.execute("SELECT * FROM documents"):
                infos.append(to_info(row, failures.pop(row["name"], None), tuple(aliases.get(row["rowid"], ()))))
        infos.extend(to_failed_info(row) for row in failures.values())
        return sorted(infos, key=lambda info: info.name)

    def document(self, name_or_id: str) -> DocumentInfo:
        """One document. Raises NotFoundError with the nearest names."""
        with self._reading() as connection:
            row = find_document(connection, name_or_id)
            if row is not None:
                failure = connection.execute("SELECT * FROM failures WHERE name = ?", (row["name"],)).fetchone()
                named = connection.execute("SELECT name FROM aliases WHERE document = ? ORDER BY 1", (row["rowid"],))
                return to_info(row, failure, tuple(alias["name"] for alias in named))
            failure = connection.execute("SELECT * FROM failures WHERE name = ?", (name_or_id,)).fetchone()
            if failure is not None:
                return to_failed_info(failure)
            raise self._not_found(connection, name_or_id)

    def _row(self, connection: sqlite3.Connection, name_or_id: str) -> sqlite3.Row:
        row = find_document(connection, name_or_id)
        if row is None:
            raise self._not_found(connection, name_or_id)
        return row

    def _not_found(self, connection: sqlite3.Connection, name: str) -> NotFoundError:
        names = [
            row["name"] for row in connection.execute("SELECT name FROM documents UNION SELECT name FROM failures")
        ]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        return NotFoundError(
            f"there is no document {name!r} in workspace {self.name}",
            remedy=f"{hint}`python -m ingest --list --workspace {self.name}` shows them",
        )

    # -- pages ---------------------------------------------------------------------------------------------------

    def page(self, document: str, number: int) -> Page:
        """Page `number` (from 1) with its text and word boxes. Raises NotFoundError."""
        with self._reading() as connection:
            info = self._row(connection, document)
            row = connection.execute(
                "SELECT * FROM pages WHERE document = ? AND number = ?", (info["rowid"], number)
            ).fetchone()
        if row is None:
            raise NotFoundError(f"{info['name']} has no page {number}", remedy=f"Its pages are 1 to {info['pages']}")
        return to_page(row)

    def pages(self, document: str) -> Iterator[Page]:
        """Its pages in order, one at a time in memory. If the document is replaced meanwhile, iteration ends early."""
        with self._reading() as connection:
            row = self._row(connection, document)
            numbers = [
                page["number"]
                for page in connection.execute(
                    "SELECT number FROM pages WHERE document = ? ORDER BY 1", (row["rowid"],)
                )
            ]
        for number in numbers:
            with self._reading() as connection:
                page = connection.execute(
                    "SELECT * FROM pages WHERE document = ? AND number = ?", (row["rowid"], number)
                ).fetchone()
            if page is None:
                return
            yield to_page(page)

    def headings(self, document: str) -> list[Heading]:
        with self._reading() as connection:
            return [Heading(*heading) for heading in json.loads(self._row(connection, document)["headings"])]

    def boxes(self, document: str, page: int, start: int, end: int) -> list[Box]:
        """Where characters [start, end) of a page stand: one box per line, in points; [] without sheets."""
        from ingest.boxes import boxes_for_range

        return boxes_for_range(self.page(document, page), start, end)

    def metadata(self, document: str) -> dict[str, object]:
        """Author, dates and the like, as the file states them."""
        with self._reading() as connection:
            return json.loads(self._row(connection, document)["metadata"])

    def source_path(self, document: str) -> Path:
        """The stored copy of the original. Raises NotFoundError, StoreError when the copy has gone."""
        with self._reading() as connection:
            row = self._row(connection, document)
        path = self.originals.path(row["sha256"], row["name"])
        if not path.is_file():
            raise StoreError(
                f"the stored copy of {row['name']} is missing from {self.originals.folder}",
                remedy=f"Remove the document and ingest it again: `python -m ingest --remove {row['name']!r}`",
            )
        return path

    # -- chunks --------------------------------------------------------------------------------------------------

    def chunk(self, chunk_id: str) -> Chunk:
        """Raises NotFoundError: also for a chunk of a document that has been replaced since."""
        return self.chunks([chunk_id])[0]

    def chunks(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """In the order asked for. Raises NotFoundError."""
        found: dict[str, Chunk] = {}
        with self._reading() as connection:
            by_document: dict[str, list[int]] = {}
            for chunk_id in chunk_ids:
                document_id, _, ordinal = chunk_id.rpartition(":")
                if ordinal.isdigit():
                    by_document.setdefault(document_id, []).append(int(ordinal))
            for document_id, ordinals in by_document.items():
                for first in range(0, len(ordinals), _IDS_A_QUERY):
                    part = ordinals[first : first + _IDS_A_QUERY]
                    marks = ",".join("?" * len(part))
                    rows = connection.execute(
                        f"SELECT {_CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document "
                        f"WHERE d.document_id = ? AND c.ordinal IN ({marks}) ORDER BY c.ordinal",
                        (document_id, *part),
                    ).fetchall()
                    for row in rows:
                        chunk = self._chunk(connection, row)
                        found[chunk.chunk_id] = chunk
        for chunk_id in chunk_ids:
            if chunk_id not in found:
                raise NotFoundError(
                    f"there is no chunk {chunk_id!r} in workspace {self.name}",
                    remedy="Its document was replaced or removed: search again",
                )
        return [found[chunk_id] for chunk_id in chunk_ids]

    def document_chunks(self, document: str) -> list[Chunk]:
        """All chunks of a document in reading order."""
        with self._reading() as connection:
            row = self._row(connection, document)
            rows = connection.execute(
                f"SELECT {_CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document "
                "WHERE d.rowid = ? ORDER BY c.ordinal",
                (row["rowid"],),
            ).fetchall()
            return [self._chunk(connection, row) for row in rows]

    def chunk_count(self) -> int:
        with self._reading() as connection:
            return connection.execute("SELECT coalesce(sum(chunks), 0) FROM documents").fetchone()[0]

    def _chunk(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Chunk:
        text = self._texts.get(connection, row["document_row"], row["page"])
        return Chunk(
            chunk_id=f"{row['document_id']}:{row['ordinal']}",
            document_id=row["document_id"],
            document=row["document"],
            page=row["page"],
            start=row["start"],
            end=row["end"],
            text=text[row["start"] : row["end"]],
            context=row["context"],
        )

    # -- lexical search ------------------------------------------------------------------------------------------

    def lexical_search(
        self,
        terms: Sequence[str],
        limit: int,
        *,
        documents: Sequence[str] | None = None,
        context_weight: float = 0.0,
    ) -> list[tuple[str, float]]:
        """(chunk id, BM25 > 0) of the chunks with any of the `terms` (ingest/tokens.py), best first.

        Only the body counts, unless `context_weight` > 0 gives a word in the context that share of a word in the body.
        `documents` (names or ids) restricts the search; document frequencies stay those of the whole workspace.
        """
        with self._reading() as connection:
            rows = None
            if documents is not None:
                rows = [
                    row["rowid"] for row in (find_document(connection, name) for name in documents) if row is not None
                ]
            return lexical.search(connection, terms, limit, documents=rows, context_weight=context_weight)

    def document_frequency(self, terms: Sequence[str]) -> dict[str, int]:
        """In how many chunks' bodies each term occurs."""
        with self._reading() as connection:
            return lexical.document_frequency(connection, terms)

    # -- vectors -------------------------------------------------------------------------------------------------

    def vectors(self) -> tuple[list[str], np.ndarray]:
        """Chunk ids and their unit vectors, (n, dim) float32, of what is embedded so far, in the order stored."""
        with self._reading() as connection:
            names = dict(connection.execute("SELECT rowid, document_id FROM documents").fetchall())
            rows = connection.execute(
                "SELECT c.document, c.ordinal, v.vector FROM vectors v JOIN chunks c ON c.rowid = v.chunk "
                "ORDER BY v.chunk"
            ).fetchall()
        if not rows:
            return [], np.zeros((0, 0), np.float32)
        ids = [f"{names[document]}:{ordinal}" for document, ordinal, _ in rows]
        packed = np.frombuffer(b"".join(vector for _, _, vector in rows), np.float16)
        return ids, packed.reshape(len(rows), -1).astype(np.float32)

    def require_embedder(self, name: str) -> None:
        """Raises StoreError if the vectors here were made by another embedder."""
        present = self.embedder_name
        if present is not None and present != name:
            raise StoreError(
                f"workspace {self.name} was embedded with {present}, the settings say {name}",
                remedy=f"Embed it again with `python -m ingest --reembed --workspace {self.name}`,"
                f" or set embedder.model (LECTERN_EMBEDDER__MODEL) back",
            )

    def pending_count(self) -> int:
        """Chunks without a vector."""
        with self._reading() as connection:
            return connection.execute("SELECT coalesce(sum(chunks - embedded), 0) FROM documents").fetchone()[0]

    def pending_passages(self, limit: int, *, after: int = 0) -> list[tuple[int, str]]:
        """(chunk row, text to embed) of up to `limit` chunks without a vector, rows beyond `after`, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document "
                "WHERE c.rowid > ? AND d.embedded < d.chunks AND NOT EXISTS "
                "(SELECT 1 FROM vectors v WHERE v.chunk = c.rowid) ORDER BY c.rowid LIMIT ?",
                (after, limit),
            ).fetchall()
            return [(row["chunk_row"], passage_text(self._chunk(connection, row))) for row in rows]

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
                cursor = connection.execute(
                    "INSERT OR IGNORE INTO vectors SELECT rowid, ? FROM chunks WHERE rowid = ?", (vector.tobytes(), row)
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
            row = connection.execute(
                "INSERT INTO documents (document_id, name, title, media_type, sha256, size, source, recipe, added_at,"
                " pages, chunks, metadata, headings, problems) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    document.document_id,
                    document.name,
                    document.title,
                    document.media_type,
                    incoming.sha256,
                    incoming.size,
                    source,
                    recipe,
                    _now(),
                    len(document.pages),
                    len(document.chunks),
                    json.dumps(document.metadata, default=str),
                    json.dumps([[h.page, h.start, h.title, h.level] for h in document.headings]),
                    json.dumps([[p.page, p.reason, p.remedy] for p in document.problems]),
                ),
            ).lastrowid
            assert row is not None
            connection.executemany(
                "INSERT INTO pages VALUES (?,?,?,?,?,?,?)",
                ((row, p.number, p.width, p.height, p.label, p.text, p.words) for p in document.pages),
            )
            for ordinal, chunk in enumerate(document.chunks):
                chunk_row = connection.execute(
                    "INSERT INTO chunks (document, ordinal, page, start, end, context) VALUES (?,?,?,?,?,?)",
                    (row, ordinal, chunk.page, chunk.start, chunk.end, chunk.context),
                ).lastrowid
                lexical.add(connection, chunk_row, chunk.body_terms, chunk.context_terms)
            if known:
                self._take_over_vectors(connection, row, known)
            self.originals.keep(incoming, document.name)
            if old is not None:
                self.originals.collect(self._used_originals(connection))
        return old is not None

    def _vectors_by_passage(self, connection: sqlite3.Connection, document: sqlite3.Row) -> dict[str, bytes]:
        rows = connection.execute(
            f"SELECT {_CHUNK_COLUMNS}, v.vector FROM vectors v JOIN chunks c ON c.rowid = v.chunk "
            "JOIN documents d ON d.rowid = c.document WHERE d.rowid = ?",
            (document["rowid"],),
        ).fetchall()
        return {passage_text(self._chunk(connection, row)): row["vector"] for row in rows}

    def _take_over_vectors(self, connection: sqlite3.Connection, document: int, known: dict[str, bytes]) -> None:
        rows = connection.execute(
            f"SELECT {_CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document WHERE d.rowid = ?",
            (document,),
        ).fetchall()
        kept = [(row["chunk_row"], known.get(passage_text(self._chunk(connection, row)))) for row in rows]
        kept = [pair for pair in kept if pair[1] is not None]
        connection.executemany("INSERT INTO vectors VALUES (?, ?)", kept)
        connection.execute("UPDATE documents SET embedded = ? WHERE rowid = ?", (len(kept), document))

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
                    connection.execute("DELETE FROM aliases WHERE name = ?", (alias["name"],))
                    connection.execute(  # an empty recipe: the next ingest of that file reads it under its own name
                        "UPDATE documents SET name = ?, source = ?, recipe = '' WHERE rowid = ?",
                        (alias["name"], alias["source"], row["rowid"]),
                    )
                else:
                    self._delete_document(connection, row)
            self.originals.collect(self._used_originals(connection))
        self.purge()

    def _delete_document(self, connection: sqlite3.Connection, row: sqlite3.Row) -> None:
        chunks = connection.execute(
            f"SELECT {_CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document WHERE d.rowid = ?",
            (row["rowid"],),
        ).fetchall()
        for chunk in chunks:  # a contentless index is told what to forget
            whole = self._chunk(connection, chunk)
            lexical.forget(connection, chunk["chunk_row"], whole.text, whole.context)
        connection.execute("DELETE FROM documents WHERE rowid = ?", (row["rowid"],))
        self._texts.drop(row["rowid"])
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('purge', '1')")

    def purge(self) -> None:
        """Overwrite what deleted documents left behind in the index, the log and the derived caches."""
        shutil.rmtree(self.path / "derived", ignore_errors=True)
        if self._meta("purge"):
            with self._writing(bump=False) as connection:
                lexical.optimize(connection)
                connection.execute("DELETE FROM meta WHERE key = 'purge'")
        with schema.translated(self.database):
            connection = self._connection()
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def collect_originals(self) -> None:
        """Delete what an interrupted ingest left in files/."""
        with self._writing(bump=False) as connection:
            self.originals.collect(self._used_originals(connection))

    def _used_originals(self, connection: sqlite3.Connection) -> set[Path]:
        rows = connection.execute("SELECT sha256, name FROM documents")
        return {self.originals.path(row["sha256"], row["name"]) for row in rows}


def workspace_path(home: Path, name: str) -> Path:
    """Folder of a workspace. Raises UsageError for a name that is not a plain folder name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(
            f"{name!r} is no workspace name",
            remedy="Use up to 64 letters, digits, spaces, hyphens, dots and underscores, a letter or digit first",
        )
    return Path(home).expanduser() / "workspaces" / name


def list_workspaces(home: Path) -> list[str]:
    """Names of the workspaces of a home, sorted."""
    folder = Path(home).expanduser() / "workspaces"
    return sorted(path.parent.name for path in folder.glob(f"*/{schema.DATABASE}"))


def delete_workspace(home: Path, name: str) -> None:
    """Delete a workspace with everything in it. Raises NotFoundError."""
    Workspace.open(home, name, create=False).close()
    path = workspace_path(home, name)
    with schema.translated(path / schema.DATABASE):
        shutil.rmtree(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
