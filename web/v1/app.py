"""The API under /v1 as an application of its own: its OpenAPI document, its errors, its 404 and 405.

    add_v1(app, assistant)

This is the stable interface: what is here keeps its meaning as long as the path says v1; fields may be added. (/api,
web/api.py, belongs to the page and changes with it.) One module holds one concern; OpenAI's endpoints are openai_*.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.v1 import (
    documents,
    health,
    openai_audio,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_models,
    openai_responses,
    pages,
    questions,
    sessions,
    speech,
    workspaces,
)
from web.v1.addresses import WholePath
from web.v1.bounded import HeadAndOptions
from web.v1.errors import add_v1_errors, refusals

if TYPE_CHECKING:
    from web.wiring import Assistant

VERSION = "1.0"
_DESCRIPTION = """\
Ask your documents: upload, search, ask with citations that point at characters and boxes of a page, speak and listen.

* Every failure answers `{"error": {"message", "remedy", "type", "code", "param"}}`.
* Where a login is set up, send `Authorization: Bearer KEY`; without one any such header is ignored.
* Streams are server-sent events; comment lines keep the connection alive.
* OpenAI's clients work with `base_url` = this address: a workspace is a model.
"""
_TAGS = [
    {"name": "workspaces", "description": "Separate sets of documents; nothing leaks from one to another."},
    {"name": "documents", "description": "Upload, follow, list and remove."},
    {"name": "pages", "description": "What stands on a page, and where on the sheet."},
    {"name": "questions", "description": "Search, and answers with citations."},
    {"name": "sessions", "description": "Conversations that are kept, and what is remembered from them."},
    {"name": "speech", "description": "Recordings to text, text to sound."},
    {"name": "openai", "description": "As OpenAI's clients expect it; `model` is a workspace."},
    {"name": "service", "description": "Is it up?"},
]
_FORM_ROOM = 2**20  # what a multipart form holds beside the file


class V1:
    """The application with HEAD and OPTIONS around it; `app` is the FastAPI app, for its OpenAPI document."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._asgi: ASGIApp = HeadAndOptions(app, router=app.router)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def noticing(message: Message) -> None:
            nonlocal answered
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._asgi(scope, receive, noticing)
        except Exception:
            if (
                not answered
            ):  # else Starlette only passes on what is answered and logged, and the connection would break
                raise

    def openapi(self) -> dict[str, Any]:
        return {**self.app.openapi(), "servers": [{"url": "/v1"}]}


class _Described(FastAPI):
    """Its OpenAPI document says that a key may be sent, and is needed only where there is a login."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            described = super().openapi()
            schemes = described.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes["key"] = {"type": "http", "scheme": "bearer", "description": "an API key, where there is a login"}
            described["security"] = [{}, {"key": []}]
        assert self.openapi_schema is not None
        return self.openapi_schema


def add_v1(app: FastAPI, assistant: Assistant) -> V1:
    """Put the API under /v1 of `app`."""
    v1 = build_v1(assistant)
    app.router.routes.append(WholePath("/v1", v1, name="v1"))
    return v1


def build_v1(assistant: Assistant) -> V1:
    """The API over one assistant."""
    app = _Described(
        title="Lectern",
        version=VERSION,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
        responses=refusals(),
        max_body_size=assistant.settings.ingest.max_file_mb * 2**20 + _FORM_ROOM,
    )
    app.state.assistant = assistant
    add_v1_errors(app)
    for part in (
        workspaces,
        pages,  # before documents, whose names may hold slashes
        documents,
        questions,
        sessions,
        speech,
        openai_chat,
        openai_completions,
        openai_responses,
        openai_embeddings,
        openai_audio,
        openai_models,
        health,
    ):
        app.include_router(part.router)
    return V1(app)
