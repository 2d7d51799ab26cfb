"""The workspace's database: its tables, how it is opened, and its errors in the user's words.

SQLite is the one truth of a workspace. Write-ahead log: readers are never blocked, writers queue up (`BUSY_MS`).
`synchronous = FULL`: what a committed transaction reported stays, even through a power cut. `secure_delete`: what is
deleted is overwritten.
"""

from __future__ import annotations

import errno
import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.errors import StoreError
from ingest.tokens import TOKENIZER_VERSION

DATABASE = "lectern.sqlite"
SCHEMA_VERSION = 2  # older ones: ingest/upgrades.py
APPLICATION_ID = 0x4C656374  # "Lect": another program's database is told from ours
BUSY_MS = 60_000

# Row ids are AUTOINCREMENT: never used twice, so a row id names one immutable chunk for ever and may key a cache.
# `lexical` is contentless: it holds the inverted index alone. Its input is terms joined by spaces; the tokenizer must
# not split them further, hence the token characters (non-ASCII bytes are token characters of `ascii` anyway).
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    media_type TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    source TEXT NOT NULL,           -- absolute path it was read from, empty for an upload
    recipe TEXT NOT NULL,           -- reader version and chunk sizes: another recipe means reading again
    added_at TEXT NOT NULL,
    pages INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    embedded INTEGER NOT NULL DEFAULT 0,
    metadata TEXT NOT NULL,         -- JSON
    headings TEXT NOT NULL,         -- JSON [[page, start, title, level], ...]
    problems TEXT NOT NULL,         -- JSON [[page, reason, remedy], ...]
    crc INTEGER                     -- of what never changes in this row (ingest/records.py)
);
CREATE INDEX documents_by_hash ON documents (sha256);
CREATE INDEX documents_by_source ON documents (source);
CREATE TABLE aliases (              -- further names of the same content
    name TEXT PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    source TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE failures (             -- files that could not be read, with the content that failed
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    source TEXT NOT NULL,
    recipe TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    reason TEXT NOT NULL,
    remedy TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE pages (
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    number INTEGER NOT NULL,
    width REAL NOT NULL,
    height REAL NOT NULL,
    label TEXT NOT NULL,
    text BLOB NOT NULL,             -- ingest/prepared.py packs and unpacks both
    words BLOB NOT NULL
);
CREATE UNIQUE INDEX pages_by_number ON pages (document, number);
CREATE TABLE chunks (               -- text = page text [start:end], not stored twice
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    page INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    context TEXT NOT NULL,
    crc INTEGER                     -- of all that is a passage, text included (ingest/prepared.py)
);
CREATE UNIQUE INDEX chunks_by_ordinal ON chunks (document, ordinal);
CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    vector BLOB NOT NULL,           -- dim float16, unit length
    crc INTEGER                     -- CRC-32 of `vector`
);
CREATE VIRTUAL TABLE lexical USING fts5(
    body, context, content='', tokenize="ascii tokenchars '-.,&''_'"
);
CREATE VIRTUAL TABLE lexical_vocabulary USING fts5vocab(lexical, col);
"""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open (and if need be lay out) the database. Raises StoreError."""
    with translated(path):
        if not create and not path.is_file():
            raise StoreError(f"{path} does not exist", remedy="Ingest a document first: `python -m ingest PATH`")
        connection = open_sqlite(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and create:
                _refuse_lost(path)
                meta = {"version": "0", "tokenizer": TOKENIZER_VERSION}
                lay_out(connection, _TABLES, meta, application_id=APPLICATION_ID, version=SCHEMA_VERSION)
            else:
                _check_version(connection, path, version)
                if version < SCHEMA_VERSION:
                    _upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def open_sqlite(path: Path) -> sqlite3.Connection:
    """A connection with our guarantees: what is committed stays, what is deleted is overwritten, writers queue up."""
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        # KiB. A server has a connection a thread; the system keeps the file's pages once for all of them.
        connection.execute("PRAGMA cache_size = -4096")
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_lost(path: Path) -> None:
    """An empty database beside stored copies is not a new workspace: it has lost what was in it."""
    files = path.parent / "files"
    if files.is_dir() and any(len(file.stem) == 64 for file in files.iterdir()):
        raise StoreError(f"{path} is empty, although documents were stored", remedy=damage_remedy(path))


def lay_out(
    connection: sqlite3.Connection, tables: str, meta: Mapping[str, str], *, application_id: int, version: int
) -> None:
    """Make a new database's tables (statements that end in ";" and a line break) and fill its table `meta`."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # two creators at once: this one change does not wait by itself
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # else another process was quicker
            for statement in tables.split(";\n"):
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {version}")


def _check_version(connection: sqlite3.Connection, path: Path, version: int) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is not a Lectern database", remedy=damage_remedy(path))
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer Lectern (schema {version}, this one knows {SCHEMA_VERSION})",
            remedy="Update Lectern, or choose another --workspace",
        )


def _upgrade(connection: sqlite3.Connection) -> None:
    from ingest.upgrades import upgrade

    with transaction(connection):
        upgrade(connection, SCHEMA_VERSION)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write transaction: all of it or nothing. Waits for other writers up to BUSY_MS."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled it back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Several reads that see one state, whatever is written meanwhile."""
    if connection.in_transaction:
        yield connection
        return
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the disk's errors as StoreError with a remedy. `path` is the database."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # ours to fix, not the user's
    except (zlib.error, struct.error, UnicodeDecodeError) as error:  # a page that does not unpack
        raise StoreError(f"{path} is damaged ({error})", remedy=damage_remedy(path)) from error
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise StoreError(
                f"{path} has been in use by another process for {BUSY_MS // 1000} s",
                remedy="Wait until the other ingest has finished and run the command again",
            ) from error
        if "full" in text:
            raise _disk_full(path) from error
        if "readonly" in text or "unable to open" in text:
            raise StoreError(
                f"{path} cannot be opened for writing ({text})",
                remedy="Check the permissions, or choose another place with --home DIR (LECTERN_HOME)",
            ) from error
        if "malformed" in text or "not a database" in text or "no such table" in text:
            raise StoreError(f"{path} is damaged ({text})", remedy=damage_remedy(path)) from error
        raise StoreError(f"{path} failed: {text}", remedy="Check the disk, then run the command again") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _disk_full(path) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StoreError(
                f"{error.filename or path} cannot be written ({error.strerror})",
                remedy="Check the permissions, or choose another place with --home DIR (LECTERN_HOME)",
            ) from error
        raise


def _disk_full(path: Path) -> StoreError:
    return StoreError(
        f"the disk of {path.parent} is full", remedy="Free some space and run the command again; nothing was lost"
    )


def damage_remedy(path: Path) -> str:
    """What to do about a damaged database: the copies of the documents are outside of it."""
    return (
        f"Restore a backup (`python app.py restore`), or run `python app.py check {path.parent.name} --repair`,"
        f" which reads the documents again from {path.parent / 'files'}"
    )
