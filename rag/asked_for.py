"""What a question names exactly (a year, a numbered thing, an office), and whether the evidence mentions it at all.

The nearest passage to "What were total assets in 2012?" is one about total assets, whatever year it speaks of: words
and meaning are alike. An answer from it is worse than none. What documents write otherwise than people ask is asked a
second time in the documents' words: a filing has no "headquarters", its cover names "principal executive offices".

>>> asked = asked_for("What were total assets in 2012?")
>>> asked.unmentioned(["Total assets were 55,556 in fiscal 2021."], [])
'2012'
>>> asked_for("Where is Costco based?").otherwise
'What is the address of the principal executive offices of Costco?'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_YEAR = re.compile(r"(?<![\d.,$€£-])(?:FY ?)?((?:1[89]|20)\d\d)(s?)(?![\d%]|[.,]\d)", re.IGNORECASE)
_SPAN_OF_YEARS = re.compile(r"(?<!\d)((?:1[89]|20)\d\d)\s*(?:-|–|—|to|through|until|and)\s*((?:1[89]|20)\d\d)(?!\d)")
# Nouns that number one thing among its like; "top 5" and "age 18" name nothing.
_NUMBERED = re.compile(
    r"\b(article|section|clause|chapter|schedule|exhibit|appendix|annex|item|note|table|figure|step|program(?:me)?|"
    r"model|class|level|phase|stage|version|rule|paragraph|amendment|error|code|mode|zone|channel|port|building|room)"
    r"\s+(?:no\.?\s*|number\s+)?(\d{1,3}(?:\.\d{1,3})*)(?![\d%])",
    re.IGNORECASE,
)
_PRICE = re.compile(
    r"\b(?:what|how much) (?:do|does|did|will|would) \S.* cost\b|"
    r"\b(?:what|how much) (?:is|are|was|were) the (?:price|cost)s? of\b|\bat what price\b",
    re.IGNORECASE,
)
_MONEY = re.compile(
    r"[$€£¥₹]|\b(?:dollars?|euros?|pounds?|(?<!per )cents?|pence|francs?|yen|kron\w+|USD|EUR|GBP|CHF|JPY)\b|\bfree\b|"
    r"\bno (?:charge|cost|fee)\b|\bcosts? nothing\b",
    re.IGNORECASE,
)
_WHO = re.compile(r"\b(?:who|whom|whose|name of)\b", re.IGNORECASE)
# How a question names an office, how texts write it, and what it is called in full.
_OFFICES = tuple(
    (re.compile(rf"\b(?:{asked})\b", re.IGNORECASE), re.compile(rf"\b(?:{written})\b", re.IGNORECASE), full)
    for asked, written, full in (
        (r"CEO|chief executive(?: officer)?", r"CEO|chief executive", "chief executive officer"),
        (r"CFO|chief financial officer", r"CFO|chief finan\w+|finance director", "chief financial officer"),
        (r"COO|chief operating officer", r"COO|chief operat\w+", "chief operating officer"),
        (r"CTO|chief technology officer", r"CTO|chief techn\w+", "chief technology officer"),
        (r"CIO|chief information officer", r"CIO|chief information", "chief information officer"),
        (r"managing director", r"managing director", "managing director"),
        (r"general counsel", r"general counsel|chief legal officer", "general counsel"),
        (r"company secretary", r"secretary", "company secretary"),
    )
)
_SEAT = re.compile(
    r"^\W*where (?:is|are|was|were|does) (?:the )?"
    r"(?:(?:corporate |main |global |head )?(?:headquarters|office|HQ) of (?P<of>.+?)(?: located| based)?"
    r"|(?P<whose>.+?)(?:['’]s?)? (?:(?:corporate |main |global )?(?:headquarters|headquartered|head office|HQ)"
    r"(?: located| based)?|based))\W*$",
    re.IGNORECASE,
)
_SEAT_WRITTEN = re.compile(r"principal executive offices?|principal office|registered office", re.IGNORECASE)


@dataclass(frozen=True)
class AskedFor:
    """What a question names; `otherwise` is the same question in the words of documents, "" where there are none."""

    years: tuple[str, ...] = ()  # "2012", or "192" for the 1920s
    numbered: tuple[tuple[str, str], ...] = ()  # (noun, number), lower case
    office: tuple[str, re.Pattern[str]] | None = None  # its name, and how texts write it
    price: bool = False  # what something costs
    otherwise: str = ""
    written: re.Pattern[str] | None = None  # what a passage that answers `otherwise` mentions

    def unmentioned(self, pages: Sequence[str], windows: Sequence[str]) -> str:
        """What no evidence mentions, as one says it; "" if nothing is missing.

        `pages`: the pages that the answer quotes, and the names of their documents; `windows`: the passages read.
        """
        text = "\n".join(pages)
        if self.years and not any(_mentions(year, text) for year in self.years):
            return " or ".join(year if len(year) == 4 else f"the {year}0s" for year in self.years)
        if self.price and not _MONEY.search(text):
            return "a price"
        everything = "\n".join([text, *windows])
        if self.office and not self.office[1].search(everything):
            return f"a {self.office[0]}"
        for noun, number in self.numbered:
            here = {found.lower() for name, found in _NUMBERED.findall(everything) if name.lower() == noun}
            if here and number not in here:  # its like are there: it would be, too
                return f"{noun} {number}"
        return ""


def asked_for(question: str) -> AskedFor:
    """Read a question. English."""
    years = tuple(dict.fromkeys(year[:3] if decade else year for year, decade in _YEAR.findall(question)))
    numbered = tuple((noun.lower(), number.lower()) for noun, number in _NUMBERED.findall(question))
    office = None
    otherwise, written = "", None
    if _WHO.search(question):
        for asked, in_texts, full in _OFFICES:
            if named := asked.search(question):
                office = (full, in_texts)
                if len(named.group()) == 3:  # filings sign in full
                    otherwise, written = question[: named.start()] + full + question[named.end() :], in_texts
                break
    elif seat := _SEAT.match(question):
        subject = (seat["of"] or seat["whose"]).strip()
        otherwise = f"What is the address of the principal executive offices of {subject}?"
        written = _SEAT_WRITTEN
    return AskedFor(years, numbered, office, bool(_PRICE.search(question)), otherwise, written)


def _mentions(year: str, text: str) -> bool:
    """Whether a text speaks of a year or, by three digits, of one in a decade: also as FY12, or within 2010-2014."""
    if re.search(rf"(?<!\d){year}\d{{{4 - len(year)}}}(?!\d)", text):
        return True
    if len(year) == 4 and re.search(rf"(?:\bFY ?|[’'])(?:{year[2:]})\b", text):
        return True
    first = int(year.ljust(4, "0"))
    last = int(year.ljust(4, "9"))
    return any(int(a) <= last and first <= int(b) for a, b in _SPAN_OF_YEARS.findall(text))
