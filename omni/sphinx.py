"""Recognition with pocketsphinx, whose wheel carries a US English model: offline on any machine, no GPU.

Good on clear speech in a quiet room, weak on accents and noise; biased towards the words of the documents
(omni/language_bias.py) when the caller hands over their language, with the general decoder as a second opinion.

    session = recogniser.stream(document_language(workspace))        # omni/sphinx_session.py
    for block in microphone: session.accept(block); show(session.partial())
    transcript = session.finish()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from omni.audio import resample, to_pcm16
from omni.biased_models import BiasedModels, term_index
from omni.language_bias import BiasedModel
from omni.second_opinion import better, combined, n_best
from omni.sphinx_decoder import Reading, SphinxDecoder
from omni.transcript_text import tidy
from omni.types import Hypothesis, RecognitionSession, Segment, Transcript, Waveform
from omni.vad import SAMPLE_RATE, VadSettings, cut, speech_segments
from omni.written_forms import WrittenForms

LISTENERS = 2  # utterances decoded at the same time; some 250 MB each, and two cores do no more


@dataclass
class Ears:
    """Two decoders that hear the same: the second one general, made when there is something to compare."""

    first: SphinxDecoder = field(default_factory=SphinxDecoder)
    general: SphinxDecoder | None = None
    alone: bool = False  # without the second one

    def expect(self, biased: BiasedModel | None) -> None:
        self.first.expect(biased)
        if biased is not None and self.general is None and not self.alone:
            self.general = SphinxDecoder()

    @property
    def decoders(self) -> list[SphinxDecoder]:
        """Those that listen: without documents one is enough."""
        return [self.first, self.general] if self.first.biased and self.general else [self.first]


class SphinxRecogniser:
    """pocketsphinx with its own acoustic model, dictionary and trigram. Thread-safe: so many decodings at a time as
    there are `listeners`; further ones wait."""

    name = "pocketsphinx"

    def __init__(
        self, *, min_silence_ms: int = 500, listeners: int = LISTENERS, make_ears: Callable[[], Ears] = Ears
    ) -> None:
        self._vad = VadSettings(min_silence_ms=min_silence_ms)
        self._make_ears = make_ears
        self._free = [make_ears()]  # fails here and now if pocketsphinx cannot be loaded
        self._unmade = listeners - 1
        self._changed = threading.Condition()
        self._models = BiasedModels()

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        """vocabulary: `document_language(workspace)` or a list of words; its first use builds the mixed model."""
        return self.compare(waveform, vocabulary)[0]

    def compare(self, waveform: Waveform, vocabulary: Sequence[str]) -> tuple[Transcript, Transcript]:
        """`transcribe` with the words of the documents, and what the general decoder alone says."""
        heard = resample(waveform, SAMPLE_RATE)
        biased = self._models.of(vocabulary, wait=True)
        pieces: list[tuple[float, float, list[Reading]]] = []
        spoken = speech_segments(heard, self._vad)
        with self.borrowed(biased) as ears:
            for start, end in spoken:
                pcm = to_pcm16(cut(heard, start, end)).tobytes()
                pieces.append((start, end, [decoder.read(pcm) for decoder in ears.decoders]))
        general = [(start, end, readings[-1:]) for start, end, readings in pieces]
        return assemble(pieces, waveform.seconds, biased), assemble(general, waveform.seconds, None)

    def stream(self, vocabulary: Sequence[str] = ()) -> RecognitionSession:
        """Begin an utterance. A model of `vocabulary` that has not been built yet is built in the background, while
        the latest one of the same documents, or the general one, is used."""
        from omni.sphinx_session import SphinxSession

        return SphinxSession(self, self._models.of(vocabulary, wait=False))

    def prepare(self, vocabulary: Sequence[str]) -> None:
        """Build and load the model of a vocabulary ahead of the first question."""
        biased = self._models.of(vocabulary, wait=True)
        with self.borrowed(biased):
            pass
        if biased is not None:
            term_index(biased)

    # ---- decoders ---------------------------------------------------------------------------------------------

    def borrow(self, biased: BiasedModel | None, *, wait: bool = True) -> Ears | None:
        """A pair of decoders that expect `biased`, to be handed back with `give_back`; None if all listen elsewhere."""
        with self._changed:
            while not self._free and not self._unmade:
                if not wait:
                    return None
                self._changed.wait()
            if self._free:
                name = str(biased.language_model) if biased else ""
                ears = next((e for e in self._free if e.first.loaded == name), self._free[0])
                self._free.remove(ears)
            else:
                self._unmade -= 1
                ears = None
        try:
            ears = ears or self._make_ears()
            ears.expect(biased)
        except BaseException:
            with self._changed:
                self._unmade += 1  # whatever state it is in, the next one gets a new pair
                self._changed.notify()
            raise
        return ears

    def holds(self, biased: BiasedModel) -> bool:
        """Whether decoders that expect just this are free."""
        with self._changed:
            return any(ears.first.loaded == str(biased.language_model) for ears in self._free)

    def give_back(self, ears: Ears) -> None:
        with self._changed:
            self._free.append(ears)
            self._changed.notify()

    @contextmanager
    def borrowed(self, biased: BiasedModel | None) -> Iterator[Ears]:
        ears = self.borrow(biased)
        assert ears is not None
        try:
            yield ears
        finally:
            self.give_back(ears)


def assemble(
    pieces: Sequence[tuple[float, float, list[Reading]]], seconds: float, biased: BiasedModel | None
) -> Transcript:
    """Readings of each stretch (start and end in s; the decoder that expects documents first) -> one transcript."""
    names, forms = (biased.names, WrittenForms(biased.forms)) if biased else ({}, WrittenForms({}))
    segments: list[Segment] = []
    n_bests: list[list[Hypothesis]] = []
    confidences: list[float] = []
    for start, end, readings in pieces:
        general = readings[1] if len(readings) > 1 else None
        chosen = better(readings[0], general)
        if not chosen.words:
            continue
        hypotheses = [
            Hypothesis(forms.applied(tidy(words, names)), score) for words, score in n_best(chosen, *readings)
        ]
        segments.append(Segment(start, end, hypotheses[0].text))
        n_bests.append(hypotheses)
        confidences.append(chosen.confidence)
    text = " ".join(segment.text for segment in segments)
    mean = sum(confidences) / len(confidences) if confidences else 0.0
    corrections = tuple(term_index(biased).corrections(text)) if biased else ()
    return Transcript(text, tuple(segments), seconds, mean, combined(n_bests), corrections)
