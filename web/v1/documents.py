"""Documents: upload, follow on their way to being found, list, remove."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from core.errors import NotFoundError
from ingest.types import DocumentInfo
from web.api import Lectern
from web.inbox import Upload
from web.schemas import document_json
from web.v1 import addresses  # noqa: F401  # what {document:document} and {session:session} mean
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.schemas import DocumentList, DocumentName, DocumentState, WorkspaceName
from web.v1.streams import KEEP_ALIVE_S, event_stream, sse
from web.wiring import Assistant

router = APIRouter(prefix="/workspaces/{workspace}", tags=["documents"], route_class=BoundedRoute)

LOOK_S = 0.25  # how often a stream looks for a change
_PIECE = 2**20
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}
}


@router.get("/documents", response_model=DocumentList, responses=documented(404))
def list_all(workspace: WorkspaceName, assistant: Lectern) -> DocumentList:
    """Every document and upload with its status, newest first."""
    return DocumentList(documents=states(assistant, workspace))


@router.post("/documents", response_model=DocumentList, status_code=202, responses=documented(404, 413, 415, 429))
async def upload(
    workspace: WorkspaceName,
    request: Request,
    assistant: Lectern,
    file: Annotated[list[UploadFile], File(description="one file or several")],
) -> DocumentList:
    """Upload files as a form (`curl -F file=@lease.pdf`). They are read in the background: follow their events."""
    taken = []
    for sent in file:
        pieces = _pieces(sent)
        taken.append(await take_in(assistant, workspace, sent.filename or "", pieces, announced=sent.size))
    return DocumentList(documents=taken)


@router.put(
    "/documents/{document:document}",
    response_model=DocumentState,
    status_code=202,
    responses=documented(404, 413, 415, 429),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put(workspace: WorkspaceName, document: DocumentName, request: Request, assistant: Lectern) -> DocumentState:
    """Upload one file as the body (`curl -T lease.pdf URL`); a document of that name is replaced once it is read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise ApiError(
            "PUT takes the file itself as its body, not a form",
            remedy="Use POST /v1/workspaces/{workspace}/documents for forms, or curl -T FILE",
            status=415,
        )
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdigit() else None
    return await take_in(assistant, workspace, document, request.stream(), announced=size)


@router.get(
    "/documents/{document:path}/events", response_class=StreamingResponse, responses={**_EVENTS, **documented(404)}
)
async def follow(
    workspace: WorkspaceName,
    document: DocumentName,
    request: Request,
    assistant: Lectern,
    until: Annotated[str, Query(pattern="^(searchable|embedded)$", description="status that ends the stream")] = (
        "embedded"
    ),
) -> StreamingResponse:
    """Follow a document: an event `status` with its state, at once and after every change, until it is done."""
    await run_in_threadpool(state, assistant, workspace, document)
    enough = {"failed", "embedded", until}
    events = _changes(assistant, workspace, document, enough)
    return event_stream(request.url.path, events, lambda found: sse(found.model_dump(), "status"))


@router.get("/documents/{document:document}", response_model=DocumentState, responses=documented(404))
def show(workspace: WorkspaceName, document: DocumentName, assistant: Lectern) -> DocumentState:
    """The state of one document."""
    return state(assistant, workspace, document)


@router.delete("/documents/{document:document}", status_code=204, responses=documented(404, 409))
def remove(workspace: WorkspaceName, document: DocumentName, assistant: Lectern) -> Response:
    """Remove a document, or an upload that waits or has failed."""
    opened = assistant.workspace(workspace)
    forgotten = assistant.inbox.forget(workspace, document)
    try:
        opened.remove(document)
    except NotFoundError as error:
        if not forgotten:
            raise unknown(workspace, document, error) from error
    return Response(status_code=204)


# ---- states -----------------------------------------------------------------------------------------------------


def states(assistant: Assistant, workspace: str) -> list[DocumentState]:
    """Newest first; an upload under way stands in for the document it is about to become or replace."""
    stored = assistant.workspace(workspace).documents()
    pending = {upload.name: upload for upload in assistant.inbox.uploads(workspace)}
    rows = [of_upload(upload) for upload in reversed(pending.values())]
    latest = sorted(stored, key=lambda info: info.added_at, reverse=True)
    return rows + [of_document(info) for info in latest if info.name not in pending]


def state(assistant: Assistant, workspace: str, document: str) -> DocumentState:
    """Of one document or upload, by name or id. Raises NotFoundError."""
    opened = assistant.workspace(workspace)
    upload = _pending(assistant.inbox.uploads(workspace), document)
    if upload is not None:
        return of_upload(upload)
    try:
        return of_document(opened.document(document))
    except NotFoundError as error:
        late = _pending(assistant.inbox.uploads(workspace), document)  # it came in just now
        if late is not None:
            return of_upload(late)
        raise unknown(workspace, document, error) from error


def unknown(workspace: str, document: str, error: NotFoundError) -> NotFoundError:
    """The store's error with a remedy for those who hold an HTTP client."""
    hint = error.remedy.partition("`")[0].strip()
    remedy = f"{hint} GET /v1/workspaces/{workspace}/documents names them all".strip()
    return NotFoundError(error.message, remedy=remedy)


def of_document(info: DocumentInfo) -> DocumentState:
    row = document_json(info)
    return DocumentState(
        **row, media_type=info.media_type, sha256=info.sha256, added_at=info.added_at, pages_read=info.pages
    )


def of_upload(upload: Upload) -> DocumentState:
    return DocumentState(
        name=upload.name,
        status=upload.status,  # waiting | reading | failed
        pages=upload.pages,
        pages_read=upload.pages_read,
        reason=upload.reason,
        remedy=upload.remedy,
    )


def _pending(uploads: Sequence[Upload], name: str) -> Upload | None:
    return next((upload for upload in reversed(uploads) if upload.name == name), None)


async def _changes(
    assistant: Assistant, workspace: str, document: str, enough: set[str]
) -> AsyncIterator[DocumentState | None]:
    """The document's state whenever it has changed, until its status is `enough`, it is gone, or the server closes.

    None after a while without a change. No thread waits: any number of visitors may follow.
    """
    last: DocumentState | None = None
    told = time.monotonic()
    while not assistant.closing.is_set():
        try:
            now = await run_in_threadpool(state, assistant, workspace, document)
        except NotFoundError:  # removed meanwhile
            return
        if now != last:
            yield now
            last, told = now, time.monotonic()
        if now.status in enough or (now.status == "searchable" and now.chunks == now.embedded):
            return
        if time.monotonic() - told > KEEP_ALIVE_S:
            yield None
            told = time.monotonic()
        await asyncio.sleep(LOOK_S)


# ---- uploads --------------------------------------------------------------------------------------------------


async def take_in(
    assistant: Assistant, workspace: str, name: str, pieces: AsyncIterator[bytes], *, announced: int | None = None
) -> DocumentState:
    """Receive a file whole or not at all, and queue it for reading. Raises ApiError (413, 400), NotFoundError."""
    await run_in_threadpool(assistant.workspace, workspace)  # a workspace that is not there is told now
    limit = assistant.settings.ingest.max_file_mb * 2**20
    if announced is not None and announced > limit:
        raise too_large(name, limit)
    path = assistant.inbox.receive(workspace, name)
    try:
        received = 0
        with path.open("wb") as file:
            async for piece in pieces:
                received += len(piece)
                if received > limit:
                    raise too_large(path.name, limit)
                await run_in_threadpool(file.write, piece)
        if announced is not None and received < announced:
            raise ApiError(f"{path.name} arrived only in part", remedy="Upload it again", status=400)
        if not received:
            raise ApiError(f"{path.name} is empty", remedy="Send the file as the body of the request", status=400)
    except BaseException:
        assistant.inbox.reject(path)
        raise
    return of_upload(assistant.inbox.accept(path))


def too_large(name: str, limit: int) -> ApiError:
    return ApiError(
        f"{name} is larger than the limit of {limit // 2**20} MiB",
        remedy="Split it, or raise ingest.max_file_mb in lectern.toml",
        status=413,
    )


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE):
        yield piece
