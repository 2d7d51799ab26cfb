"""One answer on its way: from the question of a turn to its text on the page and its sentences in a Script.

The search and the first words are a job of `Work`, so that conversations queue for them; what a chat model goes on to
write is read in a thread of its own, which holds up nobody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from core.errors import LecternError
from omni.live.latency import TurnTimes
from omni.live.outbox import Outbox
from omni.live.speaking import Script
from omni.live.types import Answerer, LiveReply
from omni.live.work import Priority, Ticket, Work
from omni.types import Transcript
from rag.extractive import NOTHING_FOUND
from rag.types import AnswerEvent, Citation

log = logging.getLogger(__name__)


class Answering:
    """State: how far the answer has come. `cancel`, `heard` and `forget` from the conversation's thread."""

    def __init__(
        self,
        turn: int,
        transcript: Transcript,
        answerer: Answerer,
        work: Work,
        outbox: Outbox,
        times: TurnTimes,
        *,
        clock: Callable[[], float],
        post: Callable[[Callable[[], None]], None],
        done: Callable[[Answering, LecternError | None], None],
    ) -> None:
        """`done` is called through `post` when the answer is complete or has failed; not after `cancel`."""
        self.turn, self.transcript, self.times = turn, transcript, times
        self.script = Script()
        self.citations: list[Citation] = []
        self.complete = self.cancelled = self.wrote = False
        self.heard_text = ""  # what has been heard of it, in any speech
        self._answerer, self._work, self._outbox = answerer, work, outbox
        self._clock, self._post, self._done = clock, post, done
        self._reply: LiveReply | None = None
        self._lock = threading.Lock()
        self._wanted: str | None = None  # what `heard` was told before there was a reply
        self._forgotten = False
        self._text = ""
        self._shown_question = False
        self.ticket: Ticket | None = None

    def start(self) -> None:
        self.ticket = self._work.submit(self._begin, priority=Priority.ANSWER)

    def cancel(self) -> None:
        """Read no further."""
        self.cancelled = True
        if self.ticket is not None:
            self.ticket.cancel()
        self.script.end()

    def heard(self, text: str) -> None:
        """So much has been heard of it by now, more than before."""
        self.heard_text = text
        with self._lock:
            self._wanted = text
            reply = self._reply
        if reply is not None:
            reply.heard(text)

    def forget(self) -> None:
        with self._lock:
            self._forgotten = True
            reply = self._reply
        if reply is not None:
            reply.forget()

    # ---- in threads of work, and then in one of its own ------------------------------------------------------------

    def _begin(self) -> None:
        self.times.queued_ms += self.ticket.waited_ms if self.ticket is not None else 0.0
        reply = self._answerer.ask(self.transcript)
        with self._lock:
            self._reply = reply
            wanted, forgotten = self._wanted, self._forgotten
        if forgotten:
            reply.forget()
        elif wanted is not None:
            reply.heard(wanted)
        self._read(reply, until_text=True)

    def _read(self, reply: LiveReply, *, until_text: bool) -> None:
        try:
            for event in reply:
                if self.cancelled:
                    break
                self._take(event, reply)
                if until_text and self.wrote and event.answer is None:
                    threading.Thread(
                        target=self._read, args=(reply,), kwargs={"until_text": False}, name="live-answer", daemon=True
                    ).start()
                    return
            if self.cancelled:
                reply.close()
                return
            self._finish(None)
        except LecternError as error:
            self._finish(error)
        except Exception as error:
            log.exception("answering")
            self._finish(LecternError(f"no answer could be given: {error}", remedy="Ask again; the log says more"))

    def _take(self, event: AnswerEvent, reply: LiveReply) -> None:
        now = self._clock()
        if not self._shown_question:
            self._shown_question = True
            if reply.question and reply.question != self.transcript.text:
                self._outbox.event("understood", turn=self.turn, question=reply.question)
        if event.citation is not None:
            self.script.citation(event.citation)
            self.times.mark("first_hit", now)
            # A refusal names the nearest passages; they come with the finished answer and are no citations to open.
            if not (self._text + event.text).startswith(NOTHING_FOUND):
                self.citations.append(event.citation)
                self._outbox.event(
                    "citation", turn=self.turn, citation=self._answerer.citation_json(event.citation)
                )  # fmt: skip
        if event.text:
            self.times.mark("first_text", now)
            self._text += event.text
            # An extractive answer's pieces are whole sentences with their one citation: no need to wait for the next.
            self.script.write(event.text, whole=event.citation is not None)
            self.wrote = True
            self._outbox.event("text", turn=self.turn, text=event.text)
        if event.answer is not None:
            for citation in event.answer.citations:
                self.script.citation(citation)
            if not self._text:  # an engine that does not stream
                self.script.write(event.answer.text)
            self.times.mark("first_text", now)
            self.times.mark("first_hit", now)
            self.citations = [] if event.answer.refused else list(event.answer.citations)
            self._outbox.event("answer", turn=self.turn, answer=self._answerer.answer_json(event.answer))

    def _finish(self, error: LecternError | None) -> None:
        self.complete = True
        self.script.end()
        self._post(lambda: None if self.cancelled else self._done(self, error))
