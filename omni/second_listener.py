"""pocketsphinx beside the recogniser that people are heard with: what it understands is evidence, not the transcript.

    listener = SecondListener()
    session = listener.listen(biased)          # None: it listens elsewhere, or is not installed
    session.accept(samples); session.heard()   # [("what did the khazars", 0.7), ...]: readings and their probabilities

One decoder of 100 MB that expects the documents' words and hears one utterance at a time, as it is spoken; others are
understood without it. It misunderstands more than the network, but other things: where the two differ, the true words
are mostly among what one of them has.
"""

from __future__ import annotations

import logging
import math
import threading

import numpy as np

from core.errors import LecternError
from omni.language_bias import BiasedModel
from omni.other_readings import Readings
from omni.second_opinion import n_best
from omni.sphinx import Ears, SphinxRecogniser
from omni.sphinx_decoder import SphinxDecoder
from omni.sphinx_session import SphinxSession
from omni.types import Transcript

logger = logging.getLogger(__name__)

READINGS = 4


class SecondListener:
    """Thread-safe. Loads pocketsphinx when it is first needed."""

    def __init__(self) -> None:
        self._recogniser: SphinxRecogniser | None = None
        self._missing = False
        self._loading = threading.Lock()

    def listen(self, biased: BiasedModel) -> Listening | None:
        """Begin an utterance; None where pocketsphinx is missing. While the documents' words are being loaded (a second
        or two, in the background), or somebody else is listened to, nothing is understood either."""
        if self._recogniser is not None and self._recogniser.holds(biased):
            return Listening(self._recogniser, biased, patient=False)
        if not self._missing and not self._loading.locked():
            threading.Thread(target=self.prepare, args=(biased,), name="lectern-listener", daemon=True).start()
        return None

    def hear(self, samples: np.ndarray, biased: BiasedModel) -> Readings:
        """A whole utterance: (n,) float32 at 16 kHz."""
        self.prepare(biased)
        listening = self.listen(biased)
        if listening is None:
            return ()
        try:
            listening.accept(samples)
            return listening.heard()
        finally:
            listening.close()

    def prepare(self, biased: BiasedModel) -> None:
        """Load what the first utterance needs."""
        with self._loading:
            if self._missing or (self._recogniser is not None and self._recogniser.holds(biased)):
                return
            try:
                if self._recogniser is None:
                    self._recogniser = SphinxRecogniser(listeners=1, make_ears=_ears)
                if (ears := self._recogniser.borrow(biased, wait=False)) is not None:
                    self._recogniser.give_back(ears)
            except LecternError as error:
                self._missing = True
                logger.info("nobody listens beside the recogniser: %s", error)


def _ears() -> Ears:
    return Ears(SphinxDecoder(general=False), alone=True)


class Listening(SphinxSession):
    """One utterance. Used by one thread at a time."""

    def heard(self) -> Readings:
        """Readings of what was said so far, likeliest first; () of a very long one. More may follow."""
        if self._paused is None:
            self._last = self._read()
            self._paused = Transcript("", (), self._seconds())
        pieces = [*self._done, *self._last]
        if len(pieces) != 1:
            return ()
        chosen = n_best(pieces[0][2][0])[:READINGS]
        weights = [math.exp(score - chosen[0][1]) for _, score in chosen]
        return [(words, weight / sum(weights)) for (words, _), weight in zip(chosen, weights, strict=True)]
