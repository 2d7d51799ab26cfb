"""What the page and the API send each other: request models, and the JSON of documents and citations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, model_validator

from core.errors import LecternError
from ingest.types import DocumentInfo
from omni.types import Transcript
from rag.output import among_orders, citation_to_json, is_suspicious
from rag.types import Answer, Citation, Hit
from web.inbox import Upload

FOUND = 8  # passages told beside an answer
NEAREST = 3  # passages offered with a refused answer


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Question(Request):
    """A question in writing, or as a recording (a sound file in base64)."""

    question: str = Field("", max_length=8000)
    recording: Base64Bytes = b""
    history: list[tuple[Literal["user", "assistant"], str]] = Field([], max_length=60)
    session: str = Field("", max_length=64, description="id of a conversation, which then takes the place of `history`")
    understood: str = Field("", max_length=8000, description="the question in full, as the visitor has corrected it")
    speak: bool = False

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if bool(self.question) == bool(self.recording):
            raise ValueError("either a question or a recording is needed")
        return self


class SearchQuery(Request):
    question: str = Field(min_length=1, max_length=8000)
    top_k: int = Field(10, ge=1, le=100)


class SpokenCitation(BaseModel):
    """As the page received it; fields that speech does not need are ignored."""

    n: int
    document: str
    page: int


class SpokenAnswer(Request):
    answer: str = Field(max_length=40_000)
    citations: list[SpokenCitation] = Field([], max_length=100)

    def to_citations(self) -> list[Citation]:
        return [Citation(n=c.n, document=c.document, page=c.page, quote="", start=0, end=0) for c in self.citations]


def has_sheets(media_type: str) -> bool:
    """Whether documents of this type have pages that can be drawn, and so page numbers worth showing."""
    return media_type == "application/pdf"


def documents_json(documents: Sequence[DocumentInfo], uploads: Sequence[Upload]) -> list[dict[str, Any]]:
    """Documents, newest first; an upload under way stands in for the document it is about to become or replace."""
    pending = {upload.name: upload for upload in uploads}
    rows = [upload_json(upload) for upload in reversed(pending.values())]
    for info in sorted(documents, key=lambda info: info.added_at, reverse=True):
        if info.name not in pending:
            rows.append(document_json(info))
    return rows


def upload_json(upload: Upload) -> dict[str, Any]:
    return {
        "name": upload.name,
        "status": upload.status,
        "read": [upload.pages_read, upload.pages],
        "reason": upload.reason,
        "remedy": upload.remedy,
    }


def document_json(info: DocumentInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "document_id": info.document_id,
        "title": info.title,
        "status": info.status,
        "pages": info.pages,
        "sheets": has_sheets(info.media_type),
        "chunks": info.chunks,
        "embedded": info.embedded,
        "size": info.size,
        "aliases": list(info.aliases),
        "reason": info.reason,
        "remedy": info.remedy,
        "problems": [{"page": p.page, "reason": p.reason, "remedy": p.remedy} for p in info.problems[:50]],
    }


def citation_json(citation: Citation, *, sheets: bool) -> dict[str, Any]:
    """As the command line prints it, and whether there is a sheet to open."""
    return {**citation_to_json(citation), "sheets": sheets}


def answer_json(answer: Answer, *, sheets: Mapping[str, bool], nothing_found: str) -> dict[str, Any]:
    """A finished answer with what the page shows beside it; `sheets` by document name.

    `nothing_found`: the sentence that opens an extractive refusal; after it come the passages that `nearest` holds.
    """
    nearest = [c for c in answer.citations if c.quote] or nearest_passages(answer.hits) if answer.refused else []
    nothing = answer.refused and answer.text.startswith(nothing_found)
    return {
        "question": answer.question,
        "answer": answer.text,
        "shown": nothing_found if nothing else answer.text,
        "nothing": nothing,
        "refused": answer.refused,
        "notice": answer.notice,
        "suspicious": is_suspicious(answer),
        "citations": [
            citation_json(c, sheets=sheets[c.document]) | {"suspicious": among_orders(c, answer.hits)}
            for c in answer.citations
        ],
        "nearest": [citation_json(passage, sheets=sheets[passage.document]) for passage in nearest],
        "model": answer.model,
        "timings_ms": {key: round(value, 1) for key, value in answer.timings_ms.items()},
        "found": [found_json(hit, sheets=sheets[hit.chunk.document]) for hit in answer.hits[:FOUND]],
        "confidence": round(answer.confidence, 3),
        "cached": answer.cached,
    }


def found_json(hit: Hit, *, sheets: bool) -> dict[str, Any]:
    """A passage that was looked at, in the form of a citation of its best stretch, with what was thought of it.

    `score`: that the passage answers, by the coarse search; `answers`: by the reader, null where it was not read.
    """
    span = hit.spans[0] if hit.spans else None
    where = span or hit.chunk
    return {
        "n": 0,
        "document": where.document,
        "page": where.page,
        "quote": " ".join(where.text.split())[:300],
        "start": where.start,
        "end": where.end,
        "boxes": [list(box) for box in span.boxes] if span is not None else [],
        "verified": True,
        "sheets": sheets,
        "score": round(hit.score, 3),
        "answers": round(span.score, 3) if span is not None else None,
    }


def transcript_json(transcript: Transcript) -> dict[str, Any]:
    """What was understood, what else it may have been, and which words of the documents sound like it."""
    return {
        "text": transcript.text.strip(),
        "seconds": round(transcript.seconds, 2),
        "confidence": round(transcript.confidence, 3),
        "hypotheses": [{"text": h.text, "score": round(h.score, 2)} for h in transcript.hypotheses],
        "corrections": [{**vars(c), "weight": round(c.weight, 3)} for c in transcript.corrections],
    }


def error_json(error: LecternError) -> dict[str, str]:
    """What the page shows of an error: a sentence and what to do next."""
    message = error.message[:1].upper() + error.message[1:]
    return {"message": message.rstrip(".") + ".", "remedy": error.remedy.rstrip(".") + "." if error.remedy else ""}


def nearest_passages(hits: Sequence[Hit]) -> list[Citation]:
    """The best stretch of each of the best hits, in the form of citations; n counts from 1."""
    passages = []
    for n, hit in enumerate(hits[:NEAREST], start=1):
        where = hit.spans[0] if hit.spans else hit.chunk
        passages.append(
            Citation(
                n=n,
                document=where.document,
                page=where.page,
                quote=" ".join(where.text.split())[:300],
                start=where.start,
                end=where.end,
                boxes=hit.spans[0].boxes if hit.spans else (),
                score=hit.score,
            )
        )
    return passages
