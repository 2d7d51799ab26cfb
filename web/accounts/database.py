"""The accounts' database: one SQLite file that only its owner may read.

Beside the workspaces rather than in one of them. Write-ahead log: a request that looks a login up never waits for one
that is being written. The audit log is append-only in the schema itself: triggers refuse to change or remove a line.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import StoreError

FILE = "accounts.sqlite"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x4C654163  # "LeAc"
BUSY_S = 10.0

_TABLES = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,      -- never used twice: a grant cannot pass to a later user of the name
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL,                    -- web/accounts/passwords.py
    admin INTEGER NOT NULL,
    created_at REAL NOT NULL                   -- all times: seconds since 1970, UTC
);
CREATE TABLE grants (
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    workspace TEXT NOT NULL,                   -- "*": every one
    role TEXT NOT NULL CHECK (role IN ('reader', 'member')),
    PRIMARY KEY (user, workspace)
) WITHOUT ROWID;
CREATE TABLE logins (
    digest BLOB PRIMARY KEY,                   -- SHA-256 of the cookie, which is 256 random bits
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at REAL NOT NULL,
    seen_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    label TEXT NOT NULL,
    secret TEXT NOT NULL,                      -- hashed like a password
    role TEXT NOT NULL CHECK (role IN ('reader', 'member', 'admin')),
    workspaces TEXT NOT NULL,                  -- JSON list; ["*"]: all of the user's
    per_minute INTEGER NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL,
    used_at REAL
) WITHOUT ROWID;
CREATE TABLE failures (bucket TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX failures_by_bucket ON failures (bucket, at);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    key_id TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    workspace TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    digest TEXT NOT NULL                       -- SHA-256 of the line before it and of this one
);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""


class Database:
    """One connection, shared by the threads of a process under a lock."""

    def __init__(self, home: Path) -> None:
        """Open `<home>/accounts.sqlite`, laid out if need be. Raises StoreError."""
        self.path = Path(home) / FILE
        self._lock = threading.RLock()
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # before SQLite would make it with the umask
            os.chmod(self.path, 0o600)  # a copied or restored one; its journal takes the same mode
            self._connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._set_up()

    def _set_up(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            connection.execute("ROLLBACK")
            raise StoreError(f"{self.path} was written by a newer Lectern", remedy="Update Lectern")
        if version == 0:
            statement = ""
            for line in _TABLES.splitlines():  # triggers hold semicolons of their own
                statement += line + "\n"
                if sqlite3.complete_statement(statement):
                    connection.execute(statement)
                    statement = ""
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it or nothing. Raises StoreError."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            raise StoreError(
                f"the accounts in {self.path} cannot be used: {error}",
                remedy="See that the folder can be written and the disk is not full, or restore the file from a backup",
            ) from error
