"""The REST API that serves the page. Errors are `{"error": {"message", "remedy"}}` with a fitting status.

GET    /health
GET    /api/workspaces
PUT    /api/workspaces/{workspace}                               create
GET    /api/workspaces/{workspace}/documents
PUT    /api/workspaces/{workspace}/documents?name=NAME           the file as the body (curl -T lease.pdf ...)
DELETE /api/workspaces/{workspace}/documents?document=NAME
POST   /api/workspaces/{workspace}/example                       add the example document
GET    /api/workspaces/{workspace}/page?document=&page=          what a page shows; /page/image: the sheet as JPEG
POST   /api/workspaces/{workspace}/search                        {"question", "top_k"}
POST   /api/workspaces/{workspace}/ask      {"question" or "recording", "session" or "history", "speak"} -> JSON lines
POST   /api/workspaces/{workspace}/speak                         {"answer", "citations"} -> JSON lines of sound
/api/workspaces/{workspace}/sessions..., /memories...            conversations and what is remembered: web/sessions.py
POST   /api/workspaces/{workspace}/transcribe                    a recording as the body -> {"text", "seconds"}
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from core.errors import (
    AccessError,
    AudioError,
    DocumentError,
    LecternError,
    NotFoundError,
    StoreError,
    UsageError,
)
from rag.output import search_to_json
from web import speech
from web.examples import EXAMPLE
from web.page_view import page_image, page_json
from web.schemas import Question, SearchQuery, SpokenAnswer, documents_json, error_json, transcript_json
from web.v1.bounded import BoundedRoute
from web.wiring import Assistant

log = logging.getLogger(__name__)
router = APIRouter(route_class=BoundedRoute)

MAX_RECORDING_BYTES = 64 * 2**20  # half an hour of 16 kHz PCM
MAX_JSON_BYTES = 2**20
MAX_ASKED_BYTES = MAX_RECORDING_BYTES * 4 // 3 + MAX_JSON_BYTES  # a recording in base64
_STATUS: list[tuple[type[LecternError], int]] = [
    (NotFoundError, 404),
    (UsageError, 400),
    (AccessError, 403),
    (DocumentError, 422),
    (AudioError, 422),
    (StoreError, 409),
]


def the_assistant(request: Request) -> Assistant:
    return request.app.state.assistant


Lectern = Annotated[Assistant, Depends(the_assistant)]


# ---- errors ---------------------------------------------------------------------------------------------------


def unexpected() -> dict[str, str]:
    return {
        "message": "Something went wrong inside Lectern.",
        "remedy": "Try again; the terminal it runs in says more.",
    }


def add_error_answers(app: FastAPI) -> None:
    """Translate every failure of the API once, here: never a traceback."""

    @app.exception_handler(LecternError)
    async def ours(request: Request, error: LecternError) -> JSONResponse:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
        return JSONResponse({"error": error_json(error)}, status)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": {"message": f"{where}: {first['msg']}.", "remedy": "Correct the request."}}, 400)

    @app.exception_handler(Exception)
    async def anything(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
        return JSONResponse({"error": unexpected()}, 500)


# ---- health and workspaces ------------------------------------------------------------------------------------


@router.get("/health")
def health(assistant: Lectern) -> dict[str, Any]:
    """`ready`: the first question need not wait for a model."""
    return {"status": "ok", "ready": assistant.ready.is_set()}


@router.get("/api/workspaces")
def workspaces(assistant: Lectern) -> dict[str, Any]:
    return {"workspaces": assistant.workspaces()}


@router.put("/api/workspaces/{workspace}", status_code=201)
def create_workspace(workspace: str, assistant: Lectern) -> dict[str, str]:
    return {"name": assistant.workspace(workspace, create=True).name}


# ---- documents ------------------------------------------------------------------------------------------------


@router.get("/api/workspaces/{workspace}/documents")
def documents(workspace: str, assistant: Lectern) -> dict[str, Any]:
    """Every document and upload with its status: waiting, reading, searchable, embedded or failed."""
    opened = assistant.workspace(workspace)
    return {"documents": documents_json(opened.documents(), assistant.inbox.uploads(workspace))}


@router.put("/api/workspaces/{workspace}/documents", status_code=202)
async def add_document(
    workspace: str, name: Annotated[str, Query(min_length=1)], request: Request, assistant: Lectern
) -> dict[str, str]:
    """Take a file in; it is read in the background, see its status in the list."""
    await run_in_threadpool(assistant.workspace, workspace)  # so that a workspace that is not there is told now
    limit = assistant.settings.ingest.max_file_mb * 2**20
    announced = int(request.headers.get("content-length") or 0)
    path = assistant.inbox.receive(workspace, name)
    try:
        received = 0
        with path.open("wb") as file:
            if announced <= limit:
                async for piece in request.stream():
                    received += len(piece)
                    if received > limit:
                        break
                    await run_in_threadpool(file.write, piece)
        if max(announced, received) > limit:
            raise DocumentError(
                f"{path.name} is larger than the limit of {limit // 2**20} MiB",
                remedy="Split it, or raise ingest.max_file_mb in lectern.toml",
            )
        if received < announced:
            raise DocumentError(f"{path.name} arrived only in part", remedy="Upload it again")
    except BaseException:
        assistant.inbox.reject(path)
        raise
    return {"name": assistant.inbox.accept(path).name}


@router.delete("/api/workspaces/{workspace}/documents", status_code=204)
def remove_document(workspace: str, document: str, assistant: Lectern) -> Response:
    forgotten = assistant.inbox.forget(workspace, document)
    opened = assistant.workspace(workspace)
    try:
        opened.remove(document)
    except NotFoundError:
        if not forgotten:
            raise
    return Response(status_code=204)


@router.post("/api/workspaces/{workspace}/example", status_code=202)
def add_example(workspace: str, assistant: Lectern) -> dict[str, str]:
    assistant.workspace(workspace)
    path = assistant.inbox.receive(workspace, EXAMPLE.document)
    shutil.copyfile(EXAMPLE.path, path)
    return {"name": assistant.inbox.accept(path).name}


@router.get("/api/workspaces/{workspace}/page")
def page(
    workspace: str,
    document: str,
    assistant: Lectern,
    page: int = 1,
    start: int | None = None,
    end: int | None = None,
) -> dict[str, Any]:
    return page_json(assistant.workspace(workspace), document, page, start=start, end=end)


@router.get("/api/workspaces/{workspace}/page/image")
def image(workspace: str, document: str, assistant: Lectern, request: Request, page: int = 1, v: str = "") -> Response:
    """The sheet as JPEG. The browser may keep it but asks each time, so that a removed document is gone at once.

    `v` is the document's version, as /page tells it: another version is another address.
    """
    opened = assistant.workspace(workspace)
    tag = f'"{page_json(opened, document, page)["version"]}-{page}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(page_image(opened, document, page), media_type="image/jpeg", headers=headers)


# ---- questions ------------------------------------------------------------------------------------------------


@router.post("/api/workspaces/{workspace}/search", max_body_size=MAX_JSON_BYTES)
def search(workspace: str, query: SearchQuery, assistant: Lectern) -> dict[str, Any]:
    hits, timings_ms = assistant.engine(workspace).search(query.question, query.top_k)
    return search_to_json(query.question, hits, timings_ms)


@router.post("/api/workspaces/{workspace}/ask", max_body_size=MAX_ASKED_BYTES)
async def ask(workspace: str, query: Question, assistant: Lectern) -> StreamingResponse:
    await run_in_threadpool(assistant.workspace, workspace)
    if query.session:  # told now, with its status, if it has been deleted
        await run_in_threadpool(assistant.talk, workspace, query.session)
    if len(query.recording) > MAX_RECORDING_BYTES:
        raise too_long()
    return json_lines(
        lambda: speech.answer_events(
            assistant,
            query.question,
            workspace,
            history=[(t[0], t[1]) for t in query.history],
            session=query.session,
            understood=query.understood,
            speak=query.speak,
            recording=query.recording,
        )
    )


@router.post("/api/workspaces/{workspace}/speak", max_body_size=MAX_JSON_BYTES)
async def speak(workspace: str, spoken: SpokenAnswer, assistant: Lectern) -> StreamingResponse:
    return json_lines(lambda: speech.read_aloud(assistant, spoken.answer, spoken.to_citations()))


@router.post("/api/workspaces/{workspace}/transcribe")
async def transcribe(workspace: str, request: Request, assistant: Lectern) -> dict[str, Any]:
    from omni.audio import load_audio

    recording = bytearray()
    async for piece in request.stream():
        recording += piece
        if len(recording) > MAX_RECORDING_BYTES:
            raise too_long()

    def hear() -> dict[str, Any]:
        transcript = assistant.transcribe(load_audio(bytes(recording)), workspace)
        if not transcript.text.strip():
            raise AudioError("nothing was understood", remedy="Speak closer to the microphone, or type your question")
        return transcript_json(transcript)

    return await run_in_threadpool(hear)


def too_long() -> AudioError:
    return AudioError("the recording is too long", remedy="Ask in a few sentences")


def json_lines(make_events: Callable[[], Iterator[dict[str, Any]]]) -> StreamingResponse:
    """Stream events as JSON lines; a failure becomes the last line; a visitor who leaves ends the work."""
    import json

    end = object()

    async def body() -> AsyncIterator[bytes]:
        events: Iterator[dict[str, Any]] | None = None
        try:
            events = await run_in_threadpool(make_events)
            while (event := await run_in_threadpool(next, events, end)) is not end:
                yield json.dumps(event, ensure_ascii=False).encode() + b"\n"
        except LecternError as error:
            yield json.dumps({"type": "error", "error": error_json(error)}).encode() + b"\n"
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("while answering")
            yield json.dumps({"type": "error", "error": unexpected()}).encode() + b"\n"
        finally:
            if (close := getattr(events, "close", None)) is not None:
                close()

    return StreamingResponse(body(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})
