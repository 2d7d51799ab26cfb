"""Chat completions as OpenAI's clients write and read them, with our extensions `citations` and `refused`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Lenient(BaseModel):
    """A request of a client that was written for another server: fields that mean nothing here are passed over."""

    model_config = ConfigDict(extra="ignore")


class ChatMessage(Lenient):
    role: str = Field(examples=["user"])
    content: str | list[dict[str, Any]] | None = Field(
        None, description="text, or parts: text, and input_audio, which is transcribed"
    )


class StreamOptions(Lenient):
    include_usage: bool | None = None


class Sampling(Lenient):
    """What clients send beside the question. temperature, top_p, seed, penalties, user, metadata are accepted."""

    model: str = Field(description="the name of a workspace", examples=["lease"])
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = Field(None, description="the answer ends before the first of these")
    max_tokens: int | None = Field(None, ge=1, description="longest answer, in tokens of the embedder")
    n: int | None = None
    logprobs: bool | int | None = None


class ChatRequest(Sampling):
    messages: list[ChatMessage] = Field(
        min_length=1, max_length=1000, examples=[[{"role": "user", "content": "How long is the notice period?"}]]
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="as max_tokens")
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    top_logprobs: int | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None


class CompletionRequest(Sampling):
    prompt: str | list[str] | list[int] | list[list[int]] = Field(examples=["How long is the notice period?"])
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class Usage(BaseModel):
    """Counted with the embedder's tokenizer: the texts sent, and the answer's text."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = Field(None, description="the text again, where the documents do not support an answer")
    refused: bool = False
    citations: list[dict[str, Any]] = Field([], description="as in /v1/workspaces/{workspace}/ask; [n] is their n")
    annotations: list[dict[str, Any]] = Field([], description="OpenAI's form: where in the text, and an address")


class ChatChoice(BaseModel):
    index: int = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None = Field(None, description="what wrote the answer")
