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
        with self._lock:
            if key not in self._texts:
                self._texts[key] = text
                self._size += len(text)
            while self._size > self._capacity and len(self._texts) > 1:
                self._size -= len(self._texts.popitem(last=False)[1])
        return text

    def drop(self, document: int) -> None:
        with self._lock:
            for key in [key for key in self._texts if key[0] == document]:
                self._size -= len(self._texts.pop(key))
