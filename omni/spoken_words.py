"""Spoken form, last rules: abbreviations, initials, acronyms and symbols."""

from __future__ import annotations

import re
import unicodedata

from omni.spoken_lexicon import ABBREVIATIONS, AMBIGUOUS, SAID, SHOUTED, SYMBOLS
from omni.spoken_rules import Rules

RULES = Rules()
rule = RULES.rule

# --- words -----------------------------------------------------------------------------------------------------------


_ABBREVIATED = [re.escape(a) for a in sorted(ABBREVIATIONS, key=len, reverse=True)] + [r"E\.g\.", r"I\.e\.", r"Cf\."]


@rule(r"\bSt\. (?=[A-Z])")
def _saint(m: re.Match[str]) -> str:
    return "Saint "


@rule(r"\bSt\.(?!\w)")
def _street(m: re.Match[str]) -> str:
    return "Street" + _stop(m)


@rule("(?<!\\w)(" + "|".join(_ABBREVIATED) + r")(?!\w)")
def _abbreviation(m: re.Match[str]) -> str:
    words = ABBREVIATIONS.get(m[1]) or ABBREVIATIONS[m[1].lower()]
    return (words.capitalize() if m[1][0].isupper() and m[1] not in ABBREVIATIONS else words) + _stop(m)


def _stop(m: re.Match[str]) -> str:
    """The dot of an abbreviation that is the last word also ends the sentence."""
    return "." if m[0].endswith(".") and not m.string[m.end() :].strip(" \"'”’)\n") else ""


@rule(r"\b(?:[A-Za-z]\.){2,}(?!\w)")
def _initialism(m: re.Match[str]) -> str:
    """U.S., p.m., B.C."""
    return " ".join(m[0].upper().replace(".", " ").split()) + _stop(m)


@rule(r"\b([A-Z]{2,})(s|'s)?\b")
def _acronym(m: re.Match[str]) -> str:
    word, ending = m[1], m[2] or ""
    if word in SAID:
        return word.capitalize() + ending
    around = (
        re.findall(r"[A-Za-z]{2,}", m.string[max(0, m.start() - 30) : m.start()])[-1:]
        + re.findall(r"[A-Za-z]{2,}", m.string[m.end() : m.end() + 30])[:1]
    )
    shouted = any(other.isupper() and (len(other) > 4 or other in SHOUTED) for other in around)
    vowels = re.search("[AEIOUY]", word)
    joined = re.match(r" ?& ?[A-Z]\b", m.string[m.end() :])  # AT&T
    if joined or (word in AMBIGUOUS and not shouted):
        return " ".join(word) + ending
    if word in SHOUTED or (len(word) >= 5 and vowels) or (shouted and len(word) >= 4 and vowels):
        return word.capitalize() + ending
    return " ".join(word) + ending


@rule(r"(?<![\u0370-\u03ff\u1f00-\u1fff])[Α-Ωα-ω](?![\u0370-\u03ff\u1f00-\u1fff])")
def _greek_letter(m: re.Match[str]) -> str:
    """A letter on its own is a quantity; Greek words stay Greek."""
    name = unicodedata.name(m[0]).rpartition("LETTER ")[2].lower()
    name = {"lamda": "lambda", "final sigma": "sigma"}.get(name, name)
    return f" {name} "


@rule("[" + re.escape("".join(SYMBOLS)) + "]")
def _symbol(m: re.Match[str]) -> str:
    return f" {SYMBOLS[m[0]]} "
