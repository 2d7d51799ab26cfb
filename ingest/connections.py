"""One SQLite connection per thread, all closed together; threads that come take over from those that have ended."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.errors import StoreError

log = logging.getLogger(__name__)

PATIENCE_S = 5.0  # for what other threads have in hand when it is closed


class Connections:
    """Connections to one database, made when a thread first needs one."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], what: str) -> None:
        """`what`: as errors call it once it is closed, "workspace lease"."""
        self._connect = connect
        self._what = what
        self._local = threading.local()
        self._all: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._lock = threading.Condition()
        self._uses: Counter[int] = Counter()  # by id of the connection
        self._closed = False

    def get(self) -> sqlite3.Connection:
        """This thread's own, with rows by name. Raises StoreError."""
        if self._closed:
            raise StoreError(f"{self._what} has been closed", remedy="Open it again")
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._left()
            if connection is None:
                connection = self._connect()
                connection.row_factory = sqlite3.Row
                with self._lock:
                    self._all.append((threading.current_thread(), connection))
            self._local.connection = connection
        return connection

    def _left(self) -> sqlite3.Connection | None:
        """A connection whose thread has ended, now this thread's own; None if there is none.

        A server's threads come and go, by the turn: what each had opened, with up to 16 MiB of pages, would stay."""
        with self._lock:
            for number, (thread, connection) in enumerate(self._all):
                if not thread.is_alive() and not self._uses[id(connection)] and not connection.in_transaction:
                    self._all[number] = threading.current_thread(), connection
                    return connection
        return None

    @contextmanager
    def used(self) -> Iterator[sqlite3.Connection]:
        """This thread's own, not closed before the end of the block. Raises StoreError."""
        connection = self.get()
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._what} has been closed", remedy="Open it again")
            self._uses[id(connection)] += 1
        try:
            yield connection
        finally:
            with self._lock:
                self._uses[id(connection)] -= 1
                self._lock.notify_all()

    def close(self) -> None:
        """Close all of them once nobody uses them: closing one in the middle of a statement crashes the process."""
        with self._lock:
            self._closed = True
            self._lock.wait_for(lambda: not any(self._uses.values()), timeout=PATIENCE_S)
            for _, connection in self._all:
                if self._uses[id(connection)]:  # a transaction that is not committed is rolled back when it ends
                    log.warning("%s is still being used; its connection is left to the end of the process", self._what)
                else:
                    connection.close()
            self._all.clear()
