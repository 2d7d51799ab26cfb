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

from omni.live.commands import begins_command
from omni.live.completeness import words_of

DUCK_FRAMES, HOLD_FRAMES = 2, 4  # of 32 ms
LONG_S = 1.5  # of speech: neither "mhm" nor a command is that long
SAYS_SOMETHING_S = 0.6  # from then on a partial transcript is believed

_ALONE = frozenset(
    str.split(
        """mhm mhmm mm mmm mmhmm hmm hmmm hm um umm uh uhh huh uhm ah ahh oh ohh aha
        yeah yes yep yup ya okay ok right sure alright exactly indeed true
        good great nice fine cool wow really interesting absolutely definitely totally perfect gotcha understood agreed
        correct no"""
    )
)
_TOGETHER = frozenset(
    " ".join(phrase.split("_"))
    for phrase in str.split(
        """uh_huh mm_hmm mm_mm all_right i_see i_know of_course got_it i_understand makes_sense that_makes_sense
        sounds_good very_good that's_right that's_true that's_good that_is_right oh_okay oh_i_see oh_right yeah_yeah
        yes_yes okay_okay right_right no_way thank_you thanks very_nice oh_really is_that_so you_don't_say
        fair_enough"""
    )
)
# What recognisers without such words in their dictionary write for "mhm" and "uh-huh".
_MISHEARD = frozenset(
    str.split("him hum home ham hun hung m mm n and in on a the oh of who whom huh hey he her or are it you")
)


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
        if heard.speech_s >= LONG_S:
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


def is_backchannel(text: str, speech_s: float = 1.0) -> bool:
    """Whether a text only says that somebody is listening. Short sounds may be misheard as one of a few small words."""
    words = words_of(text)
    if not words or len(words) > 4:
        return False
    if all(word in _ALONE for word in words) or " ".join(words) in _TOGETHER:
        return True
    return speech_s <= 0.5 and all(word in _MISHEARD | _ALONE for word in words)


def is_echo(words: Sequence[str], being_said: str) -> bool:
    """Whether words are those that the assistant is saying itself: three quarters of their pairs in its sentences."""
    own = words_of(being_said)
    if len(words) < 2 or not own:
        return False
    pairs = set(itertools.pairwise(own))
    heard = list(itertools.pairwise(words))
    return sum(pair in pairs for pair in heard) >= 0.75 * len(heard)
