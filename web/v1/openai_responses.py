"""/v1/responses, OpenAI's newer form of a chat: `input` is the question, or messages that end with it.

Citations come as annotations of the text, with the address of the page, and in full in our extension `citations`.
Nothing is stored under a response's id: send the messages again, or use a session of ours.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from web.api import MAX_RECORDING_BYTES, Lectern
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.openai_messages import prepare_chat, refuse_unsupported
from web.v1.openai_reply import ANSWERS, Reply, page_links
from web.v1.openai_schemas import ChatMessage, ChatRequest, Lenient
from web.v1.streams import server_sent, sse
from web.wiring import Assistant

router = APIRouter(tags=["openai"], route_class=BoundedRoute)


class ResponseRequest(Lenient):
    model: str = Field(description="the name of a workspace", examples=["lease"])
    input: str | list[dict[str, Any]] = Field(examples=["How long is the notice period?"])
    stream: bool | None = None
    max_output_tokens: int | None = Field(None, ge=1, description="longest answer, in tokens of the embedder")
    previous_response_id: str | None = None
    background: bool | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    text: dict[str, Any] | None = None


@router.post(
    "/responses",
    responses={**ANSWERS, **documented(404, 413, 415, 429, 503)},
    max_body_size=MAX_RECORDING_BYTES * 4 // 3 + 2**20,
)
async def respond(wanted: ResponseRequest, request: Request, assistant: Lectern) -> Response:
    """Answer from the documents of the workspace `model`, with citations as annotations."""
    chat = as_chat(wanted)
    reply, count = await run_in_threadpool(prepare_chat, request, assistant, chat)
    told = _Response(wanted, reply, count, str(request.base_url))
    if wanted.stream:
        events = told.events(assistant)
        return await server_sent(
            request.url.path,
            events,
            lambda event: sse(event, event["type"]),
            fail=lambda error: sse(_failed(error), "error"),
        )

    def whole() -> dict[str, Any]:
        for _ in reply.pieces(assistant):
            pass
        return told.finished()

    return JSONResponse(await run_in_threadpool(whole))


def as_chat(wanted: ResponseRequest) -> ChatRequest:
    """The same as a chat completion. Raises ApiError for what is not done here."""
    if wanted.previous_response_id:
        raise ApiError(
            "responses are not kept under their id",
            remedy="Send the earlier messages in input",
            code="unsupported_parameter",
            param="previous_response_id",
        )
    if wanted.background:
        raise ApiError(
            "answers are not computed in the background",
            remedy="Leave background out, or stream",
            code="unsupported_parameter",
            param="background",
        )
    items = [{"role": "user", "content": wanted.input}] if isinstance(wanted.input, str) else wanted.input
    messages = []
    for index, item in enumerate(items):
        if item.get("type", "message") != "message":
            continue  # reasoning, calls of tools: no words of the conversation
        content = item.get("content")
        if not isinstance(item.get("role"), str) or not isinstance(content, str | list):
            raise ApiError(
                f"item {index} has no role or no content", remedy="Send role and content", param=f"input.{index}"
            )
        messages.append(ChatMessage.model_validate({"role": item["role"], "content": content}))
    if not messages:
        raise ApiError("input is empty", remedy="Send the question", param="input")
    chat = ChatRequest(
        model=wanted.model,
        messages=messages,
        max_tokens=wanted.max_output_tokens,
        tools=wanted.tools,
        tool_choice=wanted.tool_choice,
        response_format=(wanted.text or {}).get("format"),
    )
    refuse_unsupported(chat)
    return chat


class _Response:
    """The object `response` at any moment, and the events on the way to it."""

    def __init__(
        self, wanted: ResponseRequest, reply: Reply, count_tokens: Callable[[str], int], base_url: str
    ) -> None:
        self.wanted, self.reply, self.count, self.base_url = wanted, reply, count_tokens, base_url
        self.id, self.item_id = f"resp_{uuid.uuid4().hex}", f"msg_{uuid.uuid4().hex}"
        self.created = int(time.time())

    def _object(self, status: str, output: list[dict[str, Any]], **further: Any) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "model": self.wanted.model,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
            "usage": None,
            **further,
        }

    def _part(self) -> dict[str, Any]:
        links = [{"type": "url_citation", **link["url_citation"]} for link in page_links(self.base_url, self.reply)]
        return {"type": "output_text", "text": self.reply.cut.text, "annotations": links, "logprobs": []}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "message", "id": self.item_id, "role": "assistant", "status": status, "content": content}

    def finished(self) -> dict[str, Any]:
        cut_short = self.reply.cut.reason == "length"
        status = "incomplete" if cut_short else "completed"
        used = self.reply.usage(self.count)
        return self._object(
            status,
            [self._message(status, [self._part()])],
            incomplete_details={"reason": "max_output_tokens"} if cut_short else None,
            usage={
                "input_tokens": used["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": used["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": used["total_tokens"],
            },
            citations=self.reply.citations,
            refused=self.reply.refused,
        )

    def events(self, assistant: Assistant) -> Iterator[dict[str, Any]]:
        """In OpenAI's order, numbered from 0."""
        for number, event in enumerate(self._events(assistant)):
            yield {**event, "sequence_number": number}

    def _events(self, assistant: Assistant) -> Iterator[dict[str, Any]]:
        pieces = self.reply.pieces(assistant)
        first = next(pieces, ("", None))  # what fails at once has a status of its own
        begun = self._object("in_progress", [])
        at = {"item_id": self.item_id, "output_index": 0, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        yield {"type": "response.output_item.added", "output_index": 0, "item": self._message("in_progress", [])}
        yield {"type": "response.content_part.added", **at, "part": empty}
        try:
            for text, _ in itertools.chain([first], pieces):
                if text:
                    yield {"type": "response.output_text.delta", **at, "delta": text, "logprobs": []}
        finally:
            pieces.close()  # type: ignore[attr-defined]  # a generator
        done = self.finished()
        message = done["output"][0]
        part = message["content"][0]
        yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
        yield {"type": "response.output_item.done", "output_index": 0, "item": message}
        yield {"type": f"response.{done['status']}", "response": done}


def _failed(error: dict[str, Any]) -> dict[str, Any]:
    return {"type": "error", "code": error["code"], "message": error["message"], "param": error["param"]}
