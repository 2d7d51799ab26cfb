"""What the page view shows of a document: the image of a sheet, or the text around a passage where there is none."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import NotFoundError
from ingest.boxes import boxes_for_range
from ingest.workspace import Workspace
from web.drawing import drawer

WINDOW = 6000  # characters shown on either side of a passage in documents without sheets
SCALE = 2.0  # pixels per point: sharp at the width of the region on a dense screen
MAX_PIXELS = 9_000_000  # an A0 poster is drawn smaller instead of filling the memory


def page_json(
    workspace: Workspace, document: str, number: int, *, start: int | None = None, end: int | None = None
) -> dict[str, Any]:
    """Page `number` of a document; with [start, end) the passage that is to be marked.

    `image` tells whether there is a sheet; then `width` and `height` are in points and `boxes` says where the passage
    stands: not every passage comes with boxes of its own. Otherwise `text` holds what stands before, in and after the
    passage, cut to a window; `more` says where text was left off. Raises NotFoundError.
    """
    info = workspace.document(document)
    if not 1 <= number <= max(info.pages, 1):
        raise NotFoundError(f"{info.name} has no page {number}", remedy=f"It has {info.pages} pages, counted from 1")
    page = workspace.page(document, number)
    described: dict[str, Any] = {
        "document": info.name,
        "page": number,
        "pages": info.pages,
        "label": page.label,
        "width": page.width,
        "height": page.height,
        "image": page.width > 0 and page.height > 0,
        "version": info.sha256[:12],
    }
    if described["image"] and start is not None and end is not None:
        first, last = max(start, 0), min(end, len(page.text))
        described["boxes"] = [list(box) for box in boxes_for_range(page, first, last)] if first < last else []
    if not described["image"]:
        first = min(max(start or 0, 0), len(page.text))
        last = min(max(end or first, first), len(page.text))
        window_start, window_end = max(first - WINDOW, 0), min(last + WINDOW, len(page.text))
        described["text"] = {
            "before": page.text[window_start:first],
            "marked": page.text[first:last],
            "after": page.text[last:window_end],
        }
        described["more"] = {"before": window_start > 0, "after": window_end < len(page.text)}
    return described


def page_image(workspace: Workspace, document: str, number: int) -> bytes:
    """Page `number` as JPEG. Raises NotFoundError for documents without sheets and pages they do not have."""
    described = page_json(workspace, document, number)
    if not described["image"]:
        raise NotFoundError(f"{document} has no sheets to draw", remedy="Its text is shown instead")
    area = described["width"] * described["height"]
    scale = min(SCALE, (MAX_PIXELS / area) ** 0.5)
    return _draw(workspace.source_path(document), described["document"], described["version"], number, round(scale, 3))


@lru_cache(maxsize=32)  # a page is asked for again when a reader goes back to it; about 200 kB each
def _draw(path: Path, name: str, version: str, number: int, scale: float) -> bytes:
    return drawer().draw(path, name, page=number, scale=scale)
