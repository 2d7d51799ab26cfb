"""Ending an answer early: at a stop sequence, or after so many tokens; piece by piece, as it is written.

cut = Cut(stops=["\\n\\n"], max_tokens=50, count_tokens=embedder.count_tokens)
shown = cut.feed(piece)              # what of the text so far may be shown and has not been
if cut.done: ...                     # nothing further will be; cut.reason is "stop" or "length"
shown += cut.finish()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

_WORD = re.compile(r"\s*\S+")


class Cut:
    """`feed` holds back what may be the beginning of a stop sequence, so that none is ever shown in part."""

    def __init__(
        self, *, stops: Sequence[str] = (), max_tokens: int | None = None, count_tokens: Callable[[str], int]
    ) -> None:
        self.stops = [stop for stop in stops if stop]
        self.max_tokens = max_tokens
        self.text = ""  # shown so far
        self.reason: Literal["stop", "length"] = "stop"
        self.done = False
        self._count = count_tokens
        self._held = ""

    def feed(self, piece: str) -> str:
        """The text that may be shown now."""
        if self.done:
            return ""
        text = self._held + piece
        found = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        if found:
            self._held, self.done = "", True
            return self._show(text[: min(found)])
        keep = self._beginning_of_a_stop(text)
        self._held = text[len(text) - keep :]
        return self._show(text[: len(text) - keep])

    def finish(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return "" if self.done else self._show(held)

    def _beginning_of_a_stop(self, text: str) -> int:
        longest = max(map(len, self.stops), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self.stops):
                return length
        return 0

    def _show(self, text: str) -> str:
        if self.max_tokens is not None and text and self._count(self.text + text) > self.max_tokens:
            fitting = 0
            for word in _WORD.finditer(text):  # whole words: a word is not cut where its tokens are
                if self._count(self.text + text[: word.end()]) > self.max_tokens:
                    break
                fitting = word.end()
            text, self.done, self.reason = text[:fitting], True, "length"
        self.text += text
        return text
