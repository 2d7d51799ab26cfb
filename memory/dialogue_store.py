"""All conversations of a workspace, verbatim, in one SQLite file of its folder: the truth that every index follows.

    with DialogueStore(workspace.path) as store:
        session = store.create("Lease questions")
        turn = store.append(session.session_id, "When does it end?", "When does the lease end?", "On 30 June [1].")
        store.turns(session.session_id)

A turn, its words for searching and the memories made of it are one transaction: after a SIGKILL either all of it is
there or none. Write-ahead log, one connection per thread; several threads, processes and devices may have the same
session open and see each other's turns with their next read. What is deleted is overwritten.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from core.errors import NotFoundError, UsageError
from ingest.tokens import index_terms, query_terms
from memory.dialogue_database import clean, match_any, merge_words, now
from memory.memory_store import IDS_A_QUERY, MemoryStore, leave_no_traces
from memory.types import Said, SessionInfo, Turn

MAX_TITLE = 200  # characters
PAGE = 500  # turns that are in memory while all of a session are read
_NO_TURN = 2**62  # no turn has this number
_CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that are mistaken for another
_CODE_GROUPS = 3  # of four letters: 58 bits, not to be guessed
_SESSION = "SELECT s.*, (SELECT coalesce(max(number), 0) FROM turns t WHERE t.session = s.id) AS turns FROM sessions s"


class DialogueStore(MemoryStore):
    """Conversations and memories of one workspace. Safe between threads and processes."""

    def __enter__(self) -> DialogueStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- sessions ------------------------------------------------------------------------------------------------

    def create(self, title: str = "") -> SessionInfo:
        """A new, empty session. Without a title it takes its first question's words."""
        created_at = now()
        session_id = secrets.token_hex(8)
        code = _new_code()
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO sessions (id, code, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
                (session_id, code, title_of(title), created_at, created_at),
            )
        return self.session(session_id)

    def session(self, session_id: str) -> SessionInfo:
        """Raises NotFoundError."""
        return self._session("s.id = ?", session_id)

    def session_by_code(self, code: str) -> SessionInfo:
        """The session that a code shared from another device stands for; case, spaces and hyphens do not matter."""
        return self._session("s.code = ?", normal_code(code))

    def renew_code(self, session_id: str) -> None:
        """Whoever came by the old code is shut out. Raises NotFoundError."""
        self._update(session_id, "code", _new_code())

    def find(self, name: str) -> SessionInfo:
        """By id or by title, whatever its case. Raises NotFoundError; UsageError if several have this title."""
        if known := self.sessions_by_id([name]):
            return known[0]
        titled = [info for info in self.sessions(title=name) if info.title.casefold() == name.casefold()]
        if not titled:
            raise NotFoundError(f"there is no conversation {name!r}", remedy="`python -m memory sessions` lists them")
        if len(titled) > 1:
            ids = ", ".join(info.session_id for info in titled[:5])
            raise UsageError(f"several conversations are called {name!r}", remedy=f"Give one's id: {ids}")
        return titled[0]

    def _session(self, where: str, value: str) -> SessionInfo:
        with self._reading() as connection:
            row = connection.execute(f"{_SESSION} WHERE {where}", (value,)).fetchone()
        if row is None:
            raise NotFoundError(
                f"there is no conversation {value!r}", remedy="It may have been deleted: start a new one"
            )
        return _session_info(row)

    def sessions(self, *, title: str = "", limit: int = -1) -> list[SessionInfo]:
        """The one used last first; with `title`, those that have these characters in theirs. limit -1: all of them."""
        where = "WHERE instr(lower(s.title), lower(:title)) " if title else ""
        with self._reading() as connection:
            rows = connection.execute(
                f"{_SESSION} {where} ORDER BY s.updated_at DESC, s.id LIMIT :limit", {"title": title, "limit": limit}
            ).fetchall()
        return [_session_info(row) for row in rows]

    def sessions_by_id(self, ids: Iterable[str]) -> list[SessionInfo]:
        """In no particular order; those deleted meanwhile are left out."""
        chosen = list(ids)
        found: list[SessionInfo] = []
        with self._reading() as connection:
            for first in range(0, len(chosen), IDS_A_QUERY):
                part = chosen[first : first + IDS_A_QUERY]
                rows = connection.execute(f"{_SESSION} WHERE s.id IN ({','.join('?' * len(part))})", part)
                found.extend(_session_info(row) for row in rows)
        return found

    def rename(self, session_id: str, title: str) -> None:
        """Raises NotFoundError, UsageError (an empty title)."""
        if not title.strip():
            raise UsageError("a conversation's title is empty", remedy="Give it a name")
        self._update(session_id, "title", title_of(title))

    def set_remember(self, session_id: str, remember: bool) -> None:
        """Switch long-term memory on or off for one session; what is already remembered stays."""
        self._update(session_id, "remember", int(remember))

    def _update(self, session_id: str, column: str, value: object) -> None:
        with self._writing() as connection:
            if not connection.execute(f"UPDATE sessions SET {column} = ? WHERE id = ?", (value, session_id)).rowcount:
                raise NotFoundError(f"there is no conversation {session_id!r}", remedy="It may have been deleted")

    def delete(self, session_id: str) -> None:
        """Delete a session, its turns and memories, their words and (LongTermMemory.erase) their vectors."""
        self.session(session_id)
        with self._writing() as connection:
            own = "SELECT id FROM turns WHERE session = ?"
            connection.execute(f"DELETE FROM turn_words WHERE rowid IN ({own})", (session_id,))
            self._forget(connection, f"turn IN ({own})", session_id)
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            leave_no_traces(connection)
            merge_words(connection)
        self._scrub()

    # -- turns ---------------------------------------------------------------------------------------------------

    def append(
        self,
        session_id: str,
        question: str,
        understood: str,
        answer: str,
        details: dict[str, Any] | None = None,
        *,
        said: Sequence[Said] = (),
        asked_at: str = "",
    ) -> Turn:
        """Store an answered turn; when this returns, no crash can lose it. Raises NotFoundError, StoreError.

        `said`: what of it is to be remembered. A fact supersedes the earlier facts of its subject.
        """
        turn = {
            "question": question, "understood": understood, "answer": answer, "details": details or {},
            "asked_at": asked_at or now(), "said": said,
        }  # fmt: skip
        return self.append_many(session_id, [turn])[0]

    def append_many(self, session_id: str, turns: Sequence[dict[str, Any]]) -> list[Turn]:
        """Several turns in one transaction, as `append` takes them: an imported conversation. Raises NotFoundError."""
        stored: list[Turn] = []
        with self._writing() as connection:
            row = connection.execute("SELECT title FROM sessions WHERE id = ?", (session_id,)).fetchone()
            if row is None:
                raise NotFoundError(f"there is no conversation {session_id!r}", remedy="It may have been deleted")
            title = row[0]
            number, previous = connection.execute(
                "SELECT coalesce(max(number), 0), coalesce((SELECT max(m.id) FROM memories m WHERE m.kind = 'turn' AND "
                "m.turn = (SELECT id FROM turns WHERE session = ?1 ORDER BY number DESC LIMIT 1)), 0) "
                "FROM turns WHERE session = ?1",
                (session_id,),
            ).fetchone()
            for turn in turns:
                number += 1
                words = [clean(turn[key]) for key in ("question", "understood", "answer")]
                at, details = turn.get("asked_at") or now(), turn.get("details") or {}
                cursor = connection.execute(
                    "INSERT INTO turns (session, number, asked_at, question, understood, answer, details) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (session_id, number, at, *words, json.dumps(details, ensure_ascii=True)),
                )
                turn_id = int(cursor.lastrowid or 0)
                connection.execute(
                    "INSERT INTO turn_words (rowid, terms) VALUES (?, ?)",
                    (turn_id, " ".join(index_terms(f"{words[0]}\n{words[2]}"))),
                )
                for said in turn.get("said", ()):
                    memory_id = self._remember(connection, turn_id, said, previous, at)
                    previous = memory_id if said.kind == "turn" else previous
                title = title or title_of(turn["question"])
                stored.append(Turn(turn_id, session_id, number, at, words[0], words[1], words[2], details))
            if stored:
                connection.execute(
                    "UPDATE sessions SET updated_at = ?, title = ? WHERE id = ?",
                    (stored[-1].asked_at, title, session_id),
                )
        return stored

    def shorten(self, turn: Turn, answer: str, details: dict[str, Any]) -> Turn:
        """Replace a stored turn's answer by the part of it that was heard, in the talk, its words and its memory."""
        answer = clean(answer)
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE turns SET answer = ?, details = ? WHERE id = ?",
                (answer, json.dumps(details, ensure_ascii=True), turn.turn_id),
            )
            if not changed.rowcount:
                raise NotFoundError(f"there is no turn {turn.number}", remedy="It may have been deleted")
            terms = " ".join(index_terms(f"{turn.question}\n{answer}"))
            connection.execute("UPDATE turn_words SET terms = ? WHERE rowid = ?", (terms, turn.turn_id))
            own = "turn = ? AND kind = 'turn' AND speaker = 'assistant'"
            if answer.strip():
                connection.execute(
                    f"UPDATE memory_words SET terms = ? WHERE rowid IN (SELECT id FROM memories WHERE {own})",
                    (" ".join(index_terms(answer)), turn.turn_id),
                )
                connection.execute(f"UPDATE memories SET text = ?, state = 0 WHERE {own}", (answer, turn.turn_id))
            else:
                self._forget(connection, own, turn.turn_id)
        return replace(turn, answer=answer, details=details)

    def withdraw(self, turn: Turn) -> None:
        """Delete one turn with all that was remembered of it: it was not meant. Nothing if it is gone already.

        What a fact of it had superseded holds again. A session that is left without turns takes its title anew.
        """
        with self._writing() as connection:
            own = (turn.turn_id,)
            row = connection.execute(
                "SELECT min(id), min(previous) FROM memories WHERE turn = ? AND kind = 'turn'", own
            )
            first, before = row.fetchone()
            if first is not None:  # the memory after it follows the one before it
                connection.execute(
                    "UPDATE memories SET previous = ? WHERE turn != ? AND previous IN "
                    "(SELECT id FROM memories WHERE turn = ?)",
                    (before, turn.turn_id, turn.turn_id),
                )
            connection.execute(
                "UPDATE memories SET superseded_at = '' WHERE kind = 'fact' AND EXISTS (SELECT 1 FROM memories f "
                "WHERE f.turn = ? AND f.kind = 'fact' AND f.subject = memories.subject "
                "AND f.said_at = memories.superseded_at AND f.id > memories.id)",
                own,
            )
            connection.execute("DELETE FROM turn_words WHERE rowid = ?", own)
            self._forget(connection, "turn = ?", turn.turn_id)
            connection.execute("DELETE FROM turns WHERE id = ?", own)
            connection.execute(
                "UPDATE sessions SET title = '' WHERE id = ? AND title = ? AND NOT EXISTS "
                "(SELECT 1 FROM turns WHERE session = sessions.id)",
                (turn.session_id, title_of(turn.question)),
            )
            merge_words(connection)
        self._scrub()

    def turns(
        self, session_id: str, *, after: int = 0, before: int = 0, first: int | None = None, last: int | None = None
    ) -> list[Turn]:
        """Turns in order: those numbered above `after` and, if it is given, below `before`; of these the `first` or the
        `last` ones. Raises NotFoundError."""
        self.session(session_id)
        return self._turns(session_id, after, before, first if last is None else last, from_end=last is not None)

    def each_turn(self, session_id: str) -> Iterator[Turn]:
        """All turns in order, PAGE of them in memory at a time. Raises NotFoundError, before the first is asked for.

        Turns that are added meanwhile are among them; if the session is deleted meanwhile, they end.
        """
        self.session(session_id)

        def read() -> Iterator[Turn]:
            page = self._turns(session_id, 0, 0, PAGE)
            while page:
                yield from page
                page = self._turns(session_id, page[-1].number, 0, PAGE)

        return read()

    def _turns(
        self, session_id: str, after: int, before: int, limit: int | None, *, from_end: bool = False
    ) -> list[Turn]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM turns WHERE session = ? AND number > ? AND number < ? "
                f"ORDER BY number {'DESC' if from_end else ''} LIMIT ?",
                (session_id, after, before or _NO_TURN, -1 if limit is None else limit),
            ).fetchall()
        return [_turn(row) for row in (reversed(rows) if from_end else rows)]

    def search(self, text: str, *, session_id: str = "", limit: int = 20) -> list[Turn]:
        """Turns with these words, best first (BM25): of one session, or of all."""
        match = match_any(query_terms(text))
        if not match:
            return []
        with self._reading() as connection:
            if session_id:  # its words are not indexed apart: what other sessions have is passed over
                found = connection.execute(
                    "SELECT t.* FROM turn_words JOIN turns t ON t.id = turn_words.rowid "
                    "WHERE turn_words MATCH ? AND t.session = ? ORDER BY rank LIMIT ?",
                    (match, session_id, limit),
                )
            else:
                found = connection.execute(
                    "SELECT t.* FROM (SELECT rowid AS row, rank FROM turn_words WHERE turn_words MATCH ? "
                    "ORDER BY rank LIMIT ?) AS found JOIN turns t ON t.id = found.row ORDER BY found.rank",
                    (match, limit),
                )
            return [_turn(row) for row in found]

    def search_sessions(self, text: str, *, limit: int = 20) -> list[Turn]:
        """The best turn with these words of each session that has any, best first: one long talk hides no other."""
        match = match_any(query_terms(text))
        if not match:
            return []
        with self._reading() as connection:
            best = connection.execute(  # SQLite takes the id from the row that has the minimum
                "SELECT t.id AS id, min(found.rank) AS best FROM (SELECT rowid AS row, rank FROM turn_words "
                "WHERE turn_words MATCH ?) AS found JOIN turns t ON t.id = found.row "
                "GROUP BY t.session ORDER BY best LIMIT ?",
                (match, limit),
            ).fetchall()
            return [
                _turn(connection.execute("SELECT * FROM turns WHERE id = ?", (row["id"],)).fetchone()) for row in best
            ]


def _new_code() -> str:
    return "-".join("".join(secrets.choice(_CODE_LETTERS) for _ in range(4)) for _ in range(_CODE_GROUPS))


def normal_code(code: str) -> str:
    """A code as it is stored, however it was typed."""
    letters = re.sub(r"[^0-9A-Z]", "", code.upper())
    return "-".join(letters[i : i + 4] for i in range(0, len(letters), 4))


def _session_info(row: sqlite3.Row) -> SessionInfo:
    return SessionInfo(
        row["id"], row["code"], row["title"], row["created_at"], row["updated_at"], row["turns"], bool(row["remember"])
    )


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(
        row["id"], row["session"], row["number"], row["asked_at"], row["question"], row["understood"], row["answer"],
        json.loads(row["details"]),
    )  # fmt: skip


def title_of(text: str) -> str:
    """A title from a question's words, on one line and not too long."""
    title = " ".join(clean(text).split())
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…"
