"""What can be said to the conversation itself: "stop", "repeat that", "slower", "louder", "go on", "where is that?"

    recognise(["lower", "slower"], speech_s=0.6)      # Command("slower", ...): the second hypothesis says it
    recognise(["how do i stop the pump"], speech_s=1.6)   # None: a question

No language model. A command is all that was said, give or take politeness. Recognisers mishear two words without a
context as easily as any, so every hypothesis is asked, and short utterances are also compared by sound: weighted edit
distance of phones (after Wagner & Fischer, 1974), with phones of one class half as far apart. English.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

from core.runtime import require
from omni.live.backchannel import is_backchannel
from omni.live.command_wordings import wordings
from omni.live.completeness import QUESTION_WORDS, SMALL, words_of

CommandName = Literal["stop", "repeat", "slower", "faster", "louder", "quieter", "go_on", "open_page", "where"]
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)


def _split(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(part.split()) for part in text.split("|"))


# What people say most: compared by word and by sound (omni/live/command_wordings.py lists more, compared by word).
# In lower case, bare: what people put around them (_CARRIERS, _FRAMES, _POLITE) is taken off before they are compared.
_PHRASES: dict[CommandName, str] = {
    "stop": """
        stop | stop it | stop that | stop this | stop talking | stop speaking | stop reading | stop there | stop
        stop | be quiet | be silent | quiet | shut up | hush | silence | enough | that's enough | that is enough |
        that will do | that'll do | enough of that | cancel | cancel that | never mind | nevermind | forget it |
        hold on | hold it | wait | pause | pause there | wait a minute | wait a second | wait a moment | hang on |
        one moment | one second | just a moment | just a second | just a minute | give me a second | give me a
        moment | no stop | i've heard enough | thank you stop
    """,
    "repeat": """
        repeat | repeat that | repeat it | repeat this | repeat the answer | repeat your answer | repeat yourself |
        repeat the last sentence | repeat the last part | say that again | say it again | say again | say that once
        more | say that one more time | once more | once again | one more time | again | come again | pardon |
        pardon me | i beg your pardon | beg your pardon | sorry | sorry what | excuse me | what did you say | what
        did you just say | what was that | what was that again | read it again | read that again | read that once
        more | i didn't catch that | i did not catch that | i didn't hear that | i did not hear that | i didn't hear
        you | i missed that | i didn't get that | i did not get that | i didn't understand that | i didn't quite
        catch that | i didn't quite get that | sorry i didn't catch that | sorry i didn't hear that | sorry i missed
        that | say what | the last sentence again
    """,
    "slower": """
        slower | slow down | slow | more slowly | slowly | speak slower | speak more slowly | speak slowly | talk
        slower | talk more slowly | talk slowly | say it slower | say it slowly | say that more slowly | slow it
        down | slow that down | not so fast | not so quickly | too fast | that's too fast | that is too fast | that
        was too fast | you're too fast | you are too fast | you are speaking too fast | you're speaking too fast |
        you speak too fast | you're talking too fast | you talk too fast | it's too fast | read slower | read more
        slowly | read slowly | go slower | much slower | even slower | still slower | less fast
    """,
    "faster": """
        faster | speed up | speak faster | speak more quickly | speak quicker | talk faster | more quickly | quicker
        | hurry up | hurry | speed it up | too slow | that's too slow | that is too slow | you're too slow | you are
        too slow | you speak too slowly | you're speaking too slowly | you are speaking too slowly | it's too slow |
        go faster | read faster | much faster | even faster | still faster | say it faster | not so slow | not so
        slowly
    """,
    "louder": """
        louder | speak up | speak louder | speak more loudly | talk louder | more volume | volume up | turn it up |
        turn up the volume | turn the volume up | turn up | raise the volume | increase the volume | make it louder
        | too quiet | that's too quiet | you're too quiet | you are too quiet | it's too quiet | too soft | i can't
        hear you | i cannot hear you | i can't hear that | i can't hear anything | i can hardly hear you | i can
        barely hear you | much louder | even louder | not so quiet | not so quietly
    """,
    "quieter": """
        quieter | speak quieter | speak more quietly | speak softer | speak more softly | talk quieter | softer |
        more quietly | less loud | not so loud | not so loudly | too loud | that's too loud | that is too loud |
        you're too loud | you are too loud | it's too loud | volume down | turn it down | turn down the volume |
        turn the volume down | lower the volume | reduce the volume | less volume | make it quieter | much quieter |
        even quieter | lower your voice | keep it down
    """,
    "go_on": """
        go on | go ahead | continue | continue reading | continue speaking | continue talking | carry on | keep
        going | keep on | keep talking | keep reading | keep speaking | resume | read on | go on reading | go on
        speaking | go on talking | and then | what else | tell me more | you can go on | you can continue | you may
        continue | go on then | and what else | next | proceed | move on | yes go on | yes continue | yes go ahead |
        what then | what next | go on i'm listening | read more | read me more
    """,
    "open_page": """
        open the page | open page | open that page | open this page | open it | open that | open the document | open
        that document | open the file | open the pdf | show me the page | show the page | show page | show that page
        | show me that page | show me this page | show me | show it | show me that | show that | show it to me |
        show me the passage | show the passage | show me that passage | show me the document | show the document |
        show me the source | show the source | show me the place | show me the original | show me where | show me
        where it says that | show me where it says so | show me where that is | show me where it is | show me where
        you found that | go to the page | go to that page | jump to the page | jump to that page | take me to the
        page | take me there | take me to that page | bring up the page | pull up the page | let me see | let me see
        it | let me see that | let me see the page | let me see that page | let me read it | let me read that | can
        i see it | can i see that | can i see the page | can i see that page | may i see it | may i see the page |
        may i see that | could i see it | could i see that | could i see the page | i want to see it | i want to see
        that | i want to see the page | i'd like to see it | i'd like to see that | i'd like to see the page
    """,
    "where": """
        where is that | where's that | where is it | where is this | where does it say that | where does it say so |
        where does it say this | where does that say so | where does it stand | where is that from | where's that
        from | where does that come from | where did you get that | where did you get that from | where did you find
        that | where did you find it | where did you find this | where did you read that | where did you see that |
        where do you see that | where have you got that from | where do you get that from | where do you have that
        from | where is that written | where is it written | where's that written | where does that stand | where
        can i find that | where can i read that | which page | what page | which page is that | what page is that |
        which page is it | what page is it | which page is this | which page is that on | what page is that on |
        which page is it on | what page is it on | which page was that | what page was that | on which page | on
        what page | on which page is that | on what page is that | on which page is it | on what page is it | which
        document | which document is that | which document is that in | which document is that from | what document
        is that | what document is that from | which file is that | in which document | in which document is that |
        which source | what source | what is the source | what's the source | what is your source | what's your
        source | what is the source of that | source | who says that | who says so | says who | how do you know |
        how do you know that | where exactly | where exactly is that | where is that exactly
    """,
}
# Around a command, at its beginning and at its end.
_CARRIERS = _split(
    """would you mind | do you mind | can you please | could you please | would you please | can you | could you
    | would you | will you | can we | could we | i want you to | i'd like you to | i would like you to
    | i need you to | you should | you can | i said | just | let's | let us | try to | go ahead and"""
)
_FRAMES = _split(
    """a little bit | a little | a bit | a bit more | just a bit | just a little | some more | for me | for a moment
    | for a second | for a minute | right now | right there | at once | if you can | if you could | a tad | slightly
    | a second | a moment | a minute | one more time"""
)
_POLITE = frozenset(
    str.split(
        """please thanks thank you ok okay now just hey lectern um uh er erm well oh so and then alright ah hm hmm no
        yes yeah but actually sorry whoa listen look right hello hi"""
    )
)

MAX_WORDS = 10
MAX_SPEECH_S = 3.2  # nobody needs longer for one of them
SHORT_S = 1.2  # of speech, in which every reading may sound like a command
# Commands that questions begin with, too: "show me", "where is that", "sorry". More may follow.
_BEGINS = QUESTION_WORDS | frozenset(str.split("show tell in on from sorry excuse pardon next more and i"))
_WH = frozenset(str.split("what who whom whose which where when why how"))
# Before another command: "wait, go back", "sorry, slower please".
_CALLS = frozenset({"stop", "repeat"})
# by sound: the share of phones that may differ
_NEAR, _NEAR_ALONE = 0.22, 0.15  # the second for one-word commands, which many words resemble
_NEAR_WORD, _NEAR_SMALL = 0.4, 0.6  # of a word, where the others are the same: "open the pitch", not "let me know"
_NEAR_QUESTION = 0.09  # of what begins as questions do: "what did he say" is not "what did you say"
_LEAST_PHONES = 4
# hypotheses after the first must be about as likely: recognisers list a great many readings of a long sentence
_READINGS = 5


@dataclass(frozen=True)
class Command:
    name: CommandName
    text: str  # the phrase that was recognised
    distance: float = 0.0  # 0: word for word

    @property
    def may_begin(self) -> bool:
        """Whether it may as well be the beginning of a question."""
        return self.text.split()[0] in _BEGINS


@lru_cache(maxsize=1)
def phrases() -> dict[str, CommandName]:
    """The phrasings that are compared by sound as well, in lower case, and the command that each stands for."""
    return {
        " ".join(phrase.split()): name
        for name, listed in _PHRASES.items()
        for phrase in listed.replace("\n", " ").split("|")
    }


@lru_cache(maxsize=1)
def _known() -> tuple[dict[str, CommandName], list[str]]:
    """Every wording and its command; and all of them in order."""
    known = {**cast("dict[str, CommandName]", wordings()), **phrases()}
    return known, sorted(known)


def _named(words: Sequence[str]) -> CommandName | None:
    """The command that all of the words are, or several in a row: "stop stop", "wait, what did you say"."""
    known, _ = _known()
    if (name := known.get(" ".join(words))) is not None:
        return name
    for count in range(len(words) - 1, 0, -1):
        first = known.get(" ".join(words[:count]))
        rest = _named(_unpolite(words[count:])) if first is not None else None
        if rest is not None and (first == rest or (first in _CALLS and count <= 2)):
            return rest
    return None


def _unpolite(words: Sequence[str]) -> Sequence[str]:
    while len(words) > 1 and words[0] in _POLITE - {"and"}:
        words = words[1:]
    return words


def recognise(
    readings: Sequence[str],
    *,
    speech_s: float = 0.0,
    pronounce: Callable[[str], Sequence[str]] | None = None,
) -> Command | None:
    """The command in the readings (hypotheses, best first) of one utterance, or None.

    speech_s: how long somebody spoke; 0 if unknown. `pronounce`: word -> phones, lower case without stress; None: by
    words alone.
    """
    if speech_s > MAX_SPEECH_S:
        return None
    bare = [_bare(reading) for reading in readings[:_READINGS]]
    for words in bare[:1]:
        if len(words) > MAX_WORDS:
            return None
    if not readings or is_backchannel(readings[0], speech_s or 1.0):
        return None  # whatever else it may have been: "good" is not stopped for, though "again" sounds like it
    for reading in readings[:_READINGS]:
        for words in _stripped(reading):
            if (name := _named(words)) is not None:
                return Command(name, " ".join(words))
    if pronounce is None or not bare or not bare[0]:
        return None
    others = bare[1:] if 0 < speech_s <= SHORT_S else []  # of so little sound no reading is to be relied on
    found = [_by_sound(words, pronounce) for words in (bare[0], *others) if words]
    return min((command for command in found if command), key=lambda command: command.distance, default=None)


def begins_command(words: Sequence[str]) -> bool:
    """Whether a command may yet become of these words."""
    opening = list(words)
    while opening and opening[0] in _POLITE:
        opening = opening[1:]
    while opening and opening[-1] in _POLITE:
        opening = opening[:-1]
    for put_before in (*_CARRIERS, *_FRAMES):
        if tuple(opening) == put_before[: len(opening)]:
            return True
        if tuple(opening[: len(put_before)]) == put_before:
            opening = opening[len(put_before) :]
    _, ordered = _known()
    said = " ".join(opening)
    place = bisect_left(ordered, said)
    return not opening or any(f"{each} ".startswith(f"{said} ") for each in ordered[place : place + 1])


def _bare(text: str) -> list[str]:
    """The words without anything around them: the shortest of what may be a command."""
    return min(_stripped(text), key=len)


def _stripped(text: str) -> Iterator[list[str]]:
    """The words, with less and less around them: politeness, "can you ...", "... a bit"; never nothing."""
    words = words_of(text)
    yield words
    while len(words) > 1:
        if words[-1] in _POLITE:
            words = words[:-1]
        elif words[0] in _POLITE:
            words = words[1:]
        elif frame := next((each for each in _FRAMES if tuple(words[-len(each) :]) == each), None):
            words = words[: -len(frame)]
        elif frame := next((each for each in _FRAMES if tuple(words[: len(each)]) == each), None):
            words = words[len(frame) :]
        elif carrier := next((each for each in _CARRIERS if tuple(words[: len(each)]) == each), None):
            words = words[len(carrier) :]
        else:
            return
        if words:
            yield words


def _by_sound(words: Sequence[str], pronounce: Callable[[str], Sequence[str]]) -> Command | None:
    sounds = [pronounce(word) for word in words]
    heard = [phone for sound in sounds for phone in sound]
    if len(heard) < _LEAST_PHONES or not all(sounds):
        return None
    best: Command | None = None
    for phrase, name in phrases().items():
        said = _phones(phrase, pronounce)
        longer = max(len(said), len(heard))
        limit = _NEAR if " " in phrase else _NEAR_ALONE
        if words[0] in QUESTION_WORDS or phrase.split()[0] in QUESTION_WORDS or _WH & set(words):
            limit = _NEAR_QUESTION
        if len(said) < _LEAST_PHONES or abs(len(said) - len(heard)) > limit * longer:
            continue
        if not _alike(words, phrase.split(), pronounce):
            continue
        distance = phone_distance(heard, said) / longer
        if distance <= limit and (best is None or distance < best.distance):
            best = Command(name, phrase, distance)
    return best


def _alike(words: Sequence[str], others: Sequence[str], pronounce: Callable[[str], Sequence[str]]) -> bool:
    """Whether the words that differ sound alike; "show me why" is not "show me where", however short it is."""
    if (set(words) ^ set(others)) & _WH:
        return False
    if len(words) != len(others):
        return True
    for word, other in zip(words, others, strict=True):
        a, b = pronounce(word), pronounce(other)
        if word != other and phone_distance(a, b) > (_NEAR_SMALL if other in SMALL else _NEAR_WORD) * max(
            len(a), len(b)
        ):
            return False
    return True


_PRONOUNCED: dict[tuple[str, Callable[[str], Sequence[str]]], list[str]] = {}


def _phones(phrase: str, pronounce: Callable[[str], Sequence[str]]) -> list[str]:
    key = (phrase, pronounce)
    if key not in _PRONOUNCED:
        _PRONOUNCED[key] = [phone for word in phrase.split() for phone in pronounce(word)]
    return _PRONOUNCED[key]


_CLASSES = {
    phone: index
    for index, phones in enumerate(
        [
            "aa ae ah ao eh er ey ih iy ow uh uw aw ay oy",
            "p b", "t d", "k g", "f v th dh", "s z", "sh zh ch jh", "m n ng", "l r w y", "hh",
        ]
    )
    for phone in phones.split()
}  # fmt: skip


def phone_distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Edit distance; replacing a phone by one of its class costs half, leaving out an unstressed vowel or h, too."""
    previous = [0.0]
    for phone in b:
        previous.append(previous[-1] + _drop(phone))
    for x in a:
        row = [previous[0] + _drop(x)]
        for j, y in enumerate(b, start=1):
            change = 0.0 if x == y else 0.5 if _CLASSES.get(x, -1) == _CLASSES.get(y, -2) else 1.0
            row.append(min(previous[j] + _drop(x), row[j - 1] + _drop(y), previous[j - 1] + change))
        previous = row
    return previous[-1]


def _drop(phone: str) -> float:
    return 0.5 if phone in {"ah", "hh", "ih"} else 1.0


@lru_cache(maxsize=1)
def dictionary() -> Callable[[str], Sequence[str]]:
    """Phones of the words that pocketsphinx can hear, () for others; read at the first word (0.2 s)."""
    entries: dict[str, tuple[str, ...]] = {}

    def pronounce(word: str) -> Sequence[str]:
        if not entries:
            pocketsphinx = require("pocketsphinx", needed_for="telling commands by their sound")
            with open(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"), encoding="utf-8") as file:
                for line in file:
                    entry, _, phones = line.partition(" ")
                    entries[entry] = tuple(phones.lower().split())
        return entries.get(word, ())

    return pronounce
