"""Pages: their text, where characters stand on the sheet, and the sheet as an image."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from core.errors import NotFoundError
from ingest.boxes import boxes_for_range
from ingest.types import DocumentInfo, Page
from web.api import Lectern
from web.page_view import page_image
from web.v1.bounded import BoundedRoute
from web.v1.documents import unknown
from web.v1.errors import ApiError, documented
from web.v1.schemas import MAX_OFFSET, Boxes, DocumentName, PageNumber, PageText, WorkspaceName
from web.wiring import Assistant

router = APIRouter(
    prefix="/workspaces/{workspace}/documents/{document:path}/pages/{page}", tags=["pages"], route_class=BoundedRoute
)

MAX_TEXT = 100_000  # characters of a page's text in one answer; a text file is a page of any length

Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="character of the page's text, from 0")]


@router.get("", response_model=PageText, responses=documented(404))
def text(
    workspace: WorkspaceName,
    document: DocumentName,
    page: PageNumber,
    assistant: Lectern,
    start: Offset = 0,
    end: Annotated[int | None, Query(ge=0, le=MAX_OFFSET, description="exclusive; default: the end")] = None,
) -> PageText:
    """The text of a page, at most 100,000 characters of it at once: `end` < `length` tells that there is more."""
    info, found = _open(assistant, workspace, document, page)
    first = min(start, len(found.text))
    last = min(end if end is not None else len(found.text), len(found.text), first + MAX_TEXT)
    return PageText(
        document=info.name,
        page=page,
        pages=info.pages,
        label=found.label,
        width=round(found.width, 2),
        height=round(found.height, 2),
        start=first,
        end=max(first, last),
        length=len(found.text),
        text=found.text[first:last],
    )


@router.get("/boxes", response_model=Boxes, responses=documented(404))
def boxes(
    workspace: WorkspaceName, document: DocumentName, page: PageNumber, assistant: Lectern, start: Offset, end: Offset
) -> Boxes:
    """Where the characters [start, end) of a page stand: one box for each line, in points, origin bottom left."""
    info, found = _open(assistant, workspace, document, page)
    if not start < end <= len(found.text):
        raise ApiError(
            f"[{start}, {end}) is no range of this page's {len(found.text)} characters",
            remedy="Give 0 <= start < end <= length, as search and ask do",
            param="end",
        )
    found_boxes = [list(map(float, box)) for box in boxes_for_range(found, start, end)]
    return Boxes(
        document=info.name,
        page=page,
        start=start,
        end=end,
        text=found.text[start:end],
        width=round(found.width, 2),
        height=round(found.height, 2),
        boxes=[[round(edge, 2) for edge in box] for box in found_boxes],
    )


@router.get(
    "/image",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}, "description": "JPEG"},
        304: {"description": "As the ETag says, you have it"},
        **documented(404),
    },
)
def image(
    workspace: WorkspaceName, document: DocumentName, page: PageNumber, assistant: Lectern, request: Request
) -> Response:
    """The sheet as JPEG, 2 pixels a point. With `If-None-Match` an unchanged one is not sent again."""
    info, _ = _open(assistant, workspace, document, page)
    tag = f'"{info.sha256[:12]}-{page}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    drawn = page_image(assistant.workspace(workspace), document, page)
    return Response(drawn, media_type="image/jpeg", headers=headers)


def _open(assistant: Assistant, workspace: str, document: str, number: int) -> tuple[DocumentInfo, Page]:
    opened = assistant.workspace(workspace)
    try:
        info = opened.document(document)
    except NotFoundError as error:
        raise unknown(workspace, document, error) from error
    if number > max(info.pages, 1):
        raise NotFoundError(f"{info.name} has no page {number}", remedy=f"It has {info.pages} pages, counted from 1")
    return info, opened.page(document, number)
