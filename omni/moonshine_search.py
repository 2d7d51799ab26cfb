"""Tokens out of Moonshine's decoder, by a beam search that may expect some words more than others.

    readings = beam_search(model, states, limit, beams=6, bias=bias)     # best first

With a bias, a beam's score is log P(tokens | sound) + sum over its words of log P_documents(w | h) / P_general(w | h),
weighted: shallow fusion by density ratio (McDermott et al., ASRU 2019). A word's ratio is only known at its end; until
then the beginning that has been written stands in for it with the ratio of all words that begin so (look-ahead).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from omni.moonshine_model import BEGIN, END, SAMPLE_RATE, MoonshineModel

TEXT_TOKENS = 32_000  # those behind are marks that the network was not taught
TOKENS_PER_S, LEAST_TOKENS = 6.5, 6  # nobody speaks faster: what goes on longer is the network repeating itself
BEAMS = 6
NEAR = 8.0  # nats: tokens so much less likely than a row's best are not looked at
PER_ROW = 24  # nor are more of a row
REPEATS = 3  # the same tokens so often in a row are a loop
WORD = "\u2581"

History = tuple[str, ...]


class Bias(Protocol):
    """Which words are expected; all values are in nats and weighted already."""

    starts: np.ndarray  # (32000,) float32: `ahead` of each token that begins a word, 0 for others

    def ahead(self, beginning: str) -> float:
        """What a word that begins so may be worth."""
        ...

    def word(self, written: str, history: History) -> tuple[float, History]:
        """What a whole word, with its marks, is worth after `history`; and the history with it."""
        ...


@dataclass(frozen=True)
class Beam:
    """A reading, whole or in the making."""

    tokens: tuple[int, ...] = ()
    logps: tuple[float, ...] = ()  # log P(token | sound, tokens before)
    sound: float = 0.0  # their sum
    bias: float = 0.0  # of its whole words
    open: str = ""  # the word that is being written
    ahead: float = 0.0  # what that one may be worth
    history: History = field(default=())

    @property
    def score(self) -> float:
        return self.sound + self.bias + self.ahead


def token_limit(samples: int) -> int:
    return LEAST_TOKENS + int(TOKENS_PER_S * samples / SAMPLE_RATE)


def beam_search(
    model: MoonshineModel,
    states: np.ndarray,
    limit: int,
    *,
    beams: int = BEAMS,
    bias: Bias | None = None,
    given: Sequence[int] = (),
) -> list[Beam]:
    """At most `beams` readings of different tokens, best first; `given`: their first tokens, not searched."""
    decoder = model.decoder(states, beams=beams)
    logits = decoder.start(given)[:, :TEXT_TOKENS]
    beam = Beam()
    for row, token in zip(_log_softmax(logits[:-1]), given, strict=True):
        beam = _extended(model, beam, token, float(row[token]), bias)
    alive, logits = [beam], logits[-1:]
    done: list[Beam] = []
    while alive:
        grown = [
            (_extended(model, beam, token, logp, bias), row)
            for row, (beam, logps) in enumerate(zip(alive, _log_softmax(logits), strict=True))
            for token, logp in _candidates(logps, bias, beams)
        ]
        grown.sort(key=lambda pair: pair[0].score, reverse=True)
        chosen = grown[:beams]
        done += [beam for beam, _ in chosen if beam.tokens[-1] == END]
        going = [
            (b, row) for b, row in chosen if b.tokens[-1] != END and len(b.tokens) < limit and not _loops(b.tokens)
        ]
        if not going and not done:  # nothing but loops: the longest reading as it is
            done = [_extended(model, beam, END, 0.0, bias) for beam, _ in chosen]
        done.sort(key=lambda beam: beam.score, reverse=True)
        worst = done[beams - 1].score if len(done) >= beams else -np.inf
        bound = max(worst, done[0].score - NEAR) if done else -np.inf
        going = [(beam, row) for beam, row in going if beam.score > bound]
        alive = [beam for beam, _ in going]
        if alive:
            logits = decoder.step([row for _, row in going], [beam.tokens[-1] for beam in alive])[:, :TEXT_TOKENS]
    return done[:beams]


def _candidates(logps: np.ndarray, bias: Bias | None, beams: int) -> list[tuple[int, float]]:
    """The likeliest tokens of one row and their log-probabilities, chosen with what they may be worth."""
    worth = logps if bias is None else logps + bias.starts
    near = np.flatnonzero(worth > worth.max() - NEAR)
    most = PER_ROW if bias is not None else beams
    if len(near) > most:
        near = near[np.argpartition(-worth[near], most)[:most]]
    return [(int(token), float(logps[token])) for token in near if token > BEGIN]


def _extended(model: MoonshineModel, beam: Beam, token: int, logp: float, bias: Bias | None) -> Beam:
    tokens, logps, sound = (*beam.tokens, token), (*beam.logps, logp), beam.sound + logp
    if bias is None:
        return Beam(tokens, logps, sound)
    piece = "" if token == END else model.pieces[token].decode("utf-8", "ignore")
    if token != END and not piece.startswith(WORD):
        written = beam.open + piece
        return Beam(tokens, logps, sound, beam.bias, written, bias.ahead(written), beam.history)
    value, history = bias.word(beam.open, beam.history) if beam.open else (0.0, beam.history)
    begun = piece.removeprefix(WORD)
    return Beam(tokens, logps, sound, beam.bias + value, begun, bias.ahead(begun) if begun else 0.0, history)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _loops(tokens: Sequence[int]) -> bool:
    """Whether the last tokens are one run of 2 to 8, or one token twice as often, again and again."""
    if len(tokens) >= 2 * REPEATS and len(set(tokens[-2 * REPEATS :])) == 1:
        return True
    for length in range(2, 9):
        tail = tokens[-REPEATS * length :]
        if len(tail) == REPEATS * length and all(tail[i] == tail[i % length] for i in range(len(tail))):
            return True
    return False
