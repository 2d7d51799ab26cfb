"""What of an answer outlives it, and how it comes back: chunks cited by earlier turns stay candidates for a while."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from core.errors import NotFoundError
from memory.types import Turn, Understood
from rag.answer import AnswerEngine
from rag.output import citation_to_json
from rag.retriever import HybridRetriever
from rag.types import Answer, Hit

CARRIED_SCORE = 0.5  # of a chunk that the last turn cited, as a Retriever's hit; halved with each turn before
CARRYING_TURNS = 3  # the latest turns whose evidence is carried


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


def with_evidence(engine: AnswerEngine, recent: Sequence[Turn], limit: int) -> AnswerEngine:
    """The engine with up to `limit` chunks that the latest turns cited among its candidates; it is not changed."""
    carried: dict[str, float] = {}
    score = CARRIED_SCORE
    for turn in reversed(recent[-CARRYING_TURNS:]):
        for chunk_id in turn.details.get("evidence", ()):
            carried.setdefault(chunk_id, score)
        score /= 2
    chosen = list(carried.items())[:limit]
    if not chosen or not isinstance(engine.retriever, HybridRetriever):
        return engine
    retriever = copy.copy(engine.retriever)  # shares index and caches
    retriever.extra = (*retriever.extra, CarriedEvidence(retriever.workspace, chosen))
    engine = copy.copy(engine)
    engine.retriever, engine.cache = retriever, None  # what it finds now depends on what was said
    return engine


def details(answer: Answer, query: Understood) -> dict[str, Any]:
    """What is kept of an answer besides its text: citations, the chunks they stand in, and the titles of these."""
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
        "notice": answer.notice,
        "model": answer.model,
        "total_ms": round(answer.timings_ms.get("total", 0.0), 1),
        "kind": query.kind,
        "because": list(query.because),
    }
