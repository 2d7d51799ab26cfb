"""Worker handlers that misbehave on purpose; loaded by worker processes, see test_faults.py."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.reading_worker import ReadingOrder, make_handler


def make_fragile_reader(*arguments: Any) -> Callable[[ReadingOrder, Callable[[Any], None]], Any]:
    """The real reader, but a file's name may make its process crash, hang or be killed."""
    read = make_handler(*arguments)

    def handle(order: ReadingOrder, report: Callable[[Any], None]) -> Any:
        if order.name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if order.name.startswith("hang"):
            time.sleep(600)
        if order.name.startswith("oom"):
            os.kill(os.getpid(), signal.SIGKILL)
        if order.name.startswith("bug"):
            raise ValueError("a parser's bug")
        return read(order, report)

    return handle


def make_dying_embedder(flag: str) -> Callable[[list[str], Callable[[Any], None]], Any]:
    """The hashing embedder; the first block ever kills its process and leaves `flag`; without one, every block."""
    from core.settings import EmbedderSettings
    from ingest.embedders import load_embedder

    embedder = load_embedder(EmbedderSettings(model="hashing:64"))

    def handle(texts: list[str], report: Callable[[Any], None]) -> Any:
        if not flag or not Path(flag).exists():
            if flag:
                Path(flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return embedder.embed_passages(texts).astype("float16")

    return handle


def make_doubler() -> Callable[[Any, Callable[[Any], None]], Any]:
    def handle(value: Any, report: Callable[[Any], None]) -> Any:
        print("noise on stdout must not disturb the frames", flush=True)
        report("half way")
        if value == "die":
            os._exit(3)
        if value == "fail":
            raise KeyError("fail")
        if value == "hang":
            time.sleep(600)
        return value * 2

    return handle
