"""/v1/chat/completions and the older /v1/completions: `model` is a workspace, the last user message the question.

Earlier messages complete the question ("And in 2020?") and are the history of a chat model. System messages are passed
over: how documents are answered from is not the caller's to change. Extensions: `citations` and `refused` in the
message, and in the deltas of a stream.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from web.api import MAX_RECORDING_BYTES, Lectern
from web.v1.access import require, visible
from web.v1.bounded import BoundedRoute
from web.v1.cutting import Cut
from web.v1.errors import ApiError, documented
from web.v1.openai_models import unknown_model
from web.v1.openai_schemas import ChatCompletion, ChatMessage, ChatRequest, CompletionRequest, Sampling
from web.v1.questions import answer_events
from web.v1.streams import server_sent, sse
from web.v1.workspaces import exists
from web.wiring import Assistant

router = APIRouter(tags=["openai"], route_class=BoundedRoute)

MAX_STOPS = 16
_MARKER = re.compile(r"\[(\d+)\]")
_BODY = MAX_RECORDING_BYTES * 4 // 3 + 2**20
_ANSWERS = {200: {"content": {"text/event-stream": {}}, "description": "The answer; with `stream` its chunks"}}


@dataclass
class Reply:
    """An answer under way, as `pieces` yields it."""

    workspace: str
    question: str
    history: Sequence[tuple[str, str]]
    cut: Cut
    prompt_tokens: int
    citations: list[dict[str, Any]] = field(default_factory=list)
    refused: bool = False
    written_by: str | None = None

    def pieces(self, assistant: Assistant) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """(text, citation) as they come; either may be empty. Afterwards the other fields are true."""
        events = answer_events(assistant, self.question, self.workspace, history=self.history)
        try:
            for kind, data in events:
                if kind == "text":
                    if shown := self.cut.feed(data["text"]):
                        yield shown, None
                elif kind == "citation":
                    self.citations.append(data)
                    yield "", data
                elif kind == "answer":
                    self.refused, self.written_by = data["refused"], data["model"]
                    known = {citation["n"] for citation in self.citations}
                    for citation in data["citations"]:
                        if citation["n"] not in known:
                            self.citations.append(citation)
                            yield "", citation
                if self.cut.done:
                    break
            if shown := self.cut.finish():
                yield shown, None
        finally:
            events.close()  # type: ignore[attr-defined]  # a generator
        if self.cut.done:  # citations of sentences that are not shown go as well
            left = {int(n) for n in _MARKER.findall(self.cut.text)}
            self.citations = [citation for citation in self.citations if citation["n"] in left]

    def usage(self, count_tokens: Callable[[str], int]) -> dict[str, int]:
        written = count_tokens(self.cut.text)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={**_ANSWERS, **documented(404, 413, 415, 429, 503)},
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
        return await server_sent(request.url.path, chunks, sse, last=sse("[DONE]"), fail=_failed)

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
            "annotations": annotations(str(request.base_url), reply),
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


@router.post("/completions", responses={**_ANSWERS, **documented(404, 413, 415, 429, 503)}, max_body_size=2**20)
async def complete(wanted: CompletionRequest, request: Request, assistant: Lectern) -> Response:
    """The older form: `prompt` is the question."""
    refuse_unsupported(wanted)
    prompts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise ApiError("one prompt, as a text, is answered at once", remedy="Send prompts one by one", param="prompt")
    question = prompts[0]
    reply, count = await run_in_threadpool(_prepare, request, assistant, wanted, question, [], wanted.max_tokens)
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
        return await server_sent(request.url.path, chunks(), sse, last=sse("[DONE]"), fail=_failed)

    def whole() -> dict[str, Any]:
        for _ in reply.pieces(assistant):
            pass
        text = choice(reply.cut.text, reply.cut.reason, citations=reply.citations, refused=reply.refused)
        return {**head, "choices": text, "usage": reply.usage(count)}

    return JSONResponse(await run_in_threadpool(whole))


# ---- what is asked ----------------------------------------------------------------------------------------------


def refuse_unsupported(wanted: Sampling) -> None:
    """Raises ApiError for what would change the answer and is not done; the rest of a request is accepted."""

    def refuse(param: str, message: str, remedy: str) -> None:
        raise ApiError(message, remedy=remedy, status=400, code="unsupported_parameter", param=param)

    if wanted.n is not None and wanted.n != 1:
        refuse("n", "one answer is given, not several", "Leave n out, or send 1")
    if wanted.logprobs:
        refuse("logprobs", "answers that quote documents have no log probabilities", "Leave logprobs out")
    if isinstance(wanted.stop, list) and len(wanted.stop) > MAX_STOPS:
        refuse("stop", f"more than {MAX_STOPS} stop sequences", "Send fewer")
    if isinstance(wanted, CompletionRequest):
        if wanted.best_of is not None and wanted.best_of != 1:
            refuse("best_of", "one answer is given, not several", "Leave best_of out, or send 1")
        return
    assert isinstance(wanted, ChatRequest)
    if wanted.top_logprobs:
        refuse("top_logprobs", "answers that quote documents have no log probabilities", "Leave top_logprobs out")
    if wanted.tools and wanted.tool_choice != "none":
        refuse("tools", "tools are not called here", "Leave tools out; agents may use Lectern itself as a tool: /mcp")
    if wanted.functions and wanted.function_call != "none":
        refuse("functions", "functions are not called here", "Leave functions out")
    kind = (wanted.response_format or {}).get("type", "text")
    if kind != "text":
        refuse("response_format", f"the format {kind} is not written here", "Leave response_format out")
    if any(modality != "text" for modality in wanted.modalities or ()):
        refuse("modalities", "answers are text here", "Speak them with /v1/audio/speech")


def prepare_chat(request: Request, assistant: Assistant, wanted: ChatRequest) -> tuple[Reply, Callable[[str], int]]:
    """The question and its history out of the messages; recordings in them are transcribed. Raises ApiError."""
    check_workspace(request, assistant, wanted.model)
    last = max((i for i, message in enumerate(wanted.messages) if message.role == "user"), default=None)
    if last is None:
        raise ApiError("no message has the role user", remedy="Send the question as a user message", param="messages")
    question = text_of(wanted.messages[last], assistant, wanted.model, f"messages.{last}")
    history = []
    for index, message in enumerate(wanted.messages[:last]):
        if message.role in ("user", "assistant"):
            text = text_of(message, assistant, wanted.model, f"messages.{index}")
            if text:
                history.append((message.role, text))
    told = [m.content for m in wanted.messages if m.role not in ("user", "assistant") and isinstance(m.content, str)]
    limit = wanted.max_completion_tokens or wanted.max_tokens
    return _prepare(request, assistant, wanted, question, history, limit, also_sent=told)


def _prepare(
    request: Request,
    assistant: Assistant,
    wanted: Sampling,
    question: str,
    history: Sequence[tuple[str, str]],
    max_tokens: int | None,
    *,
    also_sent: Sequence[str] = (),
) -> tuple[Reply, Callable[[str], int]]:
    from ingest.embedders import load_token_counter

    check_workspace(request, assistant, wanted.model)
    count = load_token_counter(assistant.settings.embedder)
    stops = [wanted.stop] if isinstance(wanted.stop, str) else list(wanted.stop or ())
    sent = sum(map(count, [question, *also_sent, *(text for _, text in history)]))
    cut = Cut(stops=stops, max_tokens=max_tokens, count_tokens=count)
    return Reply(wanted.model, question, history, cut, sent), count


def check_workspace(request: Request, assistant: Assistant, name: str) -> None:
    """Raises ApiError 404 (model_not_found) for what is no workspace, or none of the caller's."""
    names = visible(request, assistant.workspaces())
    if name not in names:
        raise unknown_model(name, names)
    require(request, name)
    if name != "default" and not exists(assistant, name):
        raise unknown_model(name, names)


def text_of(message: ChatMessage, assistant: Assistant, workspace: str, where: str) -> str:
    """The text of a message; parts are joined by line breaks. Raises ApiError for parts that are not understood."""
    if message.content is None or isinstance(message.content, str):
        return (message.content or "").strip()
    texts = []
    for number, part in enumerate(message.content):
        kind, param = part.get("type"), f"{where}.content.{number}"
        if kind in ("text", "input_text", "output_text", "refusal"):
            text = part.get("text", part.get("refusal"))
            if not isinstance(text, str):
                raise ApiError(f"a part of type {kind} needs a text", remedy="Correct the message", param=param)
            texts.append(text)
        elif kind == "input_audio":
            texts.append(heard(part.get("input_audio"), assistant, workspace, param))
        else:
            raise ApiError(
                f"parts of type {kind!r} are not understood",
                remedy="Send text or input_audio; documents are uploaded to the workspace",
                code="unsupported_parameter",
                param=param,
            )
    return "\n".join(texts).strip()


def heard(audio: Any, assistant: Assistant, workspace: str, param: str) -> str:
    """The words of an input_audio part {"data": base64, "format"}. Raises ApiError, AudioError."""
    from omni.audio import load_audio
    from omni.cascade import require_speech

    data = audio.get("data") if isinstance(audio, dict) else None
    if not isinstance(data, str) or not data:
        raise ApiError("input_audio needs data in base64", remedy="Send the sound file in base64", param=param)
    try:
        recording = base64.b64decode(data.partition("base64,")[2] or data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError("input_audio.data is no base64", remedy="Send the file in base64", param=param) from error
    transcript = assistant.transcribe(load_audio(recording), workspace)
    require_speech(transcript, "the recording")
    return transcript.text


# ---- what is answered -------------------------------------------------------------------------------------------


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


def annotations(base_url: str, reply: Reply) -> list[dict[str, Any]]:
    """Where in the answer each citation is marked, and the address of the page it stands on."""
    by_number = {citation["n"]: citation for citation in reply.citations}
    found = []
    for match in _MARKER.finditer(reply.cut.text):
        citation = by_number.get(int(match.group(1)))
        if citation is None:
            continue
        place = f"{quote(reply.workspace)}/documents/{quote(citation['document'])}/pages/{citation['page']}"
        found.append(
            {
                "type": "url_citation",
                "url_citation": {
                    "start_index": match.start(),
                    "end_index": match.end(),
                    "title": f"{citation['document']}, page {citation['page']}",
                    "url": f"{base_url.rstrip('/').removesuffix('/v1')}/v1/workspaces/{place}",
                },
            }
        )
    return found


def _failed(detail: dict[str, Any]) -> bytes:
    return sse({"error": detail})
