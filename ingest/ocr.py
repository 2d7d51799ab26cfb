"""Text recognition (OCR): the image of a scanned page -> its words with boxes, as if the page had a text layer.

>>> recogniser = load_recogniser()  # None where the package is not installed
>>> words, confidence = recogniser.read(image, sheet)

The models (PP-OCRv6 small: finding lines of text, reading them) lie in the wheel of `rapidocr`; nothing is fetched.
They read Latin and Chinese print. A dense page takes 4 to 6 s of processor time and a gigabyte while it is read.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from typing import Any

import numpy as np

from ingest.pdf_words import NO_WORDS, Words, find_runs
from ingest.pdfium import Sheet

PACKAGE = "rapidocr"
DPI = 200  # at 130 small print loses a word in thirty, above 200 nothing is gained
MAX_PIXELS = 12_000_000
UNSURE = 0.8  # mean confidence of a page's characters below which the reader is told
_POINTS_PER_INCH = 72
_TYPE_PER_LINE = 0.85  # a line's box as the model draws it, in type sizes
_SAME_SIZE = 0.2  # boxes differ by ascenders and descenders: up to here it is the page's common type size
_TOKEN = re.compile(r"[\u3001-\u30ff\u3400-\u9fff\uff01-\uff60]|[^\s\u3001-\u30ff\u3400-\u9fff\uff01-\uff60]+")


def load_recogniser() -> PageRecogniser | None:
    """The recogniser, or None where `rapidocr` is not installed."""
    return PageRecogniser() if importlib.util.find_spec(PACKAGE) else None


def scale_for(sheet: Sheet) -> float:
    """Pixels per point at which a page is drawn for recognition."""
    area = max(sheet.width * sheet.height, 1.0)
    return min(DPI / _POINTS_PER_INCH, (MAX_PIXELS / area) ** 0.5)


class PageRecogniser:
    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",  # it tells of empty pages, which are no news here
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Rec.rec_batch_num": 1,  # lines of all lengths in one batch are padded to the longest: slower, larger
            }
        )

    def read(self, image: np.ndarray, sheet: Sheet) -> tuple[Words, float]:
        """Words of `image` (h, w, 3) uint8 of the whole sheet as shown, and their mean confidence, 0 to 1."""
        result: Any = self._engine(image, return_word_box=True)
        pieces_of = getattr(result, "word_results", None)
        if not pieces_of or not result.txts:
            return NO_WORDS, 0.0
        texts: list[str] = []
        boxes: list[tuple[float, float, float, float]] = []
        glued: list[bool] = []
        confidences: list[float] = []
        for text, quad, score, pieces in zip(result.txts, result.boxes, result.scores, pieces_of, strict=True):
            edges = _character_edges(text, quad, pieces)
            for match in _TOKEN.finditer(text):
                left, right = edges[match.start()][0], edges[match.end() - 1][1]
                texts.append(match.group())
                top, bottom = _height_at((left + right) / 2, quad)
                boxes.append((left, top, right, bottom))
                glued.append(match.start() > 0 and not text[match.start() - 1].isspace())
                confidences.append(float(score))
        if not texts:
            return NO_WORDS, 0.0
        lengths = np.array([len(text) for text in texts])
        confidence = float(np.average(confidences, weights=lengths))
        shown = _on_sheet(np.array(boxes, np.float32), image.shape[:2], sheet)
        return _words(texts, shown, np.array(glued)), confidence


def _character_edges(text: str, quad: np.ndarray, pieces: Any) -> list[tuple[float, float]]:
    """Left and right pixel of each character: even within the pieces the model found, or within the line."""
    bare = [i for i, character in enumerate(text) if not character.isspace()]
    edges = [(0.0, 0.0)] * len(text)
    if sum(len(_bare(piece[0])) for piece in pieces) == len(bare):
        at = 0
        for piece, _, corners in pieces:
            count = len(_bare(piece))
            xs = [float(corner[0]) for corner in corners]
            left, step = min(xs), (max(xs) - min(xs)) / max(count, 1)
            for k in range(count):
                edges[bare[at + k]] = (left + k * step, left + (k + 1) * step)
            at += count
        return edges
    left = float(quad[:, 0].min())
    step = (float(quad[:, 0].max()) - left) / max(len(text), 1)
    return [(left + i * step, left + (i + 1) * step) for i in range(len(text))]


def _height_at(x: float, quad: np.ndarray) -> tuple[float, float]:
    """Top and bottom pixel of a line at `x`: on a sheet that lay askew its lines climb or fall."""
    (left_x, left_top), (right_x, right_top), (_, right_bottom), (_, left_bottom) = quad.tolist()
    along = min(max((x - left_x) / max(right_x - left_x, 1.0), 0.0), 1.0)
    return left_top + along * (right_top - left_top), left_bottom + along * (right_bottom - left_bottom)


def _bare(text: str) -> str:
    return "".join(text.split())


def _on_sheet(boxes: np.ndarray, size: tuple[int, int], sheet: Sheet) -> np.ndarray:
    """(n, 4) pixels from the top left -> points from the bottom left, within the sheet."""
    height, width = size
    across, down = sheet.width / width, sheet.height / height
    x0, top, x1, bottom = boxes.T
    shown = np.stack([x0 * across, sheet.height - bottom * down, x1 * across, sheet.height - top * down], axis=1)
    return np.clip(shown, 0, [sheet.width, sheet.height] * 2).astype(np.float32)


def _words(texts: list[str], boxes: np.ndarray, glued: np.ndarray) -> Words:
    turns = np.zeros(len(texts), np.int8)
    starts = find_runs(boxes, turns, glued)
    sizes = (boxes[:, 3] - boxes[:, 1]) * _TYPE_PER_LINE
    usual = float(np.median(sizes))
    sizes = np.where(np.abs(sizes - usual) <= _SAME_SIZE * usual, usual, sizes).astype(np.float32)
    return Words(texts, boxes, glued, turns, starts, sizes[starts], np.zeros(len(starts), bool))


def straightened(words: Words) -> Words:
    """The words as they would stand had the sheet lain straight: to find lines with; what is shown are the others.

    A scan that lies two degrees askew has its line ends a line and a half higher or lower than their beginnings.
    """
    if not len(words):
        return words
    stops = np.append(words.run_starts[1:], len(words)) - 1
    first, last = words.boxes[words.run_starts], words.boxes[stops]
    along = (last[:, 0] + last[:, 2] - first[:, 0] - first[:, 2]) / 2
    climb = (last[:, 1] + last[:, 3] - first[:, 1] - first[:, 3]) / 2
    wide = along > 8 * (first[:, 3] - first[:, 1])
    if wide.sum() < 3:
        return words
    order = np.argsort(climb[wide] / along[wide])
    weights = np.cumsum(along[wide][order])
    slope = float((climb[wide] / along[wide])[order][np.searchsorted(weights, weights[-1] / 2)])
    if abs(slope) < 0.002:
        return words
    boxes = words.boxes.copy()
    boxes[:, [1, 3]] -= (slope * (boxes[:, 0] + boxes[:, 2]) / 2)[:, None]
    return replace(words, boxes=boxes)
