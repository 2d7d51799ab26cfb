"""Word errors of recognisers that write differently: figures or number words, British or American, in one word or two.

    errors("He labelled 12 data bases", "he labeled twelve databases")     # (0, 5): errors, words of the reference

Both sides are put into the same spoken words (omni/transcript_text.py, as a speaker reads them), then into one
spelling; runs of words that the other side writes as one (slave holder, F B I) count as one. The distance is jiwer's.
"""

from __future__ import annotations

import re

import jiwer

from omni.transcript_text import words_of

LONGEST_RUN = 5
_SPELLINGS = [  # British -> American; both sides pass through, so that a rule need not be right, only the same
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        (r"(?<=[a-z]{3})our(s|ed|ing|er|ers|able|ite|ites|hood)?$", r"or\1"),
        (r"(?<=[a-z]{3})is(e|es|ed|ing|er|ers|ation|ations)$", r"iz\1"),
        (r"(?<=[a-z]{3})ys(e|es|ed|ing)$", r"yz\1"),
        (r"(cent|theat|fib|met|lit|calib|meag|lust)re(s|d)?$", r"\1er\2"),
        (r"(def|off|pret|lic)enc(e|es|ed)$", r"\1ens\2"),
        (r"(?<=[a-z]{2}[aeiou])ll(ed|ing|er|ers)$", r"l\1"),
        (r"(?<=[a-z]{3})ogue(s)?$", r"og\1"),
        (r"^gr[ae]y(s|ed)?$", r"gray\1"),
        (r"^(ok|okay)$", "okay"),
        (r"^(mr|mister)$", "mister"),
        (r"^(dr|doctor)$", "doctor"),
        (r"^o$", "oh"),
    )
]


def normalised(text: str) -> list[str]:
    """Words in one spelling."""
    return [_spelled(word) for word in words_of(re.sub(r"(?i)\bper cent\b", "percent", text))]


def _spelled(word: str) -> str:
    stem = word.removesuffix("'s")
    owning = word[len(stem) :]
    for pattern, spelling in _SPELLINGS:
        stem = pattern.sub(spelling, stem)
    return stem + owning


def errors(reference: str, heard: str) -> tuple[int, int]:
    """Substitutions, deletions and insertions; and the words of the reference."""
    wanted, found = normalised(reference), normalised(heard)
    wanted, found = _joined(wanted, set(found)), _joined(found, set(wanted))
    if not wanted:
        return len(found), 0
    result = jiwer.process_words(" ".join(wanted), " ".join(found))
    return result.substitutions + result.deletions + result.insertions, len(wanted)


def _joined(words: list[str], other: set[str]) -> list[str]:
    """Runs that the other side has as one word become that word."""
    result: list[str] = []
    index = 0
    while index < len(words):
        length = next((n for n in range(LONGEST_RUN, 1, -1) if "".join(words[index : index + n]) in other
                       and len(words) - index >= n), 1)  # fmt: skip
        result.append("".join(words[index : index + length]))
        index += length
    return result
