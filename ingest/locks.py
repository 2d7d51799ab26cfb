"""One ingest, and one embedding, at a time in a workspace. Readers and single uploads need no lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest import schema


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
