"""The live conversations of this server: kept while their connection is lost, and never more than it can bear."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from core.errors import LecternError
from omni.live.commands import dictionary
from omni.live.conversation import LiveConversation
from omni.live.mailbox import Mailbox
from omni.live.outbox import Outbox
from omni.live.turn_taking import TurnTaking
from omni.live.types import LiveSettings
from omni.live.work import Work
from web.live_answerer import TalkAnswerer

if TYPE_CHECKING:
    from web.wiring import Assistant

log = logging.getLogger(__name__)

RECORDS = 1000  # latency records kept for whoever shows them


class LiveSession:
    """One conversation, with or without a connection."""

    def __init__(self, sessions: LiveSessions, workspace: str, owner: str, conversation: str) -> None:
        assistant, settings = sessions.assistant, sessions.assistant.settings
        self.id = secrets.token_urlsafe(24)
        self.workspace, self.owner = workspace, owner
        self.outbox = Outbox()
        self.answerer = TalkAnswerer(assistant, workspace, conversation)
        self.mailbox = Mailbox(tick=lambda: self.conversation.tick())
        live = settings.live
        self.conversation = LiveConversation(
            self.answerer,
            recogniser=assistant.recogniser,
            voice=assistant.synthesiser,
            vocabulary=lambda: assistant.vocabulary(workspace),
            work=sessions.work,
            post=self.mailbox.post,
            settings=LiveSettings(
                turn_taking=TurnTaking(
                    silence_ms=live.silence_ms, complete_ms=live.complete_ms, unfinished_ms=live.unfinished_ms
                ),
                rate=settings.speech.rate,
                lead_s=live.lead_s,
            ),
            outbox=self.outbox,
            pronounce=dictionary(),
            recorded=sessions.record,
        )
        self.mailbox.start(f"live-{self.id[:6]}")
        self.connections = 0  # that have it; two for a moment when a newer one takes it over
        self.expiry: asyncio.TimerHandle | None = None  # while it has none

    def close(self) -> None:
        self.mailbox.post(self.conversation.close)
        self.mailbox.close()


class TooManyConversations(LecternError):
    """The server's limit is reached."""


class LiveSessions:
    """All of them. `open`, `resume`, `leave`, `end` from the event loop."""

    def __init__(self, assistant: Assistant) -> None:
        self.assistant = assistant
        self.work = Work(assistant.settings.live.workers)
        self.records: deque[dict[str, Any]] = deque(maxlen=RECORDS)
        self._sessions: dict[str, LiveSession] = {}
        self._opening = 0  # that will be in there soon
        self._listeners: list[Callable[[dict[str, Any]], None]] = []

    def on_record(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """`listener` is told the latency record of every turn, in whichever thread it comes from."""
        self._listeners.append(listener)

    def record(self, record: dict[str, Any]) -> None:
        """A turn has been answered and is being spoken."""
        self.records.append(record)
        for listener in self._listeners:
            try:
                listener(record)
            except Exception:
                log.exception("a listener to latency records")

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def connected(self) -> int:
        """Conversations with a client at the other end."""
        return sum(session.outbox.attached for session in self._sessions.values())

    async def open(self, workspace: str, owner: str, conversation: str) -> LiveSession:
        """A new session. Raises NotFoundError, TooManyConversations."""
        limit = self.assistant.settings.live.conversations
        if len(self._sessions) + self._opening >= limit:
            waiting = [session for session in self._sessions.values() if session.expiry is not None]
            if not waiting:
                raise TooManyConversations(
                    f"{limit} live conversations are under way, which is all this server takes",
                    remedy="Try again in a minute, or type your question",
                )
            self.end(waiting[0])  # nobody is at its other end
        self._opening += 1
        try:
            session = await asyncio.to_thread(LiveSession, self, workspace, owner, conversation)
        finally:
            self._opening -= 1
        session.connections = 1
        self._sessions[session.id] = session
        return session

    def resume(self, session_id: str, workspace: str, owner: str) -> LiveSession | None:
        """The session with this id; None if it has expired or is another's."""
        session = self._sessions.get(session_id)
        if session is None or session.workspace != workspace or session.owner != owner:
            return None
        session.connections += 1
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        return session

    def leave(self, session: LiveSession) -> None:
        """A connection is gone; the session waits to be resumed, unless another connection has it already."""
        session.connections -= 1
        if session.connections == 0 and session.id in self._sessions:
            loop = asyncio.get_running_loop()
            session.expiry = loop.call_later(self.assistant.settings.live.grace_s, partial(self.end, session))

    def end(self, session: LiveSession) -> None:
        """Forget a session."""
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        if self._sessions.pop(session.id, None) is not None:
            session.close()

    def close(self) -> None:
        """End all, and wait: what they write of the last turns must be on disk before the databases are closed."""
        ended = list(self._sessions.values())
        for session in ended:
            self.end(session)
        self.work.close()
        for session in ended:
            session.mailbox.join(5.0)


def as_event(kind: str, **fields: Any) -> str:
    """An event outside of a session's numbers."""
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)
