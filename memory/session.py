"""Conversations with the documents of a workspace: follow-ups understood, every answered turn kept.

    dialogue = Dialogue(workspace.path, engine, settings.memory)
    talk = dialogue.start("Lease")                       # or dialogue.resume(id), dialogue.join(code)
    reply = talk.ask("And the year before?")
    for event in reply:
        print(event.text, end="")
    event.answer.understood                  # "What were the net sales in 2020?"; reply.understood knows it first

`event.answer` of the last event is a DialogueAnswer. It is on disk before the event is handed out: an answer that
somebody has seen complete is never lost. The cost of a turn does not grow with the conversation: a fixed number of
turns is read, history and memories are packed into a token budget.

Spoken conversation. A Reply is an iterator of AnswerEvents, so `omni.cascade.speak_answer(reply, voice, cancel=cancel)`
speaks it. When the speaker is interrupted, say how far the listener got, from any thread, before or after the answer
has been written to its end:

    cancel.set()
    reply.heard("The lease ends on 30 June 2031.")       # "" if nothing was heard: the question alone is kept

The stored turn, its memory and the history of the next question then hold these words and no more. Later, with a stored
turn or its number: `talk.heard(turn, text)`. The web server's way in is `Assistant.talk(workspace, session_id)`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from core.errors import LecternError
from core.settings import MemorySettings
from memory.conversation import Conversation, OpenTurn, Reply
from memory.dialogue_store import DialogueStore
from memory.long_term import LongTermMemory
from memory.types import SessionInfo
from rag.answer import AnswerEngine

__all__ = ["Conversation", "Dialogue", "OpenTurn", "Reply"]

log = logging.getLogger(__name__)

CLOSING_S = 10  # how long closing waits for a batch of embeddings


class Dialogue:
    """All conversations over one workspace: the store, the long-term memory and the engine that they share."""

    def __init__(
        self, folder: Path, engine: AnswerEngine | Callable[[], AnswerEngine], settings: MemorySettings | None = None
    ) -> None:
        """`folder`: `Workspace.path`. `engine`: or what makes it, called when the first question is asked, so that
        conversations can be listed before models are loaded. Raises StoreError if the store is damaged."""
        self._make_engine = engine if callable(engine) else lambda: engine
        self._engine: AnswerEngine | None = None
        self._memory: LongTermMemory | None = None
        self.settings = settings or MemorySettings()
        self.store = DialogueStore(folder)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._worker: threading.Thread | None = None
        self._lock = threading.RLock()

    @property
    def engine(self) -> AnswerEngine:
        with self._lock:
            if self._engine is None:
                self._engine = self._make_engine()
            return self._engine

    @property
    def memory(self) -> LongTermMemory:
        with self._lock:
            if self._memory is None:
                self._memory = LongTermMemory(self.store, self.engine.embedder, self.settings)
            return self._memory

    def start(self, title: str = "") -> Conversation:
        return Conversation(self, self.store.create(title))

    def resume(self, session_id: str) -> Conversation:
        """Raises NotFoundError."""
        return Conversation(self, self.store.session(session_id))

    def join(self, code: str) -> Conversation:
        """Take a session up by its code, on this device too. Raises NotFoundError."""
        return Conversation(self, self.store.session_by_code(code))

    def sessions(self) -> list[SessionInfo]:
        return self.store.sessions()

    def delete(self, session_id: str) -> None:
        """Delete a session without trace, its vectors included. Raises NotFoundError."""
        self.store.delete(session_id)
        self.remember_soon()

    def remember_soon(self) -> None:
        """Let the background embed what is new and take out what was deleted; nobody waits for it."""
        if self._closing.is_set():
            return
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(target=self._embed, name="lectern-memory", daemon=True)
                self._worker.start()
        self._wake.set()

    def _embed(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                while self.memory.catch_up(limit=16) and not self._closing.is_set():
                    pass
                self.memory.erase()
            except LecternError as error:
                if not self._closing.is_set():
                    log.warning("%s", error)
            except Exception:
                log.exception("embedding memories")

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        if self._worker is not None:
            self._worker.join(timeout=CLOSING_S)
        if self._memory is not None:
            self._memory.close()
        self.store.close()

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
