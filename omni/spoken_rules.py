"""What the rules of the spoken form share: how they are collected, and how numbers look in writing.

A rule is a pattern and what to say for a match. Rules run in the order in which they stand: omni/spoken_dates.py
(addresses, dates, names with figures), omni/spoken_amounts.py (money, ranges, units, numbers), omni/spoken_words.py
(abbreviations, acronyms, symbols). What one leaves alone, a later one may read.
"""

from __future__ import annotations

import re
from collections.abc import Callable

NUM = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"  # as written: "1,234.5"
START = r"(?<![\w.,/-])"  # a number that nothing is glued to
DASH = r"\s?[-–—‒]\s?"

Speak = Callable[[re.Match[str]], str]


class Rules:
    """An ordered list of rules, filled by the decorator `rule`."""

    def __init__(self) -> None:
        self._rules: list[tuple[re.Pattern[str], Speak]] = []

    def rule(self, pattern: str, flags: int = 0) -> Callable[[Speak], Speak]:
        """Register what to say for `pattern`, after the rules above it."""

        def register(speak: Speak) -> Speak:
            self._rules.append((re.compile(pattern, flags), speak))
            return speak

        return register

    def apply(self, text: str) -> str:
        for pattern, speak in self._rules:
            text = pattern.sub(speak, text)
        return text
