"""How documents write what is said otherwise: "World War II", "Henry VIII", "P&G", "COVID-19", "Item 7", "5%".

    counts = forms_in(passages, sentences)          # of one document
    forms = WrittenForms(merged([counts]))
    forms.applied("How did World War two end?")     # "How did World War II end?", if the documents write it so

Inverse text normalisation by example: each such spot is said as `spoken` says it, and words that sound so get the
writing that most of the documents' own spots have, whether in figures, Roman numerals or words. What the documents do
not write stays as it was heard. English.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from omni import number_words as say
from omni.question_patterns import STOP_WORDS
from omni.spoken_lexicon import MONARCHS, MONTH_NAMES
from omni.transcript_text import words_of

MAX_SPOTS = 3000  # different ones of one document, the most frequent first
MAX_FORMS = 5000
MOST = 0.5  # of all places where the words are said, at least, have the writing
MOST_FIGURES = 4  # of a spot: what has more is an order's number, or the like
LONGEST = 8  # words of a line that may be one form
PERCENT, MONEY = "%", "$"  # keys that tell how shares and amounts are written, whatever their figure

Counts = dict[str, dict[str, int]]  # what is said, in one run of letters -> writing: how often; "": in any writing

_SMALL = "one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_MONTHS = "|".join(MONTH_NAMES)
_ENDS = r"(?![\w&%]|[.,]\d|-\w)"
_MIXED = r"(?=[A-Za-z-]*\d)(?=[\d-]*[A-Za-z])[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8})?"  # a letter and a figure at least
_SPOTS = [
    re.compile(pattern)
    for pattern in (
        r"(?<![\w&.-])[A-Za-z]{1,12}(?:&[A-Za-z]{1,12})+" + _ENDS,  # AT&T
        rf"(?<![\w&$.,/(-]){_MIXED}(?:\([A-Za-z0-9]{{1,3}}\))*" + _ENDS,  # COVID-19, 3M, 10b-5, 21st, 1960s
        r"(?<![\w$.,/-])\d{1,3}(?:\([A-Za-z0-9]{1,3}\))+",  # 401(k)
        rf"(?<![\w-])(?:[A-Z][A-Za-z]+|[Ii]tem) {_MIXED}" + _ENDS,  # Item 1A
        r"(?<![\w-])(?:[A-Za-z]|[A-Z][a-z])-[A-Za-z]{2,12}" + _ENDS,  # e-mail, Wi-Fi
        r"(?<![\w-])(?i:e-?mails?|wi-?fi|on-?line|web ?sites?|data ?bases?|health ?care|start-?ups?)" + _ENDS,
        r"(?<![\w-])(?:[A-Z][A-Za-z'’]+|chapter|section|part|phase|type|act|book|volume|title) [IVXL]+" + _ENDS,
        rf"(?<![\w-])(?:{_MONTHS}) \d{{1,2}}" + _ENDS,  # July 4
        r"(?<![\w-])[A-Za-z]{3,} [1-9]" + _ENDS,  # type 2
        r"(?<![\w-])[A-Z][a-z]+ [1-9]\d\d" + _ENDS,  # Boeing 747
        r"(?<![\w$.,/-])[1-9] [a-z]{3,}" + _ENDS,  # 2 years
        rf"(?<![\w-])[A-Z][A-Za-z]+ (?i:{_SMALL}|{_TEENS})" + _ENDS,  # BBC Two
        rf"(?<![\w-])(?i:{_TEENS}|(?:{_TENS})(?:-(?:{_SMALL}))?) [a-z]{{3,}}" + _ENDS,  # twelve apostles
    )
]
_ROMAN = re.compile(r"[IVXL]+")
_QUARTER = re.compile(r"(?:.* )?[QHF]Y?'?\d+")  # "the third quarter" is no "the Q3"
_SAYS_NOTHING = STOP_WORDS | {"a", "i", "page", "and"}
_TOKEN = re.compile(r"\S+")
_BARE = re.compile(r"^[\"'(]*(.*?)([.,;:!?\")]*)$", re.DOTALL)
_SHARE = re.compile(rf"(?<![\w.-])(\d[\d,.]*|{_SMALL}) percent\b", re.IGNORECASE)
_AMOUNT = re.compile(r"(?<![\w$.-])(\d[\d,.]*(?: (?:thousand|million|billion|trillion))?) dollars\b")
_FIGURE = {word: str(value) for value, word in enumerate(_SMALL.split("|"), start=1)}


def forms_in(passages: Sequence[str], sentences: Iterable[Sequence[str]]) -> Counts:
    """Spots of a document's passages, by what is said for them; `sentences`: the same as it is said, all of it."""
    spots: Counter[str] = Counter()
    percent, money = Counter[str](), Counter[str]()
    for passage in (" ".join(passage.split()) for passage in passages):
        for pattern in _SPOTS:
            spots.update(match[0] for match in pattern.finditer(passage))
        percent.update({"%": passage.count("%"), "percent": len(re.findall(r"\bper ?cent\b", passage))})
        money.update({"$": passage.count("$"), "dollars": len(re.findall(r"\bdollars?\b", passage))})
    counts: Counts = {}
    for spot, n in spots.most_common(MAX_SPOTS):
        for key in set(_said(spot)):
            writings = counts.setdefault(key, {"": 0})
            writings[spot] = writings.get(spot, 0) + n
    for key, n in _occurrences(counts, sentences).items():
        counts[key][""] = n
    for key, written in ((PERCENT, percent), (MONEY, money)):
        if written[key]:
            counts[key] = {"": sum(written.values()), key: written[key]}
    return counts


def merged(documents: Iterable[Counts]) -> dict[str, str]:
    """What is said -> how most of some documents' spots write it, the most frequent MAX_FORMS of them."""
    together: dict[str, Counter[str]] = {}
    for counts in documents:
        for key, writings in counts.items():
            together.setdefault(key, Counter()).update(writings)
    kept: list[tuple[int, str, str]] = []
    for key, writings in together.items():
        total = writings.pop("", 0)
        writing, n = max(writings.items(), key=lambda pair: (pair[1], pair[0]), default=("", 0))
        if n and n >= MOST * total:
            kept.append((n, key, writing))
    kept.sort(reverse=True)
    return {key: writing for _, key, writing in kept[:MAX_FORMS]}


class WrittenForms:
    """Puts a line into the documents' writing. Immutable after its making."""

    def __init__(self, forms: Mapping[str, str]) -> None:
        """forms: of `merged`."""
        self._forms = forms

    def __len__(self) -> int:
        return len(self._forms)

    def applied(self, line: str) -> str:
        """The line in the documents' writing; longer runs of words first."""
        if not self._forms:
            return line
        line = self._styled(line)
        tokens = list(_TOKEN.finditer(line))
        bare = [_BARE.match(token[0]) for token in tokens]
        said = [_key(_token_words(match[1])) if match else "" for match in bare]
        written: list[str] = []
        index = position = 0
        while index < len(tokens):
            found = self._longest(said, [match[2] if match else "" for match in bare], index)
            if found is not None and (first := bare[index]) and (last := bare[index + found[0] - 1]):
                start = tokens[index].start() + first.start(1)
                end = tokens[index + found[0] - 1].start() + last.end(1)
                form = found[1][0].upper() + found[1][1:] if start == 0 else found[1]
                heard = line[start:end]  # capitals are the recogniser's, where that is all: some texts have none
                written += [line[position:start], heard if heard.lower() == form.lower() else form]
                position = end
            index += found[0] if found is not None else 1
        return "".join([*written, line[position:]])

    def _longest(self, said: Sequence[str], marks: Sequence[str], start: int) -> tuple[int, str] | None:
        """How many words from `start` on are one form, and its writing."""
        for end in range(min(len(said), start + LONGEST), start, -1):
            if any(marks[start : end - 1]) or not said[end - 1]:
                continue
            key = "".join(said[start:end])
            for owning in ("", "'s"):
                if key.endswith(owning) and (form := self._forms.get(key.removesuffix(owning))):
                    return end - start, form + owning
        return None

    def _styled(self, line: str) -> str:
        if PERCENT in self._forms:
            line = _SHARE.sub(lambda match: f"{_FIGURE.get(match[1].lower(), match[1])}%", line)
        if MONEY in self._forms:
            line = _AMOUNT.sub(r"$\1", line)
        return line


def _said(spot: str) -> Iterator[str]:
    """Keys of what may be said for a spot; none if that may as well be something else."""
    first, _, last = spot.partition(" ")
    if _QUARTER.fullmatch(spot) or first.lower() in _SAYS_NOTHING or len(re.findall(r"\d", spot)) > MOST_FIGURES:
        return
    if _ROMAN.fullmatch(last):
        yield from _numbered(first, last)
        return
    if last.lower() in _SAYS_NOTHING:
        return
    words = words_of(spot)
    # "a four" is no "A4", "one a" no "1A": they are where another word says so
    if not words or (len(words) > 1 and not last and {words[0], words[-1]} & {"a", "i", "an"} and "&" not in spot):
        return
    yield _key(words)
    if "hundred" in words[1:]:  # "seven forty seven", "four oh one k"
        at = words.index("hundred", 1)
        small = len(words) > at + 1 and words[at + 1] in _FIGURE
        if words[at + 1 :]:
            yield _key([*words[:at], *(["oh"] if small else []), *words[at + 1 :]])


def _numbered(name: str, numeral: str) -> Iterator[str]:
    """ "Phase III", "Henry VIII"; one letter only where it is known to be a number: "Elizabeth I", not "Malcolm X"."""
    if not say.ROMAN.match(numeral) or numeral == "L":
        return
    value, before = say.roman(numeral), words_of(name)
    monarch = re.fullmatch(MONARCHS, name) is not None
    counted = words_of(f"{name} {numeral}") == [*before, *words_of(say.cardinal(str(value)))]
    if len(numeral) > 1 or counted:
        yield _key([*before, *words_of(say.cardinal(str(value)))])
    if len(numeral) > 1 or monarch:
        yield _key([*before, "the", *words_of(say.ordinal(value))])


@lru_cache(maxsize=10_000)
def _token_words(token: str) -> tuple[str, ...]:
    """What is said for one word of a line; a Roman numeral counts."""
    if len(token) > 1 and _ROMAN.fullmatch(token) and say.ROMAN.match(token):
        return tuple(words_of(say.cardinal(str(say.roman(token)))))
    return tuple(words_of(token))


def _key(words: Sequence[str]) -> str:
    """Words in one run: "wifi" and "wi fi" are the same; so are "oh" and "zero"."""
    kept = [word for at, word in enumerate(words) if not (word == "and" and at and words[at - 1] == "hundred")]
    return "".join("o" if word in {"oh", "zero"} else word for word in kept)


def _occurrences(keys: Iterable[str], sentences: Iterable[Sequence[str]]) -> Counter[str]:
    """How often each is said at all."""
    wanted = set(keys)
    begins = {key[:3] for key in wanted}
    found: Counter[str] = Counter()
    for words in sentences:
        line = ["o" if word in {"oh", "zero"} else word for word in words]
        for start in range(len(line)):
            run = ""
            for word in line[start : start + LONGEST]:
                run += word
                if len(run) >= 3 and run[:3] not in begins:
                    break
                if run in wanted:
                    found[run] += 1
    return found
