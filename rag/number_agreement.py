"""Whether a passage speaks of the year, or the numbered thing, that a question asks about.

"What was the rent in 2021?" is not answered by "The rent in 2020 was 48,500 pounds", however alike the words are: to a
small reader numbers are much the same. A sentence is in conflict if it names other years than the question does, or
numbers the same word or letters otherwise ("Article 6" for "Article 5", "E-1" for "E-4").

>>> conflicts("What was the rent in 2021?", ["The rent in 2020 was 48.", "In 2021 it was 52.", "It was paid."])
[True, False, False]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_YEAR = re.compile(r"(?<![\d.,$€£])(?:FY ?)?((?:1[5-9]|20)\d\d)(?![\d%]|[.,]\d)", re.IGNORECASE)
_NUMBERED = re.compile(
    r"\b([a-z]{3,})\s+(?:no\.?\s*|number\s+)?(\d{1,3}(?:\.\d{1,3})*[a-z]?)\b(?![.,]?\d|\s*%)", re.IGNORECASE
)
_CODE = re.compile(r"\b([A-Za-z]{1,3})-?(\d{1,4})\b")  # "E-4", "B52"
# Words before which a number counts or dates: nothing is called by it.
_NO_NAMES = frozenset(
    [
        "and",
        "the",
        "for",
        "from",
        "with",
        "than",
        "over",
        "about",
        "under",
        "after",
        "before",
        "until",
        "between",
        "least",
        "most",
        "only",
        "some",
        "was",
        "were",
        "are",
        "has",
        "had",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "nearly",
        "almost",
        "around",
        "exactly",
        "approximately",
        "another",
        "every",
    ]
)

_UNITS = {
    name: names.split()[0]
    for names in (
        "second sec", "minute min", "hour hr", "day", "week", "month", "year", "pound gbp", "dollar usd", "euro eur",
        "percent", "metre meter m", "kilometre kilometer km", "mile", "gram g", "kilogram kg", "litre liter l",
    )
    for name in names.split()
}  # fmt: skip
_WORDS = "|".join(sorted((re.escape(name) for name in _UNITS if name.isalpha()), key=len, reverse=True))
_HOW_MANY = re.compile(rf"\b(?:how many|what number of) (?:\w+ )?({_WORDS})s?\b", re.IGNORECASE)
_MEASURED = re.compile(
    rf"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fourteen|fifteen|twenty|thirty|forty|"
    rf"fifty|sixty|ninety|hundred))[- ]?(?:\w+ )?({_WORDS})s?\b",
    re.IGNORECASE,
)


def conflicts(question: str, sentences: Sequence[str]) -> list[bool]:
    """For each sentence: does it speak of another year, or of another one of what the question numbers?

    All False unless one of them speaks of what is asked: where none does, the nearest may be the answer.
    """
    asked = _named(question)
    if not asked:
        return [False] * len(sentences)
    found = [_named(sentence) for sentence in sentences]
    agrees = [any(asked[kind] & named.get(kind, set()) for kind in asked) for named in found]
    if not any(agrees):
        return [False] * len(sentences)
    return [any(kind in named and not asked[kind] & named[kind] for kind in asked) for named in found]


def other_units(question: str, sentences: Sequence[str]) -> list[bool]:
    """For each sentence: does it measure in other units than the question asks for, and not in these?

    All False unless one of them measures in what is asked for: where none does, "two weeks" may answer "how many days".

    >>> other_units("How many days do I have?", ["Report theft within 24 hours.", "Tell us within 30 days.", "Soon."])
    [True, False, False]
    """
    asked = _HOW_MANY.search(question)
    unit = _UNITS.get(asked.group(1).lower().rstrip("s")) if asked else None
    if unit is None:
        return [False] * len(sentences)
    measured = [{_UNITS[word.lower().rstrip("s")] for word in _MEASURED.findall(sentence)} for sentence in sentences]
    if not any(unit in units for units in measured):
        return [False] * len(sentences)
    return [bool(units) and unit not in units for units in measured]


def _named(text: str) -> dict[str, set[str]]:
    """Years under "", numbers by the word before them."""
    found: dict[str, set[str]] = {}
    if years := set(_YEAR.findall(text)):
        found[""] = years
    for word, number in _NUMBERED.findall(text):
        if word.lower() not in _NO_NAMES:
            found.setdefault(word.lower(), set()).add(number.lower())
    for letters, number in _CODE.findall(text):
        found.setdefault(f"{letters.lower()}-", set()).add(number)
    return found
