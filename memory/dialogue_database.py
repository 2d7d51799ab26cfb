"""The database of conversations: its tables, how it is opened and repaired, its errors in the user's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from core.errors import StoreError
from ingest import schema
from ingest.connections import Connections
from ingest.tokens import TOKENIZER_VERSION, index_terms

DATABASE = "dialogue.sqlite"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x4C654469  # "LeDi"

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


class DialogueDatabase:
    """Connections, transactions and small entries. Safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        """`folder`: of the workspace (`Workspace.path`); it is made if need be. Raises StoreError (damaged, newer)."""
        self.path = Path(folder) / DATABASE
        self._connections = Connections(partial(_connect, self.path), "the store of conversations")
        with translated(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection()

    def close(self) -> None:
        self._connections.close()

    def meta(self, key: str) -> str:
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else ""

    def set_meta(self, key: str, value: str) -> None:
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _connection(self) -> sqlite3.Connection:
        return self._connections.get()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translated(self.path), self._connections.used() as own, schema.snapshot(own) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with translated(self.path), self._connections.used() as own, schema.transaction(own) as connection:
            yield connection

    def _scrub(self) -> None:
        """Overwrite what a deletion left in the log. Readers may hold it back; the next deletion tries again."""
        with translated(self.path), self._connections.used() as connection:
            connection.executescript("PRAGMA incremental_vacuum")  # execute() takes one step, which is one page
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _connect(path: Path) -> sqlite3.Connection:
    connection = schema.open_sqlite(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            meta = {"tokenizer": TOKENIZER_VERSION}
            schema.lay_out(connection, _TABLES, meta, application_id=APPLICATION_ID, version=SCHEMA_VERSION)
        elif connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(f"{path} is not a store of conversations", remedy=_remedy(path))
        elif version > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by a newer Lectern", remedy="Update Lectern")
        _follow_tokenizer(connection)
        connection.execute("CREATE VIRTUAL TABLE temp.memory_terms USING fts5vocab(main, memory_words, row)")
    except BaseException:
        connection.close()
        raise
    return connection


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


def merge_words(connection: sqlite3.Connection) -> None:
    """Merge the segments of the word indexes: only then are deleted words gone from the file."""
    for table in ("turn_words", "memory_words"):
        connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as StoreError, with a remedy that is about conversations rather than documents."""
    try:
        with schema.translated(path):
            yield
    except StoreError as error:
        if "is damaged" in error.message:
            raise StoreError(error.message, remedy=_remedy(path)) from error
        raise


def _remedy(path: Path) -> str:
    folder = path.parent
    of_one = folder.parent.name == "people"  # with accounts each user's conversations have a folder of their own
    which = f"{folder.parents[1].name} --person {folder.name}" if of_one else folder.name
    return (
        f"Stop Lectern and run `python -m memory repair --workspace {which}`: it saves what can be read; or move "
        f"{path.name} away to start anew. The documents are not touched"
    )


def match_any(terms: Sequence[str]) -> str:
    """An FTS5 expression for any of these terms; empty if there is none."""
    quotable = (term.replace('"', "").replace("\0", "") for term in terms)
    return " OR ".join(f'"{term}"' for term in quotable if term)


def clean(text: str) -> str:
    """Text as SQLite can hold it: lone surrogates (half an emoji, cut by a browser) become replacement characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
