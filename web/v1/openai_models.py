"""/v1/models: workspaces as models to chat with; the embedder, recogniser and voice under their own names."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from web.api import Lectern
from web.v1.access import visible
from web.v1.errors import ApiError, documented
from web.wiring import Assistant

router = APIRouter(tags=["openai"])


class Model(BaseModel):
    id: str = Field(examples=["lease"])
    object: Literal["model"] = "model"
    created: int = Field(description="seconds since 1970")
    owned_by: str = "lectern"
    kind: Literal["workspace", "embedding", "transcription", "speech"] = Field(description="what it is good for")


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models", response_model=ModelList)
def list_all(request: Request, assistant: Lectern) -> ModelList:
    """Workspaces first: their names are what /v1/chat/completions takes as `model`."""
    return ModelList(data=models(request, assistant))


@router.get("/models/{model:path}", response_model=Model, responses=documented(404))
def show(model: str, request: Request, assistant: Lectern) -> Model:
    """One of them."""
    for known in models(request, assistant):
        if known.id == model:
            return known
    raise unknown_model(model, visible(request, assistant.workspaces()))


def models(request: Request, assistant: Assistant) -> list[Model]:
    from ingest.embedders import embedder_name
    from ingest.workspace import workspace_path
    from omni.asr import recogniser_name

    settings = assistant.settings
    found = []
    for name in visible(request, assistant.workspaces()):
        folder = workspace_path(settings.home, name)
        created = int(folder.stat().st_ctime) if folder.is_dir() else 0
        found.append(Model(id=name, created=created, kind="workspace"))
    others: list[tuple[str, Any]] = [
        (embedder_name(settings.embedder), "embedding"),
        (recogniser_name(settings.speech), "transcription"),
        (f"voice:{settings.speech.voice}", "speech"),
    ]
    return [*found, *(Model(id=name, created=0, kind=kind) for name, kind in others)]


def unknown_model(model: str, workspaces: list[str]) -> ApiError:
    known = ", ".join(workspaces[:20]) or "none yet"
    return ApiError(
        f"there is no model {model!r}",
        remedy=f"A model is the name of a workspace; there are: {known}",
        status=404,
        code="model_not_found",
        param="model",
    )
