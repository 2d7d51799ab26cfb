"""Who answers in a live conversation: a stored conversation of a workspace, started with its first question."""

from __future__ import annotations

import contextvars
import copy
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from core.errors import LecternError
from memory.conversation import Reply
from omni.close_terms import wordings
from omni.live.speculation import asks, certain
from omni.types import Transcript
from rag.extractive import NOTHING_FOUND
from rag.recent import Recent
from rag.types import Answer, Citation, Hit
from rag.wordings import with_wordings
from web.schemas import answer_json, citation_json, nearest_passages
from web.speech import Sheets

if TYPE_CHECKING:
    from memory.session import Conversation
    from rag.answer import AnswerEngine
    from rag.answer_cache import AnswerCache
    from web.wiring import Assistant

log = logging.getLogger(__name__)

PATIENCE_S = 10.0  # with a look that is under way


class TalkAnswerer:
    """Answerer over `Assistant.talk`. Acts for whoever opened the connection, in whatever thread."""

    def __init__(self, assistant: Assistant, workspace: str, conversation: str = "") -> None:
        """Raises NotFoundError: no such workspace or conversation."""
        self._assistant, self._workspace = assistant, workspace
        self._context = contextvars.copy_context()  # threads of our own run for nobody, who has no conversations
        self._lock = threading.Lock()
        self.ahead = LookAhead()
        self._sheets = Sheets(assistant.workspace(workspace))
        self._talk: Conversation | None = assistant.talk(workspace, conversation) if conversation else None

    @property
    def conversation(self) -> str:
        return self._talk.session_id if self._talk is not None else ""

    def look(self, transcript: Transcript) -> Sequence[Hit]:
        talk = self._talk
        if talk is not None:
            turn = talk.open_turn()
            query = turn.read(transcript.text).query
            engine, last = turn.engine(), turn.recent[-1].turn_id if turn.recent else 0
        else:
            query, engine, last = transcript.text, self._assistant.engine(self._workspace), 0
        if engine.generator is not None:
            return engine.search(query)[0]
        # Quoting is cheap: going through with it leaves the finished answer in the cache.
        prepared = self.ahead.prepare(engine, transcript, query, last)
        prepared.on_answer = None  # nobody has asked yet
        with self.ahead.looking():
            for event in prepared.stream(query):
                if event.answer is not None:
                    return event.answer.hits
        return []

    def ask(self, transcript: Transcript) -> HeardReply:
        with self._lock:
            if self._talk is None:
                self._talk = self._context.copy().run(self._assistant.talk, self._workspace)
            talk = self._talk
        return HeardReply(talk, transcript, self.ahead)

    def citation_json(self, citation: Citation) -> dict[str, Any]:
        return citation_json(citation, sheets=self._sheets[citation.document])

    def hit_json(self, hit: Hit) -> dict[str, Any]:
        return self.citation_json(nearest_passages([hit])[0])

    def answer_json(self, answer: Answer) -> dict[str, Any]:
        stored = getattr(answer, "turn", None)
        shown = answer_json(answer, sheets=self._sheets, nothing_found=NOTHING_FOUND)
        return {**shown, "number": stored.number if stored is not None else None}


class HeardReply(Reply):
    """LiveReply: memory's Reply to what was heard, searched for in all its readings."""

    def __init__(self, talk: Conversation, transcript: Transcript, ahead: LookAhead) -> None:
        super().__init__(talk, transcript.text, None)
        self._transcript, self._ahead = transcript, ahead

    @property
    def question(self) -> str:
        return self.understood.query if self.understood is not None else ""

    def engine(self) -> AnswerEngine:
        engine = super().engine()
        if self.understood is None:
            return engine
        last = self.recent[-1].turn_id if self.recent else 0
        return self._ahead.prepare(engine, self._transcript, self.understood.query, last)

    def heard(self, text: str) -> None:
        try:
            super().heard(text)
        except LecternError as error:  # the conversation has been deleted meanwhile
            log.info("what was heard is not kept: %s", error)

    def forget(self) -> None:
        try:
            super().forget()
        except LecternError as error:
            log.info("a turn that was not meant is not taken back: %s", error)


class LookAhead:
    """Answers made while somebody was still speaking, until they are asked for. The cache of one conversation.

    An answer here also depends on the recogniser's other readings and on what was said before, which the answers that
    the server keeps for everyone (rag/answer_cache.py) must not.
    """

    def __init__(self) -> None:
        self._answers: Recent[Answer] = Recent(16)
        self._changed = threading.Condition()
        self._looking: set[str] = set()  # keys that a thread is at
        self._mine = threading.local()

    def prepare(self, engine: AnswerEngine, transcript: Transcript, query: str, last_turn: int) -> AnswerEngine:
        """The engine as it answers `query`, with this cache; `last_turn`: the id of the turn before."""
        readings = wordings(transcript) if query == transcript.text else []
        shared, engine = engine.cache, with_wordings(engine, readings)
        prepared = copy.copy(engine)
        # What was found for the likeliest reading alone stands where the others hardly count.
        others = [] if not readings or certain(transcript) else [wording.text for wording in readings]
        prepared.cache = cast("AnswerCache", _Shelf(self, engine, [last_turn, *others], shared))
        return prepared

    @contextmanager
    def looking(self) -> Iterator[None]:
        """What is asked for meanwhile by another thread waits for this one's answer, rather than making it again."""
        self._mine.looks = True
        try:
            yield
        finally:
            self._mine.looks = False
            self.done(getattr(self._mine, "key", ""))

    def get(self, key: str) -> Answer | None:
        with self._changed:
            if getattr(self._mine, "looks", False):
                self._mine.key = key
                self._looking.add(key)
            else:
                self._changed.wait_for(lambda: key not in self._looking, PATIENCE_S)
            return self._answers.get(key)

    def put(self, key: str, answer: Answer) -> None:
        with self._changed:
            self._answers.put(key, answer)
        self.done(key)

    def done(self, key: str) -> None:
        with self._changed:
            self._looking.discard(key)
            self._changed.notify_all()


class _Shelf:
    """One question's place in a LookAhead, in the form of rag's AnswerCache."""

    def __init__(self, ahead: LookAhead, engine: AnswerEngine, parts: list[Any], shared: AnswerCache | None) -> None:
        self._ahead, self._parts = ahead, parts
        self._version = getattr(engine.workspace, "version", 0)
        self._shared = shared if engine.cache is not None else None  # usable only if nothing else decides the answer

    def place(self, question: str, history: str = "") -> str:
        self._question, self._history = question, history
        return repr([self._version, asks(question), history, *self._parts])

    def get(self, key: str) -> Answer | None:
        found = self._ahead.get(key)
        if found is None and self._shared is not None:
            found = self._shared.get(self._shared.place(self._question, self._history))
        return found

    def put(self, key: str, answer: Answer) -> None:
        self._ahead.put(key, answer)
