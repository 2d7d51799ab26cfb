"""Spoken text -> phones: words through the lexicon, pauses at punctuation, what changes between words.

    front_end = FrontEnd(lexicon)
    front_end.phones("The end, please?")        # [Phone("pau"), Phone("dh", ...), ...]

The text comes from `omni.spoken_form`: no figures and no symbols are left in it. Letters of other scripts are written
in plain Latin letters where Unicode knows how (é -> e); `can_speak` tells which texts have none to speak.
"""

from __future__ import annotations

import re
import unicodedata

from omni.voice.lexicon import LETTERS, Lexicon, Pronunciation
from omni.voice.phones import PAUSE, VOWELS, Phone

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?|[.,;:!?，。！？；：、]+")
_PLAIN = str.maketrans(
    {
        "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "th", "þ": "th", "ł": "l", "ı": "i", "’": "'",
        "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "μ": "mu", "π": "pi", "σ": "sigma", "ω": "omega",
    }
)  # fmt: skip
_MARKS = frozenset(".,;:!?，。！？；：、")
_WIDE = str.maketrans("，。！？；：、", ",.!?;:,")
_VERB_BEFORE = frozenset(
    str.split("to can could will would shall should may might must not you we they i who please did do")
)
# said by what stands before: (noun or adjective, verb)
_HOMOGRAPHS: dict[str, tuple[str, str]] = {
    "use": ("y uw1 s", "y uw1 z"),
    "live": ("l ay1 v", "l ih1 v"),
    "read": ("r eh1 d", "r iy1 d"),
    "produce": ("p r ow1 d uw s", "p r ax d uw1 s"),
    "record": ("r eh1 k er d", "r ax k ao1 r d"),
    "present": ("p r eh1 z ax n t", "p r iy z eh1 n t"),
    "attribute": ("ae1 t r ax b y uw t", "ax t r ih1 b y uw t"),
    "estimate": ("eh1 s t ax m ax t", "eh1 s t ax m ey t"),
    "separate": ("s eh1 p er ax t", "s eh1 p er ey t"),
}
_SPELLED = re.compile(r"[A-Z]{2,}s?")


class FrontEnd:
    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def phones(self, text: str) -> list[Phone]:
        """Phones of one sentence, a pause at either end and at every mark inside; [] if nothing can be said."""
        groups: list[tuple[list[Pronunciation], str]] = []  # words of a phrase and the mark behind it
        words: list[Pronunciation] = []
        tokens = _TOKEN.findall(unicodedata.normalize("NFC", text))
        for index, token in enumerate(tokens):
            if token[0] in _MARKS:
                if words:
                    groups.append((words, _mark(token)))
                    words = []
                continue
            previous = tokens[index - 1].lower() if index else ""
            words += self._words(token, previous)
        if words:
            groups.append((words, "."))
        phones = [Phone(PAUSE)] if groups else []
        for words, mark in groups:
            for index, word in enumerate(words):
                following = words[index + 1] if index + 1 < len(words) else None
                phones += _said(word, following)
            phones.append(Phone(PAUSE, mark=mark))
        return phones

    def _words(self, token: str, previous: str) -> list[Pronunciation]:
        word = plain_letters(token)
        if word in _HOMOGRAPHS:
            return [tuple(_HOMOGRAPHS[word][previous in _VERB_BEFORE].split())]
        if _SPELLED.fullmatch(token) and word not in self._lexicon:
            stem = word.removesuffix("s") if token.endswith("s") else word
            letters = [LETTERS[letter] for letter in stem if letter in LETTERS]
            if stem != word and letters:
                letters[-1] = (*letters[-1], "z")
            return letters
        if len(token) == 1 and token.isupper() and word in LETTERS and word not in "ai":
            return [LETTERS[word]]
        found = self._lexicon(word) if word.strip("'") else ()
        return [found] if found else []


def _said(word: Pronunciation, following: Pronunciation | None) -> list[Phone]:
    if word == ("dh", "ax") and following and following[0].rstrip("1") in VOWELS:
        word = ("dh", "iy")  # "the end"
    last = len(word) - 1
    return [
        Phone(phone.rstrip("1"), int(phone.endswith("1")), index == 0, index == last)
        for index, phone in enumerate(word)
    ]


def _mark(token: str) -> str:
    token = token.translate(_WIDE)
    for mark in "?!.":
        if mark in token:
            return mark
    return token[0]


def plain_letters(token: str) -> str:
    """ "Škoda" -> "skoda"; letters of scripts that have no Latin form vanish."""
    lowered = token.lower().translate(_PLAIN)
    return re.sub(r"[^a-z']", "", unicodedata.normalize("NFKD", lowered))


def can_speak(text: str) -> bool:
    """Whether at least half of a text's letters are Latin ones; True for texts without any letter."""
    letters = [letter for letter in unicodedata.normalize("NFKD", text) if letter.isalpha()]
    return sum(letter.lower().translate(_PLAIN).isascii() for letter in letters) * 2 >= len(letters)
