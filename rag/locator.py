"""Fine location by the trained reader: the exact words, and whether they are there at all.

    locator = load_locator(Path("models/locator"), workspace=workspace, settings=settings)
    reading = locator.read("When does the lease end?", hits)      # or locator.locate(...) for the hits alone
    reading.hits[0].spans[0].text, reading.no_answer

All windows of a question are read at once. Start, end, sentence relevance and "no answer" are normalised over the whole
read, with the coarse score as a prior on each window, and a logistic model fitted on held-out articles turns the three
into the probability that a span's sentence answers. Nothing heavy is loaded before the first question; the files are
checked at once, so that a damaged model is reported where another locator can still take over.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import ModelError
from core.settings import LocatorSettings, Settings
from ingest.types import Chunk
from rag.doubts import doubts
from rag.locator_card import LocatorCard
from rag.locator_network import Network
from rag.locator_scores import Candidate, Scores, candidate_spans
from rag.query import understand
from rag.table_rows import rows_asked_for
from rag.types import Hit, Locator, Span

log = logging.getLogger(__name__)
_CANDIDATES = 40  # spans taken from a read before they are grouped by sentence
_GROUP = 16  # windows a step of a deep read: what progress and cancelling wait for
_FINALISTS = 8  # windows that a deep read reads again, together
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class ChunkSource(Protocol):
    """What of a workspace a deep read needs."""

    def document_chunks(self, document: str) -> list[Chunk]: ...


class EntrySource(Protocol):
    """A memory's store (rag/document_memory.py)."""

    def around(self, question: str, chunks: Sequence[Chunk]) -> list[np.ndarray]:
        """Entries (m, E) float32 for the windows of each chunk."""
        ...


@dataclass(frozen=True)
class Reading:
    """What a read found. `hits` in the order of their best spans."""

    hits: list[Hit]
    no_answer: float  # 0..1, calibrated: none of the windows holds an answer


def load_locator(
    folder: Path,
    *,
    workspace: Any = None,
    settings: Settings | None = None,
    entries: EntrySource | None = None,
    embedder: Any = None,
) -> TrainedLocator:
    """The locator in `folder`, its files checked, its network loaded at the first question. Raises ModelError.

    With a `workspace` (ingest.workspace.Workspace) it can read deep, it knows what stands around the windows (`entries`
    or, as the settings say, the workspace's own memory), and the sentence locator takes questions about figures in
    tables, which it knows. `embedder`: the search's, so that a question is embedded once.
    """
    settings = settings or Settings()
    card = LocatorCard.load(folder)
    if settings.embedder.model != card.trunk:
        # Correct all the same: then the trunk's embeddings are loaded for the locator alone, 23 MB more.
        log.info("the trained locator reads with %s, the search with %s", card.trunk, settings.embedder.model)
    sentences: Locator | None = None
    if workspace is not None and hasattr(workspace, "page"):
        from rag.document_memory import DocumentMemory
        from rag.engine import LazyEmbedder
        from rag.sentence_locator import SentenceLocator

        embedder = embedder or LazyEmbedder(settings)
        sentences = SentenceLocator(embedder, workspace, settings.locator)
        if entries is None and settings.locator.memory_entries and settings.embedder.model == card.trunk:
            entries = DocumentMemory(workspace, embedder, nearest=settings.locator.memory_entries)
    return TrainedLocator(folder, card, workspace=workspace, settings=settings, entries=entries, sentences=sentences)


def whole_sentences(hits: Sequence[Hit], page_text: Callable[[str, int], str]) -> list[Hit]:
    """The hits with each span widened to its sentence: what is quoted. `page_text(document, page)` -> text.

    Boxes of widened spans are left empty, to be looked up again.
    """

    def widen(span: Span) -> Span:
        if span.sentence is None or span.sentence == (span.start, span.end):
            return span
        start, end = span.sentence
        text = page_text(span.document, span.page)[start:end]
        return replace(span, start=start, end=end, text=text, boxes=())

    return [replace(hit, spans=tuple(widen(span) for span in hit.spans)) if hit.spans else hit for hit in hits]


class TrainedLocator:
    """Locator protocol of rag/types.py. Thread-safe."""

    name = "trained"

    def __init__(
        self, folder: Path, card: LocatorCard, *, workspace: ChunkSource | None = None,
        settings: Settings | None = None, entries: EntrySource | None = None, sentences: Locator | None = None,
    ) -> None:  # fmt: skip
        """`sentences`: locates what the reader was not trained for: figures in tables, text that is not alphabetic.

        The answer engine also asks it before refusing: not every question is answered by a few words.
        """
        self.folder, self.card, self.workspace, self.entries = folder, card, workspace, entries
        self.sentences = sentences
        self._settings = settings or Settings()
        self.settings: LocatorSettings = self._settings.locator
        self._lock = threading.Lock()
        self._network: Network | None = None

    @property
    def refuse_above(self) -> float:
        """The probability of no answer above which there is none, as far as this reader can tell."""
        return self.card.refuse_above

    @property
    def network(self) -> Network:
        """The reader itself, loaded at first use."""
        with self._lock:
            if self._network is None:
                self._network = Network(self.folder, self.card, self._settings)
            return self._network

    def locate(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """The hits with their spans, hits in the order of their best spans; those beyond `top_windows` are not read."""
        if self.sentences is not None and (understand(question).metric or _CJK.search(question)):
            return self.sentences.locate(question, hits)
        return self.read(question, hits).hits

    def read(self, question: str, hits: Sequence[Hit]) -> Reading:
        """Read the first `top_windows` hits together, save those that the coarse search thinks hopeless."""
        candidates = hits[: self.settings.top_windows]
        least = self.card.skip_below * max((hit.score for hit in candidates), default=0.0)
        worth_it = [hit.score >= least and bool(hit.chunk.text.strip()) for hit in candidates]
        chosen = [hit for hit, reads in zip(candidates, worth_it, strict=True) if reads]
        if not chosen or not question.strip():
            return Reading(list(hits), 1.0)
        scores = self.score(question, chosen)
        located, no_answer = self._interpret(question, chosen, scores)
        passed_over = [hit for hit, reads in zip(candidates, worth_it, strict=True) if not reads]
        return Reading([*located, *passed_over, *hits[self.settings.top_windows :]], no_answer)

    def locate_document(
        self, question: str, document: str, *, on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Hit]:  # fmt: skip
        """Deep mode: read every chunk of a document, in linear time; hits of the best windows, best first.

        Chunks are read a few at a time, the best of them a second time together, which makes their scores comparable.
        `on_progress(done, total)` counts chunks; once `cancel` is set the best of what has been read is returned.
        """
        if self.workspace is None:
            raise ModelError("a deep read needs a workspace", remedy="Give one to load_locator")
        chunks = [chunk for chunk in self.workspace.document_chunks(document) if chunk.text.strip()]
        ranked: list[tuple[float, int]] = []
        for start in range(0, len(chunks), _GROUP):
            if cancel is not None and cancel.is_set():
                break
            scores = self.network.score(question, [chunk.text for chunk in chunks[start : start + _GROUP]], None)
            best: dict[int, float] = {}
            for span in scores.best_spans(_CANDIDATES):
                best.setdefault(scores.passages[span.window], span.logit)
            ranked += [(logit, start + passage) for passage, logit in best.items()]
            if on_progress is not None:
                on_progress(min(start + _GROUP, len(chunks)), len(chunks))
        finalists = [Hit(chunks[i], score=0.0) for _, i in sorted(ranked, reverse=True)[:_FINALISTS]]
        if not finalists:
            return []
        final = self.score(question, finalists)
        return [hit for hit in self._interpret(question, finalists, final)[0] if hit.spans]

    def score(self, question: str, hits: Sequence[Hit]) -> Scores:
        """One read of all hits, with what the memory holds around them."""
        return self.network.score(question, [hit.chunk.text for hit in hits], self._entries(question, hits))

    def _entries(self, question: str, hits: Sequence[Hit]) -> list[np.ndarray] | None:
        """What the memory holds around each hit."""
        if self.entries is None or not self.card.memory or not self.card.architecture.get("entry_features"):
            return None
        return self.entries.around(question, [hit.chunk for hit in hits])

    def _interpret(self, question: str, hits: Sequence[Hit], scores: Scores) -> tuple[list[Hit], float]:
        """Spans with their probabilities, one a sentence, at most top_spans a hit; and that of no answer."""
        priors = self.card.prior * np.array([hit.score for hit in hits])
        candidates, refusal = candidate_spans(scores, priors, _CANDIDATES)
        candidates = _with_rows(question, [hit.chunk.text for hit in hits], candidates)
        probabilities = (
            self.card.span.probabilities(np.array([c.features for c in candidates]))
            if self.card.span and candidates
            else np.array([c.probability for c in candidates])
        )
        if candidates:
            texts = [hits[c.passage].chunk.text for c in candidates]
            against = doubts(question, texts, [c.sentence for c in candidates])
            odds = probabilities / np.maximum(1 - probabilities, 1e-9) * np.exp(-against)
            probabilities = odds / (1 + odds)
        no_answer = float(
            self.card.refusal.probabilities(np.array([refusal]))[0]
            if self.card.refusal
            else 1 / (1 + math.exp(-refusal[0]))
        )
        spans: dict[int, list[Span]] = {}
        places: set[tuple[str, int, int]] = set()
        for i in np.argsort(-probabilities, kind="stable"):
            candidate = candidates[i]
            chunk = hits[candidate.passage].chunk
            start, end = chunk.start + candidate.start, chunk.start + candidate.end
            sentence = (chunk.start + candidate.sentence[0], chunk.start + candidate.sentence[1])
            place = (chunk.document_id, chunk.page, sentence[0])
            kept = spans.setdefault(candidate.passage, [])
            if place in places or len(kept) >= self.settings.top_spans:
                continue  # the same sentence in an overlapping chunk, or a worse span of one we have
            places.add(place)
            text = chunk.text[candidate.start : candidate.end]
            kept.append(
                Span(
                    chunk.document, chunk.document_id, chunk.page, start, end, text,
                    float(probabilities[i]), chunk.chunk_id, sentence=sentence,
                )
            )  # fmt: skip
        located = [replace(hit, spans=tuple(spans.get(i, ())), no_answer=no_answer) for i, hit in enumerate(hits)]
        located.sort(key=lambda hit: -(hit.spans[0].score if hit.spans else 0.0))
        return located, no_answer


def _with_rows(question: str, texts: Sequence[str], candidates: list[Candidate]) -> list[Candidate]:
    """Rows whose label the question spells out count as likely as the best: the reader knows no tables."""
    if not candidates or not any("|" in text for text in texts):
        return candidates
    rows = {(i, place) for i, text in enumerate(texts) if "|" in text for place in rows_asked_for(question, text)}
    best, known = candidates[0], {(c.passage, c.sentence) for c in candidates}
    raised = [
        replace(c, features=best.features, probability=best.probability) if (c.passage, c.sentence) in rows else c
        for c in candidates
    ]
    return raised + [
        replace(best, passage=i, start=place[0], end=place[1], sentence=place) for i, place in sorted(rows - known)
    ]
