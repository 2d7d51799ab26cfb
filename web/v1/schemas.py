"""What the REST API under /v1 takes and gives. Offsets count characters of a page's text, pages from 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

MAX_QUESTION = 8000  # characters
MAX_SPOKEN = 40_000
MAX_PAGE = 1_000_000
MAX_OFFSET = 2**31 - 1

WorkspaceName = Annotated[
    str, Path(description="letters, digits, spaces, hyphens, dots, underscores", examples=["lease"], max_length=64)
]
DocumentName = Annotated[str, Path(description="a document's name, or its id", examples=["lease.pdf"], max_length=500)]
PageNumber = Annotated[int, Path(description="physical page, from 1", ge=1, le=MAX_PAGE, examples=[12])]
Box = Annotated[
    list[float], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in points, origin bottom left")
]


class Given(BaseModel):
    """A request: fields that it does not know are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


# ---- workspaces and documents -----------------------------------------------------------------------------------


class NewWorkspace(Given):
    name: str = Field(min_length=1, max_length=64, examples=["lease"])


class WorkspaceInfo(BaseModel):
    name: str
    documents: int = Field(description="those that failed to be read included")
    pages: int
    chunks: int = Field(description="passages that are searched")
    embedded: int = Field(description="passages that are found by meaning, too")


class WorkspaceList(BaseModel):
    workspaces: list[str] = Field(examples=[["default", "lease"]])


class Problem(BaseModel):
    page: int
    reason: str
    remedy: str = ""


class DocumentState(BaseModel):
    """A document, or an upload on its way to become one."""

    name: str = Field(examples=["lease.pdf"])
    status: Literal["waiting", "reading", "searchable", "embedded", "failed"] = Field(
        description="searchable: by words; embedded: by meaning, too"
    )
    document_id: str | None = Field(None, description="null until it has been read")
    title: str = ""
    media_type: str = ""
    pages: int = Field(0, description="0 until it is known")
    pages_read: int = 0
    sheets: bool = Field(False, description="whether pages can be drawn")
    chunks: int = 0
    embedded: int = 0
    size: int = Field(0, description="bytes")
    sha256: str = ""
    added_at: str = Field("", description="ISO 8601, UTC")
    aliases: list[str] = Field([], description="further names of the same content")
    reason: str = Field("", description="of a failure")
    remedy: str = ""
    problems: list[Problem] = Field([], description="pages that could not be read; the first 50")


class DocumentList(BaseModel):
    documents: list[DocumentState]


class PageText(BaseModel):
    document: str
    page: int
    pages: int
    label: str = Field(description="as printed on the sheet, empty if nothing is")
    width: float = Field(description="points; 0 where there is no sheet")
    height: float
    start: int = Field(description="of `text` in the page's text")
    end: int
    length: int = Field(description="characters of the whole page")
    text: str


class Boxes(BaseModel):
    document: str
    page: int
    start: int
    end: int
    text: str = Field(description="the characters [start, end)")
    width: float
    height: float
    boxes: list[Box] = Field(description="one for each line; empty where there is no sheet")


# ---- questions ------------------------------------------------------------------------------------------------


class Search(Given):
    question: str = Field(min_length=1, max_length=MAX_QUESTION, examples=["How long is the notice period?"])
    top_k: int = Field(10, ge=1, le=100, description="hits returned")


class SpanOut(BaseModel):
    page: int
    start: int
    end: int
    text: str
    score: float = Field(description="0..1")
    boxes: list[Box]


class HitOut(BaseModel):
    document: str
    page: int
    pages: list[int]
    chunk_id: str
    text: str
    context: str = Field(description="document title > section")
    start: int
    end: int
    score: float = Field(description="0..1, comparable inside one list")
    spans: list[SpanOut] = Field(description="the exact words that answer, best first")
    suspicious: bool = Field(False, description="the passage seems to give orders to its reader")


class SearchResult(BaseModel):
    question: str
    hits: list[HitOut]
    timings_ms: dict[str, float]


class Message(Given):
    role: Literal["user", "assistant"]
    content: str = Field(max_length=MAX_SPOKEN)


class Ask(Given):
    """A question in writing or as a recording. `session`: a conversation that remembers; or give `history` yourself."""

    question: str = Field("", max_length=MAX_QUESTION, examples=["How long is the notice period?"])
    recording: Base64Bytes = Field(b"", description="the question as a sound file in base64, in place of `question`")
    history: list[Message] = Field([], max_length=60, description="earlier messages, oldest first")
    session: str = Field("", max_length=100, description="id of a session; the question becomes its next turn")
    speak: bool = Field(False, description="with a stream: sound, too, as base64 of 16-bit little-endian mono PCM")
    stream: bool = Field(False, description="answer as server-sent events, as `Accept: text/event-stream` does")


class CitationOut(BaseModel):
    n: int = Field(description="as in [n] of the answer")
    document: str
    page: int
    quote: str = Field(description="verbatim text of the page")
    start: int
    end: int
    boxes: list[Box] = []
    verified: bool = Field(True, description="whether the claim was found in the source")
    score: float = 0.0
    suspicious: bool = Field(False, description="it, or what stands around it, seems to give orders to its reader")


class AnswerOut(BaseModel):
    """A finished answer. The markers [n] of `answer` resolve to `citations`."""

    model_config = ConfigDict(extra="allow")

    question: str = Field(description="as written, or as heard")
    answer: str
    refused: bool = Field(description="the documents do not support an answer; `nearest` shows what is there")
    citations: list[CitationOut]
    nearest: list[CitationOut] = Field([], description="with a refusal: the nearest passages")
    model: str
    notice: str = Field("", description="what the reader should know about how it came about")
    timings_ms: dict[str, float]


# ---- sound ----------------------------------------------------------------------------------------------------


class Speak(Given):
    text: str = Field(min_length=1, max_length=MAX_SPOKEN, examples=["The notice period is eleven weeks [1]."])
    citations: list[dict[str, Any]] = Field(
        [], max_length=100, description="of an answer: [1] is then spoken as its page, else left out"
    )
    format: Literal["wav", "pcm"] = Field("wav", description="pcm: 16-bit little-endian mono, streamed as it is made")
    rate: float = Field(1.0, ge=0.5, le=2.0, description="speaking rate, 1 = normal")


class SegmentOut(BaseModel):
    start_s: float
    end_s: float
    text: str


class TranscriptOut(BaseModel):
    text: str
    seconds: float
    confidence: float = Field(description="0..1; 0 if the recogniser has none")
    segments: list[SegmentOut]


class Health(BaseModel):
    status: Literal["ok"]
    ready: bool = Field(description="the first question need not wait for a model")
