"""Which of two readings of the same sound is to be believed: the one that expects the documents, or the general one.

Both decoders share one acoustic model and one scale, so the paths' scores are the log of P(sound, words | model), with
the language model raised to the decoder's weight; believing the larger one is model selection with a prior. The mixed
model gives any words at least (1 - weight) of their general probability: on speech that has nothing to do with the
documents it loses a little at every word and never wins much, while on questions about them it wins by 40 nats and
more. Hence the margin: the documents' reading stands if it is better by that much.
"""

from __future__ import annotations

import math

from omni.sphinx_decoder import LANGUAGE_WEIGHT, N_BEST, Reading
from omni.types import Hypothesis

MARGIN = 10.0  # nats that the documents' reading must win by


def better(biased: Reading, general: Reading | None) -> Reading:
    """The reading that stands."""
    if general is None or not general.words:
        return biased
    return biased if biased.words and biased.score >= general.score + MARGIN else general


def n_best(chosen: Reading, *others: Reading | None) -> list[tuple[str, float]]:
    """Words and log-probabilities, best first: the chosen words, then everybody's, each once.

    Path scores count the language model LANGUAGE_WEIGHT times; divided by it they are log-probabilities as far as
    these words go (the usual acoustic scale of lattice posteriors).
    """
    if not chosen.words:
        return []
    scores = {chosen.words: chosen.score}
    for reading in (chosen, *others):
        if reading is None or not reading.words:
            continue
        for words, score in ((reading.words, reading.score), *reading.alternatives):
            if words not in scores:
                scores[words] = min(score, chosen.score)  # what was chosen stays first
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)[: N_BEST + 1]
    ranked.sort(key=lambda item: item[0] != chosen.words)  # stable: of equals the chosen one comes first
    scaled = [(words, score / LANGUAGE_WEIGHT) for words, score in ranked]
    total = scaled[0][1] + math.log(sum(math.exp(value - scaled[0][1]) for _, value in scaled))
    return [(words, value - total) for words, value in scaled]


def combined(segments: list[list[Hypothesis]], limit: int = N_BEST) -> tuple[Hypothesis, ...]:
    """n-best lists of consecutive segments -> of the whole: each alternative beside the best of the others."""
    if not segments:
        return ()
    best = [readings[0] for readings in segments]
    whole = {" ".join(h.text for h in best): sum(h.score for h in best)}
    for index, readings in enumerate(segments):
        for other in readings[1:]:
            chosen = [*best[:index], other, *best[index + 1 :]]
            whole.setdefault(" ".join(h.text for h in chosen), sum(h.score for h in chosen))
    ranked = sorted(whole.items(), key=lambda item: item[1], reverse=True)
    return tuple(Hypothesis(text, score) for text, score in ranked[:limit])
