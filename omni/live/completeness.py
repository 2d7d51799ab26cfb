"""Does what has been understood so far sound finished? Decides how long a silence is waited out.

    finished("how long is the")                 # Finish.OPEN: no question ends in an article
    finished("how long is the notice period")   # Finish.COMPLETE
    finished("the notice period")               # Finish.UNKNOWN

Works on a recogniser's words: lower or mixed case, no punctuation, and some of them wrong. So only the plainest signs
count, and UNKNOWN is the answer to everything else. English.
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
_STRANDED = frozenset(
    str.split(
        "of in on at to for from with by about under over after before against through as into onto between than off"
    )
)
# An auxiliary or a possessive ends a question only in ellipsis ("what was it" is fine: it ends in "it").
_AUXILIARY = frozenset(
    str.split("is are was were be been am do does did has have had can could will would shall should may might must")
)
_WH = frozenset(str.split("what who whom whose which where when why how"))
_ASKS = _AUXILIARY | frozenset(
    str.split("isn't aren't wasn't doesn't don't didn't hasn't haven't can't couldn't won't")
)
QUESTION_WORDS = _WH | _ASKS  # what a question may begin with
_ORDERS = frozenset(str.split("tell show explain describe list give compare summarize summarise find read define name"))
_POLITE = frozenset(str.split("please thanks okay so well now and but um uh er hey hello hi then"))
_PRONOUNS = frozenset(
    str.split(
        """i you he she it we they this that these those there him her them us me something anything everything
        here now then today"""
    )
)
_LIGHT = _NEVER_LAST | _STRANDED | _AUXILIARY | _WH | _PRONOUNS | _POLITE

COMPLETE_WORDS = 4  # a question of fewer words is more often the beginning of one ("what is rent")


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:['’][a-z]+)?", text.lower().replace("’", "'"))


def finished(text: str) -> Finish:
    """How finished a partial transcript sounds."""
    words = words_of(text)
    while words and words[0] in _POLITE:
        words = words[1:]
    if not words:
        return Finish.UNKNOWN
    last = words[-1]
    asks = words[0] in _WH or words[0] in _ASKS or _asks_indirectly(words)
    if last in _NEVER_LAST or (last in _AUXILIARY and not (asks and len(words) > 4)):
        return Finish.OPEN
    if last in _STRANDED:
        return Finish.OPEN if not (words[0] in _WH and len(words) > 3) else Finish.UNKNOWN
    if last in _WH:  # "the committee is led by whom" asks, too
        return Finish.OPEN if 1 < len(words) <= 4 else Finish.UNKNOWN
    content = [word for word in words if word not in _LIGHT]
    if not asks:
        return Finish.UNKNOWN
    if len(words) >= COMPLETE_WORDS and content and _has_verb(words):
        return Finish.COMPLETE
    return Finish.UNKNOWN


def _asks_indirectly(words: list[str]) -> bool:
    """ "tell me what", "can you explain", "I would like to know how"."""
    return words[0] in _ORDERS or (words[0] in {"i", "we"} and bool(_WH & set(words[1:8])))


def _has_verb(words: list[str]) -> bool:
    """A question needs its verb: "what kind of coverage" is a beginning, "what does the policy cover" is whole.

    An auxiliary near the front with something after it; of "which"/"who"/"how many" + noun, any later word may be it.
    """
    if words[0] in _ORDERS:
        return len(words) >= COMPLETE_WORDS
    for place, word in enumerate(words[:-2]):
        if word in _AUXILIARY or word in _ASKS:
            return True
        if place > 6:
            break
    return words[0] in {"who", "what"} and len(words) >= 5 and words[1] not in _STRANDED | {"kind", "sort", "type"}
