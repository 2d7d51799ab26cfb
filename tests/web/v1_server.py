"""A real server on loopback, in a thread: /v1 and /mcp over a small home, with vectors by hashing and quick sentences.

Tests import the fixtures that they use. One server a module; a test that changes documents makes its own workspace.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from documents import write_lease
from fastapi import FastAPI

from core.settings import load_settings
from ingest.pipeline import ingest_file
from omni.types import Segment, Transcript, Waveform
from web.accounts.middleware import AccountsMiddleware
from web.connections import PatientBodies
from web.fair_queue import FairQueue, Lanes
from web.guard import Guard
from web.mcp import build_server, http_app
from web.v1.app import add_v1
from web.wiring import Assistant, build

WORKSPACE = "lease"
QUESTION = "How long is the notice period of the mill house?"


class Tone:
    """A voice that says every text as a tone of 0.1 s, and remembers what it was to say."""

    name, sample_rate = "tone", 16_000

    def __init__(self) -> None:
        self.said: list[str] = []

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        self.said.append(text)
        time_s = np.arange(round(1600 / rate)) / self.sample_rate
        yield Waveform((0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32), self.sample_rate)


class Ears:
    """A recogniser that hears the question in every recording; it remembers which words it was told to expect."""

    name = "ears"

    def __init__(self) -> None:
        self.expected: list[bool] = []

    def transcribe(self, waveform: Waveform, *, vocabulary: object = ()) -> Transcript:
        self.expected.append(bool(vocabulary))
        half = waveform.seconds / 2
        words = QUESTION.split()
        first, second = " ".join(words[:4]), " ".join(words[4:])
        segments = (Segment(0.0, half, first), Segment(half, waveform.seconds, second))
        return Transcript(QUESTION, segments, waveform.seconds, 0.5)


@dataclass
class Served:
    url: str
    assistant: Assistant
    voice: Tone
    ears: Ears

    @property
    def v1(self) -> str:
        return self.url + "/v1"

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.v1, timeout=30)


def api_alone(assistant: Assistant) -> FastAPI:
    """The server without its page, whose packages take seconds to import."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        assistant.start()
        async with agents.session_manager.run():
            yield
        assistant.close()

    agents = build_server(assistant)
    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(FairQueue, lanes=Lanes(2))
    app.add_middleware(AccountsMiddleware, accounts=None)
    app.add_middleware(PatientBodies, timeout_s=30)
    app.add_middleware(Guard, local_only=True)
    add_v1(app, assistant)
    app.router.routes.extend(http_app(agents).routes)
    return app


@contextlib.contextmanager
def running(home: Path, lease: Path) -> Iterator[Served]:
    """The server over a home whose workspace WORKSPACE holds the lease."""
    settings = load_settings(
        home, embedder={"model": "hashing:256"}, locator={"model": "sentence"}, ingest={"max_file_mb": 1}
    )
    assistant = build(settings)
    assistant._warm_up = assistant.ready.set  # type: ignore[method-assign]
    assistant.inbox._settled = lambda workspace: None
    voice, ears = Tone(), Ears()
    assistant.synthesiser = lambda: voice  # type: ignore[method-assign]
    assistant.recogniser = lambda: ears  # type: ignore[method-assign]
    ingest_file(assistant.workspace(WORKSPACE, create=True), lease, settings=settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(api_alone(assistant), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", assistant, voice, ears)
        server.should_exit = True
        thread.join(20)


def written_lease(folder: Path) -> Path:
    write_lease(folder / "lease.pdf")
    return folder / "lease.pdf"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("home"), written_lease(tmp_path_factory.mktemp("documents"))) as server:
        yield server


@pytest.fixture(scope="module")
def wav() -> bytes:
    """A second of sound."""
    from omni.audio import wav_bytes

    return wav_bytes(Waveform((0.3 * np.sin(np.arange(16_000) / 9)).astype(np.float32), 16_000))


@pytest.fixture(scope="module")
def lease_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written_lease(tmp_path_factory.mktemp("lease")).read_bytes()
