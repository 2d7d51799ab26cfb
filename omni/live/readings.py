"""What a transcript may also mean, and how much of a growing one can be shown without taking it back.

readings(transcript)      # ("How is the quill on cleaned?", "How is the quillon cleaned?")
searched(transcript)      # [{"heard": "quill on", "term": "Quillon", "instead": False}]: what to tell the user
steady("how many gas", "how many gas stationa")     # "how many gas"
"""

from __future__ import annotations

from typing import Any

from omni.close_terms import apply, wordings
from omni.live.completeness import SMALL, words_of
from omni.types import Transcript
from rag.wordings import MAX_SEARCHED

TOLD_FROM = 0.05  # probability of a reading that the user is told of
MOST_TOLD = 3
REPEATED = 3  # words that may be said again


def readings(transcript: Transcript) -> tuple[str, ...]:
    """The transcript's text and its other hypotheses, best first."""
    found = dict.fromkeys([transcript.text, *(hypothesis.text for hypothesis in transcript.hypotheses)])
    return tuple(text for text in found if text)


def searched(transcript: Transcript) -> list[dict[str, Any]]:
    """Words of the documents that are searched for in place of words that were heard (`instead`: the transcript has
    them already) or beside them; the likeliest few."""
    likely = {w.text for w in wordings(transcript)[:MAX_SEARCHED] if w.weight >= TOLD_FROM}
    told: list[dict[str, Any]] = []
    for correction in transcript.corrections:
        beside = not correction.applied and apply(transcript.text, correction) in likely
        if correction.applied or beside:
            told.append({"heard": correction.heard, "term": correction.term, "instead": correction.applied})
    return told[:MOST_TOLD]


def steady(before: str, now: str) -> str:
    """A partial transcript without its last word, which is mostly half of one, unless the one before had it too."""
    words = now.split()
    if words and [words_of(word) for word in before.split()[: len(words)]] != [words_of(word) for word in words]:
        words = words[:-1]
    return " ".join(words)


def joined(first: str, second: str) -> str:
    """Two turns that are one: "How long is the..." and "The notice period?" -> "How long is the notice period?"."""
    before, after = first.rstrip(" .,;:?!…-").split(), second.split()
    for count in range(min(len(before), len(after), REPEATED), 0, -1):  # said again after the pause
        if [words_of(word) for word in before[-count:]] == [words_of(word) for word in after[:count]]:
            return " ".join([*before, *after[count:]])
    if after and after[0].lower() in SMALL and after[0] != "I":
        after[0] = after[0].lower()
    return " ".join([*before, *after])


def common(before: str, now: str) -> int:
    """Characters of the leading words that both partial transcripts share; marks and case aside."""
    count = 0
    for a, b in zip(before.split(), now.split(), strict=False):
        if words_of(a) != words_of(b):
            break
        count += len(b) + 1
    return min(max(count - 1, 0), len(now))
