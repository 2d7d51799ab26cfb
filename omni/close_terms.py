"""Words of the documents that sound like what was heard: "quill on pump" may have been "Quillon pump".

    index = TermIndex(biased.terms, pronounce)
    index.corrections("replace the quill on pump")     # [Correction("quill on", "quillon", 12, 20, 0.7)]
    wordings(transcript, index)                        # readings for rag.wordings, likeliest first

Distance is the Levenshtein distance of phones with costs by how they are spoken (voicing, place, manner), divided by
the length of the longer word. English phones only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from omni.question_patterns import STOP_WORDS
from omni.types import Correction, Transcript
from rag.wordings import Wording

MAX_DISTANCE = 0.34
SHARPNESS = 0.12  # a term this much farther away is 1/e as likely
IN_DOCUMENTS = 0.25  # how likely a heard word that stands in the documents is a mistake, beside one that does not
MIN_PHONES = 4  # shorter words sound like everything
MAX_SPAN = 3  # heard words that may have been one
SHORTLIST = 150  # terms compared closely with each span
MAX_CORRECTIONS = 6

PHONES = tuple(
    str.split("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH")
)
_NUMBER = {phone: index for index, phone in enumerate(PHONES)}
_VOWELS = PHONES[:15]
# front-back (0..2), high-low (0..2), rounded or gliding
_VOWEL_PLACE = {
    "AA": (1.6, 2, 0), "AE": (0.3, 1.8, 0), "AH": (1, 1, 0), "AO": (2, 1.6, 0.5), "AW": (1.3, 1.5, 1),
    "AY": (1, 1.5, 1), "EH": (0.3, 1, 0), "ER": (1, 1, 0.7), "EY": (0.2, 0.7, 0.6), "IH": (0.4, 0.4, 0),
    "IY": (0, 0, 0), "OW": (1.9, 0.9, 0.7), "OY": (1.5, 1, 1.2), "UH": (1.6, 0.4, 0.3), "UW": (2, 0, 0.5),
}  # fmt: skip
# place (lips 0 .. throat 5), manner (stop 0, affricate 1, fricative 2, nasal 3, liquid 4, glide 5), voiced
_CONSONANTS = {
    "B": (0, 0, 1), "P": (0, 0, 0), "M": (0, 3, 1), "W": (0.5, 5, 1), "F": (0.7, 2, 0), "V": (0.7, 2, 1),
    "TH": (1.3, 2, 0), "DH": (1.3, 2, 1), "D": (2, 0, 1), "T": (2, 0, 0), "N": (2, 3, 1), "S": (2, 2, 0),
    "Z": (2, 2, 1), "L": (2, 4, 1), "R": (2.5, 4, 1), "CH": (2.7, 1, 0), "JH": (2.7, 1, 1), "SH": (2.7, 2, 0),
    "ZH": (2.7, 2, 1), "Y": (3, 5, 1), "K": (4, 0, 0), "G": (4, 0, 1), "NG": (4, 3, 1), "HH": (5, 2, 0),
}  # fmt: skip
_WEAK = {"AH": 0.4, "IH": 0.5, "ER": 0.6, "HH": 0.4, "T": 0.6, "D": 0.6, "R": 0.6, "Y": 0.5, "W": 0.6, "L": 0.7}


def _substitution_costs() -> np.ndarray:
    """(39, 39) float32, 0 to 1."""
    costs = np.ones((len(PHONES), len(PHONES)), np.float32)
    for a, i in _NUMBER.items():
        for b, j in _NUMBER.items():
            if a in _VOWEL_PLACE and b in _VOWEL_PLACE:
                costs[i, j] = min(0.8, 0.3 * math.dist(_VOWEL_PLACE[a], _VOWEL_PLACE[b]))
            elif a in _CONSONANTS and b in _CONSONANTS:
                place, manner, voiced = (abs(x - y) for x, y in zip(_CONSONANTS[a], _CONSONANTS[b], strict=True))
                costs[i, j] = min(1.0, 0.2 * place + (0.35 if manner else 0.0) + 0.05 * manner + 0.25 * voiced)
    for a, b, cost in (("ER", "R", 0.3), ("W", "UW", 0.5), ("Y", "IY", 0.4), ("ER", "L", 0.6)):
        costs[_NUMBER[a], _NUMBER[b]] = costs[_NUMBER[b], _NUMBER[a]] = cost
    return costs


SUBSTITUTE = _substitution_costs()
SKIP = np.array([_WEAK.get(phone, 0.8) for phone in PHONES], np.float32)  # of a phone that one side lacks


class TermIndex:
    """Terms of some documents by how they sound. Immutable after its making."""

    def __init__(self, terms: Mapping[str, int], pronounce: Callable[[str], str]) -> None:
        """`terms`: lower-case words and how often they occur; `pronounce`: word -> CMUdict phones, "" without."""
        self._pronounce = pronounce
        self._known = frozenset(terms)
        said = {term: phone_numbers(pronounce(term)) for term in terms}
        self.terms = [term for term, phones in said.items() if len(phones) >= MIN_PHONES]
        self._lengths = np.array([len(said[term]) for term in self.terms], np.int64)
        width = int(self._lengths.max(initial=1))
        self._phones = np.zeros((len(self.terms), width), np.int64)
        self._rows = {term: row for row, term in enumerate(self.terms)}
        self._kinds = np.zeros((len(self.terms), _KINDS.shape[1]), np.float32)
        for row, term in enumerate(self.terms):
            self._phones[row, : len(said[term])] = said[term]
            self._kinds[row] = _KINDS[said[term]].sum(0)

    def length(self, term: str) -> int:
        """Phones of one of the terms."""
        return int(self._lengths[self._rows[term]])

    def nearest(
        self, phones: Sequence[int], top_k: int = 5, max_distance: float = MAX_DISTANCE
    ) -> list[tuple[str, float]]:
        """Terms nearest to some phones with their distances (0: the same, at most `max_distance`), nearest first."""
        if not self.terms or len(phones) < MIN_PHONES - 1:
            return []
        heard = np.asarray(phones, np.int64)
        # phones of the same kind that both have: what a small distance cannot do without
        shared = np.minimum(self._kinds, _KINDS[heard].sum(0)).sum(1) / np.maximum(self._lengths, len(heard))
        shared[np.abs(self._lengths - len(heard)) > 0.45 * np.maximum(self._lengths, len(heard))] = 0.0
        rows = np.argpartition(-shared, min(SHORTLIST, len(shared) - 1))[:SHORTLIST]
        rows = rows[shared[rows] > 0.0]
        distances = _distances(heard, self._phones[rows], self._lengths[rows])
        order = np.argsort(distances, kind="stable")[:top_k]
        return [(self.terms[rows[i]], float(distances[i])) for i in order if distances[i] <= max_distance]

    def corrections(self, text: str) -> list[Correction]:
        """What of a line may have been a term of the documents, likeliest first."""
        words = [(m[0].lower(), m.start(), m.end()) for m in re.finditer(r"[A-Za-z]+(?:'[A-Za-z]+)*", text)]
        said = [phone_numbers(self._pronounce(word)) for word, _, _ in words]
        found: list[Correction] = []
        for first in range(len(words)):
            for last in range(first, min(first + MAX_SPAN, len(words))):
                span = words[first : last + 1]
                bare = [word.removesuffix("'s") for word, _, _ in span]
                if bare[0] in STOP_WORDS and (len(bare) == 1 or bare[-1] in STOP_WORDS):
                    continue
                if re.search(r"[^\w\s']", text[span[0][1] : span[-1][2]]):  # not over a mark or a figure
                    break
                own = all(word in self._known or word in STOP_WORDS for word in bare)
                heard = bare[0]
                for term, distance in self.nearest([phone for part in said[first : last + 1] for phone in part]):
                    if term in bare:  # it was understood
                        continue
                    if len(bare) == 1 and _same_stem(term, heard):
                        continue
                    weight = math.exp(-distance / SHARPNESS) * (IN_DOCUMENTS if own else 1.0) / len(bare) ** 0.5
                    found.append(Correction(text[span[0][1] : span[-1][2]], term, span[0][1], span[-1][2], weight))
        found.sort(key=lambda correction: correction.weight, reverse=True)
        return found[:MAX_CORRECTIONS]


def phone_numbers(phones: str) -> list[int]:
    return [_NUMBER[phone] for phone in phones.split() if phone in _NUMBER]


def apply(text: str, correction: Correction) -> str:
    """The line with the term in place of what was heard."""
    return text[: correction.start] + correction.term + text[correction.end :]


def wordings(transcript: Transcript, corrections: Sequence[Correction] | None = None) -> list[Wording]:
    """What may have been asked: the recogniser's hypotheses and the transcript with each correction; weights sum to 1.

    `corrections`: default, those of the transcript.
    """
    if not transcript.text:
        return []
    scores = {transcript.text: 0.0}
    if transcript.hypotheses:
        best = transcript.hypotheses[0].score
        for hypothesis in transcript.hypotheses:
            scores.setdefault(hypothesis.text, min(0.0, hypothesis.score - best))
    weights = {text: math.exp(score) for text, score in scores.items()}
    for correction in transcript.corrections if corrections is None else corrections:
        weights.setdefault(apply(transcript.text, correction), correction.weight)
    total = sum(weights.values())
    ranked = sorted(weights.items(), key=lambda item: item[1], reverse=True)
    return [Wording(text, weight / total, heard=True) for text, weight in ranked]


def _kinds() -> np.ndarray:
    """(39, 9): which kind a phone is of: vowels together, consonants by place and manner."""
    groups = [*(("P", "B"), ("F", "V", "TH", "DH"), ("T", "D"), ("K", "G"), ("S", "Z", "SH", "ZH", "CH", "JH"))]
    groups += [("M", "N", "NG"), ("L", "R", "ER"), ("W", "Y", "HH"), tuple(v for v in _VOWELS if v != "ER")]
    kinds = np.zeros((len(PHONES), len(groups)), np.float32)
    for column, group in enumerate(groups):
        for phone in group:
            kinds[_NUMBER[phone], column] = 1.0
    return kinds


_KINDS = _kinds()


def phone_distance(a: Sequence[int], b: Sequence[int]) -> float:
    """Weighted Levenshtein distance of two runs of phones: about 1 for each that differs much."""
    if not a or not b:
        return float(SKIP[list(a or b)].sum())
    longer = max(len(a), len(b))
    return float(_distances(np.asarray(a), np.asarray([b]), np.array([len(b)]))[0]) * longer


def _distances(heard: np.ndarray, terms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Weighted Levenshtein distances of (m,) phones to each of (n, width), over the longer length."""
    if not len(terms):
        return np.zeros(0, np.float32)
    skip_term = SKIP[terms]  # (n, width)
    row = np.concatenate([np.zeros((len(terms), 1), np.float32), np.cumsum(skip_term, axis=1)], axis=1)
    for phone in heard:
        above, row = row, np.empty_like(row)
        row[:, 0] = above[:, 0] + SKIP[phone]
        cost = SUBSTITUTE[phone][terms]
        for j in range(1, row.shape[1]):
            row[:, j] = np.minimum(
                np.minimum(above[:, j - 1] + cost[:, j - 1], above[:, j] + SKIP[phone]),
                row[:, j - 1] + skip_term[:, j - 1],
            )
    total = row[np.arange(len(terms)), lengths]
    return total / np.maximum(lengths, len(heard))


def _same_stem(a: str, b: str) -> bool:
    """Forms of one word: searching for either finds both."""
    short, long = sorted((a, b), key=len)
    return long.startswith(short) and long[len(short) :] in {"s", "es", "ed", "d", "ing", "ly", "er", "al"}
