"""A conversation with the documents of a workspace: follow-ups understood, every answered turn kept.

    dialogue = Dialogue(workspace.path, engine, settings.memory)
    talk = dialogue.start("Lease")                       # or dialogue.resume(id), dialogue.join(code)
    for event in talk.ask("And the year before?"):
        print(event.text, end="")
    event.answer.understood                  # "What were the net sales in 2020?"

`event.answer` of the last event is a DialogueAnswer. It is on disk before the event is handed out: an answer that
somebody has seen complete is never lost. The cost of a turn does not grow with the conversation: a fixed number of
turns is read, history and memories are packed into a token budget.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import LecternError, NotFoundError, StoreError
from core.settings import MemorySettings
from memory.dialogue_store import DialogueStore
from memory.facts import asks_about_conversation, meant, stated_fact
from memory.follow_up import READ_TURNS, Understood, understand
from memory.long_term import LongTermMemory
from memory.packing import pack_history
from memory.types import DialogueAnswer, Memory, Said, SessionInfo, Turn
from rag.answer import AnswerEngine
from rag.output import citation_to_json
from rag.retriever import HybridRetriever
from rag.types import Answer, AnswerEvent, Hit

log = logging.getLogger(__name__)

CARRIED_SCORE = 0.5  # of a chunk that the last turn cited, as a Retriever's hit; halved with each turn before
FROM_MEMORY = 12.0  # recall score from which a question about the talk is answered by what was said


class CarriedEvidence:
    """Chunks that the latest turns cited, as a retriever beside the others: a follow-up may mean the same page."""

    def __init__(self, workspace: Any, chunk_ids: Sequence[tuple[str, float]]) -> None:
        self._workspace = workspace
        self._chunk_ids = list(chunk_ids)

    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        hits = []
        for chunk_id, score in self._chunk_ids[:top_k]:
            try:
                hits.append(Hit(self._workspace.chunk(chunk_id), score))
            except NotFoundError:
                continue  # its document was replaced or removed since
        return hits


class Dialogue:
    """All conversations over one workspace: the store, the long-term memory and the engine that they share."""

    def __init__(self, folder: Path, engine: AnswerEngine, settings: MemorySettings | None = None) -> None:
        """`folder`: `Workspace.path`. Raises StoreError if the store of conversations is damaged."""
        self.engine = engine
        self.settings = settings or MemorySettings()
        self.store = DialogueStore(folder)
        self.memory = LongTermMemory(self.store, engine.embedder, self.settings)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._worker: threading.Thread | None = None
        self._lock = threading.Lock()

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
        """Let the background embed what is new; nobody waits for it."""
        if self.engine.embedder is None or self._closing.is_set():
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
            except LecternError as error:
                if not self._closing.is_set():
                    log.warning("%s", error)
            except Exception:
                log.exception("embedding memories")

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        if self._worker is not None:
            self._worker.join(timeout=10)
        self.memory.close()
        self.store.close()

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Conversation:
    """One session. Several handles on it, in several processes, see each other's turns."""

    def __init__(self, dialogue: Dialogue, info: SessionInfo) -> None:
        self._dialogue = dialogue
        self.session_id = info.session_id
        self.code = info.code

    @property
    def info(self) -> SessionInfo:
        """As it is now. Raises NotFoundError once it has been deleted."""
        return self._dialogue.store.session(self.session_id)

    def turns(self, *, after: int = 0, last: int | None = None) -> list[Turn]:
        """In order; `after` a turn's number: what is new since, whoever asked it."""
        return self._dialogue.store.turns(self.session_id, after=after, last=last)

    def understand(self, question: str) -> Understood:
        """How `ask` would understand a question now, without asking it."""
        return self._understand(question, self.turns(last=READ_TURNS))

    def ask(self, question: str, *, understood: str | None = None) -> Iterator[AnswerEvent]:
        """Answer a question in the light of the turns before it; the last event holds a DialogueAnswer, stored.

        `understood`: the self-contained question as the user has corrected it. If the stream is closed early, what was
        said so far is stored as an interrupted turn. Raises NotFoundError if the session has been deleted.
        """
        started = time.perf_counter()
        info, recent = self.info, self.turns(last=READ_TURNS)
        if not question.strip():
            yield from self._dialogue.engine.stream(question)  # says that it is empty; nothing to keep
            return
        fact = stated_fact(question)
        if understood is not None and understood.strip():
            query = Understood(question, understood.strip(), "alone")
        elif fact is not None and (what := meant(fact)) and recent:
            query = Understood(question, _narrowed(recent[-1].understood, what), "fragment", (recent[-1].understood,))
            yield from self._answer(query, recent, info, fact, started)
            return
        else:
            query = self._understand(question, recent)
        if fact is not None:
            yield from self._finish_short(query, "Noted. I will keep it in mind.", info, fact, (), started)
            return
        if info.remember and asks_about_conversation(question):
            recalled = tuple(self._dialogue.memory.recall(question))
            if told := self._told(question, recalled):
                yield from self._finish_short(query, told, info, None, recalled, started)
                return
        yield from self._answer(query, recent, info, None, started)

    def rename(self, title: str) -> None:
        self._dialogue.store.rename(self.session_id, title)

    def remember(self, on: bool) -> None:
        """Switch long-term memory on or off for this session."""
        self._dialogue.store.set_remember(self.session_id, on)

    def delete(self) -> None:
        self._dialogue.delete(self.session_id)

    # -- one turn --------------------------------------------------------------------------------------------------

    def _understand(self, question: str, recent: Sequence[Turn]) -> Understood:
        turns = [  # the passages that a refusal shows are not what the talk is about
            (turn.understood, "" if turn.details.get("refused") else turn.answer)
            for turn in recent
            if not turn.details.get("noted")
        ]
        topics = [title for turn in recent[-2:] for title in turn.details.get("topics", ())]
        found = understand(question, turns, topics=topics, generator=self._dialogue.engine.generator)
        for said in self._dialogue.store.facts(session_id=self.session_id, limit=20):
            what = meant(said.text)
            if what and (query := _narrowed(found.query, what, only_if_named=True)) != found.query:
                return replace(found, query=query, because=(*found.because, said.text))
        return found

    def _answer(
        self, query: Understood, recent: Sequence[Turn], info: SessionInfo, fact: Said | None, started: float
    ) -> Iterator[AnswerEvent]:
        dialogue = self._dialogue
        engine = self._engine(recent)
        recalled: tuple[Memory, ...] = ()
        if info.remember and engine.generator is not None:  # an extractive answer quotes documents alone
            shown = {turn.turn_id for turn in recent}
            recalled = tuple(m for m in dialogue.memory.recall(query.query) if m.turn_id not in shown or m.pinned)
        history = pack_history(recent, recalled, max_tokens=dialogue.settings.history_tokens)
        text = ""
        finished: Answer | None = None
        try:
            for event in engine.stream(query.query, history=history):
                if event.answer is not None:
                    finished = event.answer
                    break
                text += event.text
                yield event
        finally:
            if finished is None and text:  # interrupted: what was heard is part of the talk
                details = {"interrupted": True, "kind": query.kind}
                self._store(query, text, details, info, fact)
        assert finished is not None, "stream() ended without an answer"
        details = _details(finished, query)
        turn = self._store(query, finished.text, details, info, fact)
        finished.timings_ms["total"] = round((time.perf_counter() - started) * 1e3, 2)
        yield AnswerEvent(answer=_dialogue_answer(finished, query, turn, recalled))

    def _finish_short(
        self, query: Understood, text: str, info: SessionInfo, fact: Said | None, recalled: tuple[Memory, ...],
        started: float,
    ) -> Iterator[AnswerEvent]:  # fmt: skip
        """An answer that needs no documents: a statement noted, or something that was said."""
        yield AnswerEvent(text=text)
        plain = replace(query, query=query.question, kind="alone")
        details = {"noted": True, "kind": plain.kind, "recalled": [memory.memory_id for memory in recalled]}
        turn = self._store(plain, text, details, info, fact)
        milliseconds = round((time.perf_counter() - started) * 1e3, 2)
        timings = {"first_text": milliseconds, "total": milliseconds}
        answer = Answer(query.question, text, False, (), (), "memory", confidence=1.0, timings_ms=timings)
        yield AnswerEvent(answer=_dialogue_answer(answer, plain, turn, recalled))

    def _store(
        self, query: Understood, text: str, details: dict[str, Any], info: SessionInfo, fact: Said | None
    ) -> Turn | None:
        said: list[Said] = []
        if info.remember:
            said = [Said(query.question, "user"), *([fact] if fact else []), Said(text, "assistant")]
        try:
            turn = self._dialogue.store.append(
                self.session_id, query.question, query.query, text, details, said=[s for s in said if s.text.strip()]
            )
        except (StoreError, NotFoundError) as error:
            log.error("a turn was answered but not stored: %s", error)  # the answer is still worth showing
            return None
        self._dialogue.remember_soon()
        return turn

    def _engine(self, recent: Sequence[Turn]) -> AnswerEngine:
        """The shared engine, with the latest turns' evidence among its candidates."""
        engine = self._dialogue.engine
        carried: dict[str, float] = {}
        score = CARRIED_SCORE
        for turn in reversed(recent[-3:]):
            for chunk_id in turn.details.get("evidence", ()):
                carried.setdefault(chunk_id, score)
            score /= 2
        chosen = list(carried.items())[: self._dialogue.settings.carried]
        if not chosen or not isinstance(engine.retriever, HybridRetriever):
            return engine
        retriever = copy.copy(engine.retriever)  # shares index and caches
        retriever.extra = (*retriever.extra, CarriedEvidence(retriever.workspace, chosen))
        engine = copy.copy(engine)
        engine.retriever = retriever
        return engine

    def _told(self, question: str, recalled: Sequence[Memory]) -> str:
        """What the user said that answers a question about the talk; empty if nothing recalled bears on it."""
        own = [m for m in recalled if m.speaker == "user" and not m.text.rstrip().endswith("?")]
        holding = [m for m in own if m.kind == "fact" and not m.superseded_at]
        best = next((m for m in (*holding, *own) if m.score >= FROM_MEMORY), None)
        if best is None:
            return ""
        return f"You said on {_day(best.said_at)}: “{best.text.strip()}”"


def _narrowed(query: str, what: str, *, only_if_named: bool = False) -> str:
    """The query about `what` ("2022 lease"): put in for its last word, else added at the end."""
    if what.lower() in query.lower():
        return query
    head = what.split()[-1].strip(".,!?")
    named = re.search(rf"\b{re.escape(head)}\b", query, re.I)
    if named is not None:
        before = query[: named.start()].rstrip()
        if only_if_named and re.search(r"(?:\d|[A-Z]\w+)$", before):
            return query  # the question names its own: "the 2019 lease"
        return query[: named.start()] + what + query[named.end() :]
    return query if only_if_named else f"{query.rstrip(' ?.!')} ({what})?"


def _details(answer: Answer, query: Understood) -> dict[str, Any]:
    """What of an answer outlives it: citations, the chunks they stand in, and the titles of these."""
    evidence: dict[str, None] = {}
    topics: dict[str, None] = {}
    for citation in answer.citations:
        for hit in answer.hits:
            chunk = hit.chunk
            inside = chunk.document == citation.document and chunk.page == citation.page
            if inside and chunk.start < citation.end and citation.start < chunk.end:
                evidence[chunk.chunk_id] = None
                if chunk.context:
                    topics[chunk.context.split(" > ")[0][:80]] = None
                break
    return {
        "citations": [citation_to_json(citation) for citation in answer.citations],
        "evidence": list(evidence),
        "topics": list(topics)[:1],
        "refused": answer.refused,
        "model": answer.model,
        "kind": query.kind,
        "because": list(query.because),
    }


def _dialogue_answer(
    answer: Answer, query: Understood, turn: Turn | None, recalled: tuple[Memory, ...]
) -> DialogueAnswer:
    values = {**vars(answer), "question": query.question}
    return DialogueAnswer(**values, understood=query.query, turn=turn, recalled=recalled)


def _day(said_at: str) -> str:
    return said_at[:10]
