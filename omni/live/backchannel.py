"""What only says that somebody is listening: "mhm", "okay", "I see", and what recognisers make of it.

is_backchannel("Oh, I see.")      # True
is_backchannel("okay stop")       # False
"""

from __future__ import annotations

from omni.live.completeness import words_of

LONGEST = 6  # words
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
        fair_enough how_interesting how_nice that_helps no_problem no_worries if_you_say_so"""
    )
)
# What recognisers without such words in their dictionary write for "mhm" and "uh-huh".
_MISHEARD = frozenset(
    str.split("him hum home ham hun hung m mm n and in on a the oh of who whom huh hey he her or are it you")
)


def is_backchannel(text: str, speech_s: float = 1.0) -> bool:
    """Whether a text only says that somebody is listening. Short sounds may be misheard as one of a few small words."""
    words = words_of(text)
    if not words or len(words) > LONGEST:
        return False
    said = next((words[i:] for i, word in enumerate(words) if word not in _ALONE), [])
    if not said or any(" ".join(words[i:]) in _TOGETHER for i in range(len(words) - len(said) + 1)):
        return True  # "okay, I see": the small words in front change nothing
    return speech_s <= 0.5 and all(word in _MISHEARD | _ALONE for word in words)
