"""Question in, cited answer out, as a stream: retrieve, locate, judge the support, then quote or let a model write.

    for event in engine.stream("When does the lease end?"):
        print(event.text, end="")               # pieces, as early as they are known
    event.answer.citations                      # the last event holds the finished answer

The texts of all events joined are the answer's text. Nothing here raises for what a user types: an empty question, an
empty workspace and a model that is out of reach all end in an answer that says so.
"""

from __future__ import annotations

import inspect
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from core.errors import ModelError
from core.settings import AnswerSettings, LocatorSettings
from ingest.types import Box, Page
from rag.abbreviations import spelt_out
from rag.answer_cache import AnswerCache, as_given
from rag.asked_for import asked_for
from rag.calibration import Calibration, calibration
from rag.citations import CitationWriter, is_refusal
from rag.editions import edition_asked_for, together
from rag.extractive import answer_lines, choose_spans, refusal_lines, spoken_line
from rag.lists import asks_for_several, whole_list
from rag.locator import whole_sentences
from rag.page_tables import Table, tables_of
from rag.primary_statements import own_statements_first
from rag.prompts import SYSTEM, build_prompt
from rag.query import understand
from rag.recent import Recent
from rag.sentence_edges import mended
from rag.support import support_features
from rag.table_spans import in_rows
from rag.two_readings import blend, needs_both
from rag.types import Answer, AnswerEvent, Citation, Hit, Locator, Retriever, Span, TextGenerator
from rag.unanswered import unanswered
from rag.yes_no import neither_likely

if TYPE_CHECKING:
    from ingest.embedders import Embedder

log = logging.getLogger(__name__)

MAX_QUESTION = 4000  # characters that are searched for; nobody asks more, pasted documents do
NAMED = 2  # a passage that names the thing asked for may be so much likelier to be wrong than one that need not
EMPTY_QUESTION = "The question is empty: type or say what you would like to know."
NO_DOCUMENTS = "There are no documents in this workspace yet. Add some, then ask again."
NO_MATCH = "I could not find anything like this in the documents."


class AnswerStore(Protocol):
    """What of a workspace is needed here."""

    def page(self, document: str, number: int) -> Page: ...
    def boxes(self, document: str, page: int, start: int, end: int) -> list[Box]: ...
    def document_frequency(self, terms: Sequence[str]) -> dict[str, int]: ...
    def chunk_count(self) -> int: ...


@dataclass
class _Draft:
    """What is known of an answer while it is written."""

    question: str
    started: float
    asked: str = ""  # the question as the passages are asked it (rag/editions.py)
    searched: str = ""  # the same in the words of documents, where these are others
    hits: list[Hit] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    confidence: float = 0.0
    threshold: float = 0.0  # below it the answer is refused
    text: str = ""
    citations: list[Citation] = field(default_factory=list)

    def event(self, text: str, citation: Citation | None = None) -> AnswerEvent:
        """Record a piece of text and the citation that its marker points to."""
        if text and "first_text" not in self.timings_ms:
            self.timings_ms["first_text"] = _ms(self.started)
        self.text += text
        if citation is not None:
            self.citations.append(citation)
        return AnswerEvent(text=text, citation=citation)

    def finish(self, model: str, *, refused: bool, notice: str = "") -> AnswerEvent:
        self.timings_ms.setdefault("first_text", _ms(self.started))
        self.timings_ms["total"] = _ms(self.started)
        answer = Answer(
            self.question, self.text, refused, tuple(self.citations), tuple(self.hits), model,
            confidence=self.confidence, timings_ms=self.timings_ms, notice=notice,
        )  # fmt: skip
        return AnswerEvent(answer=answer)


def given_again(answer: Answer, started: float) -> Iterator[AnswerEvent]:
    """The events of a kept answer: its text cut after each citation's marker, then the answer itself."""
    waiting = {citation.n: citation for citation in answer.citations}
    position = 0
    for marker in re.finditer(r"\[(\d+)\]", answer.text):
        if (citation := waiting.pop(int(marker.group(1)), None)) is not None:
            yield AnswerEvent(text=answer.text[position : marker.end()], citation=citation)
            position = marker.end()
    if position < len(answer.text):
        yield AnswerEvent(text=answer.text[position:])
    yield AnswerEvent(answer=as_given(answer, _ms(started)))


class AnswerEngine:
    """Answers questions over one workspace. Safe to share between threads if its parts are."""

    def __init__(
        self, retriever: Retriever, locator: Locator, *, workspace: AnswerStore, generator: TextGenerator | None = None,
        settings: AnswerSettings | None = None, locator_settings: LocatorSettings | None = None,
        weights: Calibration | None = None, embedder: Embedder | None = None, cache: AnswerCache | None = None,
    ) -> None:  # fmt: skip
        """`generator` None: extractive answers. `weights` None: the calibration that is shipped. `cache` None: none.

        `embedder` sharpens the confidence; it should remember what the locator has read (rag/engine.py).
        """
        self.embedder = embedder
        self.retriever = retriever
        self.locator = locator
        self.workspace = workspace
        self.generator = generator
        self.settings = settings or AnswerSettings()
        self.locator_settings = locator_settings or LocatorSettings()
        self.weights = weights or calibration()
        self.cache = cache
        self._searches_documents = "documents" in inspect.signature(retriever.search).parameters
        self._tables_of: Recent[tuple[str, list[Table]]] = Recent(256)
        self.on_answer: Callable[[Answer], None] | None = None  # told every finished answer: who counts them

    def search(self, question: str, top_k: int = 10) -> tuple[list[Hit], dict[str, float]]:
        """Coarse and fine retrieval: hits whose spans carry boxes, and timings_ms (embed, coarse, fine, total)."""
        hits, timings, _ = self._search(question, top_k)
        return hits, timings

    def _search(self, question: str, top_k: int = 10) -> tuple[list[Hit], dict[str, float], str]:
        """`search`, and the question as the hits were asked it."""
        started = time.perf_counter()
        query = _searchable(question)
        if not query or not self.workspace.chunk_count():
            return [], {"embed": 0.0, "coarse": 0.0, "fine": 0.0, "total": _ms(started)}, question
        count = max(top_k, self.locator_settings.top_windows)
        hits = self.retriever.search(query, count)
        if (edition := edition_asked_for(query, hits)) is not None:
            query, hits, question = edition.question, edition.hits, edition.question
            if self._searches_documents:  # the year found the edition; in it, other words count
                inside = self.retriever.search(query, count, documents=sorted(edition.documents))  # type: ignore[call-arg]
                beside = [hit for hit in hits if hit.chunk.document_id not in edition.documents]
                hits = together(inside, beside, count)
        coarse = _ms(started)
        parts = getattr(self.retriever, "timings_ms", {})
        fine_started = time.perf_counter()
        hits = [self.boxed(hit) for hit in self.locator.locate(query, hits)[:top_k]]
        timings = {
            "embed": parts.get("embed", 0.0),
            "coarse": parts.get("coarse", coarse - parts.get("embed", 0.0)),
            "fine": _ms(fine_started),
            "total": _ms(started),
        }
        return hits, timings, question

    def answer(self, question: str, *, history: Sequence[tuple[str, str]] = ()) -> Answer:
        """The finished answer. `history`: earlier (role, text) turns, read by chat models only."""
        for event in self.stream(question, history=history):
            if event.answer is not None:
                return event.answer
        raise AssertionError("stream() ended without an answer")

    def stream(self, question: str, *, history: Sequence[tuple[str, str]] = ()) -> Iterator[AnswerEvent]:
        """Pieces of text with their citations, then exactly one event that holds the finished answer."""
        started = time.perf_counter()
        cache = self.cache if self.settings.temperature == 0 else None
        asked_in = repr(list(history)) if self.generator is not None else ""
        place = cache.place(question, asked_in) if cache is not None else None
        kept = cache.get(place) if cache is not None and place is not None else None
        for event in self._answer(question, history) if kept is None else given_again(kept, started):
            if (answer := event.answer) is not None:
                if cache is not None and place is not None and kept is None and answer.hits and not answer.notice:
                    cache.put(place, answer)
                if self.on_answer is not None:
                    self.on_answer(answer)
            yield event

    def _answer(self, question: str, history: Sequence[tuple[str, str]]) -> Iterator[AnswerEvent]:
        draft = _Draft(question, time.perf_counter())
        blocked = EMPTY_QUESTION if not question.strip() else NO_DOCUMENTS if not self.workspace.chunk_count() else ""
        if not blocked:
            hits, draft.timings_ms, draft.asked = self._search(question)
            draft.hits, draft.searched = self._quotable(draft.asked, hits), draft.asked
            self._ask_otherwise(draft)
            blocked = "" if draft.hits else NO_MATCH
        if blocked:
            draft.timings_ms = {"embed": 0.0, "coarse": 0.0, "fine": 0.0, **draft.timings_ms}
            yield draft.event(blocked)
            yield draft.finish(self._model_name, refused=True)
            return
        draft.confidence, draft.threshold = self._confidence(draft.searched, draft.hits, self.locator)
        if draft.confidence < draft.threshold or not any(hit.spans for hit in draft.hits):
            self._look_again(draft)
        elif self.generator is None:
            self._read_twice(draft)
        if self.generator is None:
            yield from self._quote(draft)
        else:
            yield from self._write(draft, self.generator, history)

    def _confidence(self, question: str, hits: Sequence[Hit], locator: Locator) -> tuple[float, float]:
        """That the hits, whose spans are `locator`'s, support an answer; and what is refused below."""
        features = support_features(_searchable(question), hits, self.workspace, self.embedder)
        refusal = self.weights.refusal_of(getattr(locator, "name", "sentence"))
        return refusal.model.probability(features), refusal.threshold

    def _ask_otherwise(self, draft: _Draft) -> None:
        """Documents write some things otherwise than people ask for them: the better evidence of both stands."""
        asked = asked_for(draft.asked)
        if not asked.otherwise or asked.written is None:
            return
        found, timings = self.search(asked.otherwise)
        hits = self._quotable(asked.otherwise, found)
        leading = max((hit for hit in hits if hit.spans), key=lambda hit: hit.spans[0].score, default=None)
        if leading is not None and asked.written.search(leading.chunk.text):
            before = max((hit.spans[0].score for hit in draft.hits if hit.spans), default=0.0)
            if 1 - leading.spans[0].score < NAMED * (1 - before):
                draft.hits, draft.searched = hits, asked.otherwise
        for part, spent in timings.items():
            draft.timings_ms[part] = draft.timings_ms.get(part, 0.0) + spent

    def _unmentioned(self, draft: _Draft, spans: Sequence[Span]) -> str:
        """What the question names and neither the pages quoted nor the passages read mention."""
        pages = [f"{span.document}\n{self._page_text(span)}" for span in spans]
        windows = [f"{hit.chunk.context}\n{hit.chunk.text}" for hit in draft.hits]
        return asked_for(draft.asked).unmentioned(pages, windows) if spans else ""

    def _look_again(self, draft: _Draft) -> None:
        """Before refusing, ask for whole sentences: "What did she say about prices?" has no few words for an answer.

        A locator of exact words may carry one of sentences (rag/locator.py); the better supported reading stands.
        """
        sentences: Locator | None = getattr(self.locator, "sentences", None)
        if sentences is None:
            return
        started = time.perf_counter()
        hits = self._by_rows(draft.asked, sentences.locate(_searchable(draft.asked), draft.hits))
        confidence, threshold = self._confidence(draft.asked, hits, sentences)
        if confidence > draft.confidence or not any(hit.spans for hit in draft.hits):
            draft.hits, draft.confidence, draft.threshold = hits, confidence, threshold
        draft.timings_ms["fine"] += _ms(started)

    def _read_twice(self, draft: _Draft) -> None:
        """What a sentence answers rather than a few words: the locator of sentences has its say (two_readings.py)."""
        sentences: Locator | None = getattr(self.locator, "sentences", None)
        if sentences is None or not needs_both(draft.asked):
            return
        started = time.perf_counter()
        located = sentences.locate(_searchable(draft.searched), draft.hits)
        draft.hits = self._by_rows(draft.asked, blend(draft.hits, located))
        draft.timings_ms["fine"] += _ms(started)

    @property
    def _model_name(self) -> str:
        return self.generator.name if self.generator is not None else "extractive"

    def _quote(self, draft: _Draft, *, notice: str = "") -> Iterator[AnswerEvent]:
        """The extractive answer, or the refusal with the nearest passages."""
        spans = choose_spans(draft.asked, draft.hits, self.settings.max_sentences, told=self._told)
        unmentioned = self._unmentioned(draft, spans)
        best = max(spans, key=lambda span: span.score, default=None)
        no_answer = 0.0 if best is not None and best.row else unanswered(draft.searched, draft.hits)
        if silent := no_answer > getattr(self.locator, "refuse_above", 1.0):
            draft.confidence = min(draft.confidence, 1 - no_answer)
        elif neither_likely(draft.searched, draft.hits):
            silent, draft.confidence = True, min(draft.confidence, 0.9 * draft.threshold)
        refused = draft.confidence < draft.threshold or not spans or bool(unmentioned) or silent
        lines: Sequence[tuple[str, Citation | None]]
        lines = (
            refusal_lines(draft.hits, unmentioned=unmentioned)
            if refused
            else answer_lines(
                draft.asked,
                self._with_lists(draft.asked, spans),
                self._page_text,
                lambda span: self._tables(span.document, span.page),
            )
        )
        offset = len(draft.citations)
        for text, citation in lines:
            if citation is not None and offset:  # a model that broke off has used some numbers already
                text = text.replace(f"[{citation.n}]", f"[{citation.n + offset}]")
                citation = replace(citation, n=citation.n + offset)
            yield draft.event(text if not draft.text or draft.text[-1].isspace() else " " + text, citation)
        yield draft.finish("extractive", refused=refused, notice=notice)

    def _write(
        self, draft: _Draft, generator: TextGenerator, history: Sequence[tuple[str, str]]
    ) -> Iterator[AnswerEvent]:
        """Let a chat model write, resolve its citations; fall back to quoting if it fails and settings allow."""
        prompt = build_prompt(draft.question, draft.hits, history=history, max_tokens=self.settings.context_tokens)
        writer = CitationWriter(prompt.passages, boxes=self.workspace.boxes)
        try:
            for piece in generator.generate(SYSTEM, prompt.messages):
                for text, citation in writer.feed(piece):
                    yield draft.event(text, citation)
            for text, citation in writer.finish():
                yield draft.event(text, citation)
            if not draft.text.strip():
                raise ModelError(f"{generator.name} answered nothing", remedy="Try again or set answer.model")
        except ModelError as error:
            if not self.settings.fallback:
                raise
            log.warning("%s; quoting the documents instead", error)
            notice = f"The language model failed ({error.message}). These are sentences of the documents themselves."
            if draft.text.strip():
                yield draft.event(" …\n\n")
            yield from self._quote(draft, notice=notice)
            return
        # A refusal cites nothing that was found; what was shown as nearest is still in `hits`.
        refused = is_refusal(draft.text) and not any(citation.verified for citation in draft.citations)
        yield draft.finish(generator.name, refused=refused)

    def _with_lists(self, question: str, spans: Sequence[Span]) -> list[Span]:
        """Spans that announce a list, or are one of its items where several things are asked for, as the whole list."""
        several = asks_for_several(question)
        found: dict[tuple[str, int, int], Span] = {}
        for span in spans:
            text = self._page_text(span)
            place = (span.start, span.end)
            start, end = place if span.row else whole_list(text, *place, several=several)
            if (start, end) != place:
                boxes = tuple(self.workspace.boxes(span.document, span.page, start, end))
                span = replace(span, start=start, end=end, text=text[start:end], sentence=(start, end), boxes=boxes)
            found.setdefault((span.document_id, span.page, start), span)
        return list(found.values())

    def _told(self, span: Span) -> str:
        """A span in words."""
        return spoken_line(span, self._page_text(span), tables=self._tables(span.document, span.page))

    def _page_text(self, span: Span) -> str:
        return self.workspace.page(span.document, span.page).text

    def _quotable(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """Locators that find exact words name their sentences, too: an answer quotes these, and whole rows."""

        def page_text(document: str, page: int) -> str:
            return self.workspace.page(document, page).text

        return self._by_rows(question, mended(spelt_out(question, hits), page_text))

    def _by_rows(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """Hits whose spans are whole sentences, and whole rows in tables (rag/table_spans.py)."""

        def page_text(document: str, page: int) -> str:
            return self.workspace.page(document, page).text

        rows = own_statements_first(understand(question), in_rows(question, hits, self._tables), page_text)
        found = [_with_text(hit, page_text) for hit in rows]
        return [self.boxed(hit) for hit in whole_sentences(found, page_text)]

    def _tables(self, document: str, page: int) -> Sequence[Table]:
        """The tables of a page, looked for once while its text stays the same."""
        found, key = self.workspace.page(document, page), f"{document}:{page}"
        kept = self._tables_of.get(key)
        if kept is None or kept[0] != found.text:
            kept = (found.text, tables_of(found))
            self._tables_of.put(key, kept)
        return kept[1]

    def boxed(self, hit: Hit) -> Hit:
        """Spans of locators that set no boxes get theirs from the workspace."""
        if all(span.boxes for span in hit.spans):
            return hit
        spans = (
            span if span.boxes else replace(
                span, boxes=tuple(self.workspace.boxes(span.document, span.page, span.start, span.end))
            )
            for span in hit.spans
        )  # fmt: skip
        return replace(hit, spans=tuple(spans))


def _with_text(hit: Hit, page_text: Callable[[str, int], str]) -> Hit:
    """Spans that were moved to other places have their text from there."""
    if all(span.text for span in hit.spans):
        return hit
    spans = (
        span if span.text else replace(span, text=page_text(span.document, span.page)[span.start : span.end])
        for span in hit.spans
    )
    return replace(hit, spans=tuple(spans))


def _searchable(question: str) -> str:
    """The question without control characters, cut at a word if it is absurdly long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in question).split())
    return text if len(text) <= MAX_QUESTION else text[:MAX_QUESTION].rsplit(" ", 1)[0]


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 2)
