"""Questions that people may ask about a text: learned ways of asking, with the text's own phrases in their slots.

    list(questions(sentences, names=["boeing"], count=10_000))      # [["what", "was", "boeing's", "revenue"], ...]

The ways of asking ("in what year did _ _") come from models/recognition; `python -m omni.train.question_templates`
makes them from questions about other texts. What is made here is only counted by the recogniser's language model, never
asked.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

SLOT = "_"
TEMPLATES = Path(__file__).parents[1] / "models" / "recognition" / "question_templates.txt.gz"
MAX_PHRASES = 30_000
FREQUENCY = 0.75  # power of a phrase's count: rare phrases are asked about more often than they stand in the text
POSSESSIVE = 0.15  # of the slots hold a name's possessive: "boeing's revenue"

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and any are as at be been but by can could did do does for from had has have he her his how i if in into
        is it its may more most no not of on or our shall she should so such than that the their them then there these
        they this those to under upon us was we were what when where which who whom whose why will with would you
        your""",
    )
)
# how a sentence is opened when one speaks to an assistant; written questions in the templates lack them
_SPOKEN_FRAMES = """tell me about _|tell me about the _|tell me more about _|show me the _|show me where it says _
what does it say about _|what does it say about the _|what does the document say about _|find _|find the _
where does it say _|where is the _|read me the _|explain the _|explain _|name the _|summarize the _|can you tell me _
can you find the _|do you know the _|how much is the _|how much was the _|how long is the _|how do i _|how do i _ the _
what happens if the _|what happens if _|am i allowed to _|compare _ and _|what about the _|what about _|and _|and the _
is there a _|is there any _|are there any _"""
_SPOKEN = [frame.split() for line in _SPOKEN_FRAMES.splitlines() for frame in line.split("|")]
SPOKEN_SHARE = 0.1


@lru_cache(maxsize=1)
def templates() -> tuple[tuple[str, ...], ...]:
    """The learned ways of asking, each as often as it was asked."""
    with gzip.open(TEMPLATES, "rt", encoding="ascii") as file:
        return tuple(tuple(line.split()) for line in file)


def phrases(sentences: Sequence[Sequence[str]]) -> Counter[tuple[str, ...]]:
    """Runs of at most three words between stop words, counted."""
    found: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        run: list[str] = []
        for word in [*sentence, "the"]:
            if word not in STOP_WORDS:
                run.append(word)
                continue
            for length in (1, 2, 3):
                found.update(tuple(run[i : i + length]) for i in range(len(run) - length + 1))
            run = []
    return found


def questions(sentences: Sequence[Sequence[str]], names: Sequence[Sequence[str]], count: int) -> Iterator[list[str]]:
    """`count` questions about the phrases of `sentences`; always the same ones for the same text.

    names: the text's names as spoken words, most frequent first, each without its possessive: ["a", "m", "d"].
    """
    common = phrases(sentences).most_common(MAX_PHRASES)
    if not common:
        return
    chance = np.random.default_rng(0)
    weights = np.array([number for _, number in common], np.float64) ** FREQUENCY
    ways = templates()
    learned = chance.integers(0, len(ways), count)
    spoken = np.where(chance.random(count) < SPOKEN_SHARE, chance.integers(0, len(_SPOKEN), count), -1)
    asked = [_SPOKEN[s] if s >= 0 else ways[w] for w, s in zip(learned.tolist(), spoken.tolist(), strict=True)]
    slots = sum(way.count(SLOT) for way in asked)
    fillers = iter(chance.choice(len(common), slots, p=weights / weights.sum()).tolist())
    owners = iter(_owners(names, slots, chance))
    for way in asked:
        question: list[str] = []
        for word in way:
            if word != SLOT:
                question.append(word)
                continue
            question += [*next(owners), *common[next(fillers)][0]]
        yield question


def _owners(names: Sequence[Sequence[str]], slots: int, chance: np.random.Generator) -> list[list[str]]:
    """For each slot a name in the possessive, or nothing."""
    if not names:
        return [[]] * slots
    weights = 1 / np.arange(1, len(names) + 1) ** FREQUENCY  # Zipf: the list is sorted by frequency
    chosen = chance.choice(len(names), slots, p=weights / weights.sum())
    owned = chance.random(slots) < POSSESSIVE
    return [
        [*names[i][:-1], possessive(names[i][-1])] if has else []
        for i, has in zip(chosen.tolist(), owned.tolist(), strict=True)
    ]


def possessive(word: str) -> str:
    """ "boeing's"; a word in -s sounds the same with and without its apostrophe."""
    return word if word.endswith("s") else f"{word}'s"
