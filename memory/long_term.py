"""Long-term memory: every turn verbatim and every stated fact, recalled by words, meaning, speaker and recency.

    memory = LongTermMemory(store, embedder, settings.memory)
    memory.recall("Which lease did I mean?", top_k=5)

Nothing is written here but vectors: the store has the words with the turn, in the same transaction, and `catch_up`
embeds what is new, whenever that is. Without an embedder, or while Chroma fails, words alone recall.

The score of a memory adds up evidence, as rag/fusion.py does: BM25, cosine of the mean of two vectors (the words alone,
and after the words before them, for "yes, in March" means nothing alone), a share of its neighbours' scores (an answer
stands next to its question), and small amounts for the speaker who is asked about, an expression of time when a time is
asked for, length, and age. The amounts are round numbers, chosen by hand on LoCoMo (benchmarks/memory.py), not fitted.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from core.errors import MissingDependencyError, StoreError
from core.settings import MemorySettings
from ingest.tokens import index_terms, query_terms
from memory.dialogue_store import DialogueStore
from memory.types import Memory
from memory.vectors import ChromaVectors

if TYPE_CHECKING:
    from ingest.embedders import Embedder

log = logging.getLogger(__name__)

COSINE = 15.0  # points of BM25 that a cosine of 1 is worth
BEFORE, AFTER = 0.3, 0.15  # share of the neighbours' scores
SPEAKER = 2.0  # said by the one who is asked about
TIME = 2.0  # names a time where one is asked for
QUESTION = -2.0  # nothing but a question
LENGTH = 2.0  # at LONG words or more
LONG = 40
FACT = 3.0  # a fact that holds
SUPERSEDED = -3.0  # one that does not any more
RECENCY = 0.5  # at age 0, halved every HALF_LIFE_DAYS
HALF_LIFE_DAYS = 30.0
CANDIDATES = 60  # from words and from vectors each
CENTRES = 40  # candidates whose neighbours are looked at, too
BATCH = 16  # memories embedded together
NOW = 16  # at most so many are embedded while somebody waits for a recall
PATIENCE_S = 1.0  # how long a recall waits for the background: what is embedded already is searched without it

_ASKS_TIME = re.compile(
    r"^\W*(?:when|how long|since when|(?:on |in )?(?:what|which) (?:date|day|month|year|time))\b", re.I
)
_TIME = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|weeks?|weekend|months?|years?|days?|recently|since"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october"
    r"|november|december|\d{4})\b",
    re.I,
)
_FIRST_PERSON = re.compile(r"\b(?:i|me|my|mine|i'm|i've)\b", re.I)
_SECOND_PERSON = re.compile(r"\b(?:you|your)\b", re.I)


class LongTermMemory:
    """Recall over the memories of one workspace. Safe between threads."""

    def __init__(
        self, store: DialogueStore, embedder: Embedder | None = None, settings: MemorySettings | None = None
    ) -> None:
        """Nothing is loaded before the first recall. `embedder` None: words only."""
        self.store = store
        self.embedder = embedder
        self.settings = settings or MemorySettings()
        self._vectors: ChromaVectors | None = None
        self._lock = threading.RLock()
        self._checked = False
        self._failed_at = -math.inf

    # -- writing ---------------------------------------------------------------------------------------------------

    def catch_up(self, *, limit: int | None = None, batch: int = BATCH) -> int:
        """Embed memories that have no vector yet; how many were. Without `limit` deleted ones are erased first.

        Raises StoreError.
        """
        if self.embedder is None:
            return 0
        with self._lock:
            vectors = self._checked_vectors()
            if limit is None:
                self.erase()
            done = 0
            while (limit is None or done < limit) and (waiting := self.store.to_embed(batch)):
                vectors.put([memory.memory_id for memory in waiting], self._embed(waiting))
                self.store.embedded(waiting)
                done += len(waiting)
            return done

    def erase(self) -> None:
        """Take deleted memories' vectors out of the index and, where that is here, off the disk. Raises StoreError.

        Needs no embedder. Until then recall passes them over: the store no longer has their words. Chroma only marks
        what is deleted: after a conversation or a memory was, the index is written anew, 0.15 ms a vector that stays.
        """
        with self._lock:
            traces, gone = self.store.traces(), self.store.forgotten()
            if traces and not self.settings.chroma_url:
                self._index().rewrite(self.store.embedded_ids())
            elif gone:
                self._index().remove(gone)
            self.store.removed(gone)
            self.store.erased(traces)

    def rebuild(self) -> int:
        """Make the vector index again from the verbatim words; how many were embedded."""
        with self._lock:
            self._index().reset()
            self.store.embed_again()
            self._checked = False
            return self.catch_up()

    def _embed(self, batch: Sequence[Memory]) -> np.ndarray:
        assert self.embedder is not None
        known = {memory.memory_id: memory for memory in batch}
        missing = [m.previous for m in batch if m.previous and m.previous not in known]
        known.update({memory.memory_id: memory for memory in self.store.memories_by_id(missing)})
        alone = [_line(memory) for memory in batch]
        texts = list(alone)
        for memory, line in zip(batch, alone, strict=True):
            before = known.get(memory.previous)
            texts.append(f"{_line(before)}\n{line}" if before is not None else line)
        vectors = self.embedder.embed_passages(texts)
        return (vectors[: len(batch)] + vectors[len(batch) :]) / 2

    def _index(self) -> ChromaVectors:
        if self._vectors is None:
            name = self.store.meta("collection")
            if not name:
                import secrets

                name = f"lectern-{secrets.token_hex(8)}"
                self.store.set_meta("collection", name)
            self._vectors = ChromaVectors(self.store.path.parent, name, url=self.settings.chroma_url)
        return self._vectors

    def _checked_vectors(self) -> ChromaVectors:
        """The vector index, rebuilt if it is damaged, gone, or made elsewhere or with another embedder."""
        assert self.embedder is not None
        vectors = self._index()
        if self._checked:
            return vectors
        made_with = f"{self.embedder.name} @ {self.settings.chroma_url or 'local'}"
        try:
            count: int | None = vectors.count()
        except StoreError as error:
            if self.settings.chroma_url:
                raise  # a server that does not answer is not damaged
            log.warning("%s; building it again", error)
            count = None
        known = self.store.embedded_count()
        if count is None or self.store.meta("vectors") != made_with or count < known:
            vectors.reset()
            self.store.embed_again()
            self.store.set_meta("vectors", made_with)
        self._checked = True
        return vectors

    def close(self) -> None:
        with self._lock:
            if self._vectors is not None:
                self._vectors.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def recall(
        self, question: str, *, top_k: int | None = None, session_id: str = "", now: datetime | None = None
    ) -> list[Memory]:
        """The memories that bear on a question, best first, pinned ones in front; `session_id` restricts to one.

        At most `top_k` besides the pinned. Never fails for want of vectors: then words alone decide.
        """
        top_k = self.settings.recalled if top_k is None else top_k
        if top_k < 1 or not question.strip():
            return []
        speaker, terms = self._asked_about(question)
        by_words = dict(self.store.memory_words(terms, CANDIDATES))
        vector, by_meaning, vectors = self._by_meaning(question)

        def core(memory_id: int) -> float:
            return by_words.get(memory_id, 0.0) + COSINE * by_meaning.get(memory_id, 0.0)

        # The best of both lists in turn. Neighbours only of the first of them: they cost the most.
        lists = zip_longest(by_words, list(by_meaning))
        direct = list(dict.fromkeys(i for pair in lists for i in pair if i is not None))
        found = {m.memory_id: m for m in self.store.memories_by_id(direct)}
        centres = [found[i] for i in direct if i in found][:CENTRES]
        around = [m.previous for m in centres if m.previous and m.previous not in found]
        found.update({m.memory_id: m for m in self.store.memories_by_id(around)})
        after = self.store.neighbours([memory.memory_id for memory in centres])
        found.update({m.memory_id: m for m in after if m.memory_id not in found})
        if vector is not None and vectors is not None:
            missing = [i for i in found if i not in by_meaning]
            try:
                by_meaning.update({i: float(row @ vector) for i, row in vectors.get(missing).items()})
            except StoreError as error:
                log.warning("%s", error)
        if session_id:
            found = {i: m for i, m in found.items() if m.session_id == session_id}
        following = {m.previous: i for i, m in found.items() if m.previous and m.kind == "turn"}
        asks_time = bool(_ASKS_TIME.search(question))
        today = now or datetime.now(UTC)
        scores: dict[int, float] = {}
        for i, memory in found.items():
            scores[i] = core(i) + _own_merit(memory, speaker, asks_time) + _recency(memory.said_at, today)
            if memory.kind == "turn":
                scores[i] += BEFORE * core(memory.previous) + AFTER * core(following.get(i, 0))
        pinned = [m for m in self.store.memories(pinned=True) if not session_id or m.session_id == session_id]
        first = {memory.memory_id: memory for memory in pinned}
        best = sorted((i for i in found if i not in first), key=lambda i: (-scores[i], -i))[:top_k]
        chosen = [*first.values(), *(found[i] for i in best)]
        return [replace(memory, score=round(scores.get(memory.memory_id, 0.0), 3)) for memory in chosen]

    def _by_meaning(self, question: str) -> tuple[np.ndarray | None, dict[int, float], ChromaVectors | None]:
        if self.embedder is None:
            return None, {}, None
        try:
            if self._lock.acquire(timeout=PATIENCE_S):
                try:
                    self.catch_up(limit=NOW)  # a long backlog is left to the background
                finally:
                    self._lock.release()
            elif not self._checked:
                return None, {}, None
            vectors = self._checked_vectors()
            vector = self.embedder.embed_query(question)
            return vector, dict(vectors.nearest(vector, CANDIDATES)), vectors
        except (StoreError, MissingDependencyError) as error:
            log.warning("%s; recalling by words alone", error)
            return None, {}, None

    def _asked_about(self, question: str) -> tuple[str, list[str]]:
        """The one speaker that a question is about ("" if none or several), and the terms besides names."""
        terms = query_terms(question)
        words = set(index_terms(question))
        named = []
        for name in self.store.speakers():
            own = set(index_terms(name))
            if name not in ("user", "assistant") and own and own <= words:
                named.append(name)
                terms = [term for term in terms if term not in own] or terms
        if not named and _FIRST_PERSON.search(question):
            named = ["user"]
        elif not named and _SECOND_PERSON.search(question):
            named = ["assistant"]
        return (named[0] if len(named) == 1 else ""), terms


def _line(memory: Memory) -> str:
    return f"{memory.speaker}: {memory.text}"


def _own_merit(memory: Memory, speaker: str, asks_time: bool) -> float:
    text = memory.text.strip()
    merit = LENGTH * min(len(text.split()), LONG) / LONG
    if speaker and memory.speaker == speaker:
        merit += SPEAKER
    if asks_time and _TIME.search(text):
        merit += TIME
    if text.endswith("?") and text.count(".") + text.count("!") <= 1:
        merit += QUESTION
    if memory.kind == "fact":
        merit += SUPERSEDED if memory.superseded_at else FACT
    return merit


def _recency(said_at: str, now: datetime) -> float:
    try:
        said = datetime.fromisoformat(said_at)
    except ValueError:
        return 0.0
    if said.tzinfo is None:
        said = said.replace(tzinfo=UTC)
    days = max(0.0, (now - said).total_seconds() / 86_400)
    return RECENCY * 0.5 ** (days / HALF_LIFE_DAYS)
