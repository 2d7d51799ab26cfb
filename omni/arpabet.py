"""How a word outside the pronouncing dictionary is said, in the 39 phones of CMUdict.

First as the voice says it (its dictionary's inflections and compounds, else its letter rules), then, where espeak-ng is
installed and says it otherwise, as espeak does: people do not agree about names either. On words of CMUdict that the
letter rules had not seen they say 57 % as it does (models/voice/README.md).
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from core.errors import LecternError
from omni.espeak import espeak
from omni.voice.letter_rules import LetterRules
from omni.voice.lexicon import Lexicon, Pronunciation, plural

_VOICE = Path(__file__).parents[1] / "models" / "voice"

_IPA = {  # American English of espeak-ng 1.52; longest first when matched
    "aɪɚ": "AY ER", "aɪə": "AY AH", "aʊɚ": "AW ER", "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW",
    "ɔɪ": "OY",
    "tʃ": "CH", "dʒ": "JH", "ɔːɹ": "AO R", "oːɹ": "AO R", "ɑːɹ": "AA R", "ɛɹ": "EH R", "ɪɹ": "IH R", "ʊɹ": "UH R",
    "ɚɹ": "ER",
    "ɜː": "ER", "ɚ": "ER", "ɝ": "ER", "iː": "IY", "uː": "UW", "ɑː": "AA", "ɔː": "AO", "oː": "AO", "eː": "EY",
    "aː": "AA",
    "i": "IY", "u": "UW", "ɪ": "IH", "ᵻ": "IH", "ʊ": "UH", "ɛ": "EH", "e": "EH", "æ": "AE", "a": "AE", "ɐ": "AH",
    "ə": "AH",
    "ʌ": "AH", "ɑ": "AA", "ɒ": "AA", "ɔ": "AO", "o": "OW", "b": "B", "d": "D", "f": "F", "ɡ": "G", "g": "G",
    "h": "HH",
    "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "ɾ": "T", "s": "S",
    "ʃ": "SH",
    "t": "T", "θ": "TH", "ð": "DH", "v": "V", "w": "W", "ʍ": "W", "x": "K", "z": "Z", "ʒ": "ZH", "ç": "HH",
    "ʔ": "T", "ɬ": "L",
}  # fmt: skip
_PATTERN = re.compile("|".join(sorted(map(re.escape, _IPA), key=len, reverse=True)))


def to_arpabet(word: str) -> str:
    """ "schoeffer" -> "SH OW F ER"; "" if it cannot be said with English phones."""
    ipa = re.sub(r"[ˈˌ\s()-]", "", espeak().ipa(word))
    ipa = re.sub(r"(?<=[bdfɡkpstvzʃʒθðn])l̩", "əl", ipa).replace("n̩", "ən")
    phones = " ".join(_IPA[match] for match in _PATTERN.findall(ipa))
    rest = _PATTERN.sub("", ipa)
    return phones if phones and len(re.sub(r"[ːʲ̩̃ˑ]", "", rest)) == 0 else ""


def pronunciations(word: str) -> list[str]:
    """ "zorbex's" -> ["Z ER B EH K S AH Z", "Z AO R B EH K S AH Z"]: one or two, likeliest first."""
    stem = word.removesuffix("'s")
    found = [phones(stem)]
    with suppress(LecternError):  # espeak-ng is optional
        found.append(to_arpabet(stem))
    if stem != word:
        found = [_possessive(said) for said in found if said]
    return list(dict.fromkeys(said for said in found if said))


def phones(word: str) -> str:
    """How the voice says a word of a to z and apostrophes; "" if it has no letters."""
    return _arpabet(_lexicon()(word)) if re.search("[a-z]", word) else ""


def in_dictionary(word: str) -> bool:
    """Whether the voice's dictionary has a word; else its phones are read off the letters."""
    return word in _lexicon()


def _possessive(said: str) -> str:
    return _arpabet(plural(tuple(said.lower().split())))


def _arpabet(said: Pronunciation) -> str:
    """The voice's phones (lower case, "ax" for a weak vowel, 1 for stress) -> CMUdict's."""
    return " ".join("AH" if phone.startswith("ax") else phone.rstrip("1").upper() for phone in said)


@lru_cache(maxsize=1)
def _lexicon() -> Lexicon:
    return Lexicon.load(_VOICE / "lexicon.txt.gz", LetterRules.load(_VOICE / "letter_rules.txt.gz"))
