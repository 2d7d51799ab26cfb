"""The voice's dictionary: CMUdict's words, said as the teacher says them."""

from __future__ import annotations

import ctypes as c
import re
from pathlib import Path
from typing import Any

from core.runtime import require
from omni.voice.lexicon import Pronunciation
from omni.voice.phones import VOWELS

# Little words that the teacher reduces ("t ax" for "to"): it knows best how it says them.
_REDUCED = frozenset(
    str.split(
        """a an and are as at be been but by can for from had has have he her here him his i if in into is it its me my
        of on or our she so than that the their them then there they this to us was we were what with you your"""
    )
)
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?")


class FliteLexicon:
    """flite's lookup: its dictionary, then its letter-to-sound rules."""

    def __init__(self) -> None:
        self._flite: Any = c.CDLL("libflite.so.1", mode=c.RTLD_GLOBAL)
        c.CDLL("libflite_usenglish.so.1", mode=c.RTLD_GLOBAL)
        library = c.CDLL("libflite_cmulex.so.1")
        self._flite.flite_init()
        library.cmu_lex_init.restype = c.c_void_p
        self._lexicon = library.cmu_lex_init()
        for name, result, count in (
            ("lex_lookup", c.c_void_p, 4),
            ("val_car", c.c_void_p, 1),
            ("val_cdr", c.c_void_p, 1),
            ("val_string", c.c_char_p, 1),
        ):
            function = getattr(self._flite, name)
            function.restype, function.argtypes = result, [c.c_void_p] * count
        self._flite.lex_lookup.argtypes = [c.c_void_p, c.c_char_p, c.c_char_p, c.c_void_p]

    def __call__(self, word: str) -> Pronunciation:
        item, phones = self._flite.lex_lookup(self._lexicon, word.encode(), None, None), []
        while item:
            phones.append(self._flite.val_string(self._flite.val_car(item)).decode().replace("0", ""))
            item = self._flite.val_cdr(item)
        return tuple(phones)


def cmudict() -> dict[str, Pronunciation]:
    """The dictionary inside pocketsphinx' wheel, without stress; first pronunciations only."""
    path = Path(require("pocketsphinx", needed_for="the dictionary").get_model_path("en-us/cmudict-en-us.dict"))
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.lower().split()
        if _WORD.fullmatch(word):
            entries[word] = tuple(phones)
    return entries


def build_lexicon() -> dict[str, Pronunciation]:
    lookup = FliteLexicon()
    return {
        word: lookup(word) if word in _REDUCED else merge(phones, lookup(word)) for word, phones in cmudict().items()
    }


def merge(phones: Pronunciation, taught: Pronunciation) -> Pronunciation:
    """CMUdict's phones with the teacher's stress; where both say the same phones, the teacher's whole."""
    plain = tuple(phone.rstrip("1").replace("ax", "ah") for phone in taught)
    # "wanted" with ih or with ax: the same word, but the teacher has its way of saying it
    if plain == phones or tuple(p.replace("ih", "ah") for p in plain) == tuple(p.replace("ih", "ah") for p in phones):
        return taught
    ours = [index for index, phone in enumerate(phones) if phone in VOWELS]
    theirs = [phone for phone in taught if phone.rstrip("1") in VOWELS]
    if len(ours) == len(theirs):
        stressed = {index for index, phone in zip(ours, theirs, strict=True) if phone.endswith("1")}
    else:
        stressed = set(ours[:1])
    return tuple(
        phone + "1" if index in stressed else ("ax" if phone == "ah" else phone) for index, phone in enumerate(phones)
    )
