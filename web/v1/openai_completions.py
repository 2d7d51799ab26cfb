"""/v1/completions, the older form without messages, which some clients still prefer: `prompt` is the question."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from web.api import Lectern
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.openai_messages import refuse_unsupported
from web.v1.openai_reply import ANSWERS, failed, prepare
from web.v1.openai_schemas import CompletionRequest
from web.v1.streams import server_sent, sse

router = APIRouter(tags=["openai"], route_class=BoundedRoute)


@router.post("/completions", responses={**ANSWERS, **documented(404, 413, 415, 429, 503)}, max_body_size=2**20)
async def complete(wanted: CompletionRequest, request: Request, assistant: Lectern) -> Response:
    """The older form: `prompt` is the question."""
    refuse_unsupported(wanted)
    prompts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise ApiError("one prompt, as a text, is answered at once", remedy="Send prompts one by one", param="prompt")
    question = prompts[0]
    reply, count = await run_in_threadpool(prepare, request, assistant, wanted, question, [], wanted.max_tokens)
    head: dict[str, Any] = {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": wanted.model,
    }

    def choice(text: str, reason: str | None, **extension: Any) -> list[dict[str, Any]]:
        return [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason, **extension}]

    def chunks() -> Iterator[dict[str, Any]]:
        for text, citation in reply.pieces(assistant):
            yield {**head, "choices": choice(text, None, **({"citations": [citation]} if citation else {}))}
        yield {**head, "choices": choice("", reply.cut.reason, refused=reply.refused)}
        if wanted.stream_options and wanted.stream_options.include_usage:
            yield {**head, "choices": [], "usage": reply.usage(count)}

    if wanted.stream:
        return await server_sent(request.url.path, chunks(), sse, last=sse("[DONE]"), fail=failed)

    def whole() -> dict[str, Any]:
        for _ in reply.pieces(assistant):
            pass
        text = choice(reply.cut.text, reply.cut.reason, citations=reply.citations, refused=reply.refused)
        return {**head, "choices": text, "usage": reply.usage(count)}

    return JSONResponse(await run_in_threadpool(whole))
