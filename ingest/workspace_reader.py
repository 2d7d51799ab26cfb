"""Reading a workspace: documents, pages, chunks, the lexical index, vectors. Every answer is of one snapshot."""

from __future__ import annotations

import difflib
import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from core.errors import NotFoundError, StoreError
from ingest import lexical, schema
from ingest.embedders import passage_text
from ingest.prepared import chunk_crc
from ingest.records import find_document, is_sound, to_failed_info, to_info, to_page
from ingest.types import Box, Chunk, DocumentInfo, Heading, Page
from ingest.workspace_connection import WorkspaceConnection

logger = logging.getLogger(__name__)

_IDS_A_QUERY = 250  # two variables each, below the limit of older SQLites

CHUNK_COLUMNS = (
    "c.rowid AS chunk_row, c.ordinal, c.page, c.start, c.end, c.context, c.crc, "
    "d.rowid AS document_row, d.document_id, d.name AS document"
)


class WorkspaceReader(WorkspaceConnection):
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
            page = to_page(row) if row is not None else None
        if page is None:
            raise NotFoundError(f"{info['name']} has no page {number}", remedy=f"Its pages are 1 to {info['pages']}")
        return page

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
                found = connection.execute(
                    "SELECT * FROM pages WHERE document = ? AND number = ?", (row["rowid"], number)
                ).fetchone()
                page = to_page(found) if found is not None else None
            if page is None:
                return
            yield page

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
            wanted = [
                (document_id, int(ordinal))
                for document_id, _, ordinal in (chunk_id.rpartition(":") for chunk_id in chunk_ids)
                if ordinal.isdigit()
            ]
            for first in range(0, len(wanted), _IDS_A_QUERY):
                part = wanted[first : first + _IDS_A_QUERY]
                rows = connection.execute(
                    f"WITH wanted(document_id, ordinal) AS (VALUES {','.join(['(?, ?)'] * len(part))}) "
                    f"SELECT {CHUNK_COLUMNS} FROM wanted w CROSS JOIN documents d ON d.document_id = w.document_id "
                    "CROSS JOIN chunks c ON c.document = d.rowid AND c.ordinal = w.ordinal",  # in this order
                    [value for pair in part for value in pair],
                ).fetchall()
                self._texts.fetch(connection, {(row["document_row"], row["page"]) for row in rows})
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
                f"SELECT {CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document "
                "WHERE d.rowid = ? ORDER BY c.ordinal",
                (row["rowid"],),
            ).fetchall()
            return [self._chunk(connection, row) for row in rows]

    def chunk_count(self) -> int:
        """Counted once a version: every answer asks several times, and 100,000 documents take 5 ms to add up."""
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
            version, (counted_at, count) = row["value"] if row else None, self._counted
            if version is None or version != counted_at:
                count = connection.execute("SELECT coalesce(sum(chunks), 0) FROM documents").fetchone()[0]
                self._counted = (version, count)
            return int(count)

    def _chunk(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Chunk:
        # CHUNK_COLUMNS, all at once: a column by its name is looked for among all names.
        ordinal, page, start, end, context, crc, document_row, document_id, document = row[1:10]
        text = self._texts.get(connection, document_row, page)[start:end]
        if crc is not None and crc != chunk_crc(ordinal, page, start, end, context, text):
            raise StoreError(
                f"a passage on page {page} of {document} has changed on disk since it was stored",
                remedy=schema.damage_remedy(self.database),
            )
        return Chunk(
            chunk_id=f"{document_id}:{ordinal}",
            document_id=document_id,
            document=document,
            page=page,
            start=start,
            end=end,
            text=text,
            context=context,
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

    def vectors(self, dtype: DTypeLike = np.float32) -> tuple[list[str], np.ndarray]:
        """Chunk ids and their unit vectors, (n, dim), of what is embedded so far, in the order stored.

        They are stored as float16: many of them are asked for so, which takes half the memory.
        """
        damaged: list[int] = []
        with self._reading() as connection:
            names = dict(connection.execute("SELECT rowid, document_id FROM documents").fetchall())
            count = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
            ids: list[str] = []
            matrix = np.zeros((0, 0), dtype)
            for row in connection.execute(  # one at a time: 100,000 at once would stand in memory three times
                "SELECT c.document, c.ordinal, v.vector, v.crc, v.chunk FROM vectors v "
                "JOIN chunks c ON c.rowid = v.chunk ORDER BY v.chunk"
            ):
                if not is_sound(row["vector"], row["crc"]):
                    damaged.append(row["chunk"])
                    continue
                vector = np.frombuffer(row["vector"], np.float16)
                if not ids:
                    matrix = np.empty((count, len(vector)), dtype)
                matrix[len(ids)] = vector
                ids.append(f"{names[row['document']]}:{row['ordinal']}")
        self._forget_damaged(damaged)
        return ids, matrix[: len(ids)]

    def document_vectors(self, document: str) -> tuple[list[str], np.ndarray]:
        """`vectors()` of one document, in reading order. Raises NotFoundError."""
        with self._reading() as connection:
            found = self._row(connection, document)
            rows = connection.execute(
                "SELECT c.ordinal, v.vector, v.crc, v.chunk FROM chunks c JOIN vectors v ON v.chunk = c.rowid "
                "WHERE c.document = ? ORDER BY c.ordinal",
                (found["rowid"],),
            ).fetchall()
        rows = self._sound_vectors(rows)
        if not rows:
            return [], np.zeros((0, 0), np.float32)
        packed = np.frombuffer(b"".join(row["vector"] for row in rows), np.float16)
        ids = [f"{found['document_id']}:{row['ordinal']}" for row in rows]
        return ids, packed.reshape(len(rows), -1).astype(np.float32)

    def _sound_vectors(self, rows: list[sqlite3.Row]) -> list[sqlite3.Row]:
        """Rows of vectors without those that changed on disk, which are dropped, to be made again."""
        self._forget_damaged([row["chunk"] for row in rows if not is_sound(row["vector"], row["crc"])])
        return [row for row in rows if is_sound(row["vector"], row["crc"])]

    def _forget_damaged(self, chunks: Sequence[int]) -> None:
        if not chunks:
            return
        logger.warning(
            "%d vectors of workspace %s have changed on disk: they are not used, and made again when it is next "
            "embedded (`python -m ingest`, or a start of the page)",
            len(chunks),
            self.name,
        )
        with self._writing() as connection:
            for chunk in chunks:
                if connection.execute("DELETE FROM vectors WHERE chunk = ?", (chunk,)).rowcount:
                    connection.execute(
                        "UPDATE documents SET embedded = embedded - 1 "
                        "WHERE rowid = (SELECT document FROM chunks WHERE rowid = ?)",
                        (chunk,),
                    )

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
                f"SELECT {CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.rowid = c.document "
                "WHERE c.rowid > ? AND d.embedded < d.chunks AND NOT EXISTS "
                "(SELECT 1 FROM vectors v WHERE v.chunk = c.rowid) ORDER BY c.rowid LIMIT ?",
                (after, limit),
            ).fetchall()
            return [(row["chunk_row"], passage_text(self._chunk(connection, row))) for row in rows]
