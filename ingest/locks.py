"""One ingest, and one embedding, at a time in a workspace; nobody else in it while its files are exchanged.

Several processes share a workspace safely (SQLite's write-ahead log): readers and single uploads need none of these.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.errors import StoreError
from ingest import schema

_IN_USE = "in_use.lock"


@contextmanager
def exclusive(
    folder: Path,
    task: str,
    *,
    on_wait: Callable[[], None] | None = None,
    stop: threading.Event | None = None,
) -> Iterator[bool]:
    """Hold `<folder>/<task>.lock`; waits for its holder, after telling `on_wait`. Freed by the system if we die.

    Yields False, without the lock, if `stop` was set while waiting.
    """
    from filelock import FileLock, Timeout

    with schema.translated(folder / schema.DATABASE):
        lock = FileLock(folder / f"{task}.lock", thread_local=False)
        held = True
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait is not None:
                on_wait()
            while True:
                try:
                    lock.acquire(timeout=0.5, poll_interval=0.1)
                    break
                except Timeout:
                    if stop is not None and stop.is_set():
                        held = False
                        break
    try:
        yield held
    finally:
        lock.release()


class Presence:
    """A shared hold on a workspace for as long as it is open, so that nobody swaps its files meanwhile (`alone`)."""

    def __init__(self, folder: Path) -> None:
        self._file = _open_lock(folder / _IN_USE)
        if self._file is not None and not _flock(self._file, exclusive=False):
            self._file.close()
            raise StoreError(
                f"workspace {folder.name} is being restored or repaired by another process",
                remedy="Wait until it has finished and run the command again",
            )

    def release(self) -> None:
        if self._file is not None:
            self._file.close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a workspace that nobody else has open. Raises StoreError at once if somebody has."""
    file = _open_lock(folder / _IN_USE)
    try:
        if file is not None and not _flock(file, exclusive=True):
            raise StoreError(
                f"workspace {folder.name} is open in another process",
                remedy="Stop the page (and other commands on this workspace) and run the command again",
            )
        yield
    finally:
        if file is not None:
            file.close()


def _open_lock(path: Path) -> IO[bytes] | None:
    """None where no file can be made: a home that may only be read needs no hold."""
    try:
        return path.open("ab")
    except OSError:
        return None


def _flock(file: IO[bytes], *, exclusive: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: open files cannot be replaced there, which serves the same end
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
