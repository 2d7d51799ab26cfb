"""How a word outside the pronouncing dictionary is said: espeak-ng's IPA, mapped to the 39 phones of CMUdict."""

from __future__ import annotations

import re

from omni.espeak import espeak

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
