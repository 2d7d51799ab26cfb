"""The audit log: who did what, when, from where, with what outcome. No secrets, no questions, no text of documents.

Lines are only ever added: the database refuses anything else (database.py), and each line carries a digest of itself
and of the line before, so that a line that somebody took out of the file by other means is missed by `verify`.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass

from web.accounts.database import Database

LONGEST = 300  # characters of a field


@dataclass(frozen=True)
class Entry:
    at: float  # seconds since 1970, UTC
    who: str  # a user, or the name that somebody tried
    key_id: str  # of the API key, "" for a login
    address: str  # of the client
    action: str  # such as "login" or "DELETE /api/workspaces/lease/documents"
    workspace: str
    target: str  # a document, user or key
    outcome: str  # such as "ok", "refused: role", "201"


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        who: str,
        action: str,
        outcome: str,
        *,
        key_id: str = "",
        address: str = "",
        workspace: str = "",
        target: str = "",
    ) -> None:
        entry = Entry(
            time.time(), *(_plain(text) for text in (who, key_id, address, action, workspace, target, outcome))
        )
        with self._database.writing() as connection:
            last = connection.execute("SELECT digest FROM audit ORDER BY id DESC LIMIT 1").fetchone()
            digest = _digest(last["digest"] if last is not None else "", entry)
            connection.execute(
                "INSERT INTO audit (at, who, key_id, address, action, workspace, target, outcome, digest) "
                "VALUES (:at, :who, :key_id, :address, :action, :workspace, :target, :outcome, :digest)",
                {**asdict(entry), "digest": digest},
            )

    def latest(self, limit: int = 200, *, before: int | None = None) -> list[tuple[int, Entry]]:
        """(number, entry), newest first; `before` a number: the page before that one."""
        rows = self._database.rows(
            "SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", before or 2**62, min(max(limit, 1), 1000)
        )
        return [(row["id"], _entry(row)) for row in rows]

    def verify(self) -> int | None:
        """The number of the first line that does not follow from the one before; None when all do.

        Not covered: lines cut off at the end, unless the last digest is kept elsewhere.
        """
        digest = ""
        for row in self._database.rows("SELECT * FROM audit ORDER BY id"):
            if row["digest"] != _digest(digest, _entry(row)):
                return row["id"]
            digest = row["digest"]
        return None


def _entry(row: object) -> Entry:
    return Entry(**{name: row[name] for name in Entry.__dataclass_fields__})  # type: ignore[index]


def _digest(previous: str, entry: Entry) -> str:
    return hashlib.sha256(json.dumps([previous, asdict(entry)], sort_keys=True).encode()).hexdigest()


def _plain(text: str) -> str:
    """One line: a name with a line break or a terminal's control sequence must not pass for another entry."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:LONGEST]
