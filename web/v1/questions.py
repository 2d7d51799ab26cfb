"""Search, and answers with citations: as one JSON object, or as server-sent events while they are written.

event: heard       {"text"}                              a recorded question, as understood by the recogniser
event: waking      {}                                    models are still being loaded
event: understood  {"question", "query", ...}            the question in full, where earlier messages complete it
event: text        {"text"}                              a piece of the answer
event: citation    {"n", "document", "page", ...}        of a marker in the text so far
event: audio       {"pcm", "sample_rate", ...}           with `speak`
event: answer      the finished answer, as the JSON form gives it
event: silent      {"error"}                             the voice failed, the answer goes on in writing
event: error       {"error"}                             the last event, if it went wrong
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from rag.output import search_to_json
from web import speech
from web.api import MAX_RECORDING_BYTES, Lectern
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.schemas import AnswerOut, Ask, Search, SearchResult, WorkspaceName
from web.v1.streams import server_sent, sse
from web.wiring import Assistant

if TYPE_CHECKING:
    from memory.types import Understood
    from rag.wordings import Wording

router = APIRouter(prefix="/workspaces/{workspace}", tags=["questions"], route_class=BoundedRoute)

_BODY = 2**20  # of a search
_BODY_WITH_RECORDING = MAX_RECORDING_BYTES * 4 // 3 + 2**20
_ONLY_THE_PAGE = ("shown", "nothing")  # of an answer: how the page words it


@router.post("/search", response_model=SearchResult, responses=documented(404, 413, 415, 429), max_body_size=_BODY)
def search(workspace: WorkspaceName, query: Search, assistant: Lectern) -> dict[str, Any]:
    """The passages that fit a question best, and in each the exact words that answer it, with boxes on the sheet."""
    hits, timings_ms = assistant.engine(workspace).search(query.question, query.top_k)
    return search_to_json(query.question, hits, timings_ms)


@router.post(
    "/ask",
    response_model=AnswerOut,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "The answer; with `stream` its events"},
        **documented(404, 413, 415, 429, 503),
    },
    max_body_size=_BODY_WITH_RECORDING,
)
async def ask(workspace: WorkspaceName, query: Ask, request: Request, assistant: Lectern) -> Response:
    """Answer a question from the documents, in one to three sentences with citations; refused where none supports it.

    With `stream`, or `Accept: text/event-stream`, server-sent events: text, citation, answer; heard, understood, audio,
    silent and error where they apply.
    """
    if bool(query.question.strip()) == bool(query.recording):
        raise ApiError(
            "either a question or a recording is needed", remedy="Send one of the two", status=422, param="question"
        )
    if len(query.recording) > MAX_RECORDING_BYTES:
        raise ApiError("the recording is too long", remedy="Ask in a few sentences", status=413, param="recording")
    if query.session and query.history:
        raise ApiError(
            "a session has its own history", remedy="Send either session or history", status=422, param="history"
        )
    await run_in_threadpool(assistant.workspace, workspace)
    streamed = query.stream or "text/event-stream" in request.headers.get("accept", "")
    history = [(message.role, message.content) for message in query.history]
    events = answer_events(
        assistant,
        query.question,
        workspace,
        history=history,
        session=query.session,
        speak=query.speak and streamed,
        recording=query.recording,
    )
    if streamed:
        return await server_sent(request.url.path, events, lambda event: sse(event[1], event[0]))
    return JSONResponse(await run_in_threadpool(finished, events))


def answer_events(
    assistant: Assistant,
    question: str,
    workspace: str,
    *,
    history: Sequence[tuple[str, str]] = (),
    session: str = "",
    speak: bool = False,
    recording: bytes = b"",
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, data) of the events above. Raises LecternError."""
    from memory.conversation import readings

    asked = question
    others: Sequence[Wording] = ()
    if question and history:
        understood = in_full(assistant, workspace, question, history)
        asked, others = understood.query, readings(understood)
        if asked != question:
            yield "understood", {"question": question, "query": asked}
    events = speech.answer_events(
        assistant,
        asked,
        workspace,
        history=history,
        session=session,
        readings=others,
        speak=speak,
        recording=recording,
    )
    try:
        for event in events:
            kind = event["type"]
            if kind == "answer":
                answer = answer_shape(event["answer"])
                answer |= {key: event[key] for key in ("session", "turn") if key in event}
                if asked != question:
                    answer |= {"question": question, "understood": asked}
                yield kind, answer
            elif kind == "citation":
                yield kind, citation_shape(event["citation"])
            else:
                yield kind, {key: value for key, value in event.items() if key != "type"}
    finally:
        events.close()  # type: ignore[attr-defined]  # a generator


def in_full(assistant: Assistant, workspace: str, question: str, history: Sequence[tuple[str, str]]) -> Understood:
    """How the question is to be searched for, given the messages before it ("And in 2020?")."""
    from memory.follow_up import READ_TURNS, understand

    turns: list[tuple[str, str]] = []
    for role, text in history:
        if role == "user":
            turns.append((text, ""))
        elif turns and role == "assistant":
            turns[-1] = (turns[-1][0], text)
    return understand(question, turns[-READ_TURNS:], generator=assistant.engine(workspace).generator)


def finished(events: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The finished answer of a stream, read to its end."""
    found: dict[str, Any] | None = None
    for kind, data in events:
        if kind == "answer":
            found = data
    assert found is not None, "the stream ended without an answer"
    return found


def answer_shape(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as the page gets it, in this API's shape."""
    kept = {key: value for key, value in answer.items() if key not in _ONLY_THE_PAGE}
    kept["citations"] = [citation_shape(citation) for citation in answer["citations"]]
    kept["nearest"] = [citation_shape(citation) for citation in answer["nearest"]]
    return kept


def citation_shape(citation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in citation.items() if key != "sheets"}
