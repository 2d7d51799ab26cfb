"""Moonshine's writing made even: it has capitals and marks, but spells acronyms and numbers now one way, now another.

written("Early H. D. T. V. in twenty twelve,", {})      # "Early HDTV in 2012."
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from omni.transcript_text import NUMBER_WORDS, cased, is_question, join_letters, numbers_to_figures

_CLAUSE = re.compile(r"([,;:!?]+|(?<![\W_][A-Za-z])\.+)(?=\s|$)")  # a mark; not the point of a spelled letter
_ACRONYM = re.compile(r"(?<![\w.])(?:[A-Z]\. )+[A-Z]\.+(?=\W|$)")
_LETTER = re.compile(r"([A-Za-z])\.?")
_YEAR = re.compile(  # "August eighteen, sixty two": one breath, which the network writes as two
    r"\b((?:six|seven|eigh|nine)teen), (?=(?:twen|thir|for|fif|six|seven|eigh|nine)ty\b)", re.IGNORECASE
)
_NUMERAL = re.compile(r"\b(?:Ii{1,2}|[VX]i{2,3})\b")  # the network's way; "Vi" and "Xi" are names


def written(text: str, names: Mapping[str, str] | None = None) -> str:
    """A recognised line with acronyms joined, numbers in figures, names as in `names` ("boeing": "Boeing"), and one
    mark at its end; "" if it has no words."""
    names = names or {}
    text = _ACRONYM.sub(lambda match: re.sub(r"[. ]", "", match[0]) + " ", text.replace("\u2019", "'"))
    parts = _CLAUSE.split(" " + _YEAR.sub(r"\1 ", text))
    clauses = [_clause(clause.split(), names) for clause in parts[::2]]
    marks = [*parts[1::2], ""]
    line = " ".join(clause + mark for clause, mark in zip(clauses, marks, strict=True) if clause).strip()
    line = re.sub(r"\bFY (?=\d{4}\b)", "FY", line)  # as filings write a fiscal year
    bare = line.rstrip(" .,;:!?-")
    if not re.search(r"\w", bare):
        return ""
    last = line[len(bare) :].strip(" ,;:-")[:1] or "."
    return bare[0].upper() + bare[1:] + ("?" if is_question(bare.lower()) else last)


def numerals(text: str) -> str:
    """Roman numerals in capitals: "Henry Viii" -> "Henry VIII"; as long as before."""
    return _NUMERAL.sub(lambda match: match[0].upper(), text)


def _clause(tokens: list[str], names: Mapping[str, str]) -> str:
    words: list[str] = []
    for token in tokens:
        parts = token.split("-")
        if all(part.lower() in NUMBER_WORDS for part in parts):  # "twenty-five" too
            words += [part.lower() for part in parts]
        else:
            words.append(letter[1] if (letter := _LETTER.fullmatch(token)) else token)
    for index in range(1, len(words)):
        if words[index] == "o" and words[index - 1] in NUMBER_WORDS:  # "nineteen o four"
            words[index] = "oh"
    words = numbers_to_figures(_owning(_spelled(words), names))
    return " ".join(cased_word(word, names) for word in join_letters(words, names))


def _spelled(words: list[str]) -> list[str]:
    """Letters in a row in lower case, as what joins them wants them; "a" and "I" are letters only beside others, or "I"
    beside "I"."""
    letters = [len(word) == 1 and word.isalpha() for word in words]
    twice = [word == "I" and "I" in (*words[max(0, i - 1) : i], *words[i + 1 : i + 2]) for i, word in enumerate(words)]
    sure = [letter and (word not in "aI" or two) for word, letter, two in zip(words, letters, twice, strict=True)]
    beside = [any(sure[max(0, i - 1) : i]) or any(sure[i + 1 : i + 2]) for i in range(len(words))]
    return [w.lower() if letters[i] and beside[i] else w for i, w in enumerate(words)]


def _owning(words: list[str], names: Mapping[str, str]) -> list[str]:
    """ "b y u s" of a known BYU is its possessive."""
    for index in range(2, len(words)):
        if words[index] == "s":
            start = index
            while start and len(words[start - 1]) == 1:
                start -= 1
            if "".join(words[start:index]) in names:
                return [*words[: index - 1], f"{words[index - 1]}'s", *_owning(words[index + 1 :], names)]
    return words


def cased_word(word: str, names: Mapping[str, str]) -> str:
    if word == "i":
        return "I"
    stem = word.removesuffix("'s")
    known = cased(word.lower(), names)
    return known if known != word.lower() and stem.isalpha() else word
