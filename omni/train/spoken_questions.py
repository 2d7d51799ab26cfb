"""Questions as people put them in conversation, made from patterns: short ones, follow-ups, numbers, lists, names.

spoken_question(random.Random(0))     # "what was the net income of Best Buy in fiscal twenty twenty two"
"""

from __future__ import annotations

import random


def _parts(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("|")]


_SHORT = _parts(
    """
who wrote it | what does that mean | where is it | how much is it | who is he | when was that | why did they do that
| what else does it say | how long does it take | is that true | what is that | who said that | what happened then
| did they sign it | who paid for it | what did she say about them | how old is he | where did they live
| can i cancel it | does it cost more | what about him | how does it work | who are they | what is it for
| where does it come from | what is it made of | who was it by | which one is it | what was it called
| when does it end | how many are there | what is in it | how do i use this | what should i do then | is there more
| what are they | why is that | when did he die | what did they find | whose is it | does it apply to me
| what do you mean by that | who else was there | how far is it | are they allowed to | what was he known for
| who did she work with | what do they look for | which year was that in | what is it based on
"""
)
_NOUNS = str.split(
    """contract report warranty budget survey patient supplier insurance loan engine garden software committee museum
    vaccine battery invoice landlord pipeline school"""
)
_NAMES = _parts(
    "Anna Keller|Doctor Morgan|Mister Bailey|the chairman|the auditors|the tenants|both companies|the board"
    "|General Mills|Best Buy|New York|the second witness"
)
_YEARS = _parts(
    "twenty seventeen|twenty eighteen|nineteen ninety five|two thousand four|fiscal twenty twenty two"
    "|the third quarter|the last fiscal year|eighteen sixty one"
)
_THINGS = _parts("it|them|that|this one|him|her|us|that one|these")
_SIZES = ("revenue", "income", "margin", "debt", "cost")
NUMBERS = frozenset(
    str.split(
        """one two three four five seven twelve fourteen fifteen seventeen eighteen nineteen twenty thirty sixty ninety
        thousand point fiscal clause"""
    )
)
_PATTERNS = """
what was the {kind} {size} of {name} in {year} | how did the {noun} change between {year} and {year2}
| what does clause {clause} point {point} say about the {noun} | who signed the {noun} for {name}
| how much did {name} pay for the {noun} | when did {name} leave the {noun} | tell me about the {noun} and the {noun2}
| what are the rules for the {noun}, the {noun2} and the {noun3} | does the {noun} cover {thing}
| what is said about {thing} | who is responsible for {thing}
| what is the difference between the {noun} and the {noun2} | is the {noun} older than the {noun2}
| in which year was the {noun} built | how many {noun}s were there in {year} | what did {name} say to {name2}
| where can i read about the {noun} | what percentage of the {noun} was paid in {year}
| can the {noun} be returned within {days} days | please explain how the {noun} works
| i would like to know when the {noun} ends | could you tell me what {name} thinks of the {noun}
| summarise the {noun} | what are the risks of the {noun} | is there a limit on {thing}
| how much did it rise by in {year} | which {noun} is the cheapest | do i have to tell {name} about {thing}
| what is the capital expenditure for {year} | list the {noun}s that {name} owns | what about the {noun}
| and the {noun} | how about {year} | the {noun} of {name}
"""
PATTERNS = _parts(_PATTERNS)


def spoken_question(rng: random.Random) -> str:
    """One of them, without a mark at its end."""
    if rng.random() < 0.3:
        return rng.choice(_SHORT)
    return rng.choice(PATTERNS).format(
        kind=rng.choice(["net", "total", "average", "gross"]), size=rng.choice(_SIZES),
        name=rng.choice(_NAMES), name2=rng.choice(_NAMES), year=rng.choice(_YEARS), year2=rng.choice(_YEARS),
        noun=rng.choice(_NOUNS), noun2=rng.choice(_NOUNS), noun3=rng.choice(_NOUNS), thing=rng.choice(_THINGS),
        clause=rng.choice(["twelve", "seven", "thirty one", "four"]), point=rng.choice(["three", "five", "two"]),
        days=rng.choice(["thirty", "fourteen", "ninety"]),
    )  # fmt: skip
