"""Names that the network has never read, put where it wrote what sounds like them: "sick cell and" -> "Zyxelon".

    terms = DocumentTerms(biased, mixed, general)
    terms.repairs("How often is the sick cell and pump replaced?")     # [Repair("How often is the Zyxelon ...", 0.8)]
    terms.repaired(line, doubts)                       # with those that are likelier than what was heard

A noisy channel (for speech: Ringger & Allen, ICASSP 1996): a term of the documents is believed in place of some heard
words if the language model of the documents expects it there by more than its sound is away from them, the sooner the
more the network doubted them. Only words that the documents use far more than people do come into question.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omni.arpabet import phones
from omni.close_terms import TermIndex, phone_numbers
from omni.language_bias import BiasedModel
from omni.moonshine_bias import spoken_words
from omni.question_patterns import STOP_WORDS
from omni.trigram_lookup import TrigramFile

CHARACTERISTIC = 1.0  # nats more frequent in the documents than elsewhere
MAX_TERMS = 4000
LONGEST = 4  # heard words that may have been one term
NEAREST = 4  # terms looked at for each of them
FLOOR = -16.0  # log-probability of a word that is in no model
EACH = 3  # terms put into one line
BELIEVED = 0.6  # probability of a term that takes the place of what was heard
MAX_DOUBT = 12.0  # nats
# Logistic regression: is the line better with the term? Fitted on questions of SQuAD's training articles and sentences
# of other articles, spoken by flite.
EXPECTED, DISTANCE, WORDS, DOUBT, CONSTANT = 0.283, -2.049, 1.104, 1.032, -3.223

Doubts = Sequence[tuple[int, int, float]]


@dataclass(frozen=True)
class Repair:
    """A line with one term in the place of what was heard."""

    text: str
    heard: str  # == line[start:end]
    term: str  # as the documents write it
    start: int
    end: int
    probability: float  # that the line is better so
    features: tuple[float, ...]  # in the order of the constants above


class DocumentTerms:
    """Immutable after its making."""

    def __init__(self, biased: BiasedModel, mixed: TrigramFile, general: TrigramFile) -> None:
        def gain(word: str) -> float:
            return mixed.logp(word) - max(general.logp(word), FLOOR)

        chosen = [term for term in biased.terms if gain(term) > CHARACTERISTIC][:MAX_TERMS]
        self._mixed, self._names = mixed, biased.names
        self._index = TermIndex(
            dict.fromkeys(chosen, 1), lambda word: biased.pronunciations.get(word, [""])[0] or phones(word)
        )

    def repaired(self, line: str, doubts: Doubts = ()) -> tuple[str, list[Repair]]:
        """The line with the terms that are believed, and all that may have been said, likeliest first."""
        found = self.repairs(line, doubts)
        believed: list[Repair] = []
        for repair in found:
            apart = all(repair.end <= other.start or other.end <= repair.start for other in believed)
            if repair.probability >= BELIEVED and apart and len(believed) < EACH:
                believed.append(repair)
        for repair in sorted(believed, key=lambda repair: repair.start, reverse=True):
            line = line[: repair.start] + repair.term + line[repair.end :]
        return line, found

    def repairs(self, line: str, doubts: Doubts = ()) -> list[Repair]:
        """Terms that may have been said, each alone in the line, likeliest first.

        doubts: start and end of pieces of the line, and how unlikely each was to the recogniser, nats.
        """
        before = self.likelihood(line)
        found = []
        for start, end, term, distance in self._sounding(line):
            heard = line[start:end]
            written = self._names.get(term, term) + ("'s" if heard.lower().endswith("'s") else "")
            text = line[:start] + written + line[end:]
            words = spoken_words(heard.replace(" ", "-"), self._mixed)
            doubt = min(MAX_DOUBT, sum(nats for a, b, nats in doubts if a < end and start < b))
            features = (
                self.likelihood(text) - before,
                distance,
                float(len(words)),
                doubt / max(1, len(words)),
                1.0,
            )
            chance = sum(
                weight * value
                for weight, value in zip((EXPECTED, DISTANCE, WORDS, DOUBT, CONSTANT), features, strict=True)
            )
            probability = 1 / (1 + math.exp(-max(-30.0, min(30.0, chance))))
            found.append(Repair(text, heard, written, start, end, probability, features))
        found.sort(key=lambda repair: repair.probability, reverse=True)
        return found

    def likelihood(self, line: str) -> float:
        """log P(words) of the documents' language model; figures are left out."""
        history: tuple[str, ...] = ("<s>",)
        total = 0.0
        for written in line.split():
            if any(character.isdigit() for character in written):
                history = ()
                continue
            for word in spoken_words(written, self._mixed):
                total += max(FLOOR, self._mixed.logp(word, history))
                history = (*history[-1:], word)
        return total

    def _sounding(self, line: str) -> Iterator[tuple[int, int, str, float]]:
        """Start and end of heard words, a term that sounds like them, and how far its phones are away, summed."""
        words = [(match[0], match.start(), match.end()) for match in re.finditer(r"[A-Za-z]+(?:'[A-Za-z]+)*", line)]
        said = [phone_numbers(phones(word.lower())) for word, _, _ in words]
        for first in range(len(words)):
            heard: list[int] = []
            for last in range(first, min(first + LONGEST, len(words))):
                start, end = words[first][1], words[last][2]
                if last > first and re.search(r"[^\s',-]", line[words[last - 1][2] : words[last][1]]):
                    break
                heard += said[last]
                bare = [word.lower().removesuffix("'s") for word, _, _ in words[first : last + 1]]
                if all(word in STOP_WORDS for word in bare):
                    continue
                for term, distance in self._index.nearest(heard, NEAREST):
                    if term not in bare:
                        yield start, end, term, distance * max(len(heard), self._index.length(term))
