"""What reading and writing a workspace stand on: a connection per thread, snapshots, transactions, counters."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ingest import lexical, schema
from ingest.connections import Connections
from ingest.locks import Presence
from ingest.originals import Originals
from ingest.text_cache import TextCache

_TEXT_CACHE_CHARACTERS = 8_000_000


class WorkspaceConnection:
    def __init__(self, path: Path, name: str) -> None:
        """Use `Workspace.open`."""
        self.name = name
        self.path = path
        self.database = path / schema.DATABASE
        self.originals = Originals(path / "files")
        self._connections = Connections(partial(schema.connect, self.database, create=True), f"workspace {name}")
        self._presence: Presence | None = None  # from the moment its folder is there
        self._texts = TextCache(_TEXT_CACHE_CHARACTERS)
        self._counted: tuple[object, int] = (None, 0)  # version, and how many chunks there were

    def close(self) -> None:
        self._connections.close()
        if self._presence is not None:
            self._presence.release()

    def _connection(self) -> sqlite3.Connection:
        return self._connections.get()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with schema.translated(self.database), self._connections.used() as own, schema.snapshot(own) as connection:
            yield connection

    @contextmanager
    def _writing(self, *, bump: bool = True) -> Iterator[sqlite3.Connection]:
        with schema.translated(self.database), self._connections.used() as own, schema.transaction(own) as connection:
            lexical.require_current(connection)
            yield connection
            if bump:
                connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")

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
