"""Questions altered in one thing that they name, so that their paragraph answers them no more: to train the reader.

SQuAD 1.1 has an answer for every question. Paragraphs of the same article without the answer teach a reader what "not
here" looks like from afar; these teach it from near: the same paragraph, the same words, and another person, place,
year, number or direction than the one it tells about, in the manner of SQuAD 2.0's and of Jia and Liang's (EMNLP 2017)
adversarial questions, but made by rules.

    altered = Alterations(contexts, article_of, questions)
    altered.of("When did Tesla leave Graz?", paragraph, rng)      # Altered("When did Edison leave Graz?", "Edison")
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRESENT = 0.25  # of the names that replace others stand in the paragraph themselves: the words alone must not decide
NEAR = 0.75  # of the replacements come from the same article
TRIES = 12  # of replacements, before a question is left as it is
MAX_YEARS = 40  # between a year and the one that replaces it

# A name behind another word, which tells what kind of name it is: "in" Paris, "did" Tesla.
_NAME = re.compile(
    r"(?<![\w.&'’-])(?P<before>[a-z]+(?: the| an?)?) "
    r"(?P<name>[A-Z][\w-]{2,}(?:(?: of(?: the)?| de| von)? [A-Z][\w-]+){0,3})(?![\w&-]|\.\S|['’][^s\s])"
)
_NUMBER = re.compile(r"(?<![\w.,-])\d{1,4}(?![\w,-]|\.\d)")
_MONTHS = tuple(
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_PAIRS = (
    "first last", "largest smallest", "biggest smallest", "highest lowest", "oldest youngest", "oldest newest",
    "most least", "most fewest", "more fewer", "longest shortest", "best worst", "earliest latest", "maximum minimum",
    "before after", "north south", "northern southern", "east west", "eastern western", "above below", "inside outside",
    "increase decrease", "increased decreased", "rise fall", "rose fell", "win lose", "won lost", "begin end",
    "began ended", "start end", "started stopped", "born buried", "open close", "opened closed", "founded dissolved",
    "join leave", "joined left", "male female", "men women", "boys girls", "husband wife", "father mother",
    "son daughter",
    "sons daughters", "brother sister", "king queen", "import export", "imports exports", "buy sell", "bought sold",
    "support oppose", "supported opposed", "allow forbid", "allowed forbidden", "legal illegal", "positive negative",
    "public private", "upper lower", "left right", "front back", "top bottom", "early late", "major minor",
    "rural urban", "summer winter", "day night", "arrive depart", "arrived departed", "accept reject",
    "accepted rejected", "attack defend", "attacked defended", "cause prevent", "causes prevents", "hot cold",
    "appointed dismissed", "elected defeated", "create destroy", "created destroyed", "built demolished",
    "majority minority", "predecessor successor", "preceded followed", "gain lose", "gained lost",
)  # fmt: skip
_OPPOSITES: dict[str, list[str]] = defaultdict(list)
for _pair in _PAIRS:
    _one, _other = _pair.split()
    _OPPOSITES[_one].append(_other)
    _OPPOSITES[_other].append(_one)
_OPPOSED = re.compile(rf"\b(?:{'|'.join(sorted(_OPPOSITES, key=len, reverse=True))})\b")


_DATE = re.compile(rf"\b(?:{'|'.join(_MONTHS)}|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)\b")


def names_in(text: str) -> list[tuple[str, str]]:
    """Names in a text with the words before them, those at the beginning of a sentence left out.

    >>> names_in("When did Tesla leave New York for the University of Graz?")
    [('did', 'Tesla'), ('leave', 'New York'), ('for the', 'University of Graz')]
    """
    found = [(match["before"], match["name"]) for match in _NAME.finditer(text)]
    return [(before, name) for before, name in found if not _DATE.search(name)]


@dataclass(frozen=True)
class Altered:
    """A question and what was put into it."""

    text: str
    put: str


class Alterations:
    """What an article's paragraphs and questions name, to be put in each other's place."""

    def __init__(
        self, contexts: Sequence[str], article_of: Sequence[int], questions: Sequence[tuple[str, int]]
    ) -> None:
        """contexts: the paragraphs; article_of: the article's number of each; questions: text and paragraph."""
        self._contexts = [text.lower() for text in contexts]
        self._article_of = article_of
        texts = [*zip(contexts, range(len(contexts)), strict=True), *questions]
        self._names: dict[tuple[int, str], list[str]] = defaultdict(list)  # as often as they stand there
        self._anywhere: dict[str, list[str]] = defaultdict(list)
        for text, paragraph in texts:
            for before, name in names_in(text):
                self._names[article_of[paragraph], before].append(name)
                self._anywhere[before].append(name)

    def of(self, question: str, paragraph: int, rng: np.random.Generator) -> Altered | None:
        """The question with one thing altered that its paragraph says of something else; None if nothing fits."""
        ways = [self._other_name, self._other_name, self._other_number, self._opposite]
        for way in rng.permutation(len(ways)):
            found = ways[way](question, paragraph, rng)
            if found is not None and found.text != question:
                return found
        return None

    def stands(self, phrase: str, paragraph: int) -> bool:
        """Whether a paragraph has the phrase, or its last word: "Tesla" for "Nikola Tesla"."""
        text = self._contexts[paragraph]
        return _has(text, phrase) or _has(text, phrase.split()[-1])

    def _other_name(self, question: str, paragraph: int, rng: np.random.Generator) -> Altered | None:
        # Only what the paragraph itself says: a name that it leaves out decides nothing there.
        own = [(before, name) for before, name in names_in(question) if _has(self._contexts[paragraph], name)]
        if not own:
            return None
        before, name = own[int(rng.integers(len(own)))]
        present = rng.random() < PRESENT
        near, far = self._names[self._article_of[paragraph], before], self._anywhere[before]
        for _ in range(TRIES):
            pool = near if rng.random() < NEAR else far
            other = pool[int(rng.integers(len(pool)))]
            alike = abs(len(other.split()) - len(name.split())) <= 1
            apart = not set(other.lower().split()) & set(question.lower().split())
            if alike and apart and present == self.stands(other, paragraph):
                return _put(question, name, other)
        return None

    def _other_number(self, question: str, paragraph: int, rng: np.random.Generator) -> Altered | None:
        own = _NUMBER.findall(question) + [month for month in _MONTHS if re.search(rf"\b{month}\b", question)]
        if not own:
            return None
        number = own[int(rng.integers(len(own)))]
        for _ in range(TRIES):
            if number in _MONTHS:
                other = _MONTHS[int(rng.integers(12))]
            elif len(number) == 4:
                other = str(int(number) + int(rng.integers(1, MAX_YEARS)) * int(rng.choice([-1, 1])))
            else:
                other = str(max(1, int(number) + int(rng.integers(-9, 10))))
            if other != number and not _has(self._contexts[paragraph], other):
                return _put(question, number, other)
        return None

    def _opposite(self, question: str, paragraph: int, rng: np.random.Generator) -> Altered | None:
        found = [match.group() for match in _OPPOSED.finditer(question)]
        if not found:
            return None
        word = found[int(rng.integers(len(found)))]
        other = _OPPOSITES[word][int(rng.integers(len(_OPPOSITES[word])))]
        return None if _has(self._contexts[paragraph], other) else _put(question, word, other)


def _has(text: str, phrase: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)", text) is not None


def _put(question: str, old: str, new: str) -> Altered:
    return Altered(re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, question, count=1), new)
