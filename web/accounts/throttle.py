"""Slowing down whoever guesses passwords or keys, or calls too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from web.accounts.database import Database

WINDOW_S = 15 * 60.0
LONGEST_WAIT_S = 15 * 60.0
# Failures in the window before waiting begins. A name from one address is stopped soon; a name from everywhere late,
# or else anybody could lock somebody else out; an address late enough for an office behind it.
FREE = {"pair": 5, "address": 30, "name": 60}


class Throttle:
    """Failed attempts, kept in the database: starting the server anew forgives nothing."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def attempt(self, name: str, address: str) -> tuple[float, float]:
        """(seconds until another attempt is looked at, 0: now; the stamp of this attempt).

        An attempt counts as failed until it is forgiven, so that many at once are no way around. The wait doubles with
        each failure beyond the free ones.
        """
        now = self._clock()
        wait = 0.0
        with self._database.writing() as connection:
            for kind, bucket in _buckets(name, address):
                count, last = connection.execute(
                    "SELECT COUNT(*), MAX(at) FROM failures WHERE bucket = ? AND at > ?", (bucket, now - WINDOW_S)
                ).fetchone()
                beyond = count - FREE[kind]
                if beyond >= 0:
                    # min: a clock that was set back must not lock anybody out for hours
                    wait = max(wait, min(last, now) + min(2.0**beyond, LONGEST_WAIT_S) - now)
            if wait <= 0:
                connection.execute("DELETE FROM failures WHERE at < ? OR at > ?", (now - WINDOW_S, now + WINDOW_S))
                connection.executemany(
                    "INSERT INTO failures VALUES (?, ?)", [(bucket, now) for _, bucket in _buckets(name, address)]
                )
        return max(0.0, wait), now

    def forgive(self, name: str, address: str, stamp: float) -> None:
        """This attempt was right: with it go the failures of this name from this address, and no others, or else one's
        own account would open the way to guess at somebody else's."""
        buckets = [bucket for _, bucket in _buckets(name, address)]
        with self._database.writing() as connection:
            connection.execute("DELETE FROM failures WHERE bucket = ?", (buckets[0],))
            connection.executemany("DELETE FROM failures WHERE bucket = ? AND at = ?", [(b, stamp) for b in buckets])


def _buckets(name: str, address: str) -> list[tuple[str, str]]:
    folded = name.casefold()[:64]
    return [
        ("pair", f"pair {folded} {address}"),
        ("address", f"address {address}"),
        ("name", f"name {folded}"),
    ]


class Rate:
    """Calls a minute, as a bucket of tokens for each caller; kept in this process only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # caller -> (tokens left, when)
        self._lock = threading.Lock()

    def wait_s(self, caller: str, per_minute: int) -> float:
        """0: go on (and one call is counted); else seconds until the next call is allowed."""
        now = self._clock()
        with self._lock:
            if len(self._buckets) > 10_000:
                self._buckets.clear()
            tokens, then = self._buckets.get(caller, (float(per_minute), now))
            tokens = min(float(per_minute), tokens + (now - then) * per_minute / 60.0)
            if tokens < 1.0:
                self._buckets[caller] = (tokens, now)
                return (1.0 - tokens) * 60.0 / per_minute
            self._buckets[caller] = (tokens - 1.0, now)
            return 0.0
