"""Hits and answers as the JSON that the command line and the API print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rag.suspicious import suspicious
from rag.types import Answer, Citation, Hit, Span

AROUND = 300  # characters before and after a quote that count as its neighbourhood
EXTRACTIVE = "extractive"  # the name of answers without a chat model
SCORE_DIGITS, BOX_DIGITS, MS_DIGITS = 4, 2, 2


def search_to_json(question: str, hits: Sequence[Hit], timings_ms: Mapping[str, float]) -> dict[str, Any]:
    """One question's search: {"question", "hits", "timings_ms"}."""
    timings = {name: float(timings_ms.get(name, 0.0)) for name in ("embed", "coarse", "fine", "total")} | dict(
        timings_ms
    )
    return {"question": question, "hits": [hit_to_json(hit) for hit in hits], "timings_ms": _timings(timings)}


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """A hit. `page` is 1-based and physical, `start` and `end` are characters in that page's text."""
    chunk = hit.chunk
    return {
        "document": chunk.document,
        "page": chunk.page,
        "pages": sorted({chunk.page, *(span.page for span in hit.spans)}),
        "chunk_id": chunk.chunk_id,
        "text": chunk.text,
        "context": chunk.context,
        "start": chunk.start,
        "end": chunk.end,
        "score": round(hit.score, SCORE_DIGITS),
        "spans": [span_to_json(span) for span in hit.spans],
        "suspicious": suspicious(chunk.text),
    }


def span_to_json(span: Span) -> dict[str, Any]:
    """A span with its boxes in PDF points, origin bottom left."""
    return {
        "page": span.page,
        "start": span.start,
        "end": span.end,
        "text": span.text,
        "score": round(span.score, SCORE_DIGITS),
        "boxes": _boxes(span.boxes),
    }


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """An answer with its citations; `refused` with the nearest passages where the support was weak."""
    found: dict[str, Any] = {
        "question": answer.question,
        "answer": answer.text,
        "refused": answer.refused,
        "citations": [
            citation_to_json(citation) | {"suspicious": among_orders(citation, answer.hits)}
            for citation in answer.citations
        ],
        "model": answer.model,
        "confidence": round(answer.confidence, SCORE_DIGITS),
        "suspicious": is_suspicious(answer),
        "timings_ms": _timings(answer.timings_ms),
    }
    if answer.notice:
        found["notice"] = answer.notice
    if answer.cached:
        found["cached"] = True
    return found


def is_suspicious(answer: Answer) -> bool:
    """Whether a passage that was quoted, or that a chat model has read, seems to give orders to a machine."""
    read = () if answer.model == EXTRACTIVE else answer.hits
    return any(among_orders(citation, answer.hits) for citation in answer.citations) or any(
        suspicious(hit.chunk.text) for hit in read
    )


def among_orders(citation: Citation, hits: Sequence[Hit]) -> bool:
    """Whether a quote, with what stands around it in the passage it comes from, seems to give orders to a machine."""
    if suspicious(citation.quote):
        return True
    for chunk in (hit.chunk for hit in hits):
        if (chunk.document, chunk.page) == (citation.document, citation.page) and (
            chunk.start < citation.end and citation.start < chunk.end
        ):
            start = max(citation.start - AROUND - chunk.start, 0)
            if suspicious(chunk.text[start : citation.end + AROUND - chunk.start]):
                return True
    return False


def citation_to_json(citation: Citation) -> dict[str, Any]:
    """Where the claim marked [n] stands."""
    return {
        "n": citation.n,
        "document": citation.document,
        "page": citation.page,
        "quote": citation.quote,
        "start": citation.start,
        "end": citation.end,
        "boxes": _boxes(citation.boxes),
        "verified": citation.verified,
        "score": round(citation.score, SCORE_DIGITS),
        "suspicious": suspicious(citation.quote),
    }


def _boxes(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[round(float(edge), BOX_DIGITS) for edge in box] for box in boxes]


def _timings(timings_ms: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), MS_DIGITS) for name, value in timings_ms.items()}
