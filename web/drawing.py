"""Pages drawn as images by processes that may die of them.

>>> drawer = Drawer(processes=1)
>>> jpeg = drawer.draw(path, "lease.pdf", page=2, scale=2.0)
>>> drawer.close()
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from core.errors import DocumentError
from ingest.drawing_worker import FACTORY, DrawingOrder
from ingest.worker_pool import WorkerDied, WorkerPool

TIMEOUT_S = 30.0  # a page that takes longer is shown as text
CPU_S = 20
MEMORY_MB = 1024


class Drawer:
    """Safe to share between threads. Its processes start with the first page, and end with `close` or this process."""

    def __init__(
        self, *, processes: int = 2, timeout_s: float = TIMEOUT_S, cpu_s: int = CPU_S, memory_mb: int = MEMORY_MB
    ) -> None:
        self._timeout_s = timeout_s
        # The one used last is taken first: a second process starts only when two visitors turn a page at once.
        self._lanes: queue.LifoQueue[WorkerPool[DrawingOrder]] = queue.LifoQueue()
        for _ in range(processes):
            self._lanes.put(
                WorkerPool(
                    FACTORY,
                    (memory_mb, cpu_s),
                    processes=1,
                    silence_limit_s=timeout_s,
                    task_limit_s=timeout_s,
                    memory_mb=memory_mb,
                )
            )
        self._processes = processes

    def draw(self, path: Path, name: str, *, page: int, scale: float) -> bytes:
        """Page `page` (1-based) of a PDF as JPEG, `scale` pixels a point. Raises DocumentError, NotFoundError."""
        try:
            lane = self._lanes.get(timeout=self._timeout_s)
        except queue.Empty:
            raise DocumentError("other pages are still being drawn", remedy="Try again in a moment") from None
        try:
            [outcome] = lane.map([DrawingOrder(path, name, page, scale)])
        finally:
            self._lanes.put(lane)
        if outcome.error is None:
            return outcome.result
        if isinstance(outcome.error, WorkerDied):
            raise DocumentError(
                f"page {page} of {name} cannot be drawn: the process {outcome.error.reason}",
                remedy="Its text is searched all the same",
            ) from outcome.error
        raise outcome.error

    def close(self) -> None:
        for _ in range(self._processes):
            with self._lanes.get():
                pass


_lock = threading.Lock()
_shared: list[Drawer] = []


def drawer() -> Drawer:
    """The process's own; it ends with the process, whose end its workers notice."""
    with _lock:
        if not _shared:
            _shared.append(Drawer())
        return _shared[0]
