"""What is remembered, in the database of conversations: written with its turn, searched, pinned, edited, forgotten."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.errors import NotFoundError, UsageError
from ingest.tokens import index_terms, query_terms
from memory.dialogue_database import DialogueDatabase, clean, match_any, merge_words, now
from memory.types import Memory, MemoryKind, Said

_MEMORY = (
    "m.id, m.kind, m.text, m.said_at, m.turn, t.session, m.speaker, m.previous, "
    "m.subject, m.superseded_at, m.pinned, m.edited_at "
    "FROM memories m JOIN turns t ON t.id = m.turn"
)
IDS_A_QUERY = 500  # below SQLite's limit of variables
VISITED = 4000  # memories that a search by words may rank; smaller stores are ranked whole
_TRACES = "traces"
REMEMBERED = 200  # memories from which a term's count is kept, not counted again


class MemoryStore(DialogueDatabase):
    """Memories of one workspace. Their vectors are elsewhere (memory/vectors.py) and follow what is here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._frequent: dict[str, tuple[int, int]] = {}  # term -> memories that have it, when there were how many

    def _remember(self, connection: sqlite3.Connection, turn_id: int, said: Said, previous: int, at: str) -> int:
        text = clean(said.text)
        if said.kind == "fact" and said.subject:
            connection.execute(
                "UPDATE memories SET superseded_at = ? WHERE kind = 'fact' AND subject = ? AND superseded_at = ''",
                (at, said.subject),
            )
        cursor = connection.execute(
            "INSERT INTO memories (turn, kind, speaker, previous, text, subject, said_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (turn_id, said.kind, said.speaker, previous, text, said.subject, at),
        )
        memory_id = int(cursor.lastrowid or 0)
        connection.execute("INSERT OR IGNORE INTO speakers VALUES (?)", (said.speaker,))
        terms = " ".join(index_terms(text))
        connection.execute("INSERT INTO memory_words (rowid, terms) VALUES (?, ?)", (memory_id, terms))
        return memory_id

    def memories(
        self, *, kind: MemoryKind | None = None, pinned: bool = False, contains: str = "", before: int = 0,
        limit: int = 200,
    ) -> list[Memory]:  # fmt: skip
        """What is remembered, latest first, `before` an id; with `contains`, what has any of its words, best first."""
        if contains.strip():
            ids = [memory_id for memory_id, _ in self.memory_words(query_terms(contains), limit)]
            found = self.memories_by_id(ids)
            return [m for m in found if (kind is None or m.kind == kind) and (m.pinned or not pinned)]
        where = ["1"] + (["m.kind = :kind"] if kind else []) + (["m.pinned = 1"] if pinned else [])
        where += ["m.id < :before"] if before else []
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_MEMORY} WHERE {' AND '.join(where)} ORDER BY m.id DESC LIMIT :limit",
                {"kind": kind, "before": before, "limit": limit},
            ).fetchall()
        return [_memory(row) for row in rows]

    def memories_by_id(self, ids: Sequence[int]) -> list[Memory]:
        """In the order asked for; those deleted meanwhile are left out."""
        found: dict[int, Memory] = {}
        with self._reading() as connection:
            for first in range(0, len(ids), IDS_A_QUERY):
                part = list(ids[first : first + IDS_A_QUERY])
                marks = ",".join("?" * len(part))
                for row in connection.execute(f"SELECT {_MEMORY} WHERE m.id IN ({marks})", part):
                    found[row["id"]] = _memory(row)
        return [found[memory_id] for memory_id in ids if memory_id in found]

    def speakers(self) -> list[str]:
        """Everybody whose words are or were remembered."""
        with self._reading() as connection:
            return [row[0] for row in connection.execute("SELECT name FROM speakers")]

    def facts(self, *, session_id: str = "", holding: bool = True, limit: int = 100) -> list[Memory]:
        """Facts that the user stated, latest first; `holding`: those that no later one has superseded."""
        where = ["m.kind = 'fact'"] + (["m.superseded_at = ''"] if holding else [])
        where += ["+t.session = :session"] if session_id else []  # plus: facts are few, a session's turns are many
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_MEMORY} WHERE {' AND '.join(where)} ORDER BY m.id DESC LIMIT :limit",
                {"session": session_id, "limit": limit},
            ).fetchall()
        return [_memory(row) for row in rows]

    def neighbours(self, ids: Sequence[int]) -> list[Memory]:
        """The memories that were said right after any of these, in no particular order."""
        found: list[Memory] = []
        with self._reading() as connection:
            for first in range(0, len(ids), IDS_A_QUERY):
                part = list(ids[first : first + IDS_A_QUERY])
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT {_MEMORY} WHERE m.previous IN ({marks}) AND m.kind = 'turn'", part)
                found.extend(_memory(row) for row in rows)
        return found

    def memory_words(self, terms: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """(memory id, BM25 > 0) of memories with any of the terms, best first.

        In a large store only of the rarer terms: BM25 has to visit every memory that has one of them, while what is in
        thousands of memories tells them apart the least.
        """
        with self._reading() as connection:
            match = match_any(self._telling(connection, terms))
            if not match:
                return []
            rows = connection.execute(
                "SELECT rowid, -rank FROM memory_words WHERE memory_words MATCH ? ORDER BY rank LIMIT ?", (match, limit)
            ).fetchall()
        return [(int(row[0]), float(row[1])) for row in rows]

    def _telling(self, connection: sqlite3.Connection, terms: Sequence[str]) -> Sequence[str]:
        """The rarest of the terms, as long as all their memories together are no more than VISITED; at least two."""
        total = connection.execute("SELECT coalesce(max(id), 0) FROM memories").fetchone()[0]
        if total <= VISITED or len(terms) < 3:
            return terms
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.memory_terms USING fts5vocab(main, memory_words, row)"
        )
        counted: list[tuple[int, str]] = []
        for term in terms:
            known, at = self._frequent.get(term, (0, 0))
            if not at or total > 1.2 * at:  # counting walks through all of a frequent term's memories
                row = connection.execute("SELECT doc FROM memory_terms WHERE term = ?", (term,)).fetchone()
                known = row[0] if row is not None else 0
                if known > REMEMBERED:
                    self._frequent[term] = known, total
            counted.append((known, term))
        counted.sort()
        chosen: list[str] = []
        visited = 0
        for count, term in counted:
            visited += count
            if visited > VISITED and len(chosen) > 1:
                break
            chosen.append(term)
        return chosen

    def memory_count(self) -> int:
        with self._reading() as connection:
            return connection.execute("SELECT count(*) FROM memories").fetchone()[0]

    def latest_memory(self) -> int:
        """The highest id given so far; 0 before the first."""
        with self._reading() as connection:
            return connection.execute("SELECT coalesce(max(id), 0) FROM memories").fetchone()[0]

    def pin(self, memory_id: int, pinned: bool = True) -> None:
        """Raises NotFoundError."""
        self._change_memory(memory_id, "pinned = ?", int(pinned))

    def edit(self, memory_id: int, text: str) -> None:
        """Replace a memory's text; the turn it came from stays as it was said. Raises NotFoundError, UsageError."""
        if not text.strip():
            raise UsageError("a memory's text is empty", remedy="Delete the memory instead")
        text = clean(text.strip())
        self._change_memory(memory_id, "text = ?, edited_at = ?, state = 0", text, now(), terms=index_terms(text))
        self._scrub()

    def _change_memory(self, memory_id: int, assignment: str, *values: object, terms: Sequence[str] = ()) -> None:
        with self._writing() as connection:
            cursor = connection.execute(f"UPDATE memories SET {assignment} WHERE id = ?", (*values, memory_id))
            if not cursor.rowcount:
                raise _no_memory(memory_id)
            if terms:
                connection.execute("UPDATE memory_words SET terms = ? WHERE rowid = ?", (" ".join(terms), memory_id))
                leave_no_traces(connection)
                merge_words(connection)

    def forget(self, memory_id: int) -> None:
        """Delete one memory; its turn stays in its conversation. Raises NotFoundError."""
        with self._writing() as connection:
            if not self._forget(connection, "id = ?", memory_id):
                raise _no_memory(memory_id)
            leave_no_traces(connection)
            merge_words(connection)
        self._scrub()

    def _forget(self, connection: sqlite3.Connection, where: str, value: object) -> int:
        chosen = f"SELECT id FROM memories WHERE {where}"
        connection.execute(f"DELETE FROM memory_words WHERE rowid IN ({chosen})", (value,))
        connection.execute(f"INSERT OR IGNORE INTO forgotten {chosen}", (value,))
        return connection.execute(f"DELETE FROM memories WHERE {where}", (value,)).rowcount

    # -- what a vector index follows ------------------------------------------------------------------------------

    def to_embed(self, limit: int) -> list[Memory]:
        """Memories whose vector is missing or outdated, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_MEMORY} WHERE m.state = 0 ORDER BY m.id LIMIT ?", (limit,)).fetchall()
        return [_memory(row) for row in rows]

    def embedded(self, memories: Iterable[Memory]) -> None:
        """Mark these as indexed, unless their text has changed meanwhile."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE memories SET state = 1 WHERE id = ? AND text = ?", [(m.memory_id, m.text) for m in memories]
            )

    def embedded_count(self) -> int:
        """Memories whose vectors are in the index, by what `embedded` was told."""
        with self._reading() as connection:
            return connection.execute("SELECT count(*) FROM memories WHERE state = 1").fetchone()[0]

    def embedded_ids(self) -> list[int]:
        """Ids of the memories whose vectors are in the index."""
        with self._reading() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM memories WHERE state = 1 ORDER BY id")]

    def embed_again(self) -> None:
        """Mark all as not indexed: the vector index is gone or was made with another embedder."""
        with self._writing() as connection:
            connection.execute("UPDATE memories SET state = 0 WHERE state = 1")
            connection.execute("DELETE FROM forgotten")

    def forgotten(self) -> list[int]:
        """Ids whose vectors are still to be removed; `removed` acknowledges."""
        with self._reading() as connection:
            return [row[0] for row in connection.execute("SELECT memory FROM forgotten")]

    def removed(self, ids: Iterable[int]) -> None:
        with self._writing() as connection:
            connection.executemany("DELETE FROM forgotten WHERE memory = ?", [(i,) for i in ids])

    def traces(self) -> str:
        """Not empty: something was deleted whose vector must leave the disk, too. `erased` acknowledges this value."""
        return self.meta(_TRACES)

    def erased(self, traces: str) -> None:
        with self._writing() as connection:  # unless more was deleted meanwhile
            connection.execute("DELETE FROM meta WHERE key = ? AND value = ?", (_TRACES, traces))


def leave_no_traces(connection: sqlite3.Connection) -> None:
    """Part of a transaction that deletes or changes what somebody no longer wants to be remembered."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_TRACES, secrets.token_hex(8)))


def _no_memory(memory_id: int) -> NotFoundError:
    return NotFoundError(f"there is no memory {memory_id}", remedy="It may have been deleted")


def _memory(row: sqlite3.Row) -> Memory:
    return Memory(
        row["id"], row["kind"], row["text"], row["said_at"], row["turn"], row["session"], row["speaker"],
        row["previous"], row["subject"], row["superseded_at"], bool(row["pinned"]), row["edited_at"],
    )  # fmt: skip
