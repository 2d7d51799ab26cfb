"""Page texts kept unpacked in memory: chunks are slices of them."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict

from ingest.prepared import unpack_text


class TextCache:
    """Texts of pages by (document row, page number). Row ids are never used twice, so nothing goes stale."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity  # characters
        self._size = 0
        self._texts: OrderedDict[tuple[int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, connection: sqlite3.Connection, document: int, page: int) -> str:
        key = (document, page)
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
        row = connection.execute("SELECT text FROM pages WHERE document = ? AND number = ?", key).fetchone()
        text = unpack_text(row["text"])
        self._put(key, text)
        return text

    def fetch(self, connection: sqlite3.Connection, keys: set[tuple[int, int]]) -> None:
        """Have these pages here, by one query: what is about to be read page by page."""
        with self._lock:
            missing = [key for key in keys if key not in self._texts]
        if len(missing) < 2:
            return
        rows = connection.execute(
            f"WITH wanted(document, number) AS (VALUES {','.join(['(?, ?)'] * len(missing))}) "
            "SELECT p.document, p.number, p.text FROM wanted w "
            "CROSS JOIN pages p ON p.document = w.document AND p.number = w.number",
            [value for key in missing for value in key],
        ).fetchall()
        for row in rows:
            self._put((row["document"], row["number"]), unpack_text(row["text"]))

    def _put(self, key: tuple[int, int], text: str) -> None:
        with self._lock:
            if key not in self._texts:
                self._texts[key] = text
                self._size += len(text)
            while self._size > self._capacity and len(self._texts) > 1:
                self._size -= len(self._texts.popitem(last=False)[1])

    def drop(self, document: int) -> None:
        with self._lock:
            for key in [key for key in self._texts if key[0] == document]:
                self._size -= len(self._texts.pop(key))
