"""Between writing and a recogniser's bare words: what a line sounds like, and a line that reads well.

words_of("What was AMD's revenue in 2015?")     # ["what", "was", "a", "m", "d's", "revenue", "in", "twenty", ...]
tidy("what was a m d's revenue in twenty fifteen")    # "What was AMD's revenue in 2015?"
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from omni.spoken_form import spoken

_QUESTION = re.compile(
    r"^(?:(?:and|so|but|well|okay|please|um|uh|then|now)\s+)*"
    r"(?:what|who|whom|whose|which|when|where|why|how|is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|"
    r"shall|should|may|might|must|isn't|aren't|wasn't|weren't|don't|doesn't|didn't|can't|couldn't|won't|wouldn't|"
    r"(?:in|on|at|by|to|for|from|of|under|with|according to|during)\s+(?:what|which|whom|whose|how))\b"
)
_NOT_A_QUESTION = re.compile(r"^(?:what a|how (?:nice|lovely|wonderful)|which is|have a|do not|don't|may you)\b")

_UNITS = {
    word: value
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
    )
}  # fmt: skip
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}  # fmt: skip
_ORDINALS = frozenset(str.split("first second third fourth fifth sixth seventh eighth ninth"))
_DECADES = {f"{word[:-1]}ies": value for word, value in _TENS.items()}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WRITTEN = {  # what filings are called
    "ten k": "10-K", "ten q": "10-Q", "eight k": "8-K", "twenty f": "20-F", "q one": "Q1", "q two": "Q2",
    "q three": "Q3",
    "q four": "Q4",
}  # fmt: skip
_PIECES = (
    (re.compile(r"(?<=[^\W_]) (?=['\u2019](?:s|re|ve|ll|d|m)(?![\w'\u2019-]))", re.IGNORECASE), ""),
    (re.compile(r"(?<=[a-z]) (?=n['\u2019]t(?!\w))", re.IGNORECASE), ""),
    (re.compile(r" @([-.,])@ "), r"\1"),
)
NUMBER_WORDS = {*_UNITS, *_TENS, *_SCALES, "oh"}


def untokenised(text: str) -> str:
    """Text that was written word by word, with the pieces of one word together again: as corpora have it, "There 's
    one N @-@ 71", "do n't", and as some PDF files are read, "the Company 's".
    """
    for pattern, joined in _PIECES:
        text = pattern.sub(joined, text)
    return text


def words_of(sentence: str) -> list[str]:
    """A sentence as the recogniser would write it: lower case, figures and symbols said, no marks."""
    # the rules are slow, and most sentences need none
    if not sentence[:1].isalpha() or re.search(r"[^a-z ,.'’\n-]", sentence[1:]):
        sentence = spoken(sentence)
    return re.findall(r"[a-z]+(?:'[a-z]+)*", sentence.lower().replace("’", "'"))


def tidy(words: str, names: Mapping[str, str] | None = None) -> str:
    """Lower-case words -> a sentence. "what was revenue in two thousand nineteen" -> "What was revenue in 2019?"

    names: how words are written that begin with a capital ("boeing": "Boeing").
    """
    names = names or {}
    text = " ".join(cased(word, names) for word in join_letters(numbers_to_figures(words.split()), names))
    if not text:
        return ""
    text = re.sub(r"\bi(?='|\b)", "I", text)
    return text[0].upper() + text[1:] + ("?" if is_question(words) else ".")


def is_question(words: str) -> bool:
    """Whether lower-case words begin as a question does."""
    return bool(_QUESTION.match(words)) and not _NOT_A_QUESTION.match(words)


def cased(word: str, names: Mapping[str, str]) -> str:
    """As `names` writes it, with its possessive."""
    stem = word.removesuffix("'s")
    return names[stem] + word[len(stem) :] if stem in names else word


def join_letters(words: list[str], names: Mapping[str, str] | None = None) -> list[str]:
    """Spelled letters are an acronym: "the s e c filing" -> "the SEC filing", "i m f's" -> "IMF's".

    "a" and "i" alone stay words, and so does an "a" before letters, unless `names` knows the whole ("amd": "AMD", "ii":
    "II").
    """
    names = names or {}
    result: list[str] = []
    index = 0
    while index < len(words):
        run = _letters(words, index)
        if words[index] == "a" and "".join(run).removesuffix("'s") not in names:
            run = run[:1]
        joined = "".join(run)
        if len(run) > 1 and (set(joined) - {"a", "i"} or joined == "iii" or joined.removesuffix("'s") in names):
            ending = "'s" if joined.endswith("'s") else ""
            result.append(joined.removesuffix("'s").upper() + ending)
        else:
            result += run or words[index : index + 1]
        index += max(1, len(run))
    return result


def _letters(words: list[str], start: int) -> list[str]:
    """The run of single letters from `start` on; a possessive one ends it."""
    run: list[str] = []
    for word in words[start:]:
        if not re.fullmatch(r"[a-z](?:'s)?", word) or (run and run[-1].endswith("'s")):
            break
        run.append(word)
    return run


def numbers_to_figures(words: list[str]) -> list[str]:
    """Years, forms (10-K) and numbers of 10 or more as figures; "one" to "nine" alone stay words, as in print.

    Only what is plain is changed: "nineteen eighty four" -> 1984, "ten k" -> 10-K, "three point five" -> 3.5,
    "forty two" -> 42. A run of numbers that forms no number ("one two three") is left as it was.
    """
    result: list[str] = []
    index = 0
    while index < len(words):
        pair = " ".join(words[index : index + 2])
        form = _WRITTEN.get(pair)
        if form:
            result.append(form)
            index += 2
            continue
        run = _run_length(words, index)
        joined = _joined_to_next(words, index, run)
        if joined:
            result.append(joined)
            index += run + 1
            continue
        if not run:
            result.append(words[index])
            index += 1
            continue
        result += _figures(words[index : index + run])
        index += run
    return result


def _joined_to_next(words: list[str], start: int, run: int) -> str:
    """A number with what follows it: "twenty first" -> "twenty-first", "nineteen sixties" -> "1960s", "eighteen
    hundreds" -> "1800s"; else ""."""
    number, following = words[start : start + run], "".join(words[start + run : start + run + 1])
    if len(number) != 1:
        return ""
    if number[0] in _TENS and following in _ORDINALS:
        return f"{number[0]}-{following}"
    century = _UNITS.get(number[0], _TENS.get(number[0], 0))
    decade = 0 if following == "hundreds" else _DECADES.get(following)
    return f"{century}{decade:02}s" if 11 <= century <= 20 and decade is not None else ""


def _run_length(words: list[str], start: int) -> int:
    """How many words from `start` on belong to one number: number words, with "and" and "point" between them."""
    end = start
    while end < len(words):
        word, following = words[end], words[end + 1] if end + 1 < len(words) else ""
        joins = end > start and following in NUMBER_WORDS
        joint = joins and (word in {"oh", "point"} or (word == "and" and words[end - 1] in _SCALES))
        if not (joint or word in NUMBER_WORDS - {"oh"}):
            break
        end += 1
    return end - start if end > start and words[start] not in {"oh", "hundred", "million", "billion"} else 0


def _figures(run: list[str]) -> list[str]:
    if len(run) == 1 and _UNITS.get(run[0], 10) < 10:
        return run
    year = _year(run)
    if year:
        return [str(year)]
    if "point" in run:
        at = run.index("point")
        whole, digits = _cardinal(run[:at]), run[at + 1 :]
        scale = [digits.pop()] if digits and digits[-1] in _SCALES else []
        if whole is None or not digits or any(_UNITS.get(digit, 10) > 9 for digit in digits):
            return run
        return [f"{whole}.{''.join(str(_UNITS[digit]) for digit in digits)}", *scale]
    # "five million" reads better than 5,000,000, and that is how filings write it
    if len(run) >= 2 and run[-1] in {"million", "billion", "trillion"}:
        value = _cardinal(run[:-1])
        return [str(value), run[-1]] if value is not None and not set(run[:-1]) & {"million", "billion"} else run
    value = _cardinal(run)
    if value is None:
        return run
    return [f"{value:,}" if value >= 10_000 else str(value)]


def _year(run: list[str]) -> int | None:
    """ "nineteen eighty four", "twenty nineteen", "nineteen oh five", "two thousand [and] nineteen"."""
    words = [word for word in run if word != "and"]
    if words[:2] == ["two", "thousand"] and len(words) > 2:
        rest = _below_hundred(words[2:])
        return 2000 + rest if rest is not None else None
    century = _UNITS.get(words[0], _TENS.get(words[0], 0))
    if not (11 <= century <= 20) or len(words) < 2:
        return None
    if words[1] == "oh" and len(words) == 3 and 1 <= _UNITS.get(words[2], 0) <= 9:
        return century * 100 + _UNITS[words[2]]
    rest = _below_hundred(words[1:])
    if rest is None or rest < 10:  # "twenty one" is 21, not 2001
        return None
    return century * 100 + rest


def _below_hundred(words: list[str]) -> int | None:
    if len(words) == 1:
        return _UNITS.get(words[0], _TENS.get(words[0]))
    if len(words) == 2 and words[0] in _TENS and 1 <= _UNITS.get(words[1], 0) <= 9:
        return _TENS[words[0]] + _UNITS[words[1]]
    return None


def _cardinal(words: list[str]) -> int | None:
    """The value of a well-formed cardinal, else None."""
    total, hundreds, last_scale = 0, 0, 10**15
    pending: list[str] = []  # words below a hundred that no scale has multiplied yet
    for word in (word for word in words if word != "and"):
        if word not in _SCALES:
            pending.append(word)
            continue
        value = _below_hundred(pending) if pending else 0
        if value is None or (word == "hundred" and (hundreds or not value)):
            return None
        pending = []
        if word == "hundred":
            hundreds = value * 100
            continue
        scale = _SCALES[word]
        if scale >= last_scale or not hundreds + value:
            return None
        total, hundreds, last_scale = total + (hundreds + value) * scale, 0, scale
    rest = _below_hundred(pending) if pending else 0
    return None if rest is None else total + hundreds + rest
