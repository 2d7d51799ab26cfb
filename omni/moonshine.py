"""Recognition with Moonshine, the default: a small neural recogniser that understands many accents, on one core.

    recogniser = MoonshineRecogniser()
    transcript = recogniser.transcribe(waveform, vocabulary=document_language(workspace))
    session = recogniser.stream(document_language(workspace))        # omni/moonshine_session.py

A beam search expects the documents' words (omni/moonshine_bias.py); its readings are the transcript's hypotheses. What
was understood is looked at once more with the passages that it finds (omni/second_look.py). What does not sound like
talk about the documents is searched for without them; only the second look may still put their words in. English only.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from core.errors import ModelError
from omni.audio import SILENCE_PEAK, resample
from omni.biased_models import BiasedModels
from omni.close_terms import MAX_CORRECTIONS
from omni.language_bias import BiasedModel, read_built
from omni.moonshine_bias import DocumentBias, general_trigram
from omni.moonshine_model import LEAST_SAMPLES, MoonshineModel, load_moonshine
from omni.moonshine_search import Beam, beam_search, token_limit
from omni.moonshine_terms import BELIEVED, DocumentTerms, Doubts, Repair
from omni.moonshine_text import written
from omni.other_readings import Readings
from omni.phone_recogniser import PhoneRecogniser, load_phone_recogniser
from omni.second_listener import SecondListener
from omni.second_look import LONGEST_S, OFF_TOPIC, Evidence, SecondLook
from omni.second_opinion import combined
from omni.trigram_lookup import TrigramFile
from omni.types import Correction, Hypothesis, RecognitionSession, Segment, Transcript, Waveform
from omni.vad import SAMPLE_RATE, VadSettings, cut, speech_segments
from omni.written_forms import WrittenForms

logger = logging.getLogger(__name__)

SHORT_S = 2.0  # what is no longer may be one of
COMMANDS = frozenset(
    str.split(
        "stop|okay|ok|yes|no|repeat that|slower|faster|louder|quieter|go on|go back|thank you|open the page|"
        "where is that|wait|continue|next page|cancel|why",
        "|",
    )
)
COMMAND = 2.0  # nats that they are likelier than other words in a conversation with one's documents
ON_TOPIC = 0.2  # nats a word that the documents' words are worth at least where somebody talks about them: nine of ten
# of flite's questions have more than 0.26, nine of ten sentences about something else less than 0.15.
OTHERWISE = 0.5  # of what the documents' words would make of a line that seems to be about something else
N_REPAIRS = 6  # lines with a term of the documents that are hypotheses
MAX_S = 25.0  # of sound at once; the network was taught on up to 30 s

Seen = tuple[str, list[Repair]]  # a line, and what may have been said in it


@dataclass(frozen=True)
class Expectation:
    """What is known of the documents."""

    biased: BiasedModel
    bias: DocumentBias
    terms: DocumentTerms
    second: SecondLook
    forms: WrittenForms


@dataclass(frozen=True)
class Reading:
    """What was understood of one stretch of speech."""

    hypotheses: tuple[Hypothesis, ...] = ()  # best first
    confidence: float = 0.0  # 0..1: geometric mean of the tokens' probabilities
    tokens: tuple[int, ...] = ()  # of the best
    corrections: tuple[Correction, ...] = ()  # terms that do not stand in it, but may have been said
    closed: float | None = None  # 0..1: probability of the readings that end in a full stop or a question mark

    @property
    def text(self) -> str:
        return self.hypotheses[0].text if self.hypotheses else ""


class MoonshineRecogniser:
    """Thread-safe: all share one model, whose calls may run side by side."""

    name = "moonshine"

    def __init__(self, *, min_silence_ms: int = 500, threads: int = 1) -> None:
        """Raises MissingDependencyError without the wheel, ModelError if its weights are damaged."""
        self.model: MoonshineModel = load_moonshine(threads=threads)
        self._vad = VadSettings(min_silence_ms=min_silence_ms, max_segment_s=MAX_S)
        self._models = BiasedModels()
        self.beside = SecondListener()
        self.phones: PhoneRecogniser | None = None
        try:
            self.phones = load_phone_recogniser()
        except ModelError as error:
            logger.warning("%s; names are put back by how they are written alone. %s", error, error.remedy)

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        """vocabulary: `document_language(workspace)` or a list of words; its first use builds the mixed model."""
        return self._transcribe(waveform, self.expectation(vocabulary, wait=True))

    def compare(self, waveform: Waveform, vocabulary: Sequence[str]) -> tuple[Transcript, Transcript]:
        """`transcribe` with the words of the documents, and without."""
        expected = self.expectation(vocabulary, wait=True)
        return self._transcribe(waveform, expected), self._transcribe(waveform, None)

    def stream(self, vocabulary: Sequence[str] = ()) -> RecognitionSession:
        """Begin an utterance. A model of `vocabulary` that has not been built yet is built in the background, while
        the latest one of the same documents, or none, is used."""
        from omni.moonshine_session import MoonshineSession

        return MoonshineSession(self, self.expectation(vocabulary, wait=False))

    def prepare(self, vocabulary: Sequence[str]) -> None:
        """Build and load what a vocabulary needs ahead of the first question."""
        expected = self.expectation(vocabulary, wait=True)
        if expected is not None:
            self.beside.prepare(expected.biased)

    def expectation(self, vocabulary: Sequence[str], *, wait: bool) -> Expectation | None:
        biased = self._models.of(vocabulary, wait=wait)
        return None if biased is None else _expectation(biased.language_model, self.model)

    def read(
        self,
        samples: np.ndarray,
        expected: Expectation | None,
        *,
        given: Sequence[int] = (),
        final: bool = True,
        beside: Callable[[], Readings] = tuple,
    ) -> Reading:
        """One stretch of at most MAX_S: (n,) float32 at 16 kHz; `given`: tokens it is known to begin with; `final`:
        somebody waits for the best that can be had, not for what was said so far; `beside`: what another recogniser
        understood, asked when it is needed."""
        if np.abs(samples).max(initial=0.0) < SILENCE_PEAK:
            return Reading()
        if len(samples) < LEAST_SAMPLES:
            samples = np.pad(samples, (0, LEAST_SAMPLES - len(samples)))
        states = self.model.encode(samples)
        beams = beam_search(
            self.model, states, token_limit(len(samples)), bias=expected.bias if expected else None, given=given
        )
        look = None
        if final and expected is not None and self.phones is not None and len(samples) <= LONGEST_S * SAMPLE_RATE:
            look = partial(self._second_look, expected.second, Evidence(self.phones(states), (), beside()))
        biased: list[Beam] = []
        if expected is not None and beams[0].bias < ON_TOPIC * len(self.model.text(beams[0].tokens).split()):
            biased = beams  # somebody seems to talk about something else: heard as if there were no documents
            beams = beam_search(self.model, states, token_limit(len(samples)), given=given)
        short = len(samples) <= SHORT_S * SAMPLE_RATE
        return self._reading(beams, expected, biased, short=short, look=look)

    def assemble(self, pieces: Sequence[tuple[float, float, Reading]], seconds: float) -> Transcript:
        """What was understood of each stretch (start and end in s) -> one transcript."""
        pieces = [piece for piece in pieces if piece[2].text]
        segments = tuple(Segment(start, end, reading.text) for start, end, reading in pieces)
        text = " ".join(segment.text for segment in segments)
        confidence = float(np.mean([reading.confidence for _, _, reading in pieces])) if pieces else 0.0
        n_best = combined([list(reading.hypotheses) for _, _, reading in pieces])
        corrections: list[Correction] = []
        position = 0
        for _, _, reading in pieces:
            corrections += [replace(c, start=c.start + position, end=c.end + position) for c in reading.corrections]
            position += len(reading.text) + 1
        corrections.sort(key=lambda correction: correction.weight, reverse=True)
        closed = pieces[-1][2].closed if pieces else None
        return Transcript(text, segments, seconds, confidence, n_best, tuple(corrections[:MAX_CORRECTIONS]), closed)

    # ----------------------------------------------------------------------------------------------------------------

    def _transcribe(self, waveform: Waveform, expected: Expectation | None) -> Transcript:
        heard = resample(waveform, SAMPLE_RATE)
        pieces = []
        for start, end in speech_segments(heard, self._vad):
            samples = cut(heard, start, end).samples
            beside = partial(self.beside.hear, samples, expected.biased) if expected else tuple
            pieces.append((start, end, self.read(samples, expected, beside=beside)))
        return self.assemble(pieces, waveform.seconds)

    def _reading(
        self,
        beams: list[Beam],
        expected: Expectation | None,
        biased: Sequence[Beam] = (),
        *,
        short: bool = False,
        look: Callable[[str, Readings, Doubts, bool], Seen | None] | None = None,
    ) -> Reading:
        """Beams of the same words count together: marks and capitals divide what is likely among several of them.

        biased: what the documents' words would make of a line that seems to be about something else.
        look: at the line once more; without, or where it sees nothing, names of the documents are put in by what was
        written alone.
        """
        groups, scores = self._grouped(beams, short=short)
        total = np.logaddexp.reduce(list(scores.values()))
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        best = groups[ranked[0]][0]
        line = heard_line = self.model.text(best.tokens)
        repairs: list[Repair] = []
        if expected is not None:
            doubts = [(*place, -logp) for place, logp in zip(self.model.places(best.tokens), best.logps, strict=True)]
            heard = [(self.model.text(groups[words][0].tokens), math.exp(scores[words] - total)) for words in ranked]
            if not biased:
                seen = look(line, heard, doubts, True) if look else None
                line, repairs = seen or expected.terms.repaired(line, doubts)
            elif look and not (short and ranked[0] in COMMANDS):
                heard += [(text, OTHERWISE * p) for text, p in self._texts(biased)]
                seen = look(line, heard, doubts, False)
                line, repairs = seen or (line, [])
                repairs = [repair for repair in repairs if repair.probability > OFF_TOPIC]
        own = expected if not biased or line != heard_line else None

        def as_written(text: str) -> str:
            return own.forms.applied(written(text, own.biased.names)) if own else written(text)

        weights: dict[str, float] = {}  # of written lines: how likely they are
        share = math.exp(scores[ranked[0]] - total)
        for repair in reversed(repairs[:N_REPAIRS]):
            weights[as_written(repair.text)] = share * repair.probability
        for words in ranked:
            text = as_written(self.model.text(groups[words][0].tokens))
            weights[text] = weights.get(text, 0.0) + math.exp(scores[words] - total)
        believed = as_written(line)
        if not believed:
            return Reading()
        weights.pop("", None)
        weights[believed] = max(weights.values())  # it stands first
        everything = sum(weights.values())
        texts = sorted(weights, key=lambda text: (weights[text], text == believed), reverse=True)
        hypotheses = tuple(
            Hypothesis(text, math.log(weights[text] / everything)) for text in texts if weights[text] > 0
        )
        corrections = tuple(
            Correction(repair.heard, repair.term, at, at + len(repair.heard), repair.probability)
            for repair in repairs[:N_REPAIRS]
            if repair.probability < BELIEVED and (at := believed.find(repair.heard)) >= 0
        )
        confidence = math.exp(best.sound / len(best.tokens))
        return Reading(hypotheses, confidence, best.tokens, corrections, self._closed(beams))

    def _grouped(self, beams: Sequence[Beam], *, short: bool) -> tuple[dict[str, list[Beam]], dict[str, float]]:
        """Bare words -> their beams, likeliest first; and -> their score."""
        groups: dict[str, list[Beam]] = {}
        for beam in beams:
            groups.setdefault(_bare(self.model.text(beam.tokens)), []).append(beam)
        scores = {
            words: float(np.logaddexp.reduce([beam.score for beam in group])) + COMMAND * (short and words in COMMANDS)
            for words, group in groups.items()
        }
        return groups, scores

    def _texts(self, beams: Sequence[Beam]) -> list[tuple[str, float]]:
        """What beams read, and their probabilities."""
        groups, scores = self._grouped(beams, short=False)
        total = np.logaddexp.reduce(list(scores.values()))
        return [(self.model.text(groups[words][0].tokens), math.exp(scores[words] - total)) for words in groups]

    @staticmethod
    def _second_look(
        second: SecondLook, known: Evidence, line: str, readings: Readings, doubts: Doubts, on_topic: bool
    ) -> Seen | None:
        repairs = second.repairs(line, replace(known, readings=readings, doubts=doubts, on_topic=on_topic))
        return None if repairs is None else (second.applied(line, repairs, 0.5 if on_topic else OFF_TOPIC), repairs)

    def _closed(self, beams: list[Beam]) -> float:
        """The share of the beams that end in a full stop or a question mark."""
        ends = [beam.score for beam in beams if re.search(r"(?<!\.)[.?!]$", self.model.text(beam.tokens))]
        everything = np.logaddexp.reduce([beam.score for beam in beams])
        return min(1.0, math.exp(np.logaddexp.reduce(ends) - everything)) if ends else 0.0


def _bare(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


@lru_cache(maxsize=4)
def _expectation(language_model: Path, model: MoonshineModel) -> Expectation:
    biased = read_built(language_model)
    general = general_trigram()
    mixed = TrigramFile(language_model, general)
    return Expectation(
        biased,
        DocumentBias(mixed, general, model.pieces),
        DocumentTerms(biased, mixed, general),
        SecondLook(biased, mixed),
        WrittenForms(biased.forms),
    )
