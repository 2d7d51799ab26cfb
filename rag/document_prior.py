"""Which document does a question speak of? Found before the page, and never more than a lean.

A file is known by its name, its title and its first page. "AMCOR's quick ratio in FY2023" leans towards
AMCOR_2023_10K.pdf, "JPM ... 2022 Q2" towards JPMORGAN_2022Q2_10Q.pdf, "the Lime Energy distributor agreement" towards
LIMEENERGYCO_09_09_1999-EX-10-DISTRIBUTOR AGREEMENT.pdf. Names are taken apart into words, years, quarters and kinds
of report; words are weighed by how few documents carry them; glued names ("AMERICANWATERWORKS"), beginnings ("JPM")
and initials ("JNJ") are recognised. A question that names no document gets no lean at all.

    prior = DocumentPrior([DocumentProfile.of("d1", "AMCOR_2023_10K.pdf"), ...])
    prior.match("Has AMCOR's quick ratio improved?").score      # (documents,) float32 in 0..1
"""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Documents: TypeAlias = "array[int]"  # numbers of documents, 4 bytes each
HEAD_CHARS = 1500  # of the first page: what a title page says

_FORMS = (  # kind of report, how names and questions write it
    ("10-k", r"10-?k(?:405|sb)?|annual report"),
    ("10-q", r"10-?q|quarterly report"),
    ("8-k", r"8-?k|current report"),
    ("20-f", r"20-?f"),
    ("def14a", r"def[ _-]?14a|proxy statement"),
    ("earnings", r"earnings(?: (?:release|call|report))?"),
)
_FORM = re.compile(
    "|".join(rf"(?P<f{i}>(?<![a-z0-9])(?:{form})(?![a-z0-9]))" for i, (_, form) in enumerate(_FORMS)), re.I
)
_YEAR = re.compile(r"(?<![\d.,$])(?:FY|CY|fiscal(?: year)?)?[ _-]?((?:19|20)\d\d)(?!\d|[.,]\d)", re.I)
_SHORT_YEAR = re.compile(r"(?<![a-z0-9])(?:FY|CY)[ _'’-]?(\d\d)(?!\d)", re.I)
_QUARTER = re.compile(
    r"(?<![a-z])Q([1-4])(?!\d)|\b([1-4])Q(?![a-z])|\b(first|second|third|fourth) (?:fiscal )?quarter", re.I
)
_HALF = re.compile(r"(?<![a-z0-9])H([12])(?!\d)|\b(first|second) half\b", re.I)
_WORD = re.compile(r"[^\W_]+(?:[’'][^\W_]+)*(?:&[^\W_]+)*")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+[A-Za-z]*|[^\W\d_A-Za-z]+")
_STOP_WORDS = """
    a an and are as at be been by did do does for from had has have how if in into is it its of on or than that the
    their there these this those to was were what when where which who whom whose why will with would inc corp co ltd
    llc plc company corporation group holdings pdf txt md html docx dated exhibit ex form file document report final
    copy version page section"""
_STOP = frozenset(_STOP_WORDS.split())
_ORDINAL = {"first": 1, "second": 2, "third": 3, "fourth": 4}


@dataclass(frozen=True, slots=True)
class Period:
    """Years, quarters and kinds of report that a name or a question mentions."""

    years: tuple[int, ...] = ()
    quarters: tuple[int, ...] = ()
    forms: tuple[str, ...] = ()


def read_period(text: str) -> tuple[Period, str]:
    """Take years (FY2019, FY19, 2019), quarters (Q2, 2022Q2, H1 = Q2) and report kinds out of `text`.

    Returns them and the text that is left.
    """
    years = [int(m.group(1)) for m in _YEAR.finditer(text)]
    years += [2000 + int(m.group(1)) for m in _SHORT_YEAR.finditer(text)]
    quarters = [
        _ORDINAL.get((m.group(3) or "").lower()) or int(m.group(1) or m.group(2)) for m in _QUARTER.finditer(text)
    ]
    quarters += [2 * (_ORDINAL.get((m.group(2) or "").lower()) or int(m.group(1))) for m in _HALF.finditer(text)]
    forms = [_FORMS[int((m.lastgroup or "f0")[1:])][0] for m in _FORM.finditer(text)]
    if not (years or quarters or forms):  # nothing to take out
        return Period(), text
    rest = text
    for pattern in (_FORM, _YEAR, _SHORT_YEAR, _QUARTER, _HALF):
        rest = pattern.sub(" ", rest)
    return Period(tuple(dict.fromkeys(years)), tuple(dict.fromkeys(quarters)), tuple(dict.fromkeys(forms))), rest


def _bare(word: str) -> str:
    """Lower case, without possessive and inner marks: "McDonald’s" -> "mcdonald", "AT&T" -> "att"."""
    word = re.sub(r"[’']s?$", "", word.lower())
    return re.sub(r"[^\w]|_", "", word)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word


@dataclass(frozen=True, slots=True)
class DocumentProfile:
    """By what a document is known: words of its name, of its title and of its first page; its period."""

    document_id: str
    name_words: tuple[str, ...]
    title_words: tuple[str, ...]
    head_words: tuple[str, ...]
    initials: tuple[str, ...]
    period: Period

    @classmethod
    def of(cls, document_id: str, name: str, title: str = "", head: str = "") -> DocumentProfile:
        """Read a profile from a file name, a title and the beginning of the first page (each may be empty)."""
        stem = re.sub(r"\.[A-Za-z]{2,5}$", "", name)
        spaced = re.sub(r"[_]+|(?<=\d{4})(?=Q[1-4])", " ", stem)
        period, rest = read_period(spaced)
        title_period, title_rest = read_period(title)
        head = head[:HEAD_CHARS]
        head_period, _ = read_period(head)
        if not period.years:  # the name says no year: the title does, or a title page with one clear year
            years = title_period.years or (_clear_year(head),)
            period = Period(
                tuple(year for year in years if year), period.quarters or title_period.quarters, period.forms
            )
        if not period.forms:
            period = Period(period.years, period.quarters, title_period.forms or head_period.forms[:1])
        initials = tuple(dict.fromkeys(text for text in (_initials(rest), _initials(title_rest)) if len(text) > 1))
        return cls(document_id, _words(rest), _words(title_rest), _words(head), initials, period)


def _clear_year(head: str) -> int:
    ended = re.search(r"(?:fiscal )?(?:year|period|quarter)s? ended[^.;]{0,30}?((?:19|20)\d\d)", head, re.I)
    return int(ended.group(1)) if ended else 0


def _words(text: str) -> tuple[str, ...]:
    """Words of a name: split on marks and camel case; the glued form is kept beside its parts."""
    found: list[str] = []
    for word in _WORD.findall(text):
        parts = [_bare(part) for part in _CAMEL.findall(word)]
        found.append(_bare(word))
        if len(parts) > 1 and all(len(part) > 1 for part in parts):
            found += parts
    kept = (w for w in found if w and w not in _STOP and not (w.isdigit() and len(w) > 4))
    return tuple(dict.fromkeys(map(sys.intern, kept)))  # documents share most words: 100,000 keep one copy of each


def _initials(text: str) -> str:
    """ "Johnson & Johnson" -> "jj"."""
    words = [_bare(word) for word in _WORD.findall(text)]
    return "".join(word[0] for word in words if word and word not in _STOP and not word[0].isdigit())


@dataclass(frozen=True)
class DocumentMatch:
    """How strongly a question points at each document."""

    score: np.ndarray  # (documents,) float32 in 0..1; all zero where the question names none
    words: frozenset[str]  # bare question words that named a document


class DocumentPrior:
    """An inverted list over profiles, so that a question costs the words it has, not the documents there are."""

    def __init__(self, profiles: Sequence[DocumentProfile]) -> None:
        self.profiles = list(profiles)
        self._lists: list[dict[str, Documents]] = []  # name, title, head: word -> documents
        for field in ("name_words", "title_words", "head_words"):
            lists: dict[str, Documents] = defaultdict(lambda: array("i"))
            for i, profile in enumerate(self.profiles):
                for word in getattr(profile, field):
                    lists[word].append(i)
            self._lists.append(dict(lists))
        self._sorted_names = sorted(self._lists[0])
        self._initials: dict[str, Documents] = defaultdict(lambda: array("i"))
        for i, profile in enumerate(self.profiles):
            for initials in profile.initials:
                self._initials[initials].append(i)
        numbers: dict[Period, int] = {}
        self._period_of = np.array([numbers.setdefault(p.period, len(numbers)) for p in self.profiles], np.int32)
        self._periods = list(numbers)
        self._any_period = any(period.years or period.forms for period in self._periods)

    def __len__(self) -> int:
        return len(self.profiles)

    def _idf(self, documents: Documents) -> float:
        """1 for a word of one document, small for a word of all: even then years and quarters may tell them apart."""
        n = len(self.profiles)
        return float(np.log((n + 1) / len(documents)) / np.log(n + 1))

    def match(self, question: str) -> DocumentMatch:
        """Score every document against the question's words, years, quarters and report kinds."""
        n = len(self.profiles)
        total = np.zeros(n, np.float32)
        if n < 2:
            return DocumentMatch(total, frozenset())
        period, rest = read_period(question)
        found: dict[str, list[tuple[np.ndarray, float]]] = defaultdict(list)  # word matched -> documents and weight
        named: set[str] = set()
        surest = 0.0
        for gram, parts, is_name_like in _grams(rest):
            for documents, quality in self._lookups(gram, len(parts), is_name_like):
                weight = quality * self._idf(documents)
                if quality >= 0.5:
                    named.update(parts)
                surest = max(surest, quality if is_name_like else 0.0)
                rows = np.frombuffer(documents, np.intc)  # as it lies there, not a copy
                share = weight / max(len(parts), 1) * min(len(parts), 1.0 + 0.5 * (len(parts) - 1))
                for part in parts:  # a glued match counts once for each of its words
                    found[part].append((rows, share))
        for matches in found.values():
            if len(matches) == 1:  # the usual case, without an array as long as the store
                rows, share = matches[0]
                total[rows] += share
                continue
            weights = np.zeros(n, np.float32)
            for rows, share in matches:
                weights[rows] = np.maximum(weights[rows], share)
            total += weights
        best = float(total.max())
        if best <= 0.0:
            return DocumentMatch(total, frozenset())
        # How sure: one exact name is enough, however many documents carry it (their years differ); a lone word of a
        # title page is not.
        sure = min(1.0, max(best, surest))
        score: np.ndarray = total  # in place: a store of 100,000 documents takes new memory for every array
        score /= best
        np.square(score, out=score)
        score *= sure
        if self._any_period and (period.years or period.quarters or period.forms):
            fits = np.array([_period_fit(period, has) for has in self._periods])
            score = score * (0.4 + 0.6 * fits[self._period_of])
        return DocumentMatch(score.astype(np.float32, copy=False), frozenset(named))

    def _lookups(self, gram: str, size: int, is_name_like: bool) -> list[tuple[Documents, float]]:
        names, titles, heads = self._lists
        results: list[tuple[Documents, float]] = []
        strength = 1.0 if is_name_like else 0.75  # "Force" the article, or any force
        for word in dict.fromkeys((gram, _singular(gram))):
            if word in names:
                results.append((names[word], strength))
            if word in titles:
                results.append((titles[word], 0.8 * strength))
        if len(gram) >= 3 and not any(quality == strength for _, quality in results):
            by_length = self._beginning_with(gram)
            if by_length:
                words, coverage = by_length
                quality = 0.9 if is_name_like and (size > 1 or coverage >= 0.25) else 0.8 if coverage >= 0.75 else 0.0
                if quality:
                    results.append((array("i", sorted({i for word in words for i in names[word]})), quality))
        if size == 1 and is_name_like and not results and 2 <= len(gram) <= 5:
            short = re.sub(r"^(\w)n(\w)$", r"\1\2", gram)  # JnJ, PnG
            if short in self._initials:
                results.append((self._initials[short], 0.7))
        if size == 1 and gram in heads:
            results.append((heads[gram], 0.5 if is_name_like else 0.15))
        return results

    def _beginning_with(self, gram: str) -> tuple[list[str], float] | None:
        """Name words that begin with `gram`, and the share of the longest that it covers."""
        at = bisect_left(self._sorted_names, gram)
        words: list[str] = []
        while at < len(self._sorted_names) and self._sorted_names[at].startswith(gram) and len(words) < 50:
            words.append(self._sorted_names[at])
            at += 1
        return (words, len(gram) / max(map(len, words))) if words else None


def _grams(text: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """Runs of one to four words glued together: (glued, its words, looks like a name). Stop words only inside."""
    words = _WORD.findall(text)
    bare = [_bare(word) for word in words]
    shouted = text.upper() == text  # no telling names from the rest
    capital = [any(letter.isupper() or letter.isdigit() for letter in word) for word in words]
    grams: dict[str, tuple[tuple[str, ...], bool]] = {}
    for i in range(len(words)):
        for j in range(i + 1, min(i + 4, len(words)) + 1):
            if not bare[i] or not bare[j - 1] or bare[i] in _STOP or bare[j - 1] in _STOP:
                continue
            glued = "".join(bare[i:j])
            if len(glued) < 2:
                continue
            name_like = not shouted and all(capital[k] or bare[k] in _STOP for k in range(i, j))
            if glued not in grams or (name_like and not grams[glued][1]):
                grams[glued] = (tuple(w for w in bare[i:j] if w not in _STOP), name_like)
    return [(glued, parts, name_like) for glued, (parts, name_like) in grams.items()]


def _period_fit(asked: Period, has: Period) -> float:
    """0..1: does a report of period `has` answer a question about `asked`?

    An annual report of year y shows y, y-1 and y-2, so the report of the last year asked for is best, later ones may
    still do, the one before can only forecast, and earlier ones cannot know.
    """
    fit = 1.0
    if asked.years and has.years:
        ahead = max(has.years) - max(asked.years)
        fit *= {0: 1.0, 1: 0.55, 2: 0.35, -1: 0.3}.get(ahead, 0.05)
    if asked.quarters:
        if has.quarters:
            fit *= 1.0 if set(asked.quarters) & set(has.quarters) else 0.3
        elif "10-k" in has.forms:
            fit *= 0.6
    elif has.quarters and "10-q" not in asked.forms:
        fit *= 0.6  # a year was asked for, this is a quarter
    if asked.forms and has.forms:
        fit *= 1.0 if set(asked.forms) & set(has.forms) else 0.5
    elif asked.years and not asked.quarters and has.forms and "10-k" not in has.forms:
        fit *= 0.8
    return fit
