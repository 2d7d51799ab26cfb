"""A line that was understood, looked at again with the passages that it finds: other words where sound and text agree.

    look = SecondLook(biased, mixed)
    repairs = look.repairs("What did the Byzantines help the chasers with?", evidence)
    look.applied(line, repairs)                           # "What did the Byzantines help the Khazars with?"

What may have been said instead: words of those passages whose phones are heard (omni/phone_search.py), and what other
readings of the sound have in the same place. Each is judged by sources that know nothing of each other: the phones
(omni/phone_alignment.py), a language model that expects the passages' words (omni/passage_words.py), and the other
readings; a log-linear model weighs them (Och & Ney, ACL 2002), trained to the least expected number of errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from omni.arpabet import in_dictionary, phones, pronunciations
from omni.close_terms import phone_distance, phone_numbers
from omni.language_bias import BiasedModel
from omni.moonshine_bias import spoken_words
from omni.moonshine_terms import FLOOR, MAX_DOUBT, Doubts, Repair
from omni.other_readings import OtherReading, Readings, Word, fits, words_in
from omni.passage_words import NearWords, PassageWords
from omni.phone_alignment import PhoneAlignment, Pronounce
from omni.phone_recogniser import READ, HeardPhones
from omni.phone_search import PhoneIndex, Spot
from omni.question_patterns import STOP_WORDS
from omni.transcript_text import words_of
from omni.trigram_lookup import TrigramFile

LONGEST_S = 12.0  # of sound: who speaks longer is asked to wait no longer for it
LONGEST = 5  # heard words that may have been one term, or two
NEARBY = 9  # frames: where a word begins that may be the first, or the last, of a term that begins elsewhere
APPLIED = 4  # in one line
LEAST_WORDS = 4  # of a line that is not taken to be about the documents: "Go on, please" is not
OFF_TOPIC = 0.95  # probability of a repair of such a line; and the second listener has heard it, too
AGREED = 0.6  # of its words, at least, are what the second listener heard
LEAST_DOUBT = 0.05  # nats a word: below, the network is sure
SECOND = 0.6  # of what the second recogniser says, when passages are searched
SHARE = 0.3  # of the passages in the language model
WAYS = 3  # of saying two words in a row that are looked for
UNSAID = -5.0  # nats: words that cannot be said, as far as is known
# Log-linear weights; see models/recognition/README.md for what they were fitted on.
WEIGHTS = (-1.09, 0.35, -0.19, -1.86, 2.66, -2.2, 0.95, 1.48)  # in the order of Candidate.features

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
    sound: float = 0.0  # log P(phones that are heard | the line with it) minus without, nats

    @property
    def features(self) -> tuple[float, ...]:
        known = (1.0, self.expected, self.distance, self.read, self.second, self.opposed)
        doubt = math.log(LEAST_DOUBT + self.doubt)
        sound = math.copysign(math.log1p(abs(self.sound)), self.sound)  # neighbouring frames say the same
        return (*known, doubt, sound)

    @property
    def score(self) -> float:
        return sum(weight * value for weight, value in zip(WEIGHTS, self.features, strict=True))


@dataclass(frozen=True)
class Evidence:
    """What is known of a line besides its words."""

    phones: HeardPhones  # in its sound
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

        @lru_cache(maxsize=20_000)
        def ways(word: str) -> tuple[tuple[int, ...], ...]:
            stem = word.removesuffix("'s")
            read = READ if stem in biased.pronunciations or not in_dictionary(stem) else 0
            said = biased.pronunciations.get(word) or pronunciations(word)
            return tuple(tuple(read + phone for phone in phone_numbers(way)) for way in said)

        self._pronounced, self._ways = pronounced, ways

    def repairs(self, line: str, evidence: Evidence) -> list[Repair] | None:
        """What may have been said in place of words of the line, likeliest first.

        None: there is nothing to judge it by: no passage has its words, or pocketsphinx does not understand the voice.
        In a line about something else only words of the passages that the second listener heard come into question.
        """
        words = words_in(line)
        near = self._passages.near([*evidence.readings, *((text, p * SECOND) for text, p in evidence.second)])
        if not words or near is None or (evidence.second and not fits(line, evidence.second)):
            return None
        if not evidence.on_topic and (len(words) < LEAST_WORDS or not fits(line, evidence.second, AGREED)):
            return None
        heard = _Line(words, evidence.phones, self._ways)
        found = self._candidates(words, evidence, near, heard)
        if not evidence.on_topic:
            found = [candidate for candidate in found if _confirmed(candidate, near)]
        self._weigh(words, found, near)
        for candidate in found:
            candidate.sound = heard.gain(candidate)
        found.sort(key=lambda candidate: candidate.score, reverse=True)
        return [self._repair(line, words, candidate) for candidate in found]

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

    def _candidates(self, words: Sequence[Word], evidence: Evidence, near: NearWords, heard: _Line) -> list[Candidate]:
        found: dict[tuple[int, int, tuple[str, ...]], Candidate] = {}

        keys = [word.key for word in words]

        def candidate(start: int, end: int, instead: Sequence[str]) -> None:
            # "'s" alone is nothing that the passages know better than the network
            if [_bare(word) for word in instead] != [_bare(word) for word in keys[start:end]]:
                key = (start, end, tuple(word.lower() for word in instead))
                found.setdefault(key, Candidate(start, end, tuple(instead)))

        readings = [OtherReading(keys, text, p) for text, p in evidence.readings]
        second = [OtherReading(keys, text, p) for text, p in evidence.second]
        for reading in (*readings, *second):
            for start, end, instead in reading.differences():
                candidate(start, end, instead)
        for start, end, term in self._spotted(words, near, heard):
            written = [self._names.get(word, word) for word in term.split()]
            written[-1] += "'s" if keys[end - 1].endswith("'s") else ""
            candidate(start, end, written)
        for one in found.values():
            new, old = tuple(word.lower() for word in one.words), tuple(keys[one.start : one.end])
            one.read = sum(r.p for r in readings if r.at(one.start, one.end) == new)
            one.second = sum(r.p for r in second if r.at(one.start, one.end) == new)
            one.opposed = sum(r.p for r in second if r.at(one.start, one.end) == old)
            start, end = words[one.start].start, words[one.end - 1].end
            nats = sum(nats for first, last, nats in evidence.doubts if first < end and start < last)
            one.doubt = min(MAX_DOUBT, nats) / len(old)
        return list(found.values())

    def _spotted(self, words: Sequence[Word], near: NearWords, heard: _Line) -> Iterator[tuple[int, int, str]]:
        """Words of the passages, or two in a row, whose phones are heard where words start..end-1 stand."""
        terms = {word: self._ways(word) for word in near.words if _says_something(word)}
        for one, other in near.pairs():
            if one in terms and other in terms:
                both = [first + last for first in terms[one] for last in terms[other]]
                terms[f"{one} {other}"] = tuple(both[:WAYS])
        bare = [_bare(word.text) for word in words]
        for spot in PhoneIndex(terms).spotted(heard.phones):
            first, last = spot.word.split()[0], spot.word.split()[-1]
            for start, end in heard.places(spot):
                known = bare[start:end]
                # where it begins or ends as what was heard, the rest of it is looked for by itself
                if first != known[0] and last != known[-1] and spot.word not in known:
                    yield start, end, spot.word

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
    def _repair(line: str, words: Sequence[Word], candidate: Candidate) -> Repair:
        start, end = words[candidate.start].start, words[candidate.end - 1].end
        term = " ".join(candidate.words)
        probability = 1 / (1 + math.exp(-max(-30.0, min(30.0, candidate.score))))
        text = line[:start] + term + line[end:]
        return Repair(text, line[start:end], term, start, end, probability, candidate.features)


class _Line:
    """The words of a written line in its sound."""

    def __init__(self, words: Sequence[Word], phones: HeardPhones, ways: Pronounce) -> None:
        self.phones = phones
        spoken = [words_of(word.text) for word in words]  # "1813" is said as several words
        self._first = np.concatenate([[0], np.cumsum([len(said) for said in spoken])]).astype(int).tolist()
        self._aligned = PhoneAlignment(phones, [word for said in spoken for word in said], ways)
        self._starts = [self._aligned.starts[first] for first in self._first]  # frames; the last is behind the line

    def gain(self, candidate: Candidate) -> float:
        instead = [word for written in candidate.words for word in words_of(written)]
        gain = self._aligned.gain(self._first[candidate.start], self._first[candidate.end], instead)
        return UNSAID if gain is None else gain

    def places(self, spot: Spot) -> Iterator[tuple[int, int]]:
        """Runs of words, start and end, that may stand where a term is heard."""
        last = len(self._starts) - 1
        for start in self._near(spot.start, range(last)):
            for end in self._near(spot.end, range(start + 1, min(last, start + LONGEST) + 1)):
                yield start, end

    def _near(self, frame: int, places: range) -> list[int]:
        """The nearest of some words' beginnings, and the second if it is not far."""
        nearest = sorted(places, key=lambda place: abs(self._starts[place] - frame))[:2]
        return [p for p in nearest if p == nearest[0] or abs(self._starts[p] - frame) <= NEARBY]


def _confirmed(candidate: Candidate, near: NearWords) -> bool:
    """Whether the second listener heard it, and it has a word of the passages that says something."""
    words = [_bare(word) for word in candidate.words]
    return candidate.second > 0 and any(word not in STOP_WORDS and word in near.words for word in words)


def _says_something(word: str) -> bool:
    """Whether a word of the documents is worth looking for: forms of others are not, "there's" is."""
    return len(word) > 2 and word not in STOP_WORDS and ("'" not in word or _bare(word) in STOP_WORDS)


def _bare(word: str) -> str:
    return word.lower().removesuffix("'s")
