"""What can be said to the conversation itself: "stop", "repeat that", "slower", "go on", "where is that?"

    recognise(["lower", "slower"], speech_s=0.6)      # Command("slower", ...): the second hypothesis says it
    recognise(["how do i stop the pump"], speech_s=1.6)   # None: a question

No language model. A command is all that was said, give or take politeness. Recognisers mishear two words without a
context as easily as any, so every hypothesis is asked, and short utterances are also compared by sound: weighted edit
distance of phones (after Wagner & Fischer, 1974), with phones of one class half as far apart. English.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from core.runtime import require
from omni.live.completeness import QUESTION_WORDS, words_of

CommandName = Literal["stop", "repeat", "slower", "faster", "go_on", "open_page", "where"]
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)

_PHRASES: dict[CommandName, str] = {
    "stop": """
        stop | stop it | stop that | stop talking | stop speaking | stop reading | stop there | be quiet | quiet
        | shut up | hush | silence | enough | that's enough | that is enough | that will do | that'll do |
        cancel | cancel that | never mind | hold on | wait | pause | wait a minute | wait a second | hang on |
        one moment
    """,
    "repeat": """
        repeat | repeat that | repeat it | repeat this | repeat the answer | say that again | say it again | say
        again | say that once more | once more | one more time | again | come again | pardon | pardon me | i beg
        your pardon | what did you say | what was that | what was that again | could you repeat that | can you
        repeat that | can you say that again | could you say that again | would you repeat that | read it again
        | read that again | i didn't catch that | i did not catch that | i didn't hear that | i missed that
    """,
    "slower": """
        slower | slow down | more slowly | speak slower | speak more slowly | talk slower | talk more slowly | a
        bit slower | a little slower | slow it down | not so fast | too fast | that's too fast | you're too fast
        | can you speak slower | can you speak more slowly | could you speak slower | could you speak more
        slowly | can you slow down | could you slow down | read slower | go slower
    """,
    "faster": """
        faster | speed up | speak faster | talk faster | more quickly | quicker | a bit faster | a little faster
        | hurry up | speed it up | too slow | that's too slow | you're too slow | can you speak faster | could
        you speak faster | can you speed up | could you speed up | go faster | read faster
    """,
    "go_on": """
        go on | go ahead | continue | carry on | keep going | keep on | keep talking | keep reading | resume |
        read on | go on reading | and then | what else | tell me more | please go on | you can go on | go on
        then | and what else | next
    """,
    "open_page": """
        open the page | open page | open that page | open it | open that | open the document | open the file |
        show me the page | show the page | show page | show that page | show me that page | show me | show it |
        show me that | show that | show it to me | show me the passage | show the passage | show me the document
        | show me the source | show the source | go to the page | go to that page | let me see | let me see it |
        let me see that | let me see the page | can i see it | can i see that | can i see the page | can you
        show me | can you show me the page | can you open the page | could you open the page | could you show me
        the page
    """,
    "where": """
        where is that | where's that | where is it | where is this | where does it say that | where does it say
        so | where does it say this | where is that from | where's that from | where does that come from | where
        did you get that | where did you find that | where did you read that | where is that written | where
        does that stand | which page | what page | which page is that | what page is that | which page is that
        on | what page is that on | which page is it on | what page is it on | on which page | on what page |
        what is the source | what's the source | what is your source | what's your source | source | who says
        that | who says so | says who | how do you know | how do you know that
    """,
}
_POLITE = frozenset(
    str.split("please thanks thank you ok okay now just hey lectern um uh er erm well oh so and then alright")
)

MAX_WORDS = 7
MAX_SPEECH_S = 3.2  # nobody needs longer for one of them
SHORT_S = 1.2  # of speech, in which every reading may sound like a command
# by sound: the share of phones that may differ
_NEAR, _NEAR_ALONE = 0.22, 0.15  # the second for one-word commands, which many words resemble
_LEAST_PHONES = 4
# hypotheses after the first must be about as likely: recognisers list a great many readings of a long sentence
_READINGS = 5


@dataclass(frozen=True)
class Command:
    name: CommandName
    text: str  # the phrase that was recognised
    distance: float = 0.0  # 0: word for word


@lru_cache(maxsize=1)
def phrases() -> dict[str, CommandName]:
    """Every phrasing, in lower case, and the command it stands for."""
    return {
        " ".join(phrase.split()): name
        for name, listed in _PHRASES.items()
        for phrase in listed.replace("\n", " ").split("|")
    }


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
    known = phrases()
    bare = [_bare(reading) for reading in readings[:_READINGS]]
    for words in bare[:1]:
        if len(words) > MAX_WORDS:
            return None
    for words in bare:
        said = " ".join(words)
        if said in known:
            return Command(known[said], said)
        if len(words) == 2 * len(set(words)) and " ".join(words[: len(words) // 2]) in known:  # "stop stop"
            return Command(known[" ".join(words[: len(words) // 2])], said)
    if pronounce is None or not bare or not bare[0] or bare[0][0] in QUESTION_WORDS:
        return None  # "what did he say" sounds like "what did you say"
    others = bare[1:] if 0 < speech_s <= SHORT_S else []  # of so little sound no reading is to be relied on
    found = [_by_sound(words, pronounce) for words in (bare[0], *others) if words]
    return min((command for command in found if command), key=lambda command: command.distance, default=None)


def begins_command(words: Sequence[str]) -> bool:
    """Whether a command may yet become of these words."""
    bare = _bare(" ".join(words))
    return bool(bare) and any(phrase.split()[: len(bare)] == bare for phrase in phrases())


def _bare(text: str) -> list[str]:
    """The words without politeness around them."""
    words = words_of(text)
    while words and words[-1] in _POLITE:
        words.pop()
    while len(words) > 1 and words[0] in _POLITE and " ".join(words) not in phrases():
        words.pop(0)
    return words


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
        if len(said) < _LEAST_PHONES or abs(len(said) - len(heard)) > limit * longer:
            continue
        distance = phone_distance(heard, said) / longer
        if distance <= limit and (best is None or distance < best.distance):
            best = Command(name, phrase, distance)
    return best


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
