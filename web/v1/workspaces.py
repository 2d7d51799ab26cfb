"""Workspaces: list, create, delete."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from web.api import Lectern
from web.v1.access import visible
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.schemas import NewWorkspace, WorkspaceInfo, WorkspaceList, WorkspaceName
from web.wiring import Assistant

router = APIRouter(tags=["workspaces"], route_class=BoundedRoute)


@router.get("/workspaces", response_model=WorkspaceList)
def list_all(request: Request, assistant: Lectern) -> WorkspaceList:
    """Names, `default` first."""
    return WorkspaceList(workspaces=visible(request, assistant.workspaces()))


@router.post(
    "/workspaces",
    response_model=WorkspaceInfo,
    status_code=201,
    responses=documented(409, 413, 415),
    max_body_size=2**16,
)
def create(new: NewWorkspace, assistant: Lectern) -> WorkspaceInfo:
    """Create a workspace that must not exist yet."""
    if exists(assistant, new.name):
        raise ApiError(
            f"there is a workspace {new.name!r} already", remedy="Use it, or choose another name", status=409
        )
    return info(assistant, new.name, create=True)


@router.put(
    "/workspaces/{workspace}",
    response_model=WorkspaceInfo,
    status_code=201,
    responses={200: {"model": WorkspaceInfo, "description": "It was there already"}, **documented()},
    max_body_size=2**16,
)
def ensure(workspace: WorkspaceName, assistant: Lectern, response: Response) -> WorkspaceInfo:
    """Create a workspace if it does not exist: 201 when it is new, 200 when it was there."""
    if exists(assistant, workspace):
        response.status_code = 200
    return info(assistant, workspace, create=True)


@router.get("/workspaces/{workspace}", response_model=WorkspaceInfo, responses=documented(404))
def show(workspace: WorkspaceName, assistant: Lectern) -> WorkspaceInfo:
    """What is in a workspace."""
    return info(assistant, workspace)


@router.delete("/workspaces/{workspace}", status_code=204, responses=documented(404, 409))
async def delete(workspace: WorkspaceName, assistant: Lectern) -> Response:
    """Delete a workspace with its documents, sessions and memories. There is no way back."""
    await run_in_threadpool(assistant.delete_workspace, workspace)
    return Response(status_code=204)


def exists(assistant: Assistant, workspace: str) -> bool:
    """Whether it is on disk. Raises UsageError for what is no workspace name."""
    from ingest import schema
    from ingest.workspace import workspace_path

    return (workspace_path(assistant.settings.home, workspace) / schema.DATABASE).is_file()


def info(assistant: Assistant, workspace: str, *, create: bool = False) -> WorkspaceInfo:
    documents = assistant.workspace(workspace, create=create).documents()
    return WorkspaceInfo(
        name=workspace,
        documents=len(documents),
        pages=sum(document.pages for document in documents),
        chunks=sum(document.chunks for document in documents),
        embedded=sum(document.embedded for document in documents),
    )
