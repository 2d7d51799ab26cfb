"""All conversations of a workspace, verbatim, in one SQLite file of its folder: the truth that every index follows.

    with DialogueStore(workspace.path) as store:
        session = store.create("Lease questions")
        turn = store.append(session.session_id, "When does it end?", "When does the lease end?", "On 30 June [1].")
        store.turns(session.session_id)

A turn, its words for searching and the memories made of it are one transaction: after a SIGKILL either all of it is
there or none. Write-ahead log, one connection per thread; several threads, processes and devices may have the same
session open and see each other's turns with their next read. What is deleted is overwritten.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import NotFoundError, StoreError, UsageError
from ingest import schema
from ingest.tokens import TOKENIZER_VERSION, index_terms, query_terms
from memory.types import Memory, MemoryKind, Said, SessionInfo, Turn

DATABASE = "dialogue.sqlite"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x4C654469  # "LeDi"
MAX_TITLE = 200  # characters
_CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that are mistaken for another
_CODE_GROUPS = 3  # of four letters: 58 bits, not to be guessed

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    remember INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    number INTEGER NOT NULL,
    asked_at TEXT NOT NULL,
    question TEXT NOT NULL,
    understood TEXT NOT NULL,
    answer TEXT NOT NULL,
    details TEXT NOT NULL           -- JSON
);
CREATE UNIQUE INDEX turns_by_number ON turns (session, number);
CREATE TABLE memories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    turn INTEGER NOT NULL REFERENCES turns ON DELETE CASCADE,
    kind TEXT NOT NULL,             -- turn | fact
    speaker TEXT NOT NULL,
    previous INTEGER NOT NULL,      -- the memory before it in its session (kind turn), 0 for the first
    text TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    said_at TEXT NOT NULL,
    superseded_at TEXT NOT NULL DEFAULT '',
    edited_at TEXT NOT NULL DEFAULT '',
    pinned INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL DEFAULT 0 -- 0: its vector is missing or outdated, 1: in the vector index
);
CREATE INDEX memories_by_turn ON memories (turn);
CREATE INDEX memories_by_previous ON memories (previous);
CREATE INDEX memories_by_subject ON memories (subject) WHERE kind = 'fact';
CREATE INDEX facts ON memories (id) WHERE kind = 'fact';
CREATE INDEX memories_pinned ON memories (id) WHERE pinned = 1;
CREATE INDEX memories_to_embed ON memories (id) WHERE state = 0;
CREATE TABLE forgotten (memory INTEGER PRIMARY KEY);
CREATE TABLE speakers (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE VIRTUAL TABLE turn_words USING fts5(terms, tokenize="ascii tokenchars '-.,&''_'");
CREATE VIRTUAL TABLE memory_words USING fts5(terms, tokenize="ascii tokenchars '-.,&''_'")
"""
# forgotten: vectors that are still to be taken out of the vector index (a crash may lie between).

_MEMORY = (
    "m.id, m.kind, m.text, m.said_at, m.turn, t.session, m.speaker, m.previous, "
    "m.subject, m.superseded_at, m.pinned, m.edited_at "
    "FROM memories m JOIN turns t ON t.id = m.turn"
)
_IDS_A_QUERY = 500  # below SQLite's limit of variables


class DialogueStore:
    """Conversations and memories of one workspace. Safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        """`folder`: of the workspace (`Workspace.path`); it is made if need be. Raises StoreError (damaged, newer)."""
        self.path = Path(folder) / DATABASE
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        with _translated(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def __enter__(self) -> DialogueStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- sessions ------------------------------------------------------------------------------------------------

    def create(self, title: str = "") -> SessionInfo:
        """A new, empty session. Without a title it takes its first question's words."""
        now = _now()
        session_id = secrets.token_hex(8)
        code = "-".join("".join(secrets.choice(_CODE_LETTERS) for _ in range(4)) for _ in range(_CODE_GROUPS))
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO sessions (id, code, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
                (session_id, code, _title(title), now, now),
            )
        return self.session(session_id)

    def session(self, session_id: str) -> SessionInfo:
        """Raises NotFoundError."""
        return self._session("s.id = ?", session_id)

    def session_by_code(self, code: str) -> SessionInfo:
        """The session that a code shared from another device stands for; case, spaces and hyphens do not matter."""
        letters = re.sub(r"[^0-9A-Z]", "", code.upper())
        return self._session("s.code = ?", "-".join(letters[i : i + 4] for i in range(0, len(letters), 4)))

    def _session(self, where: str, value: str) -> SessionInfo:
        with self._reading() as connection:
            row = connection.execute(f"{_SESSION} WHERE {where}", (value,)).fetchone()
        if row is None:
            raise NotFoundError(
                f"there is no conversation {value!r}", remedy="It may have been deleted: start a new one"
            )
        return _session_info(row)

    def sessions(self, *, title: str = "", limit: int = -1) -> list[SessionInfo]:
        """The one used last first; with `title`, those that have these characters in theirs. limit -1: all of them."""
        where = "WHERE instr(lower(s.title), lower(:title)) " if title else ""
        with self._reading() as connection:
            rows = connection.execute(
                f"{_SESSION} {where} ORDER BY s.updated_at DESC, s.id LIMIT :limit", {"title": title, "limit": limit}
            ).fetchall()
        return [_session_info(row) for row in rows]

    def sessions_by_id(self, ids: Iterable[str]) -> list[SessionInfo]:
        """In no particular order; those deleted meanwhile are left out."""
        chosen = list(ids)
        found: list[SessionInfo] = []
        with self._reading() as connection:
            for first in range(0, len(chosen), _IDS_A_QUERY):
                part = chosen[first : first + _IDS_A_QUERY]
                rows = connection.execute(f"{_SESSION} WHERE s.id IN ({','.join('?' * len(part))})", part)
                found.extend(_session_info(row) for row in rows)
        return found

    def rename(self, session_id: str, title: str) -> None:
        """Raises NotFoundError, UsageError (an empty title)."""
        if not title.strip():
            raise UsageError("a conversation's title is empty", remedy="Give it a name")
        self._update(session_id, "title", _title(title))

    def set_remember(self, session_id: str, remember: bool) -> None:
        """Switch long-term memory on or off for one session; what is already remembered stays."""
        self._update(session_id, "remember", int(remember))

    def _update(self, session_id: str, column: str, value: object) -> None:
        with self._writing() as connection:
            if not connection.execute(f"UPDATE sessions SET {column} = ? WHERE id = ?", (value, session_id)).rowcount:
                raise NotFoundError(f"there is no conversation {session_id!r}", remedy="It may have been deleted")

    def delete(self, session_id: str) -> None:
        """Delete a session, its turns and memories, their words and (with the next `forgotten`) their vectors."""
        self.session(session_id)
        with self._writing() as connection:
            own = "SELECT id FROM turns WHERE session = ?"
            connection.execute(f"DELETE FROM turn_words WHERE rowid IN ({own})", (session_id,))
            self._forget(connection, f"turn IN ({own})", session_id)
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            _merge_words(connection)
        self._scrub()

    # -- turns ---------------------------------------------------------------------------------------------------

    def append(
        self,
        session_id: str,
        question: str,
        understood: str,
        answer: str,
        details: dict[str, Any] | None = None,
        *,
        said: Sequence[Said] = (),
        asked_at: str = "",
    ) -> Turn:
        """Store an answered turn; when this returns, no crash can lose it. Raises NotFoundError, StoreError.

        `said`: what of it is to be remembered. A fact supersedes the earlier facts of its subject.
        """
        turn = {
            "question": question, "understood": understood, "answer": answer, "details": details or {},
            "asked_at": asked_at or _now(), "said": said,
        }  # fmt: skip
        return self.append_many(session_id, [turn])[0]

    def append_many(self, session_id: str, turns: Sequence[dict[str, Any]]) -> list[Turn]:
        """Several turns in one transaction, as `append` takes them: an imported conversation. Raises NotFoundError."""
        stored: list[Turn] = []
        with self._writing() as connection:
            row = connection.execute("SELECT title FROM sessions WHERE id = ?", (session_id,)).fetchone()
            if row is None:
                raise NotFoundError(f"there is no conversation {session_id!r}", remedy="It may have been deleted")
            title = row[0]
            number, previous = connection.execute(
                "SELECT coalesce(max(number), 0), coalesce((SELECT max(m.id) FROM memories m WHERE m.kind = 'turn' AND "
                "m.turn = (SELECT id FROM turns WHERE session = ?1 ORDER BY number DESC LIMIT 1)), 0) "
                "FROM turns WHERE session = ?1",
                (session_id,),
            ).fetchone()
            for turn in turns:
                number += 1
                words = [_clean(turn[key]) for key in ("question", "understood", "answer")]
                now, details = turn.get("asked_at") or _now(), turn.get("details") or {}
                cursor = connection.execute(
                    "INSERT INTO turns (session, number, asked_at, question, understood, answer, details) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (session_id, number, now, *words, json.dumps(details, ensure_ascii=True)),
                )
                turn_id = int(cursor.lastrowid or 0)
                connection.execute(
                    "INSERT INTO turn_words (rowid, terms) VALUES (?, ?)",
                    (turn_id, " ".join(index_terms(f"{words[0]}\n{words[2]}"))),
                )
                for said in turn.get("said", ()):
                    memory_id = self._remember(connection, turn_id, said, previous, now)
                    previous = memory_id if said.kind == "turn" else previous
                title = title or _title(turn["question"])
                stored.append(Turn(turn_id, session_id, number, now, words[0], words[1], words[2], details))
            if stored:
                connection.execute(
                    "UPDATE sessions SET updated_at = ?, title = ? WHERE id = ?",
                    (stored[-1].asked_at, title, session_id),
                )
        return stored

    def shorten(self, turn: Turn, answer: str, details: dict[str, Any]) -> Turn:
        """Replace a stored turn's answer by the part of it that was heard, in the talk, its words and its memory."""
        answer = _clean(answer)
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE turns SET answer = ?, details = ? WHERE id = ?",
                (answer, json.dumps(details, ensure_ascii=True), turn.turn_id),
            )
            if not changed.rowcount:
                raise NotFoundError(f"there is no turn {turn.number}", remedy="It may have been deleted")
            terms = " ".join(index_terms(f"{turn.question}\n{answer}"))
            connection.execute("UPDATE turn_words SET terms = ? WHERE rowid = ?", (terms, turn.turn_id))
            own = "turn = ? AND kind = 'turn' AND speaker = 'assistant'"
            if answer.strip():
                connection.execute(
                    f"UPDATE memory_words SET terms = ? WHERE rowid IN (SELECT id FROM memories WHERE {own})",
                    (" ".join(index_terms(answer)), turn.turn_id),
                )
                connection.execute(f"UPDATE memories SET text = ?, state = 0 WHERE {own}", (answer, turn.turn_id))
            else:
                self._forget(connection, own, turn.turn_id)
        return replace(turn, answer=answer, details=details)

    def turns(self, session_id: str, *, after: int = 0, last: int | None = None) -> list[Turn]:
        """Turns in order: those numbered above `after`, of these the `last` ones. Raises NotFoundError."""
        self.session(session_id)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM turns WHERE session = ? AND number > ? ORDER BY number DESC LIMIT ?",
                (session_id, after, -1 if last is None else last),
            ).fetchall()
        return [_turn(row) for row in reversed(rows)]

    def search(self, text: str, *, limit: int = 20) -> list[Turn]:
        """Turns of all sessions with these words, best first (BM25)."""
        match = _match(query_terms(text))
        if not match:
            return []
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT t.* FROM (SELECT rowid AS row, rank FROM turn_words WHERE turn_words MATCH ? "
                "ORDER BY rank LIMIT ?) AS found JOIN turns t ON t.id = found.row ORDER BY found.rank",
                (match, limit),
            ).fetchall()
        return [_turn(row) for row in rows]

    # -- memories ------------------------------------------------------------------------------------------------

    def _remember(self, connection: sqlite3.Connection, turn_id: int, said: Said, previous: int, now: str) -> int:
        text = _clean(said.text)
        if said.kind == "fact" and said.subject:
            connection.execute(
                "UPDATE memories SET superseded_at = ? WHERE kind = 'fact' AND subject = ? AND superseded_at = ''",
                (now, said.subject),
            )
        cursor = connection.execute(
            "INSERT INTO memories (turn, kind, speaker, previous, text, subject, said_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (turn_id, said.kind, said.speaker, previous, text, said.subject, now),
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
            for first in range(0, len(ids), _IDS_A_QUERY):
                part = list(ids[first : first + _IDS_A_QUERY])
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
            for first in range(0, len(ids), _IDS_A_QUERY):
                part = list(ids[first : first + _IDS_A_QUERY])
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT {_MEMORY} WHERE m.previous IN ({marks}) AND m.kind = 'turn'", part)
                found.extend(_memory(row) for row in rows)
        return found

    def memory_words(self, terms: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """(memory id, BM25 > 0) of memories with any of the terms, best first."""
        match = _match(terms)
        if not match:
            return []
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT rowid, -rank FROM memory_words WHERE memory_words MATCH ? ORDER BY rank LIMIT ?", (match, limit)
            ).fetchall()
        return [(int(row[0]), float(row[1])) for row in rows]

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
        text = _clean(text.strip())
        self._change_memory(memory_id, "text = ?, edited_at = ?, state = 0", text, _now(), terms=index_terms(text))
        self._scrub()

    def _change_memory(self, memory_id: int, assignment: str, *values: object, terms: Sequence[str] = ()) -> None:
        with self._writing() as connection:
            cursor = connection.execute(f"UPDATE memories SET {assignment} WHERE id = ?", (*values, memory_id))
            if not cursor.rowcount:
                raise _no_memory(memory_id)
            if terms:
                connection.execute("UPDATE memory_words SET terms = ? WHERE rowid = ?", (" ".join(terms), memory_id))
                _merge_words(connection)

    def forget(self, memory_id: int) -> None:
        """Delete one memory; its turn stays in its conversation. Raises NotFoundError."""
        with self._writing() as connection:
            if not self._forget(connection, "id = ?", memory_id):
                raise _no_memory(memory_id)
            _merge_words(connection)
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

    def meta(self, key: str) -> str:
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else ""

    def set_meta(self, key: str, value: str) -> None:
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- the database ----------------------------------------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None or self._closed:
            if self._closed:
                raise StoreError("the store of conversations has been closed", remedy="Open it again")
            connection = _connect(self.path)
            with self._lock:
                self._connections.append(connection)
            self._local.connection = connection
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path), schema.snapshot(self._connection()) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path), schema.transaction(self._connection()) as connection:
            yield connection

    def _scrub(self) -> None:
        """Overwrite what a deletion left in the log. Readers may hold it back; the next deletion tries again."""
        with _translated(self.path):
            connection = self._connection()
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_SESSION = "SELECT s.*, (SELECT coalesce(max(number), 0) FROM turns t WHERE t.session = s.id) AS turns FROM sessions s"


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=schema.BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            _lay_out(connection)
        elif connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(f"{path} is not a store of conversations", remedy=_remedy(path))
        elif version > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by a newer Lectern", remedy="Update Lectern")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16384")  # KiB
        _follow_tokenizer(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _lay_out(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
    deadline = time.monotonic() + schema.BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # two creators at once: this one change does not wait by itself
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with schema.transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # else another process was quicker
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('tokenizer', ?)", (TOKENIZER_VERSION,))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _follow_tokenizer(connection: sqlite3.Connection) -> None:
    """Another version of ingest/tokens.py may give other terms: the words are indexed again, from the verbatim text."""
    query = "SELECT value FROM meta WHERE key = 'tokenizer'"
    if connection.execute(query).fetchone()[0] == TOKENIZER_VERSION:
        return
    with schema.transaction(connection):
        for table, rows in (
            ("turn_words", connection.execute("SELECT id, question || char(10) || answer FROM turns").fetchall()),
            ("memory_words", connection.execute("SELECT id, text FROM memories").fetchall()),
        ):
            connection.execute(f"DELETE FROM {table}")
            connection.executemany(
                f"INSERT INTO {table} (rowid, terms) VALUES (?, ?)",
                ((row[0], " ".join(index_terms(row[1]))) for row in rows),
            )
        connection.execute("UPDATE meta SET value = ? WHERE key = 'tokenizer'", (TOKENIZER_VERSION,))


def _merge_words(connection: sqlite3.Connection) -> None:
    """Merge the segments of the word indexes: only then are deleted words gone from the file."""
    for table in ("turn_words", "memory_words"):
        connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        with schema.translated(path):
            yield
    except StoreError as error:
        if "is damaged" in error.message:  # the remedy there is about documents
            raise StoreError(error.message, remedy=_remedy(path)) from error
        raise


def _remedy(path: Path) -> str:
    return f"Move {path} away: conversations start anew, the documents are not touched"


def _match(terms: Sequence[str]) -> str:
    clean = (term.replace('"', "").replace("\0", "") for term in terms)
    return " OR ".join(f'"{term}"' for term in clean if term)


def _no_memory(memory_id: int) -> NotFoundError:
    return NotFoundError(f"there is no memory {memory_id}", remedy="It may have been deleted")


def _session_info(row: sqlite3.Row) -> SessionInfo:
    return SessionInfo(
        row["id"], row["code"], row["title"], row["created_at"], row["updated_at"], row["turns"], bool(row["remember"])
    )


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(
        row["id"], row["session"], row["number"], row["asked_at"], row["question"], row["understood"], row["answer"],
        json.loads(row["details"]),
    )  # fmt: skip


def _memory(row: sqlite3.Row) -> Memory:
    return Memory(
        row["id"], row["kind"], row["text"], row["said_at"], row["turn"], row["session"], row["speaker"],
        row["previous"], row["subject"], row["superseded_at"], bool(row["pinned"]), row["edited_at"],
    )  # fmt: skip


def _clean(text: str) -> str:
    """Text as SQLite can hold it: lone surrogates (half an emoji, cut by a browser) become replacement characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _title(text: str) -> str:
    title = " ".join(_clean(text).split())
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
