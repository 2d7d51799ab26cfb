"""Sentences to learn to speak: questions and statements of SQuAD's training half, and made answers of an assistant.

Everything passes through `omni.spoken_form`, so the voice learns the very words it will be given.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from omni.spoken_form import spoken

_MONTHS = str.split("January February March April May June July August September October November December")
_DOCUMENTS = (
    "the lease", "the annual report", "the contract", "your handbook", "the minutes", "the manual", "the appendix",
    "the letter", "the survey", "the budget", "the invoice", "the insurance policy", "the quarterly filing",
)  # fmt: skip
_SUBJECTS = (
    "the tenant", "the landlord", "the board", "the company", "revenue", "the deposit", "the committee", "net income",
    "the supplier", "the warranty", "the engine", "the filter", "operating cost", "the author", "the employee",
    "the agreement", "the committee chair", "our customer", "the bank",
)  # fmt: skip
_FRAMES = (
    "That is on page {n} of {doc}.",
    "According to {doc}, {subj} must be informed within {n} days.",
    "I found {n} passages about {subj} in {doc}.",
    "{Subj} rose by {p}% to ${m} million in {y}.",
    "No, {doc} does not say when {subj} ends.",
    "Yes. On {month} {d}, {y}, {subj} agreed to pay ${k}.",
    "Could you tell me which year you mean, {y} or {y2}?",
    "Do you want me to read page {n} aloud?",
    "Sorry, I could not find anything about {subj}.",
    "Section {s} of {doc} covers this: {subj} may cancel at any time.",
    "It starts at {h}:{mm} p.m. and ends at {h2} o'clock.",
    "The total was ${k}.{cc}, which is {p}% less than in {y}.",
    "Would you like to hear more about {subj}, or shall I stop here?",
    "In short, {subj} is mentioned {n} times; the first mention is on page {n2}.",
    "Please open {doc} at chapter {n}, and look at table {n2}.",
    "Between {y} and {y2}, {subj} fell from {n} to {n2}.",
    "Is it true that {subj} needs a written notice of {n} days?",
    "Thank you, I will remember that {subj} comes first.",
    "{Doc} was signed on {d} {month} {y} by two people.",
    "What does {doc} say about {subj}?",
)


def training_texts(squad: Path, count: int, *, seed: int = 0, made: float = 0.25) -> Iterator[str]:
    """`count` spoken sentences, shuffled; a quarter of them made, the rest half questions, half statements."""
    chance = random.Random(seed)
    questions, statements = squad_sentences(squad)
    chance.shuffle(questions)
    chance.shuffle(statements)
    for index in range(count):
        own = chance.random() < made
        text = spoken(made_answer(chance) if own else (questions if index % 2 else statements).pop())
        if text and not re.search(r"[^\x20-\x7e]", text):
            yield text


def squad_sentences(squad: Path) -> tuple[list[str], list[str]]:
    questions, statements = [], []
    for article in json.loads(squad.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            questions += [qa["question"].strip() for qa in paragraph["qas"] if 15 < len(qa["question"]) < 140]
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"])", paragraph["context"]):
                if 25 < len(sentence) < 220:
                    statements.append(sentence.strip())
    return questions, statements


def made_answer(chance: random.Random) -> str:
    """One of the assistant's sentences with other figures, dates and documents in it."""
    frame = chance.choice(_FRAMES)
    subject, document = chance.choice(_SUBJECTS), chance.choice(_DOCUMENTS)
    return frame.format(
        n=chance.randint(2, 120),
        n2=chance.randint(1, 400),
        p=round(chance.uniform(0.1, 40), 1),
        m=chance.randint(2, 9000),
        k=f"{chance.randint(20, 90000):,}",
        cc=f"{chance.randint(1, 99):02d}",
        y=chance.randint(1950, 2029),
        y2=chance.randint(1950, 2029),
        d=chance.randint(1, 28),
        month=chance.choice(_MONTHS),
        h=chance.randint(1, 12),
        h2=chance.randint(1, 12),
        mm=f"{chance.randint(1, 59):02d}",
        s=f"{chance.randint(1, 20)}.{chance.randint(1, 12)}",
        subj=subject,
        Subj=subject[0].upper() + subject[1:],
        doc=document,
        Doc=document[0].upper() + document[1:],
    )
