"""A damaged store of conversations, made again from what of it can still be read.

    python -m memory repair --workspace lease

Every row is read by itself, so that one damaged page costs the rows on it and no others. Word indexes and vectors are
made anew from the verbatim text. The damaged file is kept beside the new one. A conversation whose own row is lost but
whose turns are not comes back under its first question. What lay on pages that cannot be read is gone: for that there
are backups.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import NotFoundError
from ingest.tokens import index_terms
from memory.dialogue_database import DATABASE, now
from memory.dialogue_store import DialogueStore, title_of

_SIDECARS = ("", "-wal", "-shm")
_TURN = ("id", "session", "number", "asked_at", "question", "understood", "answer", "details")
_MEMORY = (
    "id", "turn", "kind", "speaker", "previous", "text", "subject", "said_at", "superseded_at", "edited_at", "pinned",
)  # fmt: skip


@dataclass(frozen=True)
class Repaired:
    sessions: int
    turns: int
    memories: int
    lost: int  # ids that once were given and could not be read; those deleted before are among them
    kept: Path  # the damaged file


def repair(folder: Path) -> Repaired:
    """Make a workspace's store of conversations again; nobody else may have it open. Raises NotFoundError."""
    path = Path(folder) / DATABASE
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist", remedy="There are no conversations to repair")
    kept = path.with_name(f"{DATABASE}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        for sidecar in _SIDECARS:
            if (source := Path(f"{path}{sidecar}")).is_file():
                shutil.copyfile(source, Path(temporary) / f"damaged{sidecar}")
        fresh = Path(temporary) / "fresh"
        with closing(sqlite3.connect(Path(temporary) / "damaged")) as damaged, DialogueStore(fresh) as store:
            damaged.row_factory = sqlite3.Row
            damaged.text_factory = lambda raw: raw.decode("utf-8", "replace")
            counts = _copy(damaged, store)
        for sidecar in _SIDECARS:
            if (source := Path(f"{path}{sidecar}")).is_file():
                source.rename(f"{kept}{sidecar}")
        (fresh / DATABASE).rename(path)
    return Repaired(*counts, kept)


def _copy(damaged: sqlite3.Connection, store: DialogueStore) -> tuple[int, int, int, int]:
    sessions = {row["id"]: tuple(row) for row in _readable(damaged, "SELECT * FROM sessions ORDER BY id")}
    turns = {row["id"]: row for row in _rows(damaged, "turns", _TURN)}
    memories = [row for row in _rows(damaged, "memories", _MEMORY) if row["turn"] in turns]
    for row in turns.values():
        if row["session"] not in sessions:
            code = store.create().code  # a row of its own only lends its code
            sessions[row["session"]] = (row["session"], code, title_of(row["question"]), row["asked_at"], now(), 1)
    with store._writing() as connection:
        connection.execute("DELETE FROM sessions")
        connection.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", sessions.values())
        _insert(connection, "turns", _TURN, list(turns.values()))
        _insert(connection, "memories", _MEMORY, memories)
        connection.executemany(
            "INSERT INTO turn_words (rowid, terms) VALUES (?, ?)",
            ((row["id"], " ".join(index_terms(f"{row['question']}\n{row['answer']}"))) for row in turns.values()),
        )
        connection.executemany(
            "INSERT INTO memory_words (rowid, terms) VALUES (?, ?)",
            ((row["id"], " ".join(index_terms(row["text"]))) for row in memories),
        )
        for row in _readable(damaged, "SELECT key, value FROM meta WHERE key = 'joined'"):  # memory/sharing.py
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", tuple(row))
        connection.executemany("INSERT OR IGNORE INTO speakers VALUES (?)", {(row["speaker"],) for row in memories})
    given = sum(_highest(damaged, table) for table in ("turns", "memories"))
    return len(sessions), len(turns), len(memories), max(0, given - len(turns) - len(memories))


def _insert(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: list[sqlite3.Row]) -> None:
    connection.executemany(
        f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        (tuple(row) for row in rows),
    )


def _rows(damaged: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> Iterator[sqlite3.Row]:
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE id = ?"
    for row_id in range(1, _highest(damaged, table) + 1):
        yield from _readable(damaged, query, (row_id,))


def _highest(damaged: sqlite3.Connection, table: str) -> int:
    for query in (f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'", f"SELECT max(id) FROM {table}"):
        for row in _readable(damaged, query):
            if row[0]:
                return int(row[0])
    return 0


def _readable(damaged: sqlite3.Connection, query: str, values: tuple[object, ...] = ()) -> Iterator[sqlite3.Row]:
    """Rows up to the first that cannot be read."""
    try:
        yield from damaged.execute(query, values)
    except sqlite3.DatabaseError:
        return
