"""How likely it is that somebody has finished who said these words: a log-linear model of where sentences end.

    end_log_odds(["how", "long", "is", "the"])                     # -5.9: hardly an end
    end_log_odds(["how", "long", "is", "the", "notice", "period"])   # 1.4

log P(end) / P(going on) = bias + sum of the weights of its features: the kinds of the last three words (a frequent word
itself, else its ending), and of what begins as a question also its first word, its length and whether it has had an
auxiliary. Fitted by `python -m omni.train.question_ends` on questions and sentences of SQuAD, cut off anywhere; whole
ones and cut ones count alike, so that 0 is as likely as not. English.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

PATH = Path(__file__).parents[2] / "models" / "turn_taking" / "question_ends.json.gz"
LONGEST = 12  # words: longer ones are taken as long
_ENDINGS = ("ing", "tion", "sion", "ment", "ness", "ity", "ed", "ly", "est", "er", "al", "ous", "ive", "ic", "s")
_AUXILIARY = frozenset(
    str.split(
        """is are was were be been am do does did has have had can could will would shall should may might must isn't
        aren't wasn't weren't doesn't don't didn't hasn't haven't can't couldn't won't"""
    )
)
BEGINS_QUESTION = _AUXILIARY | frozenset(str.split("what who whom whose which where when why how"))


def features(words: Sequence[str], frequent: frozenset[str] | Mapping[str, object]) -> Iterator[str]:
    """The features of a stretch of lower-case words; `frequent`: those that stand for themselves."""
    kinds = [_kind(word, frequent) for word in words[-3:]]
    while len(kinds) < 3:
        kinds.insert(0, "^")
    yield f"1 {kinds[2]}"
    yield f"2 {kinds[1]} {kinds[2]}"
    yield f"3 {kinds[0]} {kinds[1]} {kinds[2]}"
    if words[0] in BEGINS_QUESTION:
        auxiliary = any(word in _AUXILIARY for word in words[:-1])
        yield f"q {words[0]} {kinds[2]}"
        yield f"n {min(len(words), LONGEST)} {auxiliary}"
        yield f"w {words[0]} {auxiliary}"
        yield f"a {auxiliary} {kinds[2]}"


def end_log_odds(words: Sequence[str]) -> float:
    """Natural log-odds that lower-case words end here; 0.0 without words."""
    if not words:
        return 0.0
    weights, frequent, bias = _model()
    return bias + sum(weights.get(feature, 0.0) for feature in features(words, frequent))


@lru_cache(maxsize=1)
def _model() -> tuple[dict[str, float], frozenset[str], float]:
    read = json.loads(gzip.decompress(PATH.read_bytes()))
    return read["weights"], frozenset(read["frequent"]), read["bias"]


def _kind(word: str, frequent: frozenset[str] | Mapping[str, object]) -> str:
    if word in frequent:
        return word
    if any(character.isdigit() for character in word):
        return "0"
    return next((f"-{ending}" for ending in _ENDINGS if word.endswith(ending) and len(word) > len(ending) + 2), "-")
