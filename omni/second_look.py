"""A line that was understood, looked at again with the passages that it finds: other words where sound and text agree.

    look = SecondLook(biased, mixed, general)
    repairs = look.repairs("What did the Byzantines help the chasers with?", others, samples)
    look.applied(line, repairs)                           # "What did the Byzantines help the Khazars with?"

What may have been said instead: words of those passages that sound alike (omni/close_terms.py), and what other readings
of the sound have in the same place. Each is judged by sources that know nothing of each other: pocketsphinx's acoustic
model (omni/forced_alignment.py), a language model that expects the passages' words (omni/passage_words.py), and the
other readings; a log-linear model weighs them (Och & Ney, ACL 2002), trained to the least expected number of errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from omni.arpabet import phones
from omni.close_terms import TermIndex, phone_distance, phone_numbers
from omni.forced_alignment import Alignment, aligned
from omni.language_bias import BiasedModel
from omni.moonshine_bias import spoken_words
from omni.moonshine_terms import FLOOR, MAX_DOUBT, Doubts, Repair
from omni.other_readings import OtherReading, Readings, Word, fits, words_in
from omni.passage_words import NearWords, PassageWords
from omni.question_patterns import STOP_WORDS
from omni.transcript_text import words_of
from omni.trigram_lookup import TrigramFile

LONGEST_S = 12.0  # of sound: who speaks longer is asked to wait no longer for it
LONGEST = 4  # heard words that may have been one term
SOUNDING = 3  # terms looked at for each run of heard words
MAX_DISTANCE = 0.45  # of a term of the passages: the sound itself decides
TRIED = 12  # held against the sound, at most, of those that it could make believed
APPLIED = 4  # in one line
LEAST_WORDS = 4  # of a line that is not taken to be about the documents: "Go on, please" is not
OFF_TOPIC = 0.95  # probability of a repair of such a line; and the second listener has heard it, too
AGREED = 0.6  # of its words, at least, are what the second listener heard
LEAST_DOUBT = 0.05  # nats a word: below, the network is sure
SECOND = 0.6  # of what the second recogniser says, when passages are searched
SHARE = 0.3  # of the passages in the language model
CLEAREST = (-8.0, 5.0)  # limits of what the sound says, in tens of nats
# Log-linear weights; see models/recognition/README.md for what they were fitted on.
WEIGHTS = (-2.8, 0.83, 0.56, 0.4, -0.81, 8.81, 3.67, -3.5, 1.45, -0.34)  # in the order of Candidate.features

History = tuple[str, ...]


@dataclass
class Candidate:
    """Words start..end-1 of the line may have been `words`."""

    start: int
    end: int
    words: tuple[str, ...]  # as written
    read: float = 0.0  # probability of the network's other readings that have it
    second: float = 0.0  # of the second recogniser's that have it
    opposed: float = 0.0  # and of those of them that have what was heard
    doubt: float = 0.0  # how unlikely what was heard was to the network, nats a word
    expected: float = 0.0  # log P of the line with it minus without
    distance: float = 0.0  # of its phones from those heard
    off_topic: bool = False  # the line was not taken to be about the documents
    sound: float = 0.0  # log-likelihood ratio, tens of nats

    @property
    def features(self) -> tuple[float, ...]:
        known = (1.0, max(0.0, self.sound), min(0.0, self.sound), self.expected, self.distance)
        doubt = math.log(LEAST_DOUBT + self.doubt)
        return (*known, self.read, self.second, self.opposed, doubt, float(self.off_topic))

    @property
    def score(self) -> float:
        return sum(weight * value for weight, value in zip(WEIGHTS, self.features, strict=True))


@dataclass(frozen=True)
class Evidence:
    """What is known of a line besides its words."""

    readings: Readings  # the network's, the line among them, with their probabilities
    second: Readings = ()  # those of another recogniser
    doubts: Doubts = ()  # start and end of pieces of the line, and how unlikely each was to the network, nats
    on_topic: bool = True  # whether the line is taken to be about the documents; else more has to speak for their words


class SecondLook:
    """Immutable after its making; may be used by several threads."""

    def __init__(self, biased: BiasedModel, mixed: TrigramFile) -> None:
        self._mixed, self._names = mixed, biased.names
        self._passages = PassageWords(biased.passages())

        @lru_cache(maxsize=20_000)
        def pronounced(word: str) -> str:
            return biased.pronunciations.get(word, [""])[0] or phones(word)

        self._pronounced = pronounced

    def repairs(self, line: str, samples: np.ndarray, evidence: Evidence) -> list[Repair] | None:
        """What may have been said in place of words of the line, likeliest first; samples: (n,) float32 at 16 kHz.

        None: there is nothing to judge it by, as no passage has its words or the acoustic model does not fit the voice.
        In a line about something else only words of the passages that the second listener heard come into question.
        """
        words = words_in(line)
        near = self._passages.near([*evidence.readings, *((text, p * SECOND) for text, p in evidence.second)])
        if not words or near is None or (evidence.second and not fits(line, evidence.second)):
            return None
        if not evidence.on_topic and (len(words) < LEAST_WORDS or not fits(line, evidence.second, AGREED)):
            return None
        found = self._candidates(words, evidence, near)
        if not evidence.on_topic:
            found = [candidate for candidate in found if candidate.second > 0 and _names_some(candidate, near)]
        self._weigh(words, found, near)
        found.sort(key=lambda candidate: candidate.score, reverse=True)
        spoken = [words_of(word.text) for word in words]
        first = np.concatenate([[0], np.cumsum([len(said) for said in spoken])])
        tried: list[Candidate] = []
        with aligned(samples, [word for said in spoken for word in said]) as heard:
            if heard is None:
                return None
            for candidate in [one for one in found if one.score + CLEAREST[1] * WEIGHTS[1] > 0][:TRIED]:
                gain = self._sound(heard, candidate, first)
                if gain is not None:
                    candidate.sound = min(CLEAREST[1], max(CLEAREST[0], gain / 10))
                    tried.append(candidate)
        tried.sort(key=lambda candidate: candidate.score, reverse=True)
        return [self._repair(line, words, candidate) for candidate in tried]

    def applied(self, line: str, repairs: Sequence[Repair], least: float = 0.5) -> str:
        """The line with those that are likelier than `least` and do not touch each other."""
        chosen: list[Repair] = []
        for repair in repairs:
            apart = all(repair.end <= other.start or other.end <= repair.start for other in chosen)
            if repair.probability > least and apart and len(chosen) < APPLIED:
                chosen.append(repair)
        for repair in sorted(chosen, key=lambda repair: repair.start, reverse=True):
            line = re.sub(r" {2,}", " ", line[: repair.start] + repair.term + line[repair.end :])
        return line.strip()

    # ----------------------------------------------------------------------------------------------------------------

    def _candidates(self, words: Sequence[Word], evidence: Evidence, near: NearWords) -> list[Candidate]:
        found: dict[tuple[int, int, tuple[str, ...]], Candidate] = {}

        def candidate(start: int, end: int, instead: Sequence[str]) -> Candidate:
            key = (start, end, tuple(word.lower() for word in instead))
            return found.setdefault(key, Candidate(start, end, tuple(instead)))

        keys = [word.key for word in words]
        readings = [OtherReading(keys, text, p) for text, p in evidence.readings]
        second = [OtherReading(keys, text, p) for text, p in evidence.second]
        for reading in (*readings, *second):
            for start, end, instead in reading.differences():
                candidate(start, end, instead)
        for start, end, term in self._sounding(words, near):
            own = "'s" if keys[end - 1].endswith("'s") else ""
            candidate(start, end, [self._names.get(term, term) + own])
        for one in found.values():
            new, old = tuple(word.lower() for word in one.words), tuple(keys[one.start : one.end])
            one.read = sum(r.p for r in readings if r.at(one.start, one.end) == new)
            one.second = sum(r.p for r in second if r.at(one.start, one.end) == new)
            one.opposed = sum(r.p for r in second if r.at(one.start, one.end) == old)
            start, end = words[one.start].start, words[one.end - 1].end
            nats = sum(nats for first, last, nats in evidence.doubts if first < end and start < last)
            one.doubt = min(MAX_DOUBT, nats) / len(old)
            one.off_topic = not evidence.on_topic
        return list(found.values())

    def _sounding(self, words: Sequence[Word], near: NearWords) -> Iterator[tuple[int, int, str]]:
        """Words of the passages that sound like words start..end-1."""
        terms = [word for word in near.words if word not in STOP_WORDS and len(word) > 2 and "'" not in word]
        index = TermIndex(dict.fromkeys(terms, 1), self._pronounced)
        bare = [_bare(word.text) for word in words]
        for start in range(len(words)):
            heard: list[int] = []
            for end in range(start + 1, min(start + LONGEST, len(words)) + 1):
                if not bare[end - 1].isalpha():
                    break
                heard += self._phones(bare[end - 1 : end])
                if all(word in STOP_WORDS for word in bare[start:end]):
                    continue
                for term, _ in index.nearest(heard, SOUNDING, MAX_DISTANCE):
                    if term not in bare[start:end]:
                        yield start, end, term

    def _weigh(self, words: Sequence[Word], found: Sequence[Candidate], near: NearWords) -> None:
        """Fill in what is known without the sound."""
        keys = [word.key for word in words]
        logp = lru_cache(maxsize=None)(lambda word, history: self._logp(word, history, near))

        def likelihood(start: int, end: int, instead: Sequence[str]) -> float:
            history: History = ("<s>",)
            total = 0.0
            begin = max(0, start - 2)
            for position, written in enumerate((*keys[begin:start], *instead, *keys[end : end + 2]), start=begin):
                if any(character.isdigit() for character in written):
                    history = ()
                    continue
                for word in spoken_words(written, self._mixed):
                    if position >= start:
                        total += logp(word, history)
                    history = (*history[-1:], word)
            return total

        before: dict[tuple[int, int], float] = {}
        for candidate in found:
            place = (candidate.start, candidate.end)
            heard = keys[candidate.start : candidate.end]
            if place not in before:
                before[place] = likelihood(*place, heard)
            candidate.expected = likelihood(*place, candidate.words) - before[place]
            candidate.distance = phone_distance(self._phones(heard), self._phones(candidate.words))

    def _phones(self, words: Sequence[str]) -> list[int]:
        return [phone for word in words for phone in phone_numbers(self._pronounced(_bare(word)))]

    def _logp(self, word: str, history: History, near: NearWords) -> float:
        usual = max(FLOOR, self._mixed.logp(word, history)) + math.log(1 - SHARE)
        here = near.p(word, history)
        return float(np.logaddexp(usual, math.log(SHARE * here))) if here > 0 else usual

    @staticmethod
    def _sound(heard: Alignment, candidate: Candidate, first: np.ndarray) -> float | None:
        instead = [word for written in candidate.words for word in words_of(written)]
        return heard.gain(int(first[candidate.start]), int(first[candidate.end]), instead)

    @staticmethod
    def _repair(line: str, words: Sequence[Word], candidate: Candidate) -> Repair:
        start, end = words[candidate.start].start, words[candidate.end - 1].end
        term = " ".join(candidate.words)
        probability = 1 / (1 + math.exp(-max(-30.0, min(30.0, candidate.score))))
        text = line[:start] + term + line[end:]
        return Repair(text, line[start:end], term, start, end, probability, candidate.features)


def _names_some(candidate: Candidate, near: NearWords) -> bool:
    """Whether it has a word of the passages that says something."""
    return any(word not in STOP_WORDS and word in near.words for word in map(_bare, candidate.words))


def _bare(word: str) -> str:
    return word.lower().removesuffix("'s")
