"""/v1/chat/completions: `model` is a workspace, the last user message the question.

Earlier messages complete the question ("And in 2020?") and are the history of a chat model. System messages are passed
over: how documents are answered from is not the caller's to change. Extensions: `citations` and `refused` in the
message, and in the deltas of a stream.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from web.api import MAX_RECORDING_BYTES, Lectern
from web.v1.bounded import BoundedRoute
from web.v1.errors import documented
from web.v1.openai_messages import prepare_chat, refuse_unsupported
from web.v1.openai_reply import ANSWERS, Reply, failed, page_links
from web.v1.openai_schemas import ChatCompletion, ChatRequest
from web.v1.streams import server_sent, sse
from web.wiring import Assistant

router = APIRouter(tags=["openai"], route_class=BoundedRoute)

_BODY = MAX_RECORDING_BYTES * 4 // 3 + 2**20


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={**ANSWERS, **documented(404, 413, 415, 429, 503)},
    max_body_size=_BODY,
)
async def chat(wanted: ChatRequest, request: Request, assistant: Lectern) -> Response:
    """Answer the last user message from the documents of the workspace `model`, with citations."""
    refuse_unsupported(wanted)
    reply, count = await run_in_threadpool(prepare_chat, request, assistant, wanted)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": wanted.model}
    if wanted.stream:
        with_usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
        chunks = chat_chunks(assistant, reply, head, count if with_usage else None)
        return await server_sent(request.url.path, chunks, sse, last=sse("[DONE]"), fail=failed)

    def whole() -> dict[str, Any]:
        for _ in reply.pieces(assistant):
            pass
        text = reply.cut.text
        message = {
            "role": "assistant",
            "content": text,
            "refusal": text if reply.refused else None,
            "refused": reply.refused,
            "citations": reply.citations,
            "annotations": page_links(str(request.base_url), reply),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.cut.reason}
        return {
            **head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": reply.usage(count),
            "system_fingerprint": reply.written_by,
        }

    return JSONResponse(await run_in_threadpool(whole))


def chat_chunks(
    assistant: Assistant, reply: Reply, head: dict[str, Any], count: Callable[[str], int] | None
) -> Iterator[dict[str, Any]]:
    """The chunks of a stream; `count`: of tokens, where usage is wanted as the last one."""

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "object": "chat.completion.chunk", "choices": [choice], **({"usage": None} if count else {})}

    begun = False
    for text, citation in reply.pieces(assistant):
        delta: dict[str, Any] = {} if begun else {"role": "assistant"}
        begun = True
        delta["content"] = text
        if citation is not None:
            delta["citations"] = [citation]
        yield chunk(delta)
    last: dict[str, Any] = {"refusal": reply.cut.text, "refused": True} if reply.refused else {}
    yield chunk(last, reply.cut.reason)
    if count is not None:
        usage = {**head, "object": "chat.completion.chunk", "choices": [], "usage": reply.usage(count)}
        yield usage
