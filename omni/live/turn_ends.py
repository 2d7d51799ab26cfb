"""How likely it is that somebody who has fallen silent has finished: a log-linear model over what was understood.

    ending([("How much is it?", 0.6), ("How much is the?", 0.2)], closed=0.9)   # Ending(log_odds=-1.1, ...)

Recognisers make a sentence of everything: "how much is the" becomes "How much is it?". So all readings are looked at,
weighted as likely as they are: where they end (omni/live/question_ends.py, omni/live/completeness.py), whether they
agree about the last word, and the marks that a neural recogniser writes. How a voice falls or rises was tried as well
and told nothing about the people whose pauses were looked at. Fitted by `python -m omni.train.turn_ends` on what the
default recogniser understood of spoken questions and sentences, whole and broken off; whole and broken ones count
alike, so that 0 is as likely as not. English.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from omni.live.completeness import (
    AUXILIARY,
    PRONOUNS,
    STRANDED,
    Finish,
    asks_something,
    bare,
    finished,
    may_end,
)
from omni.live.question_ends import end_log_odds

PATH = Path(__file__).parents[2] / "models" / "turn_taking" / "turn_ends.json"
USUAL_CLOSED = 0.8  # of a recogniser that writes no marks
SURE_FROM, DOUBTED_TO = 0.8, 0.2  # log-odds: a whole question, something unfinished
DOUBTED_SHARE = 0.03  # of readings that are plainly unfinished: "how much is it" may well be "how much is the"
_BEFORE_NUMBERS = (
    STRANDED | AUXILIARY | frozenset(str.split("year fiscal clause section page chapter article may june"))
)

Readings = Sequence[tuple[str, float]]  # best first, with weights


@dataclass(frozen=True)
class Ending:
    """What the words say about a silence after them."""

    log_odds: float  # natural, that the turn has ended
    whole: bool = False  # by plain signs a whole question
    light: bool = False  # ends as many spoken questions do and beginnings, too: "when was that", "who is it by"

    @property
    def finish(self) -> Finish:
        """In three classes."""
        if self.whole and self.log_odds >= SURE_FROM:
            return Finish.COMPLETE
        return Finish.OPEN if self.log_odds <= DOUBTED_TO and not self.light else Finish.UNKNOWN


def ending(readings: Readings, closed: float | None = None) -> Ending | None:
    """Of the readings of what was said up to a pause; `closed`: as in Transcript. None: nothing was understood."""
    if not readings or not bare(readings[0][0]):
        return None
    weights = _weights()
    found = features(readings, closed)
    log_odds = weights["bias"] + sum(weights[name] * value for name, value in found.items())
    best = readings[0][0]
    light = may_end(bare(best)) and found["opens"] ** 2 < DOUBTED_SHARE
    return Ending(log_odds, finished(best) is Finish.COMPLETE, light)


def features(readings: Readings, closed: float | None) -> dict[str, float]:
    """The features of what was understood; the best reading has words."""
    total = sum(weight for _, weight in readings) or 1.0
    shares = [(text, bare(text), weight / total) for text, weight in readings]
    best, words = shares[0][0], shares[0][1]
    end = sum(share / (1.0 + math.exp(-end_log_odds(each))) for _, each, share in shares)
    last: dict[str, float] = {}
    for _, each, share in shares:
        word = each[-1] if each else ""
        last[word] = last.get(word, 0.0) + share
    marks = min(max(USUAL_CLOSED if closed is None else closed, 0.02), 0.98)
    asks, pronoun = asks_something(words), words[-1] in PRONOUNS | {"then"}
    number = re.search(r"\d\W*$", best) is not None
    return {
        "words": max(-6.0, min(4.0, math.log((end + 0.002) / (1.002 - end)))),
        "marks": math.log(marks / (1 - marks)),
        "opens": math.sqrt(sum(share for text, _, share in shares if finished(text) is Finish.OPEN)),
        "stranded": sum(share for _, each, share in shares if each and each[-1] in STRANDED),
        "disagreement": -sum(share * math.log(share) for share in last.values() if share > 0),
        "pronoun": float(pronoun),
        "asks_pronoun": float(asks and pronoun),
        "asks": float(asks),
        "complete": float(finished(best) is Finish.COMPLETE),
        "short_last": float(len(words[-1]) <= 2),
        "half_number": float(number and _half_a_number(words)),
    }


def _half_a_number(words: list[str]) -> bool:
    """ "in fiscal 20", "clause 30": years and numbers of clauses mostly go on."""
    return len(words) > 1 and words[-2] in _BEFORE_NUMBERS and re.fullmatch(r"[1-9]0|1[5-9]", words[-1]) is not None


@lru_cache(maxsize=1)
def _weights() -> dict[str, float]:
    weights: dict[str, float] = json.loads(PATH.read_text())
    return weights
