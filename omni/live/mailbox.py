"""What happens to a conversation, one thing after the other, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Mailbox:
    """`post` from any thread; what is posted runs in order, in one thread, or in `drain` where there is none."""

    def __init__(self, *, tick: Callable[[], None] = lambda: None, tick_s: float = 0.1) -> None:
        """`tick` is called every `tick_s`, whether or not anything is posted: a microphone posts all the time."""
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._tick, self._tick_s = tick, tick_s
        self._thread: threading.Thread | None = None

    def post(self, job: Callable[[], None]) -> None:
        self._queue.put(job)

    def start(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after what has been posted."""
        self._queue.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def drain(self, timeout_s: float = 0.0) -> int:
        """Run what has been posted, waiting up to `timeout_s` for the first; how many jobs that were."""
        count = 0
        while True:
            try:
                job = self._queue.get(timeout=timeout_s) if timeout_s and not count else self._queue.get_nowait()
            except queue.Empty:
                return count
            if job is not None:
                job()
            count += 1

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def _run(self) -> None:
        due = time.monotonic() + self._tick_s
        while True:
            now = time.monotonic()
            if now >= due:
                job: Callable[[], None] | None = self._tick
                due = now + self._tick_s
            else:
                try:
                    job = self._queue.get(timeout=due - now)
                except queue.Empty:
                    continue
            if job is None:
                return
            try:
                job()
            except Exception:
                log.exception("live conversation")
