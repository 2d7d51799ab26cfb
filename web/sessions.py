"""Conversations and memories over REST. Errors as everywhere: `{"error": {"message", "remedy"}}`.

GET    /api/workspaces/{workspace}/sessions?query=&limit=        the one used last first; `query`: where it was said
POST   /api/workspaces/{workspace}/sessions                      {"title"} -> a new one
POST   /api/workspaces/{workspace}/sessions/join                 {"code"}: take one up: another device's, another user's
GET    /api/workspaces/{workspace}/sessions/{id}                 with its code
PATCH  /api/workspaces/{workspace}/sessions/{id}                 {"title", "remember", "new_code"}
DELETE /api/workspaces/{workspace}/sessions/{id}                 without trace, vectors included; a guest only leaves it
GET    /api/workspaces/{workspace}/sessions/{id}/turns?after=n&before=m&last=k   in order, at most 1000, whoever asked
POST   /api/workspaces/{workspace}/sessions/{id}/understand      {"question"}: how it would be read now
GET    /api/workspaces/{workspace}/sessions/{id}/export?format=  md or json, as a file
GET    /api/workspaces/{workspace}/memories?query=&kind=&pinned=&before=&limit=
PATCH  /api/workspaces/{workspace}/memories/{id}                 {"text", "pinned"}
DELETE /api/workspaces/{workspace}/memories/{id}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from fastapi import Request as HttpRequest
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from memory.types import Memory, SessionInfo, Turn
from rag.extractive import NOTHING_FOUND
from web.schemas import Request
from web.speech import Sheets, understood_json
from web.v1.bounded import BoundedRoute
from web.wiring import Assistant

router = APIRouter(prefix="/api/workspaces/{workspace}", route_class=BoundedRoute, max_body_size=2**20)

EXCERPT = 160  # characters of an answer shown where it was found
MAX_TURNS = 1000  # in one response; whoever wants more goes on after the last of them


def the_assistant(request: HttpRequest) -> Assistant:
    return request.app.state.assistant


Lectern = Annotated[Assistant, Depends(the_assistant)]


class NewSession(Request):
    title: str = Field("", max_length=1000)


class Join(Request):
    code: str = Field(min_length=1, max_length=64)


class SessionChange(Request):
    title: str | None = Field(None, max_length=1000)
    remember: bool | None = None
    new_code: bool = False  # whoever came by the old one is shut out


class Asked(Request):
    question: str = Field(min_length=1, max_length=8000)


class MemoryChange(Request):
    text: str | None = Field(None, max_length=8000)
    pinned: bool | None = None


# ---- sessions -------------------------------------------------------------------------------------------------


@router.get("/sessions")
def sessions(
    workspace: str,
    assistant: Lectern,
    query: Annotated[str, Query(max_length=1000)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """`found`, only with a query: per conversation the best turn that holds its words; null: its title does."""
    store = assistant.dialogue(workspace).store
    if not query.strip():
        infos = [*store.sessions(limit=limit), *(talk.info for talk in assistant.joined(workspace))]
        infos.sort(key=lambda info: info.updated_at, reverse=True)
        return {"sessions": [session_json(info) for info in infos[:limit]]}
    found: dict[str, dict[str, Any] | None] = {}
    for turn in store.search_sessions(query, limit=limit):
        found.setdefault(turn.session_id, _excerpt(turn))
    titled = store.sessions(title=query.strip(), limit=limit)
    for info in titled:
        found.setdefault(info.session_id, None)
    known = {info.session_id: info for info in titled} | {info.session_id: info for info in store.sessions_by_id(found)}
    for talk in assistant.joined(workspace):
        where = next(iter(talk.dialogue.store.search(query, session_id=talk.session_id, limit=1)), None)
        if where is not None or query.strip().casefold() in talk.info.title.casefold():
            known[talk.session_id], found[talk.session_id] = talk.info, _excerpt(where)
    listed = [{**session_json(known[key]), "found": where} for key, where in found.items() if key in known]
    return {"sessions": listed[:limit]}


def _excerpt(turn: Turn | None) -> dict[str, Any] | None:
    if turn is None:
        return None
    return {"number": turn.number, "question": turn.question, "answer": turn.answer[:EXCERPT]}


@router.post("/sessions", status_code=201)
def create_session(workspace: str, wanted: NewSession, assistant: Lectern) -> dict[str, Any]:
    return session_json(assistant.dialogue(workspace).start(wanted.title).info, code=True)


@router.post("/sessions/join")
def join(workspace: str, wanted: Join, assistant: Lectern) -> dict[str, Any]:
    return session_json(assistant.join(workspace, wanted.code).info, code=True)


@router.get("/sessions/{session}")
def session(workspace: str, session: str, assistant: Lectern) -> dict[str, Any]:
    return session_json(assistant.talk(workspace, session).info, code=True)


@router.patch("/sessions/{session}")
def change_session(workspace: str, session: str, change: SessionChange, assistant: Lectern) -> dict[str, Any]:
    talk = assistant.talk(workspace, session)
    if change.title is not None:
        talk.rename(change.title)
    if change.remember is not None:
        talk.remember(change.remember)
    if change.new_code:
        talk.renew_code()
    return session_json(talk.info, code=True)


@router.delete("/sessions/{session}", status_code=204)
def delete_session(workspace: str, session: str, assistant: Lectern) -> Response:
    assistant.talk(workspace, session).delete()
    return Response(status_code=204)


@router.get("/sessions/{session}/turns")
def turns(
    workspace: str,
    session: str,
    assistant: Lectern,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    before: Annotated[int, Query(ge=0, le=2**62)] = 0,
    last: Annotated[int | None, Query(ge=1, le=MAX_TURNS)] = None,
) -> dict[str, Any]:
    """`turns`: in order, of those above `after` and below `before` the `last` ones, else the first MAX_TURNS; as /ask
    sends an answer, for a page that redraws."""
    talk = assistant.talk(workspace, session)
    found = talk.turns(after=after, before=before, first=MAX_TURNS, last=last)
    sheets = Sheets(assistant.workspace(workspace))
    return {"session": session_json(talk.info), "turns": [turn_json(turn, sheets=sheets) for turn in found]}


@router.post("/sessions/{session}/understand")
def understand(workspace: str, session: str, asked: Asked, assistant: Lectern) -> dict[str, Any]:
    return understood_json(assistant.talk(workspace, session).understand(asked.question))


@router.get("/sessions/{session}/export")
def export(
    workspace: str, session: str, assistant: Lectern, format: Annotated[Literal["md", "json"], Query()] = "md"
) -> Response:
    from memory.export import export_json, export_markdown

    store = assistant.talk(workspace, session).dialogue.store
    pieces = export_markdown(store, session) if format == "md" else export_json(store, session)
    title = re.sub(r"[^\w -]", "", store.session(session).title).strip()[:60] or "conversation"
    return StreamingResponse(
        pieces,
        media_type=f"{'text/markdown' if format == 'md' else 'application/json'}; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(title)}.{format}"},
    )


# ---- memories -------------------------------------------------------------------------------------------------


@router.get("/memories")
def memories(
    workspace: str,
    assistant: Lectern,
    query: Annotated[str, Query(max_length=1000)] = "",
    kind: Annotated[Literal["turn", "fact"] | None, Query()] = None,
    pinned: bool = False,
    before: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Latest first, `before` a memory's id; with `query` those that have any of its words, best first."""
    store = assistant.dialogue(workspace).store
    found = store.memories(kind=kind, pinned=pinned, contains=query, before=before, limit=limit)
    titles = {info.session_id: info.title for info in store.sessions_by_id({memory.session_id for memory in found})}
    return {"memories": [{**memory_json(m), "session_title": titles.get(m.session_id, "")} for m in found]}


@router.patch("/memories/{memory}")
def change_memory(workspace: str, memory: int, change: MemoryChange, assistant: Lectern) -> dict[str, Any]:
    dialogue = assistant.dialogue(workspace)
    if change.text is not None:
        dialogue.store.edit(memory, change.text)
        dialogue.remember_soon()
    if change.pinned is not None:
        dialogue.store.pin(memory, change.pinned)
    return {"memories": [memory_json(found) for found in dialogue.store.memories_by_id([memory])]}


@router.delete("/memories/{memory}", status_code=204)
def forget(workspace: str, memory: int, assistant: Lectern) -> Response:
    dialogue = assistant.dialogue(workspace)
    dialogue.store.forget(memory)
    dialogue.remember_soon()
    return Response(status_code=204)


# ---- what is sent ---------------------------------------------------------------------------------------------


def session_json(info: SessionInfo, *, code: bool = False) -> dict[str, Any]:
    """A conversation; its code, which lets anybody continue it, only where it is asked for by itself."""
    values = asdict(info)
    if not code:
        values.pop("code")
    return values


def turn_json(turn: Turn, *, sheets: Mapping[str, bool]) -> dict[str, Any]:
    """A stored turn; `answer` in the form of web.schemas.answer_json."""
    kept = turn.details
    refused = bool(kept.get("refused"))
    nothing = refused and turn.answer.startswith(NOTHING_FOUND)
    citations = [{**each, "sheets": sheets[each["document"]]} for each in kept.get("citations", ())]
    return {
        "number": turn.number,
        "asked_at": turn.asked_at,
        "question": turn.question,
        "understood": turn.understood,
        "interrupted": bool(kept.get("interrupted")),
        "answer": {
            "question": turn.question,
            "answer": turn.answer,
            "shown": NOTHING_FOUND if nothing else turn.answer,
            "nothing": nothing,
            "refused": refused,
            "notice": kept.get("notice", ""),
            "citations": citations,
            "nearest": [each for each in citations if each["quote"]] if refused else [],
            "model": kept.get("model", ""),
            "timings_ms": {"total": kept["total_ms"]} if kept.get("total_ms") else {},
        },
    }


def memory_json(memory: Memory) -> dict[str, Any]:
    values = asdict(memory)
    for internal in ("previous", "score"):
        values.pop(internal)
    return values
