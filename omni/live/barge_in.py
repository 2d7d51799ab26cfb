"""Somebody makes a sound while the assistant speaks: go on, listen, or be silent for good?

    judge(Interruption(speech_s=0.35, readings=("okay",), ended=True, being_said="Rent is due on the first."))
    # Verdict.RESUME, "backchannel"

The loudspeaker is ducked at the first 64 ms of speech and held at 128 ms (conversation.py does that, by frames). What
the sound was is judged here, again and again while it lasts: speech that goes on is an interruption, and so are words
that say something; "mhm" and "okay" are not, nor what the microphone heard of the assistant itself.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from omni.live.backchannel import is_backchannel
from omni.live.commands import begins_command
from omni.live.completeness import words_of

DUCK_FRAMES, HOLD_FRAMES = 2, 4  # of 32 ms
LONG_S = 1.5  # of speech: no "mhm" is that long,
LONG_COMMAND_S = 2.4  # and no command so long
SAYS_SOMETHING_S = 0.6  # from then on a partial transcript is believed


class Verdict(enum.Enum):
    WAIT = "wait"  # more must be heard
    CANCEL = "cancel"  # the user takes the turn
    RESUME = "resume"  # go on speaking; the sound was no turn


@dataclass(frozen=True)
class Interruption:
    speech_s: float  # of speech so far
    readings: Sequence[str] = ()  # what was understood so far, best first
    ended: bool = False  # silence has followed, and `readings` are all of it
    being_said: str = ""  # spoken words of the sentences that may be sounding


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    reason: str = ""  # backchannel | noise | echo, for RESUME


def judge(heard: Interruption) -> Judgement:
    """What to do about a sound during the assistant's speech; commands are looked for elsewhere, before this."""
    text = heard.readings[0] if heard.readings else ""
    words = words_of(text)
    if is_echo(words, heard.being_said) and (len(words) > 2 or not heard.ended):
        return Judgement(Verdict.RESUME if heard.ended else Verdict.WAIT, "echo")
    if not heard.ended:
        if heard.speech_s >= (LONG_COMMAND_S if words and begins_command(words) else LONG_S):
            return Judgement(Verdict.CANCEL)
        says = heard.speech_s >= SAYS_SOMETHING_S and len(words) >= 2 and not is_backchannel(text)
        if says and begins_command(words):
            return Judgement(Verdict.WAIT)  # "show me ..." may be "show me the page", and the speech then goes on
        return Judgement(Verdict.CANCEL if says else Verdict.WAIT)
    if not words:
        return Judgement(Verdict.RESUME, "noise")
    if any(is_backchannel(reading, heard.speech_s) for reading in heard.readings[:3]):
        return Judgement(Verdict.RESUME, "backchannel")
    return Judgement(Verdict.CANCEL)


def is_echo(words: Sequence[str], being_said: str) -> bool:
    """Whether words are those that the assistant is saying itself: three quarters of their pairs in its sentences."""
    own = words_of(being_said)
    if len(words) < 2 or not own:
        return False
    pairs = set(itertools.pairwise(own))
    heard = list(itertools.pairwise(words))
    return sum(pair in pairs for pair in heard) >= 0.75 * len(heard)
