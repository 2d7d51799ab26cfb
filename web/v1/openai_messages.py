"""What OpenAI's clients ask: the question out of the messages, and what is refused because it cannot be done."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from fastapi import Request

from web.v1.errors import ApiError
from web.v1.openai_reply import Reply, check_workspace, prepare
from web.v1.openai_schemas import ChatMessage, ChatRequest, CompletionRequest, Sampling
from web.wiring import Assistant

MAX_STOPS = 16


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
    return prepare(request, assistant, wanted, question, history, limit, also_sent=told)


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
