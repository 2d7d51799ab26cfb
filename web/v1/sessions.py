"""Sessions, which are conversations that are kept, and the memories that come of them.

`POST /v1/workspaces/{workspace}/ask` with {"session": id} makes a question the next turn of a session.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import NotFoundError
from web import sessions as page
from web.api import Lectern
from web.speech import Sheets
from web.v1 import addresses  # noqa: F401  # what {document:document} and {session:session} mean
from web.v1.bounded import BoundedRoute
from web.v1.errors import documented
from web.v1.questions import answer_shape
from web.v1.schemas import AnswerOut, Given, WorkspaceName

router = APIRouter(prefix="/workspaces/{workspace}", tags=["sessions"], route_class=BoundedRoute)

SessionId = Annotated[str, Path(description="id of a session", max_length=100, examples=["3f0c..."])]
MemoryId = Annotated[int, Path(description="id of a memory", ge=1, le=2**63 - 1)]
_BODY = 2**16
_SESSION: dict[str, Any] = {"responses": documented(404, 409, 413, 415), "max_body_size": _BODY}


class SessionOut(BaseModel):
    session_id: str
    title: str
    created_at: str = Field(description="ISO 8601, UTC")
    updated_at: str
    turns: int
    remember: bool = Field(description="whether long-term memory is written and read")
    guest: bool = Field(False, description="begun by another user and taken up by its code")
    code: str | None = Field(None, description="takes the session up on another device; only where asked for alone")
    found: dict[str, Any] | None = Field(None, description="with a query: the best turn that holds its words")


class SessionList(BaseModel):
    sessions: list[SessionOut]


class NewSession(Given):
    title: str = Field("", max_length=1000, examples=["Lease"])


class Join(Given):
    code: str = Field(min_length=1, max_length=64, examples=["K7QM-2XPA-9DRF"])


class SessionChange(Given):
    title: str | None = Field(None, max_length=1000)
    remember: bool | None = None
    new_code: bool = Field(False, description="give it a new code: whoever came by the old one is shut out")


class TurnOut(BaseModel):
    number: int = Field(description="from 1 inside its session")
    asked_at: str
    question: str
    understood: str = Field(description="the question in full, as it was searched for")
    interrupted: bool
    answer: AnswerOut


class TurnList(BaseModel):
    session: SessionOut
    turns: list[TurnOut]


class MemoryOut(BaseModel):
    model_config = ConfigDict(extra="allow")

    memory_id: int
    kind: Literal["turn", "fact"]
    text: str
    said_at: str
    session_id: str
    speaker: str
    pinned: bool = Field(description="always recalled")


class MemoryList(BaseModel):
    memories: list[MemoryOut]


class MemoryChange(Given):
    text: str | None = Field(None, max_length=8000)
    pinned: bool | None = None


@router.get("/sessions", response_model=SessionList, responses=documented(404))
def list_all(
    workspace: WorkspaceName,
    assistant: Lectern,
    query: Annotated[str, Query(max_length=1000, description="words that were said, or of the title")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """Sessions, the one used last first."""
    return page.sessions(workspace, assistant, query=query, limit=limit)


@router.post("/sessions", response_model=SessionOut, status_code=201, **_SESSION)
def create(workspace: WorkspaceName, wanted: NewSession, assistant: Lectern) -> dict[str, Any]:
    """Begin a session."""
    return page.create_session(workspace, page.NewSession(title=wanted.title), assistant)


@router.post("/sessions/join", response_model=SessionOut, **_SESSION)
def join(workspace: WorkspaceName, wanted: Join, assistant: Lectern) -> dict[str, Any]:
    """Take up a session that was begun elsewhere, on another device or by another user, by its code."""
    return page.join(workspace, page.Join(code=wanted.code), assistant)


@router.get("/sessions/{session:session}", response_model=SessionOut, responses=documented(404))
def show(workspace: WorkspaceName, session: SessionId, assistant: Lectern) -> dict[str, Any]:
    """One session, with its code."""
    return page.session(workspace, session, assistant)


@router.patch("/sessions/{session:session}", response_model=SessionOut, **_SESSION)
def change(workspace: WorkspaceName, session: SessionId, changed: SessionChange, assistant: Lectern) -> dict[str, Any]:
    """Rename it, or switch long-term memory on or off."""
    wanted = page.SessionChange(title=changed.title, remember=changed.remember, new_code=changed.new_code)
    return page.change_session(workspace, session, wanted, assistant)


@router.delete("/sessions/{session:session}", status_code=204, responses=documented(404))
def delete(workspace: WorkspaceName, session: SessionId, assistant: Lectern) -> Response:
    """Delete it without trace, its memories included."""
    return page.delete_session(workspace, session, assistant)


@router.get("/sessions/{session:session}/turns", response_model=TurnList, responses=documented(404))
def turns(
    workspace: WorkspaceName,
    session: SessionId,
    assistant: Lectern,
    after: Annotated[int, Query(ge=0, le=2**31, description="only turns above this number")] = 0,
    before: Annotated[int, Query(ge=0, le=2**31, description="only turns below this number; 0: all")] = 0,
    last: Annotated[
        int | None, Query(ge=1, le=page.MAX_TURNS, description="of these the last ones; else the first 1000")
    ] = None,
) -> dict[str, Any]:
    """Questions and answers of a session, in order."""
    talk = assistant.talk(workspace, session)
    sheets = Sheets(assistant.workspace(workspace))
    chosen = talk.turns(after=after, before=before, first=page.MAX_TURNS, last=last)
    found = [page.turn_json(turn, sheets=sheets) for turn in chosen]
    for turn in found:
        turn["answer"] = answer_shape(turn["answer"])
    return {"session": page.session_json(talk.info), "turns": found}


@router.get("/sessions/{session:session}/export", response_class=Response, responses=documented(404))
def export(
    workspace: WorkspaceName,
    session: SessionId,
    assistant: Lectern,
    format: Annotated[Literal["md", "json"], Query()] = "md",
) -> Response:
    """The whole session as a file, Markdown or JSON."""
    assistant.talk(workspace, session)  # 404 for one that is not there
    return page.export(workspace, session, assistant, format=format)


@router.get("/memories", response_model=MemoryList, responses=documented(404))
def memories(
    workspace: WorkspaceName,
    assistant: Lectern,
    query: Annotated[str, Query(max_length=1000, description="words in them")] = "",
    kind: Annotated[Literal["turn", "fact"] | None, Query()] = None,
    pinned: bool = False,
    before: Annotated[int, Query(ge=0, le=2**62, description="a memory's id: only older ones")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """What is remembered from the sessions of a workspace, latest first."""
    return page.memories(workspace, assistant, query=query, kind=kind, pinned=pinned, before=before, limit=limit)


@router.patch("/memories/{memory}", response_model=MemoryOut, **_SESSION)
def change_memory(
    workspace: WorkspaceName, memory: MemoryId, changed: MemoryChange, assistant: Lectern
) -> dict[str, Any]:
    """Correct what is remembered, or pin it."""
    wanted = page.MemoryChange(text=changed.text, pinned=changed.pinned)
    found = page.change_memory(workspace, memory, wanted, assistant)["memories"]
    if not found:
        raise NotFoundError(f"there is no memory {memory}", remedy="It may have been forgotten")
    return found[0]


@router.delete("/memories/{memory}", status_code=204, responses=documented(404))
def forget(workspace: WorkspaceName, memory: MemoryId, assistant: Lectern) -> Response:
    """Forget it."""
    return page.forget(workspace, memory, assistant)
