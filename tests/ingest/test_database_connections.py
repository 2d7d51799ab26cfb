"""A database that is closed while other threads use it: they finish, none crashes, later ones are told."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from core.errors import StoreError
from ingest.connections import Connections


def connections(path: Path) -> Connections:
    return Connections(lambda: sqlite3.connect(path, check_same_thread=False, isolation_level=None), "the store")


def test_closing_waits_for_the_statement_that_another_thread_has_in_hand(tmp_path: Path) -> None:
    store = connections(tmp_path / "a.sqlite")
    begun, counted = threading.Event(), []

    def count() -> None:
        with store.used() as connection:
            begun.set()
            numbers = "SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000"
            query = f"WITH RECURSIVE n(i) AS ({numbers}) SELECT count(*) FROM n"
            counted.append(connection.execute(query).fetchone()[0])

    thread = threading.Thread(target=count)
    thread.start()
    begun.wait()
    store.close()
    assert counted == [400_000]
    thread.join()


def test_closed_while_many_threads_read_and_write(tmp_path: Path) -> None:
    store = connections(tmp_path / "a.sqlite")
    with store.used() as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("CREATE TABLE t (i INTEGER)")
    told: list[str] = []

    def work() -> None:
        try:
            while True:
                with store.used() as connection:
                    connection.execute("INSERT INTO t VALUES (1)")
                    connection.execute("SELECT count(*) FROM t").fetchone()
        except StoreError as error:
            told.append(str(error))
        except sqlite3.OperationalError as error:  # locked: another thread writes
            told.append(f"the store has been closed, after {error}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    store.close()
    for thread in threads:
        thread.join(10)
    assert len(told) == 4 and all("has been closed" in text for text in told)
    with pytest.raises(StoreError, match="has been closed"):
        store.get()


def test_threads_that_come_take_over_from_those_that_ended(tmp_path: Path) -> None:
    """A conversation has two threads a turn: what they open must not stay open until the server stops."""
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        opened.append(sqlite3.connect(tmp_path / "store.sqlite", check_same_thread=False, isolation_level=None))
        return opened[-1]

    connections = Connections(connect, "the store")
    seen: set[int] = set()

    def work(meet: threading.Barrier | None = None) -> None:
        with connections.used() as connection:
            connection.execute("SELECT 1").fetchone()
            seen.add(id(connection))
            if meet is not None:
                meet.wait(20)

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(opened) == 1
    meet = threading.Barrier(3)  # all at once: each has its own
    threads = [threading.Thread(target=work, args=(meet,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == len(seen) == 3
    stopped = threading.Thread(target=lambda: connections.get().execute("BEGIN"))
    stopped.start()
    stopped.join()
    work()
    work()
    assert len(opened) == 3  # the one that was left in the middle of a transaction is nobody's
    connections.close()
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError):
            connection.execute("SELECT 1")
