"""One conversation: questions understood in the light of the turns before them, answers kept as they were heard.

`Conversation.ask` returns a `Reply`: an iterator of AnswerEvents that also knows how the question was read
(`understood`, from its first event on) and, once it is on disk, the `turn`. memory/session.py shows it all at work.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import NotFoundError, StoreError
from memory.evidence import details, with_evidence
from memory.facts import asks_about_conversation, meant, stated_fact
from memory.follow_up import READ_TURNS, understand
from memory.fragments import narrowed
from memory.packing import pack_history
from memory.types import DialogueAnswer, Memory, Said, SessionInfo, Turn, Understood
from rag.answer import AnswerEngine
from rag.types import Answer, AnswerEvent, Hit
from rag.wordings import Wording, with_wordings

if TYPE_CHECKING:
    from memory.session import Dialogue

log = logging.getLogger(__name__)

FROM_MEMORY = 12.0  # recall score from which a question about the talk is answered by what was said
NOTED = "Noted. I will keep it in mind."
_CITED = re.compile(r"\[(\d+)\]")
_NO_WORD = re.compile(r"\W")


class Conversation:
    """One session. Several handles on it, in several processes, see each other's turns."""

    def __init__(self, dialogue: Dialogue, info: SessionInfo) -> None:
        self.dialogue = dialogue
        self.session_id = info.session_id
        self.code = info.code

    @property
    def info(self) -> SessionInfo:
        """As it is now. Raises NotFoundError once it has been deleted."""
        return self.dialogue.store.session(self.session_id)

    def turns(
        self, *, after: int = 0, before: int = 0, first: int | None = None, last: int | None = None
    ) -> list[Turn]:
        """In order; `after` a turn's number: what is new since, whoever asked it. `before`: what was earlier.

        Of these all, or the `first` or `last` so many: a talk may have a hundred thousand.
        """
        return self.dialogue.store.turns(self.session_id, after=after, before=before, first=first, last=last)

    def understand(self, question: str) -> Understood:
        """How `ask` would understand a question now, without asking it."""
        return self._understand(question, self.turns(last=READ_TURNS))

    def ask(self, question: str, *, understood: str | None = None, wordings: Sequence[Wording] = ()) -> Reply:
        """Answer a question in the light of the turns before it; the last event holds a DialogueAnswer, stored.

        `understood`: the self-contained question as the user has corrected it. If the stream is closed early, what was
        written so far is stored as an interrupted turn. `wordings`: other readings of a question that was misheard,
        perhaps; they are searched, too. Raises NotFoundError (with the first event) if the session has been deleted.
        """
        return Reply(self, question, understood, wordings)

    def open_turn(self) -> OpenTurn:
        """A turn that something else answers, a speech language model for instance (see OpenTurn)."""
        return OpenTurn(self)

    def heard(self, turn: Turn | int, text: str) -> Turn:
        """Of a stored turn's answer only `text` was heard: the rest is taken out of the talk and of memory.

        `turn`: or its number. Citations of sentences that were not begun go as well. Raises NotFoundError.
        """
        number = turn if isinstance(turn, int) else turn.number
        found = self.turns(after=number - 1, first=1)
        if not found or found[0].number != number:
            raise NotFoundError(f"there is no turn {number} in this conversation", remedy="It may have been deleted")
        stored = self.dialogue.store.shorten(found[0], text, heard_details(found[0], text))
        self.dialogue.remember_soon()
        return stored

    def withdraw(self, turn: Turn) -> None:
        """A stored turn was not meant, its question was misheard for instance: the talk goes on without it."""
        self.dialogue.store.withdraw(turn)
        self.dialogue.remember_soon()

    def rename(self, title: str) -> None:
        self.dialogue.store.rename(self.session_id, title)

    def remember(self, on: bool) -> None:
        """Switch long-term memory on or off for this session."""
        self.dialogue.store.set_remember(self.session_id, on)

    def renew_code(self) -> None:
        """A new code: whoever came by the old one is shut out."""
        self.dialogue.store.renew_code(self.session_id)

    def delete(self) -> None:
        self.dialogue.delete(self.session_id)

    def _understand(self, question: str, recent: Sequence[Turn]) -> Understood:
        turns = [  # the passages that a refusal shows are not what the talk is about
            (turn.understood, "" if turn.details.get("refused") else turn.answer)
            for turn in recent
            if not turn.details.get("noted")
        ]
        topics = [title for turn in recent[-2:] for title in turn.details.get("topics", ())]
        found = understand(question, turns, topics=topics, generator=self.dialogue.engine.generator)
        for said in self.dialogue.store.facts(session_id=self.session_id, limit=20):
            what = meant(said.text)
            if what and (query := narrowed(found.query, what, only_if_named=True)) != found.query:
                others = tuple(replace(w, text=narrowed(w.text, what, only_if_named=True)) for w in found.others)
                return replace(found, query=query, because=(*found.because, said.text), others=others)
        return found


class OpenTurn:
    """A turn between its question and the disk. `heard` may be called from another thread; the rest from one.

    As it has `workspace` and `search`, it stands in for the documents where an engine searches by itself:

        turn = talk.open_turn()
        for event in answer_aloud(omni, recording, turn, history=turn.history()):
            if event.answer: turn.keep(event.answer)
        turn.keep_unfinished(text_so_far)          # if it broke off; does nothing after `keep`
    """

    def __init__(self, talk: Conversation, wordings: Sequence[Wording] = ()) -> None:
        self.talk = talk
        self.wordings = tuple(wordings)  # other readings of the question that are searched, too
        self.understood: Understood | None = None  # from `read` or `search` on
        self.turn: Turn | None = None  # once it is on disk
        self.recent: list[Turn] = []
        self.recalled: tuple[Memory, ...] = ()
        self.fact: Said | None = None
        self.info: SessionInfo | None = None
        self._heard: str | None = None
        self._forgotten = False
        self._lock = threading.Lock()

    @property
    def workspace(self) -> Any:
        return self.talk.dialogue.engine.workspace

    def read(self, question: str, understood: str | None = None) -> Understood:
        """How the question is to be searched for. Raises NotFoundError if the session has been deleted."""
        self.info, self.recent = self.talk.info, self.talk.turns(last=READ_TURNS)
        self.fact = stated_fact(question)
        if understood is not None and understood.strip():
            self.fact = None
            query = Understood(question, understood.strip(), "alone")
        else:
            query = self.talk._understand(question, self.recent)
        self.understood = query
        return query

    def engine(self) -> AnswerEngine:
        """The shared engine, with the latest turns' evidence among its candidates."""
        dialogue = self.talk.dialogue
        engine = with_evidence(dialogue.engine, self.recent, dialogue.settings.carried)
        query = self.understood
        # Other readings of what was heard are readings of the question as asked, not of what it was understood as.
        misheard = self.wordings if query is None or not query.changed else ()
        return with_wordings(engine, misheard or (readings(query) if query is not None else ()))

    def search(self, question: str, top_k: int = 10) -> tuple[list[Hit], dict[str, float]]:
        """Hits for the question as it is understood, as AnswerEngine.search returns them."""
        query = self.read(question)
        return self.engine().search(query.query, top_k)

    def history(self) -> list[tuple[str, str]]:
        """(role, text) messages before this turn, within the token budget; after `read` with what is recalled for it.

        An answer that quotes documents alone has no use for memories, so they are recalled for chat models only.
        """
        dialogue = self.talk.dialogue
        recent = self.recent or self.talk.turns(last=READ_TURNS)
        if self.understood is not None and self.info is not None and self.info.remember and dialogue.engine.generator:
            shown = {turn.turn_id for turn in recent}
            found = dialogue.memory.recall(self.understood.query)
            self.recalled = tuple(m for m in found if m.turn_id not in shown or m.pinned)
        return pack_history(recent, self.recalled, max_tokens=dialogue.settings.history_tokens)

    def keep(self, answer: Answer, more: dict[str, Any] | None = None) -> DialogueAnswer:
        """Store the finished turn; when this returns, no crash can lose it. The answer, with its turn."""
        query = self.understood or self.read(answer.question)
        self._store(answer.text, more or details(answer, query))
        values = {**vars(answer), "question": query.question}
        return DialogueAnswer(**values, understood=query.query, turn=self.turn, recalled=self.recalled)

    def keep_unfinished(self, text: str) -> None:
        """Store what was said before the answer broke off; nothing if nothing was, or if the turn is stored already."""
        query = self.understood
        if query is not None and self.turn is None and (text or self._heard is not None):
            self._store(text, {"interrupted": True, "kind": query.kind, "because": list(query.because)})

    def heard(self, text: str) -> None:
        """Only `text` of the answer was heard, whether or not all of it has been written or stored yet.

        Thread-safe: what plays the sound calls it when it is interrupted. "" keeps the question with no answer.
        """
        with self._lock:
            self._heard = text
            if self.turn is not None and not self._forgotten:
                self.turn = self.talk.heard(self.turn, text)

    def forget(self) -> None:
        """The question was not what was meant: nothing of this turn is kept, stored already or not. Thread-safe."""
        with self._lock:
            self._forgotten = True
            if self.turn is not None:
                self.talk.withdraw(self.turn)

    def _store(self, text: str, stored: dict[str, Any]) -> None:
        query, dialogue = self.understood, self.talk.dialogue
        assert query is not None and self.info is not None, "read() comes first"
        with self._lock:
            if self._forgotten:
                return
            if self._heard is not None:
                whole = Turn(0, self.talk.session_id, 0, "", query.question, query.query, text, stored)
                text, stored = self._heard, heard_details(whole, self._heard)
            said: list[Said] = []
            if self.info.remember:  # a statement is remembered once, as the fact that a later one may supersede
                said = [self.fact or Said(query.question), *([] if stored.get("noted") else [Said(text, "assistant")])]
            said = [each for each in said if each.text.strip()]
            try:
                self.turn = dialogue.store.append(
                    self.talk.session_id, query.question, query.query, text, stored, said=said
                )
            except (StoreError, NotFoundError) as error:
                log.error("a turn was answered but not stored: %s", error)  # the answer is still worth showing
                return
        dialogue.remember_soon()


class Reply(OpenTurn, Iterator[AnswerEvent]):
    """The events of one answer. Read it to its end, or `close` it; `heard` may come from another thread at any time."""

    def __init__(
        self, talk: Conversation, question: str, understood: str | None, wordings: Sequence[Wording] = ()
    ) -> None:
        super().__init__(talk, wordings)
        self._events = self._answer(question, understood)

    def __next__(self) -> AnswerEvent:
        return next(self._events)

    def close(self) -> None:
        """Stop; what was written so far (or heard, if somebody said) is kept as an interrupted turn."""
        self._events.close()  # type: ignore[attr-defined]  # a generator

    def _answer(self, question: str, understood: str | None) -> Iterator[AnswerEvent]:
        started = time.perf_counter()
        if not question.strip():
            yield from self.talk.dialogue.engine.stream(question)  # says that it is empty; nothing to keep
            return
        query = self.read(question, understood)
        assert self.info is not None
        if self.fact is not None and not (meant(self.fact) and self.recent):
            yield from self._short(NOTED, (), started)
            return
        if self.info.remember and understood is None and asks_about_conversation(question):
            recalled = tuple(self.talk.dialogue.memory.recall(question))
            if told := _told(recalled):
                yield from self._short(told, recalled, started)
                return
        engine, text, finished = self.engine(), "", None
        try:
            for event in engine.stream(query.query, history=self.history()):
                if event.answer is not None:
                    finished = event.answer
                    break
                text += event.text
                yield event
        finally:
            if finished is None:
                self.keep_unfinished(text)
        assert finished is not None, "stream() ended without an answer"
        finished.timings_ms["total"] = round((time.perf_counter() - started) * 1e3, 2)
        yield AnswerEvent(answer=self.keep(finished))

    def _short(self, text: str, recalled: tuple[Memory, ...], started: float) -> Iterator[AnswerEvent]:
        """An answer that needs no documents: a statement noted, or something that was said."""
        assert self.understood is not None
        plain = self.understood = replace(self.understood, query=self.understood.question, kind="alone", because=())
        self.recalled = recalled
        yield AnswerEvent(text=text)
        milliseconds = round((time.perf_counter() - started) * 1e3, 2)
        timings = {"first_text": milliseconds, "total": milliseconds}
        answer = Answer(plain.question, text, False, (), (), "memory", confidence=1.0, timings_ms=timings)
        noted = {"noted": True, "model": "memory", "kind": plain.kind, "recalled": [m.memory_id for m in recalled]}
        yield AnswerEvent(answer=self.keep(answer, noted))


def heard_details(turn: Turn, text: str) -> dict[str, Any]:
    """The details of a turn of which only `text` was heard: citations of sentences not begun are left out."""
    kept = {**turn.details, "interrupted": True}
    reached = _reached(turn.answer, text)
    if "citations" in kept:
        kept["citations"] = [citation for citation in kept["citations"] if citation["n"] in reached]
    return kept


def _reached(answer: str, heard: str) -> set[int]:
    """The markers of an answer up to the sentence in which `heard` ends, whether or not it has the markers itself."""
    left = len(_NO_WORD.sub("", _CITED.sub("", heard)))
    reached: set[int] = set()
    for part in re.split(r"(\[\d+\])", answer):
        if marker := _CITED.fullmatch(part):
            reached.add(int(marker[1]))
        elif left <= 0:
            break
        else:
            left -= len(_NO_WORD.sub("", part))
    return reached


def _told(recalled: Sequence[Memory]) -> str:
    """What the user said that answers a question about the talk; empty if nothing recalled bears on it."""
    own = [m for m in recalled if m.speaker == "user" and not m.text.rstrip().endswith("?")]
    holding = [m for m in own if m.kind == "fact" and not m.superseded_at]
    best = next((m for m in (*holding, *own) if m.score >= FROM_MEMORY), None)
    return f"You said on {best.said_at[:10]}: “{best.text.strip()}”" if best is not None else ""


def readings(query: Understood) -> tuple[Wording, ...]:
    """All that a question may mean, with probabilities: what rag/wordings.py searches."""
    return (Wording(query.query, 1.0 - sum(other.weight for other in query.others)), *query.others)
