"""Reading in a process of its own: the handler that ingest/worker.py runs for the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.settings import EmbedderSettings, IngestSettings
from ingest.confinement import confine, cpu_limit, memory_told
from ingest.embedders import load_token_counter
from ingest.prepared import PreparedDocument, prepare

FACTORY = "ingest.reading_worker:make_handler"
_REPORT_EVERY_S = 0.1


@dataclass(frozen=True)
class ReadingOrder:
    path: Path
    name: str
    sha256: str


def make_handler(
    settings: IngestSettings, embedder: EmbedderSettings
) -> Callable[[ReadingOrder, Callable[[Any], None]], PreparedDocument]:
    count_tokens = load_token_counter(embedder)  # first: an embedder of one's choice may have to be fetched
    confine(memory_mb=settings.reading_memory_mb)

    def handle(order: ReadingOrder, report: Callable[[Any], None]) -> PreparedDocument:
        last = 0.0

        def on_page(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _REPORT_EVERY_S or done == total:
                last = now
                report((done, total))

        with cpu_limit(settings.reading_cpu_s), memory_told(order.name, settings.reading_memory_mb):
            return prepare(
                order.path,
                name=order.name,
                sha256=order.sha256,
                settings=settings,
                count_tokens=count_tokens,
                on_page=on_page,
            )

    return handle
