"""Plain signs of whether what has been understood so far is finished. omni/live/turn_ends.py weighs them.

    finished("how long is the")                 # Finish.OPEN: no question ends in an article
    finished("how long is the notice period")   # Finish.COMPLETE
    finished("the notice period")               # Finish.UNKNOWN

A hesitation, a function word or a comma at the end: something must follow. A question word, a verb and
something that is asked about: a whole question. UNKNOWN is the answer to everything else. English.
"""

from __future__ import annotations

import enum
import re


class Finish(enum.Enum):
    OPEN = "open"  # something must follow
    UNKNOWN = "unknown"
    COMPLETE = "complete"  # a whole question


# Words that a sentence hardly ever ends in. Left out: what may be stranded ("what is it made of", "who is it for").
_NEVER_LAST = frozenset(
    str.split(
        """a an the my your our their its every each and or but nor because although though unless until whereas while
        whether if which whose among during per via versus toward towards upon
        i'm you're we're they're he's she's there's i've we've you've they've i'd we'd i'll we'll you'll
        very really quite rather um uh er erm hmm also mr mrs ms dr"""
    )
)
# These may end a question that began with a question word ("who is it by", "where does it come from"), nothing else.
STRANDED = frozenset(
    str.split(
        "of in on at to for from with by about under over after before against through as into onto between than off"
    )
)
# An auxiliary or a possessive ends a question only in ellipsis ("what was it" is fine: it ends in "it").
AUXILIARY = frozenset(
    str.split("is are was were be been am do does did has have had can could will would shall should may might must")
)
_WH = frozenset(str.split("what who whom whose which where when why how"))
_ASKS = AUXILIARY | frozenset(str.split("isn't aren't wasn't doesn't don't didn't hasn't haven't can't couldn't won't"))
QUESTION_WORDS = _WH | _ASKS  # what a question may begin with
_ORDERS = frozenset(str.split("tell show explain describe list give compare summarize summarise find read define name"))
_POLITE = frozenset(str.split("please thanks okay so well now and but um uh er hey hello hi then"))
PRONOUNS = frozenset(
    str.split(
        """i you he she it we they this that these those there him her them us me something anything everything
        here now then today"""
    )
)
SMALL = _LIGHT = _NEVER_LAST | STRANDED | AUXILIARY | _WH | PRONOUNS | _POLITE

COMPLETE_WORDS = 4  # a question of fewer words is more often the beginning of one ("what is rent")
_SUBJECTS = frozenset(str.split("i you he she it we they thou"))
_HELPING = frozenset(str.split("do does did can could will would shall should may might must"))
_BEFORE_NOUNS = _SUBJECTS | frozenset(str.split("the a an my your our their its his her this these those"))
_SETTLED = frozenset({"made of", "made from", "used for", "known for", "based on", "looking for", "talking about"})
_HESITATIONS = frozenset(str.split("um uh uhm er erm hmm hm mm"))


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:['’][a-z]+)?", text.lower().replace("’", "'"))


def bare(text: str) -> list[str]:
    """The words without politeness in front; "the" said alone is heard as "thee"."""
    words = ["the" if word == "thee" else word for word in words_of(text)]
    while words and words[0] in _POLITE:
        words = words[1:]
    return words


def may_end(words: list[str]) -> bool:
    """ "who is it by", "what is it made of", "do they say that": spoken questions end so, written ones seldom."""
    if words[-1] in STRANDED:
        if words[0] not in QUESTION_WORDS or len(words) <= 3:
            return False
        return words[-2] in PRONOUNS | {"her"} or " ".join(words[-2:]) in _SETTLED
    if len(words) < 3 and words[-1] not in _LIGHT:  # "heavy rain": an answer, or what is looked for
        return True
    return words[-1] in PRONOUNS


def _lacks_its_verb(words: list[str]) -> bool:
    """ "how often should they": a subject behind the only auxiliary."""
    behind = len(words) > 2 and words[-1] in _SUBJECTS and words[-2] in _HELPING
    return behind and words[0] in _WH and not AUXILIARY & set(words[:-2])


def finished(text: str) -> Finish:
    """How finished a transcript sounds by plain signs alone."""
    if re.search(r"(,|;|:|\.\.+|…|[-–—])\s*$", text):
        return Finish.OPEN
    if (said := words_of(text)) and said[-1] in _HESITATIONS:
        return Finish.OPEN
    words = bare(text)
    if not words:
        return Finish.UNKNOWN
    last = words[-1]
    asks = asks_something(words)
    if last in _NEVER_LAST or _lacks_its_verb(words) or (last in AUXILIARY and not (asks and len(words) > 4)):
        return Finish.OPEN
    if last in STRANDED:
        return Finish.UNKNOWN if may_end(words) or (words[0] in _WH and len(words) > 3) else Finish.OPEN
    if last in _WH:  # "the committee is led by whom" asks, too
        return Finish.OPEN if 1 < len(words) <= 4 else Finish.UNKNOWN
    content = [word for word in words if word not in _LIGHT]
    if not asks or _goes_on(words_of(text), words):
        return Finish.UNKNOWN
    if len(words) >= COMPLETE_WORDS and content and _has_verb(words):
        return Finish.COMPLETE
    return Finish.UNKNOWN


def _goes_on(said: list[str], words: list[str]) -> bool:
    """ "And was in fact ...", "what your country can do": parts of sentences that begin as questions do."""
    if said[0] in {"and", "but"} and words[0] in AUXILIARY:
        return True
    return words[0] in _WH - {"which", "whose"} and len(words) > 1 and words[1] in _BEFORE_NOUNS


def asks_something(words: list[str]) -> bool:
    """Whether words begin as questions and orders do."""
    return words[0] in _WH or words[0] in _ASKS or _asks_indirectly(words)


def _asks_indirectly(words: list[str]) -> bool:
    """ "tell me what", "can you explain", "I would like to know how", "in which year"."""
    if words[0] in STRANDED and len(words) > 1 and words[1] in _WH:
        return True
    return words[0] in _ORDERS or (words[0] in {"i", "we"} and bool(_WH & set(words[1:8])))


def _has_verb(words: list[str]) -> bool:
    """A question needs its verb: "what kind of coverage" is a beginning, "what does the policy cover" is whole.

    An auxiliary near the front with something after it; of "which"/"who"/"how many" + noun, any later word may be it.
    """
    if words[0] in _ORDERS:
        return len(words) >= COMPLETE_WORDS
    for place, word in enumerate(words[:-2]):
        if word in AUXILIARY or word in _ASKS:
            return True
        if place > 6:
            break
    if words[:2] in (["what", "about"], ["how", "about"]):
        return True
    return words[0] in {"who", "what"} and len(words) >= 5 and words[1] not in STRANDED | {"kind", "sort", "type"}
