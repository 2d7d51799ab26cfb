"""What kind of thing a question asks for, and whether a sentence holds such a thing that the question does not.

>>> expected("When was the lease signed?")
'date'
>>> holds("date", "It was signed on 3 May 2021.", "When was the lease signed?")
True

Word patterns only, English; questions in other languages are "other", which no sentence is penalised for.
"""

from __future__ import annotations

import re

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("reason", r"^\s*why\b|\b(?:what (?:is|was|were|are) the (?:reasons?|causes?)|what (?:caused|drove|led))\b"),
    ("date", r"\bwhen\b|\b(?:what|which) (?:\w+ )?(?:year|date|day|month|decade|century|time)\b|\bsince what\b"),
    ("number", r"\bhow (?:many|much|long|far|old|often|large|big|tall|high|deep|fast|wide|heavy|hot|cold|warm|thick|"
               r"strong|loud|bright|soon|late|early|close|near|small|short|quickly|frequently)\b"),
    ("number", r"\b(?:what|which)\b.{0,30}\b(?:percentage|percent|number|amount|population|ratio|rate|share|size|"
               r"price|cost|value|total|average|margin|revenues?|sales|income|expenses?|assets|liabilities|capex)\b"),
    ("person", r"\bwho(?:se|m)?\b|\bwhat (?:is|was) the name\b|\b(?:which|what) (?:person|man|woman|king|queen|"
               r"president|author|scientist|artist|singer|player|actor|director|company|team|group|organi[sz]ation)\b"),
    ("place", r"\bwhere\b|\b(?:what|which|in what|in which) (?:\w+ )?(?:city|country|state|town|place|location|region|"
              r"continent|river|island|area|county|street)\b"),
    ("manner", r"^\s*how\b|\bin what way\b"),
    ("definition", r"^\s*what (?:is|are|was|were) (?:an? |the )?[\w-]+(?: [\w-]+)?\s*\??\s*$|"
                   r"\bwhat does .+ mean\b|\bdefine\b"),
)  # fmt: skip
_COMPILED = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _PATTERNS)

_NUMBER = re.compile(
    r"\d[\d,.]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|twenty|thirty|forty|fifty|"
    r"hundred|thousand|million|billion|half|third)s?\b",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\b(?:1\d{3}|20\d{2})s?\b|\b(?:january|february|march|april|june|july|august|september|october|november|december|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday|century|spring|summer|autumn|winter)\b|\bmay \d",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:1[89]|20)\d\d$")
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w’'-]+")
_REASON = re.compile(
    r"\b(?:because|due to|owing to|caused?|as a result|in order to|so that|since|therefore|driven by|"
    r"led to|reasons?)\b",
    re.IGNORECASE,
)
_METRIC = re.compile(
    r"\b(?:revenues?|net sales|sales|income|earnings|profits?|ebitda|margins?|assets|liabilities|equity|"
    r"inventor(?:y|ies)|payables?|receivables?|capex|capital expenditures?|cash flows?|depreciation|amorti[sz]ation|"
    r"dividends?|debt|"
    r"ppn?e|property, plant|expenses?|costs? of (?:sales|goods|revenue)|cogs|tax rate|working capital|goodwill|"
    r"balance sheet|income statement|fy ?\d\d|ratio|eps|per share|shares outstanding)\b",
    re.IGNORECASE,
)
_PLURAL = re.compile(
    r"\b(?:what|which) (?:\w+ )?(?:are|were|\w+s (?:are|were|did|do|does|has|have|had|will|can|is))\b|"
    r"\b(?:describe|explain|list)\b",
    re.IGNORECASE,
)


def expected(question: str) -> str:
    """One of reason, date, number, person, place, manner, definition, other."""
    for kind, pattern in _COMPILED:
        if pattern.search(question):
            return kind
    return "other"


def holds(kind: str, text: str, question: str) -> bool:
    """Whether `text` holds something of that kind which the question does not already say; True for open kinds."""
    said = question.lower()
    if kind == "number":
        found = (m.group().lower().rstrip(".,") for m in _NUMBER.finditer(text))
        return any(number not in said and not _YEAR.match(number) for number in found)
    if kind == "date":
        return any(m.group().lower() not in said for m in _DATE.finditer(text))
    if kind in ("person", "place"):
        return any(m.group().lower() not in said for m in _NAME.finditer(text))
    if kind == "reason":
        return bool(_REASON.search(text))
    return True


def asks_for_figures(question: str) -> bool:
    """Whether a row of a financial statement would answer."""
    return bool(_METRIC.search(question))


def wants_several_sentences(question: str) -> bool:
    """Open questions (why, how, which things) deserve more than the one best sentence."""
    if expected(question) in ("reason", "manner", "definition"):
        return True
    return bool(_PLURAL.search(question))
