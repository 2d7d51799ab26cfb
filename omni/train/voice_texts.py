"""Sentences to learn to speak: questions and statements of SQuAD's training half, and made answers of an assistant.

Made answers are short and long, with figures, dates, page numbers, and names of people and places that SQuAD mentions.

Everything passes through `omni.spoken_form`, so the voice learns the very words it will be given.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
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
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})?(?=[ ,.])")  # inside a sentence: most are names
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
    "Yes.",
    "No, not that one.",
    "Page {n}.",
    "One moment, please.",
    "I do not know.",
    "All right, next question.",
    "{Name} wrote {doc} in {y}.",
    "{Name} and {name2} are both named on page {n}.",
    "As far as I can see, {name} was born in {name2}.",
    "Who is {name}, and why does {doc} mention {name2}?",
    "Hello {name}, this is a message about {subj}.",
    "The meeting in {name} takes place on {month} {d} at {h} {ampm}.",
    "There is one thing you should know: {subj} is not part of {doc}.",
    "First, {subj}; second, {subj2}; and third, {subj3}.",
    "{Doc} gives three reasons: cost, time, and the quality of {subj}.",
    "On the one hand, {subj} grew by {p} percent; on the other hand, {subj2} lost ${m} million.",
    "If {subj} does not answer before {month} {d}, {subj2} can end the contract without paying the remaining ${k}.",
    "Although {name} disagreed, {subj} was moved from {y} to {y2}, which cost about ${k} and took {n} weeks longer than"
    " anybody had expected.",
    "Does {doc} allow {subj} to leave early?",
    "Shall I go on?",
    "Are you sure that it was {name}?",
    "Was it {n} or {n2}?",
    "Can you say that again, a little more slowly?",
    "Why did {subj} not pay?",
    "How many pages does {doc} have, {n} or {n2}?",
    "Where did {name} keep {doc}?",
    "Which part of {doc} do you mean, the beginning or the end?",
    "The room is {n} feet long and {n2} inches wide, and weighs nothing.",
    "It was {d} degrees in {name} at {h} {ampm}, with {n}% humidity.",
    "Call {k} or write to {name}, {n} Main Street, before Friday.",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, and Sunday.",
    '"{Subj}," said {name}, "will be ready by the {d}th of {month}."',
    "Oh, I see! Then {doc} is the wrong place to look.",
    "Good morning, {name}! I have read {n} pages of {doc} for you.",
    "Unfortunately, {doc} was last changed in {month} {y}, before {name} took over.",
    "Please check whether {subj} has been paid, because {doc} only says so in a footnote.",
    "I have marked the passage on page {n}, just below the table.",
    "You asked about {subj} earlier; this is what {doc} adds to it.",
    "Both numbers come from page {n}: {k} in {y}, and {k2} in {y2}.",
)


def training_texts(squad: Path, count: int, *, seed: int = 0, made: float = 0.35) -> Iterator[str]:
    """At most `count` different spoken sentences, shuffled; a third of them made, then statements, then questions."""
    chance = random.Random(seed)
    questions, statements = squad_sentences(squad)
    names = sorted({name for statement in statements for name in _NAME.findall(statement)})
    chance.shuffle(questions)
    chance.shuffle(statements)
    seen: set[str] = set()
    for index in range(count):
        own = chance.random() < made
        text = spoken(made_answer(chance, names) if own else (questions if index % 5 < 2 else statements).pop())
        if text and text not in seen and not re.search(r"[^\x20-\x7e]", text):
            seen.add(text)
            yield text


def squad_sentences(squad: Path) -> tuple[list[str], list[str]]:
    questions, statements = [], []
    for article in json.loads(squad.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            questions += [qa["question"].strip() for qa in paragraph["qas"] if 15 < len(qa["question"]) < 140]
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"])", paragraph["context"]):
                if 25 < len(sentence) < 280:
                    statements.append(sentence.strip())
    return questions, statements


def made_answer(chance: random.Random, names: Sequence[str]) -> str:
    """One of the assistant's sentences with other figures, dates, names and documents in it."""
    frame = chance.choice(_FRAMES)
    subject, document = chance.choice(_SUBJECTS), chance.choice(_DOCUMENTS)
    name = chance.choice(names)
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
        ampm=chance.choice(("a.m.", "p.m.")),
        k2=f"{chance.randint(20, 90000):,}",
        name=name,
        Name=name,
        name2=chance.choice(names),
        subj2=chance.choice(_SUBJECTS),
        subj3=chance.choice(_SUBJECTS),
        subj=subject,
        Subj=subject[0].upper() + subject[1:],
        doc=document,
        Doc=document[0].upper() + document[1:],
    )
