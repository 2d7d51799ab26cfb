"""Citations aloud: [1] becomes "page twelve of the lease", said once while the same page goes on being cited."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from rag.types import Citation

MARK = re.compile(r"(?:\s*\[\d+(?:\s*[,;]\s*\d+)*\])+")


_PREPOSITION = re.compile(r"\b(?:see|and|or|in|on|from|of|at|by|to|per|under|also|with)$", re.IGNORECASE)


class SpokenCitations:
    """What has been said about sources so far in one answer. State: the citations known and the one said last."""

    def __init__(self, citations: Iterable[Citation] = ()) -> None:
        self._known = {citation.n: citation for citation in citations}
        self._last: tuple[str, int] | None = None

    def learn(self, citation: Citation) -> None:
        self._known[citation.n] = citation

    def place(self, text: str) -> str:
        """Replace the marks of a text by words; marks that nothing is known about fall silent."""
        return MARK.sub(lambda mark: self._say(mark, text), text)

    def _say(self, mark: re.Match[str], text: str) -> str:
        words = self._words([int(n) for n in re.findall(r"\d+", mark[0])])
        before, after = text[: mark.start()].rstrip(), text[mark.end() :].lstrip()
        if not words:
            return "" if not after or after[0] in ".,;:!?)" else " "
        sentence_ended = before[-1:] in '.!?。！？"”’)\n' and after[:1] not in (".", ",", ";", "!", "?")
        if sentence_ended:
            return f" {words[0].upper()}{words[1:]}." + (" " if after else "")  # a short sentence of its own
        tied = before[-1] in ",;:(" or _PREPOSITION.search(before)
        joint = " " if tied else ", "
        return joint + words + ("" if not after or after[0] in ".,;:!?)" else ", ")

    def _words(self, numbers: list[int]) -> str:
        phrases: list[str] = []
        for citation in (self._known[n] for n in numbers if n in self._known):
            place = (citation.document, citation.page)
            if place == self._last:
                continue
            same_document = self._last is not None and self._last[0] == citation.document
            self._last = place
            page = f"page {citation.page}" if has_pages(citation) else ""
            if not (same_document and page):
                name = document_name(citation.document)
                page = f"{page} of {name}" if page else f"from {name}"
            phrases.append(page)
        return " and ".join(phrases)


def has_pages(citation: Citation) -> bool:
    """A text or web page is one long page 1: its number means nothing to a listener."""
    return citation.page > 1 or citation.document.lower().endswith(".pdf")


def document_name(file_name: str) -> str:
    """ "lease.pdf" -> "the lease"; "3M_2022_10K.pdf" -> "3M 2022 10-K"; "annual_report.md" -> "the annual report"."""
    name = PurePath(file_name)
    stem = name.stem if re.fullmatch(r"\.[A-Za-z]{2,5}", name.suffix) else name.name
    words = re.sub(r"[_\s]+|(?<=[A-Za-z])-(?=[A-Za-z])", " ", stem).strip()
    words = re.sub(r"\b(10|8|20|6)-?([KQF])\b", r"\1-\2", words)
    words = re.sub(r"\b((?:19|20)\d\d)(Q[1-4]|FY)\b", r"\1 \2", words)
    words = re.sub(r"\b(?=[A-Z]*[AEIOUY])[A-Z]{5,}\b", lambda m: m[0].capitalize(), words)
    plain = re.fullmatch(r"[a-z]+(?: [a-z]+)*", words)
    return f"the {words}" if plain and not re.match(r"(?:the|a|an|my|our|your)\b", words) else words or "the document"
