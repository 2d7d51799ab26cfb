"""One SQLite connection per thread, all closed together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

from core.errors import StoreError


class Connections:
    """Connections to one database, made when a thread first needs one."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], what: str) -> None:
        """`what`: as errors call it once it is closed, "workspace lease"."""
        self._connect = connect
        self._what = what
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def get(self) -> sqlite3.Connection:
        """This thread's own, with rows by name. Raises StoreError."""
        if self._closed:
            raise StoreError(f"{self._what} has been closed", remedy="Open it again")
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.row_factory = sqlite3.Row
            with self._lock:
                self._all.append(connection)
            self._local.connection = connection
        return connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._all:
                connection.close()
            self._all.clear()
