"""Drawing pages in a process of its own: the handler that ingest/worker.py runs for web/drawing.py.

PDFium reads strangers' files here as well, and a page may hold an image that unpacks to gigabytes or a drawing that
takes hours: it costs this process, never the server.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.confinement import confine, cpu_limit, memory_told

FACTORY = "ingest.drawing_worker:make_handler"
JPEG_QUALITY = 88


@dataclass(frozen=True)
class DrawingOrder:
    path: Path
    name: str  # what error messages call it
    page: int  # 1-based
    scale: float  # pixels a point


def make_handler(memory_mb: int, cpu_s: int) -> Callable[[DrawingOrder, Callable[[Any], None]], bytes]:
    """A handler whose result is a JPEG file."""
    from PIL import Image

    from ingest.pdf import render_page

    Image.init()  # its plugins are imported now, while files may still be opened freely
    confine(memory_mb=memory_mb)

    def handle(order: DrawingOrder, report: Callable[[Any], None]) -> bytes:
        with cpu_limit(cpu_s), memory_told(order.name, memory_mb):
            data = io.BytesIO()
            render_page(order.path, order.page, scale=order.scale).save(data, "JPEG", quality=JPEG_QUALITY)
            return data.getvalue()

    return handle
