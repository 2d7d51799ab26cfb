"""Claims of a model's answer, aligned with the passages it was given: what is found is quoted, what is not is marked.

    writer = CitationWriter(passages)
    for piece in model: for text, citation in writer.feed(piece): show(text)
    for text, citation in writer.finish(): show(text)

The model's own [n] is a hint, not a proof. Each claim (a sentence, or the part of one before its marker) is aligned
with the sentences and table rows of passage n, else of any passage: it is verified if most of its words stand there,
all its numbers do, and it does not deny what the source says (or the reverse). Markers that point to no passage
disappear; claims without a marker get one. Citations are numbered anew, in order; the same quote keeps its number.
Not covered: claims that are true of the source in quite other words are marked unverified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.types import Box
from rag.quotable import quotable_spans
from rag.table_rows import describe_row
from rag.types import Citation, Hit

VERIFIED = 0.6  # share of a claim's content words that its quote must hold
_LEAST_TERMS = 3  # fewer content words ("Yes.", "Here it is:") claim nothing
_MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_PARTIAL_MARKER = re.compile(r"\[[\d,;\s]{0,20}$")
_BOUNDARY = re.compile(
    r"[.!?。！？][\"”’')]*(?P<gap>\s+|(?<=[。！？])(?=\S))(?=[^\s\[])|(?P<break>\s*\n\s*)(?=[^\s\[])"
)
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|No|vs|Inc|Corp|Co|Ltd|e\.g|i\.e|approx|U\.S|p|pp)\.$")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot)\b|n[’']t\b", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:documents?|passages?|context|text|sources?) (?:do(?:es)? not|don[’']t|doesn[’']t|did not) "
    r"(?:answer|say|mention|contain|provide|state|include|hold|specify)|"
    r"\b(?:can(?:not|[’']t| not)|could not|couldn[’']t|unable to) (?:find|answer|determine|locate)|"
    r"\b(?:is|are|was|were) not (?:mentioned|provided|stated|given|specified|contained|found) in\b|"
    r"\bno (?:information|mention|passage|answer) (?:about|on|of|in|is|was)\b|\bI (?:do not|don[’']t) know\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a reply says, in its first two hundred characters, that the documents hold no answer."""
    return bool(_REFUSAL.search(text[:200]))


@dataclass(frozen=True)
class Alignment:
    """Where in a page's text a claim is best matched."""

    start: int
    end: int
    score: float  # share of the claim's content words found, 0..1
    verified: bool


def align(claim: str, hit: Hit) -> Alignment:
    """The sentence, row or two neighbouring sentences of the hit's chunk that match a claim best."""
    from ingest.tokens import index_terms, query_terms

    wanted = set(query_terms(claim))
    numbers = _numbers(claim)
    denials = len(_NEGATION.findall(claim))
    text, offset = hit.chunk.text, hit.chunk.start
    pieces = [q for q in quotable_spans(text) if q.kind in ("sentence", "row")]
    ranges = [(q.start, q.end) for q in pieces]
    prose = [q for q in pieces if q.kind == "sentence"]
    ranges += [(a.start, b.end) for a, b in pairwise(prose) if b.end - a.start < 600]
    rows = {(q.start, q.end) for q in pieces if q.kind == "row"}
    best = Alignment(offset, hit.chunk.end, 0.0, False)
    best_key = (-1.0, 0)
    for start, end in ranges or [(0, len(text))]:
        # A row says what its columns' heads say, too.
        quote = describe_row(text, start, end) if (start, end) in rows else text[start:end]
        found = set(index_terms(quote))
        score = len(wanted & found) / len(wanted) if wanted else 0.0
        agrees = numbers <= _numbers(quote) | _numbers(hit.chunk.context)
        verified = score >= VERIFIED and agrees and denials == _denials(quote, wanted)
        # Two sentences only where one alone does not hold the claim: the shorter quote wins ties.
        key = (score + verified + 0.5 * agrees - 0.0002 * (end - start), start - end)
        if key > best_key:
            best, best_key = Alignment(offset + start, offset + end, score, verified), key
    return best


def _denials(quote: str, wanted: set[str]) -> int:
    """Negations in the part of a quote that a claim is about: between the first and the last word they share."""
    from ingest.tokens import index_terms

    words = quote.split()
    shared = [i for i, word in enumerate(words) if wanted & set(index_terms(word))]
    return len(_NEGATION.findall(" ".join(words[shared[0] : shared[-1] + 1]))) if shared else 0


def _numbers(text: str) -> set[str]:
    return {match.group().replace(",", "").rstrip(".") for match in _NUMBER.finditer(text)}


class CitationWriter:
    """Turns a model's stream into text whose markers resolve. The pieces joined equal what one piece would give."""

    def __init__(
        self, passages: Sequence[Hit], *, boxes: Callable[[str, int, int, int], Sequence[Box]] | None = None
    ) -> None:
        self.passages = passages
        self.boxes = boxes
        self._numbers: dict[tuple[str, int, int, int], int] = {}
        self._held = ""  # not yet shown: it may be part of a marker or of the gap between sentences
        self._claim = ""  # the sentence so far
        self._since_marker = ""  # of it, what follows its last marker
        self._marked: set[int] = set()  # citations of the sentence so far

    def feed(self, piece: str) -> Iterator[tuple[str, Citation | None]]:
        """Take a piece of the model's reply; yield what can be shown, and citations with their markers."""
        self._held += piece
        yield from self._drain(final=False)

    def finish(self) -> Iterator[tuple[str, Citation | None]]:
        """The rest, when the model has ended."""
        self._held = self._held.rstrip()
        yield from self._drain(final=True)
        yield from self._close_sentence()

    def _drain(self, *, final: bool) -> Iterator[tuple[str, Citation | None]]:
        while True:
            marker, boundary = _MARKER.search(self._held), self._next_boundary()
            if boundary is not None and (marker is None or boundary[0] < marker.start()):
                yield from self._show(self._held[: boundary[0]])
                yield from self._close_sentence()
                yield self._held[boundary[0] : boundary[1]], None
                self._held = self._held[boundary[1] :]
            elif marker is not None:
                yield from self._show(self._held[: marker.start()].rstrip())
                self._held = self._held[marker.end() :]
                yield from self._cite([int(n) for n in re.findall(r"\d+", marker.group())])
            else:
                break
        # Shown at once: all but a tail that the next piece may turn into a marker, an ending or a gap.
        keep = len(self._held) if final else self._certain()
        yield from self._show(self._held[:keep])
        self._held = self._held[keep:]

    def _next_boundary(self) -> tuple[int, int] | None:
        """The gap between two sentences in what is held: [start, end)."""
        for match in _BOUNDARY.finditer(self._held):
            name = "gap" if match.group("break") is None else "break"
            before = self._claim + self._held[: match.start() + 1]
            if name == "gap" and _ABBREVIATION.search(before):
                continue
            return match.start(name), match.end(name)
        return None

    def _certain(self) -> int:
        partial = _PARTIAL_MARKER.search(self._held)
        end = partial.start() if partial else len(self._held)
        end = len(self._held[:end].rstrip())
        tail = re.search(r"\S*[.!?。！？][\"”’')]*$", self._held[:end])
        return tail.start() if tail else end

    def _show(self, text: str) -> Iterator[tuple[str, Citation | None]]:
        if text:
            self._claim += text
            self._since_marker += text
            yield text, None

    def _cite(self, numbers: Sequence[int]) -> Iterator[tuple[str, Citation | None]]:
        """Resolve the markers that the model wrote after the sentence so far."""
        valid = [n for n in numbers if 1 <= n <= len(self.passages)]
        if not valid or not self._claim.strip():
            return
        part = self._since_marker.strip(" .,;:")
        claim = part if len(part.split()) > _LEAST_TERMS else self._claim
        for n in valid:
            yield from self._emit(*self._resolve(claim, self.passages[n - 1]))
        self._since_marker = ""

    def _close_sentence(self) -> Iterator[tuple[str, Citation | None]]:
        """End a sentence; one that claims something and carries no marker is looked up in all passages."""
        from ingest.tokens import query_terms

        claim, self._claim, self._since_marker = self._claim.strip(), "", ""
        marked, self._marked = self._marked, set()
        if marked or not self.passages or is_refusal(claim) or len(query_terms(claim)) < _LEAST_TERMS:
            return
        if not claim.endswith(":"):
            yield from self._emit(*self._resolve(claim, None))
        self._marked = set()

    def _resolve(self, claim: str, preferred: Hit | None) -> tuple[Hit, Alignment]:
        """The passage and place of a claim: the preferred passage, unless only another one holds it."""
        if preferred is not None and (found := align(claim, preferred)).verified:
            return preferred, found
        aligned = [(hit, align(claim, hit)) for hit in self.passages]
        best = max(aligned, key=lambda pair: (pair[1].verified, pair[1].score))
        if preferred is None or best[1].verified:
            return best
        return preferred, align(claim, preferred)

    def _emit(self, hit: Hit, found: Alignment) -> Iterator[tuple[str, Citation | None]]:
        chunk = hit.chunk
        key = (chunk.document_id, chunk.page, found.start, found.end)
        n = self._numbers.get(key)
        if n is not None and found.verified:
            if n not in self._marked:
                self._marked.add(n)
                yield f" [{n}]", None
            return
        n = 1 + max(self._numbers.values(), default=0)
        # An unverified claim gets a number of its own: the same quote may verify another claim.
        self._numbers[key if found.verified else (*key[:3], -n)] = n
        self._marked.add(n)
        quote = chunk.text[found.start - chunk.start : found.end - chunk.start]
        boxes = self.boxes(chunk.document, chunk.page, found.start, found.end) if self.boxes else ()
        yield (
            f" [{n}]",
            Citation(
                n, chunk.document, chunk.page, quote, found.start, found.end, tuple(boxes), found.verified, found.score
            ),
        )
