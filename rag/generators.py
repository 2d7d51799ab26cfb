"""Chat models behind one setting, through LangChain: OpenAI-compatible servers, Ollama, local Hugging Face models.

    generator = build_generator(AnswerSettings(model="ollama:llama3.2"))
    for piece in generator.generate("Be brief.", [("user", "Hello")]): ...

`openai:NAME` speaks to `base_url` (vLLM, llama.cpp, LM Studio, any cloud); `ollama:NAME` to `base_url` or Ollama's
default port; `hf:ID_OR_PATH` runs in this process. Packages and models are loaded at the first reply. Everything that
goes wrong with a model or its server is a ModelError with a remedy.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import LecternError, ModelError, UsageError
from core.runtime import require, resolve_device
from core.settings import AnswerSettings
from rag.types import TextGenerator

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

log = logging.getLogger(__name__)

KINDS = ("openai", "ollama", "hf")


def build_generator(settings: AnswerSettings, *, device: str = "auto") -> TextGenerator | None:
    """The generator of `settings.model`; None for "extractive". Raises UsageError for a kind that does not exist."""
    if settings.model == "extractive":
        return None
    kind, _, name = settings.model.partition(":")
    if kind not in KINDS or not name:
        raise UsageError(
            f"answer.model = {settings.model!r} names no model",
            remedy="Write extractive, openai:NAME, ollama:NAME or hf:PATH_OR_ID",
        )
    makers: dict[str, Callable[[], BaseChatModel]] = {
        "openai": lambda: _openai(name, settings),
        "ollama": lambda: _ollama(name, settings),
        "hf": lambda: _hugging_face(name, settings, device),
    }
    return LangChainGenerator(settings.model, makers[kind], timeout_s=settings.timeout_s)


class LangChainGenerator:
    """Any LangChain chat model as a TextGenerator. Thread-safe; the model is made at the first use."""

    def __init__(self, name: str, make_model: Callable[[], BaseChatModel], *, timeout_s: float = 60.0) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._make_model = make_model
        self._model: BaseChatModel | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> BaseChatModel:
        with self._lock:
            if self._model is None:
                try:
                    self._model = self._make_model()
                except LecternError:
                    raise
                except Exception as error:  # whatever a model library raises: a wrong id, no file, no memory
                    raise ModelError(
                        f"the model {self.name} cannot be loaded ({_first_line(error)})",
                        remedy="Check answer.model, or set it to extractive",
                    ) from error
            return self._model

    def generate(self, system: str, messages: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Stream the reply to (role, text) messages. Raises ModelError if the model fails or is silent too long."""
        chat = [("system", system), *(("human" if role == "user" else "ai", text) for role, text in messages)]
        stream = self.model.stream(chat)
        for chunk in _with_timeout(stream, self.timeout_s, self._failed):
            text = chunk.content if isinstance(chunk.content, str) else _text_of(chunk.content)
            if text:
                yield text

    def _failed(self, error: BaseException) -> ModelError:
        if isinstance(error, TimeoutError):
            return ModelError(
                f"{self.name} was silent for {self.timeout_s:g} s",
                remedy="Raise answer.timeout_s or use a smaller model",
            )
        return ModelError(
            f"{self.name} failed ({_first_line(error)})",
            remedy="Check that its server is running at answer.base_url and knows this model",
        )


def _with_timeout(
    stream: Iterator[Any], timeout_s: float, failed: Callable[[BaseException], ModelError]
) -> Iterator[Any]:
    """Read `stream` in a thread, so that neither a server that trickles comments nor a stalled one can hang the answer.

    The reader ends with the stream, or at the next chunk after the consumer has gone.
    """
    chunks: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=256)
    gone = threading.Event()

    def put(item: tuple[str, Any]) -> None:
        while not gone.is_set():
            try:
                chunks.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for chunk in stream:
                put(("chunk", chunk))
                if gone.is_set():
                    break
            put(("end", None))
        except Exception as error:  # client libraries raise httpx, json, value and their own errors
            put(("error", error))
        finally:
            if gone.is_set() and hasattr(stream, "close"):
                stream.close()

    threading.Thread(target=read, name="chat-model", daemon=True).start()
    try:
        while True:
            try:
                kind, value = chunks.get(timeout=timeout_s)
            except queue.Empty:
                raise failed(TimeoutError()) from None
            if kind == "error":
                raise failed(value) from value
            if kind == "end":
                return
            yield value
    finally:
        gone.set()


def _openai(name: str, settings: AnswerSettings) -> BaseChatModel:
    module = require("langchain_openai", needed_for="OpenAI-compatible models", package="langchain-openai")
    key = settings.api_key or os.environ.get("OPENAI_API_KEY", "")
    if not key and not settings.base_url:
        raise ModelError(
            f"openai:{name} needs an endpoint or a key",
            remedy="Set answer.base_url, or OPENAI_API_KEY for OpenAI itself",
        )
    return module.ChatOpenAI(
        model=name, base_url=settings.base_url or None, api_key=key or "none", temperature=settings.temperature,
        timeout=settings.timeout_s, max_retries=0, max_tokens=settings.max_new_tokens, stream_usage=False,
    )  # fmt: skip


def _ollama(name: str, settings: AnswerSettings) -> BaseChatModel:
    module = require("langchain_ollama", needed_for="Ollama models", package="langchain-ollama")
    return module.ChatOllama(
        model=name, base_url=settings.base_url or None, temperature=settings.temperature,
        num_predict=settings.max_new_tokens, client_kwargs={"timeout": settings.timeout_s},
        num_ctx=_context_window(settings),
    )  # fmt: skip


def _context_window(settings: AnswerSettings) -> int:
    """Ollama cuts prompts at 2048 tokens unless told: passages, history and reply must fit."""
    needed = settings.context_tokens + settings.max_new_tokens + 2500
    return 1 << (needed - 1).bit_length()


def _hugging_face(name: str, settings: AnswerSettings, device: str) -> BaseChatModel:
    module = require("langchain_huggingface", needed_for="local Hugging Face models", package="langchain-huggingface")
    transformers = require("transformers", needed_for="local Hugging Face models")
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    target = resolve_device(device)
    dtype = "auto" if target.type == "cuda" else None
    model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype).to(target).eval()
    if tokenizer.chat_template is None:  # a base model: plain turns
        tokenizer.chat_template = PLAIN_TEMPLATE
    # Given to the pipeline because LangChain's stream hands no generation settings on.
    generation: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens, "do_sample": settings.temperature > 0}
    if settings.temperature > 0:
        generation["temperature"] = settings.temperature
    pipe = transformers.pipeline(
        "text-generation", model=model, tokenizer=tokenizer, return_full_text=False, **generation
    )
    llm = module.HuggingFacePipeline(pipeline=pipe, model_id=name)
    return module.ChatHuggingFace(llm=llm, tokenizer=tokenizer, model_id=name)


PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def _text_of(parts: Sequence[Any]) -> str:
    """The text of a message whose content comes in parts (some servers send lists)."""
    return "".join(p if isinstance(p, str) else p.get("text", "") for p in parts if isinstance(p, str | dict))


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0][:200] if text else type(error).__name__).rstrip(".")
