"""Who answers in a live conversation: a stored conversation of a workspace, started with its first question."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import LecternError
from omni.types import Transcript
from rag.extractive import NOTHING_FOUND
from rag.types import Answer, AnswerEvent, Citation, Hit
from web.schemas import answer_json, citation_json, nearest_passages
from web.speech import Sheets

if TYPE_CHECKING:
    from memory.session import Conversation
    from web.wiring import Assistant

log = logging.getLogger(__name__)


class TalkAnswerer:
    """Answerer over `Assistant.talk`. Acts for whoever opened the connection, in whatever thread."""

    def __init__(self, assistant: Assistant, workspace: str, conversation: str = "") -> None:
        """Raises NotFoundError: no such workspace or conversation."""
        self._assistant, self._workspace = assistant, workspace
        self._context = contextvars.copy_context()  # threads of our own run for nobody, who has no conversations
        self._lock = threading.Lock()
        self._sheets = Sheets(assistant.workspace(workspace))
        self._talk: Conversation | None = assistant.talk(workspace, conversation) if conversation else None

    @property
    def conversation(self) -> str:
        return self._talk.session_id if self._talk is not None else ""

    def look(self, question: str) -> Sequence[Hit]:
        talk = self._talk
        if talk is not None:
            turn = talk.open_turn()
            query, engine = turn.read(question).query, turn.engine()
        else:
            query, engine = question, self._assistant.engine(self._workspace)
        if engine.generator is not None:
            return engine.search(query)[0]
        # Quoting is cheap: going through with it leaves everything that it needs in the caches.
        for event in engine.stream(query):
            if event.answer is not None:
                return event.answer.hits
        return []

    def ask(self, transcript: Transcript) -> TalkReply:
        with self._lock:
            if self._talk is None:
                self._talk = self._context.copy().run(self._assistant.talk, self._workspace)
            talk = self._talk
        return TalkReply(talk, transcript.text)

    def citation_json(self, citation: Citation) -> dict[str, Any]:
        return citation_json(citation, sheets=self._sheets[citation.document])

    def hit_json(self, hit: Hit) -> dict[str, Any]:
        return self.citation_json(nearest_passages([hit])[0])

    def answer_json(self, answer: Answer) -> dict[str, Any]:
        stored = getattr(answer, "turn", None)
        shown = answer_json(answer, sheets=self._sheets, nothing_found=NOTHING_FOUND)
        return {**shown, "number": stored.number if stored is not None else None}


class TalkReply:
    """LiveReply over memory's Reply."""

    def __init__(self, talk: Conversation, question: str) -> None:
        self._reply = talk.ask(question)

    @property
    def question(self) -> str:
        understood = self._reply.understood
        return understood.query if understood is not None else ""

    def __iter__(self) -> Iterator[AnswerEvent]:
        return self

    def __next__(self) -> AnswerEvent:
        return next(self._reply)

    def close(self) -> None:
        self._reply.close()

    def heard(self, text: str) -> None:
        try:
            self._reply.heard(text)
        except LecternError as error:  # the conversation has been deleted meanwhile
            log.info("what was heard is not kept: %s", error)

    def forget(self) -> None:
        self.heard("")
