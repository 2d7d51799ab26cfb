"""/v1/embeddings: the vectors that the search itself uses."""

from __future__ import annotations

import base64
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from web.api import Lectern
from web.v1.access import visible
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.openai_schemas import Lenient
from web.wiring import Assistant

router = APIRouter(tags=["openai"], route_class=BoundedRoute)

MAX_INPUTS = 2048
MAX_CHARACTERS = 100_000  # of one input; what is beyond the model's window is not embedded, as ever
ALIASES = ("text-embedding-",)  # OpenAI's names, which clients have as defaults: they mean the one that is here


class Embed(Lenient):
    input: str | list[str] | list[int] | list[list[int]] = Field(examples=[["How long is the notice period?"]])
    model: str = Field(examples=["bundled:all-MiniLM-L6-v2"])
    encoding_format: Literal["float", "base64"] | None = Field(None, description="base64: little-endian float32")
    dimensions: int | None = Field(None, description="only the model's own is possible")
    input_type: Literal["passage", "query"] | None = Field(None, description="for embedders that tell these apart")


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str = Field(description="what has embedded, whatever name was asked for")
    usage: EmbeddingUsage


@router.post(
    "/embeddings",
    response_model=EmbeddingList,
    responses=documented(404, 413, 415, 429, 503),
    max_body_size=32 * 2**20,
)
def embed(wanted: Embed, request: Request, assistant: Lectern) -> dict[str, Any]:
    """Unit vectors, in the order of the inputs. `model`: the embedder's name, a workspace, or one of OpenAI's names."""
    check_model(request, assistant, wanted.model)
    texts = texts_of(wanted.input)
    embedder = assistant.embedder()
    if wanted.dimensions is not None and wanted.dimensions != embedder.dim:
        raise ApiError(
            f"{embedder.name} has {embedder.dim} dimensions, not {wanted.dimensions}",
            remedy="Leave dimensions out",
            param="dimensions",
        )
    if wanted.input_type == "query":
        vectors: Any = [embedder.embed_query(text) for text in texts]
    else:
        vectors = embedder.embed_passages(texts)
    tokens = sum(embedder.count_tokens(text) for text in texts)
    encode = _base64 if wanted.encoding_format == "base64" else _floats
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(vectors)],
        "model": embedder.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def texts_of(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """The inputs as texts. Raises ApiError for what cannot be embedded."""
    inputs = [given] if isinstance(given, str) else given
    if not inputs:
        raise ApiError("input is empty", remedy="Send a text, or a list of texts", param="input")
    if any(not isinstance(text, str) for text in inputs):
        raise ApiError(
            "input holds token numbers, which only OpenAI's own models share",
            remedy="Send texts (in LangChain: OpenAIEmbeddings(..., check_embedding_ctx_length=False))",
            param="input",
        )
    texts = [text for text in inputs if isinstance(text, str)]
    if len(texts) > MAX_INPUTS:
        raise ApiError(
            f"{len(texts)} inputs are more than {MAX_INPUTS}", remedy="Send them in several requests", param="input"
        )
    for index, text in enumerate(texts):
        if not text.strip():
            raise ApiError(f"input {index} is empty", remedy="Leave empty texts out", param="input")
        if len(text) > MAX_CHARACTERS:
            raise ApiError(
                f"input {index} has more than {MAX_CHARACTERS:,} characters",
                remedy="Embed it in parts: a vector of a whole book finds nothing",
                param="input",
            )
    return texts


def check_model(request: Request, assistant: Assistant, model: str) -> None:
    from ingest.embedders import embedder_name

    own = embedder_name(assistant.settings.embedder)
    if model in (own, own.removeprefix("bundled:"), own.rpartition("/")[2]) or model.startswith(ALIASES):
        return
    if model not in visible(request, assistant.workspaces()):
        raise ApiError(
            f"there is no embedding model {model!r}",
            remedy=f"Use {own!r}",
            status=404,
            code="model_not_found",
            param="model",
        )


def _floats(vector: Any) -> list[float]:
    return [float(value) for value in vector]


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
