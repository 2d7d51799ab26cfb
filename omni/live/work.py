"""Heavy work of all live conversations: a few threads, the most urgent job first, and everyone can see their place.

    work = Work(threads=2)
    ticket = work.submit(decode, priority=Priority.ANSWER)
    ticket.position            # jobs before it; 0 once it runs

Ten conversations on two cores must queue somewhere. Here they do so visibly, instead of all getting slower at once.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Priority(enum.IntEnum):
    FINISH = 0  # somebody has finished speaking
    ANSWER = 1  # and waits for an answer
    PAUSE = 2  # may have finished
    HEAR = 3  # is speaking
    GUESS = 4  # may be about to ask


class Ticket:
    """A job in the queue."""

    def __init__(self, work: Work, job: Callable[[], None], priority: Priority, order: int) -> None:
        self._work, self.job, self.priority, self.order = work, job, priority, order
        self.submitted = time.perf_counter()
        self.started: float | None = None
        self.cancelled = False

    def __lt__(self, other: Ticket) -> bool:
        return (self.priority, self.order) < (other.priority, other.order)

    @property
    def position(self) -> int:
        """How many jobs run or wait before this one; 0 once it has started."""
        return self._work.position(self)

    @property
    def waited_ms(self) -> float:
        """In the queue, so far or in all."""
        return ((self.started or time.perf_counter()) - self.submitted) * 1000

    def cancel(self) -> None:
        """Do not start it; harmless if it has."""
        self.cancelled = True


class Work:
    """Threads start with the first job; `close` lets them end after the jobs in hand."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._started = False
        self._closing = False
        self._queue: list[Ticket] = []
        self._ready = threading.Condition()
        self._order = itertools.count()
        self._running = 0

    def submit(self, job: Callable[[], None], *, priority: Priority) -> Ticket:
        with self._ready:
            ticket = Ticket(self, job, priority, next(self._order))
            heapq.heappush(self._queue, ticket)
            if not self._started:
                self._started = True
                for n in range(self._threads):
                    threading.Thread(target=self._run, name=f"live-work-{n}", daemon=True).start()
            self._ready.notify()
        return ticket

    def position(self, ticket: Ticket) -> int:
        with self._ready:
            if ticket.started is not None:
                return 0
            return self._running + sum(1 for other in self._queue if other < ticket and not other.cancelled)

    @property
    def busy(self) -> bool:
        """Whether a further job would have to wait."""
        with self._ready:
            return self._running + len(self._queue) >= self._threads

    def close(self, timeout_s: float = 5.0) -> None:
        """Start nothing more and wait for the jobs in hand: they may be using what is closed next."""
        with self._ready:
            self._closing = True
            self._queue.clear()
            self._ready.notify_all()
            self._ready.wait_for(lambda: self._running == 0, timeout_s)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._closing:
                    self._ready.wait()
                if self._closing:
                    return
                ticket = heapq.heappop(self._queue)
                if ticket.cancelled:
                    continue
                ticket.started = time.perf_counter()
                self._running += 1
            try:
                ticket.job()
            except Exception:
                log.exception("live work")
            finally:
                with self._ready:
                    self._running -= 1
                    if self._closing:
                        self._ready.notify_all()
