"""Which edition of a document a question speaks of, where the passages found are of several: "the 2022 lease".

Two leases of one flat share most of their words, and a reader of passages cannot know which one it has before it; the
year in the question then does harm, as the one sentence that holds it is the date of signing. So passages of the other
editions are left out, and the question is read without the year, which has done its work. Editions are documents whose
names differ in their years only, or whose titles do. Reports are none: they tell the figures of earlier years, too.

    edition = edition_asked_for("When does the 2022 lease begin?", hits)
    edition.question, edition.hits          # "When does the lease begin?", those of lease_2022.pdf
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rag.document_prior import Period, read_period
from rag.query import understand
from rag.types import Hit

_YEAR = re.compile(r"(?<![\w.,$€£-])((?:19|20)\d\d)(?![\w%-]|[.,]\d)")
_REPORT = re.compile(
    r"\b(?:report|results|accounts|financial|earnings|statements?|filing|AR|Q[1-4]|H[12])(?![a-z])", re.IGNORECASE
)
_BEFORE = re.compile(r"\s*\b(?:back )?(?:in|of|from|for|since|during|dated|as of|under)(?: the year)?\s*$", re.I)
_NOUN = re.compile(
    r"\s+(?!(?:and|or|is|are|was|were|did|do|does|has|have|had|the|to|by|in|on|of|for|with|at)\b)[a-z]", re.I
)


@dataclass(frozen=True)
class Edition:
    """A question as the passages of one edition are asked it, and these."""

    question: str
    hits: list[Hit]  # without those of other editions
    documents: frozenset[str]  # ids of the documents that are this edition


def edition_asked_for(question: str, hits: Sequence[Hit]) -> Edition | None:
    """The edition of a year that the question names; None if it names none, or there are not several.

    Passages of documents that are no edition of the same stay, in their order.
    """
    years = {int(year) for year in _YEAR.findall(question)}
    if len(years) != 1 or understand(question).metric:
        return None
    year = years.pop()
    families: dict[str, dict[str, int]] = defaultdict(dict)  # what editions share -> document -> its year
    for hit in hits:
        chunk = hit.chunk
        for text in (re.sub(r"\.[A-Za-z]{2,5}$", "", chunk.document), chunk.context.split(" > ")[0]):
            period, rest = read_period(text.replace("_", " "))
            if len(period.years) == 1 and not _is_report(text, period):
                families[" ".join(re.findall(r"\w+", rest.lower()))].setdefault(chunk.document_id, period.years[0])
    for members in families.values():
        meant = {document for document, its in members.items() if its == year}
        others = members.keys() - meant
        if meant and others:
            kept = [hit for hit in hits if hit.chunk.document_id not in others]
            return Edition(without_year(question, year), kept, frozenset(meant))
    return None


def together(hits: Sequence[Hit], others: Sequence[Hit], count: int) -> list[Hit]:
    """The best `count` of both, best first, each chunk once."""
    best: dict[str, Hit] = {}
    for hit in (*hits, *others):
        known = best.get(hit.chunk.chunk_id)
        if known is None or known.score < hit.score:
            best[hit.chunk.chunk_id] = hit
    return sorted(best.values(), key=lambda hit: -hit.score)[:count]


def _is_report(text: str, period: Period) -> bool:
    return bool(period.forms or period.quarters or _REPORT.search(text.replace("_", " ")))


def without_year(question: str, year: int) -> str:
    """The question without a year, and without the word that only led to it.

    >>> without_year("When does the 2022 lease begin?", 2022), without_year("Who was tenant in 2019?", 2019)
    ('When does the lease begin?', 'Who was tenant?')
    """
    parts = re.split(rf"(?<![\w.,]){year}(?![\w.,]*\d)", question)
    text = parts[0]
    for part in parts[1:]:
        text = re.sub(r"\s+$", "", text) if _NOUN.match(part) else _BEFORE.sub("", text).rstrip()
        text += part
    return " ".join(text.split())
