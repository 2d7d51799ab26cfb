"""Logins of the page: a random cookie, of which only a digest is kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from web.accounts.database import Database
from web.accounts.users import User, Users

_SEEN_EVERY_S = 60.0


class Logins:
    def __init__(
        self, database: Database, users: Users, *, hours: float, days: float, clock: Callable[[], float] = time.time
    ) -> None:
        """A login ends `hours` after its last use, and `days` after its start."""
        self._database = database
        self._users = users
        self._idle_s, self._whole_s = hours * 3600.0, days * 86_400.0
        self._clock = clock

    def start(self, user: User) -> str:
        """The cookie of a new login: never one that a browser brought along."""
        cookie, now = secrets.token_urlsafe(32), self._clock()
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM logins WHERE seen_at < ? OR created_at < ?", (now - self._idle_s, now - self._whole_s)
            )
            connection.execute("INSERT INTO logins VALUES (?, ?, ?, ?)", (_digest(cookie), user.id, now, now))
        return cookie

    def user(self, cookie: str, *, use: bool = True) -> User | None:
        """Whose login it is, if it has not ended; `use`: this counts as using it."""
        row = self._database.row("SELECT * FROM logins WHERE digest = ?", _digest(cookie))
        now = self._clock()
        if row is None or now - row["seen_at"] > self._idle_s or now - row["created_at"] > self._whole_s:
            return None
        if use and abs(now - row["seen_at"]) >= _SEEN_EVERY_S:
            with self._database.writing() as connection:
                connection.execute("UPDATE logins SET seen_at = ? WHERE digest = ?", (now, row["digest"]))
        return self._users.by_id(row["user"])

    def end(self, cookie: str) -> None:
        with self._database.writing() as connection:
            connection.execute("DELETE FROM logins WHERE digest = ?", (_digest(cookie),))


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
