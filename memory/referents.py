"""What a follow-up refers to: every mention of the talk so far, with the probability that the question means it.

A logistic regression over features of form (a person for "he", several for "they"), place (asked about, answered,
title) and recency, fitted on the rewrites of CANARD (Elgohary et al., EMNLP 2019; CC BY-SA 4.0) by
`python -m memory.train_referents`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.tokens import index_terms, query_terms
from memory.mentions import Mention, looks_like_person, looks_plural, mentions, opens_sentence, subject

FEATURES = (
    "bias", "name", "title", "phrase", "year", "topic", "asked", "first_of_question", "answered", "age", "latest",
    "count", "words", "person_he", "person_it", "single_he", "plural_they", "singular_they", "thing_it", "person_they",
    "no_pronoun", "no_pronoun_asked", "no_pronoun_phrase", "phrase_it", "phrase_he", "phrase_they", "shares_head",
    "in_last_query", "first_mention", "it_latest_answer", "elliptic_topic",
)  # fmt: skip
# Fitted by `python -m memory.train_referents`; keep to the printed values.
WEIGHTS: dict[str, float] = {
    "bias": -2.57,
    "name": -0.198,
    "title": -0.505,
    "phrase": -1.189,
    "year": -0.678,
    "topic": 0.218,
    "asked": 0.495,
    "first_of_question": 0.593,
    "answered": -0.704,
    "age": -1.729,
    "latest": 1.227,
    "count": 1.17,
    "words": -0.781,
    "person_he": 0.842,
    "person_it": -0.08,
    "single_he": -0.283,
    "plural_they": 0.364,
    "singular_they": 0.029,
    "thing_it": 0.058,
    "person_they": 0.338,
    "no_pronoun": -0.084,
    "no_pronoun_asked": -0.186,
    "no_pronoun_phrase": -0.075,
    "phrase_it": 0.111,
    "phrase_he": -0.457,
    "phrase_they": -0.767,
    "shares_head": -2.109,
    "in_last_query": -0.228,
    "first_mention": 0.43,
    "it_latest_answer": 0.541,
    "elliptic_topic": 0.309,
}

JUST_ASKED = 2.0  # log-odds of a noun phrase of the last question for "it", "they", "that"; half beside a name
LONG_TITLE = 4  # words, from which a title is more than a name
ASKED_NAME = 0.7  # the same for a name
_IT = frozenset(["it", "its", "itself"])
# "Press the button", "Dissolve 30 grams", and "Brewing Lock the portafilter", which has a heading before its sentence
_IMPERATIVE = re.compile(
    r"(?!(?:Section|Article|Chapter|Clause|Table|Figure|Item|Part|Note|Form|Exhibit|Schedule|Appendix)\b)"
    r"[A-Z]\w+(?:\s+[A-Z]\w+)?\s+(?:the|a|an|your|it|them|this|these|all|any|each|every|\d+)\b"
)
_SCOPE = re.compile(r"(?:1[5-9]|20)\d\d [a-z]+|[a-z]+ (?:1[5-9]|20)\d\d", re.I)
_EXPLAINS = re.compile(r"^what\s+(?:does|do|did)\s+\S*\d\S*\s+(?:mean|stand for)\b", re.I)  # "What does E27 mean?"
_DATE = re.compile(
    r"(?:\d{1,2}\s+)?(?:January|February|March|April|May|June|July|August|September|October|November|December)\s+\d{1,4}"
)
_GENDER = re.compile(r"\b(?:(?P<he>he|him|his|himself)|she|her|hers|herself)\b", re.I)
_HONORIFIC = re.compile(r"^(?:Mr|Mrs|Ms|Dr|Prof)\.\s+")
_SHE = frozenset(["she", "her", "herself"])
_HE = frozenset(["he", "she", "him", "his", "her", "himself", "herself"])
_THEY = frozenset(["they", "them", "their", "theirs", "themselves", "these", "those"])


@dataclass(frozen=True)
class Referent:
    text: str  # as first mentioned in full
    probability: float  # 0..1 that the question means it
    named: bool = True  # a name or title, not a noun phrase


@dataclass
class _Entry:
    text: str
    kind: str
    key: frozenset[str]
    asked: bool = False
    answered: bool = False
    topic: bool = False
    latest: int = 99  # turns ago, 0 = the last turn
    count: int = 0
    first_of_question: bool = False
    in_last_query: bool = False
    in_last_answer: bool = False
    first: bool = False
    articled: bool = False  # "the Red Cross": no person
    named_for_who: bool = False  # the first person in the answer to "who ...?"
    explains: bool = False  # "E27 means that the pressure is low": the pressure
    explained: bool = False
    scope: bool = False  # "under the 2022 lease": where something holds, rather than what is asked about
    possessor: bool = False  # "Nike's net sales": the sales are asked about
    possessed: bool = False
    gender: str = ""  # "he" or "she", where an answer has told
    relation: bool = False  # "the price of ...": the price is asked about, what follows "of" is talked about


def referents(
    question: str, turns: Sequence[tuple[str, str]], topics: Sequence[str] = (), *, pronoun: str = ""
) -> list[Referent]:
    """Mentions of the `turns` (asked, answered; oldest first) and `topics`, most probable first."""
    entries = _collect(turns, topics)
    scored = []
    for entry in entries:
        values = features(question, entry, pronoun)
        z = sum(WEIGHTS.get(name, 0.0) * value for name, value in values.items())
        z += _agreement(entry, pronoun, entries)
        named = entry.kind in ("name", "title")
        scored.append(Referent(entry.text, 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z)))), named))
    return sorted(scored, key=lambda referent: -referent.probability)


def _agreement(entry: _Entry, pronoun: str, entries: Sequence[_Entry]) -> float:
    """What grammar says where the fit is too mild: "he" is a person if the talk has one, "it" is none."""
    if pronoun and (entry.kind in ("year", "number") or _DATE.fullmatch(entry.text)):
        return -4.0
    if pronoun in _HE:
        if entry.gender and (entry.gender == "she") != (pronoun in _SHE):
            return -3.0
        if _person(entry):
            return 1.5 if entry.named_for_who else 0.0
        return -2.0 if any(_person(other) for other in entries) else 0.0
    if pronoun in _IT and _person(entry):
        return -2.0
    # People talk of what they have just asked about: "How much is the deposit? When is it returned?" CANARD, where
    # nearly every question is about a person or a band, cannot tell.
    if pronoun in _IT and entry.kind == "phrase" and looks_plural(entry.text):
        return -1.0
    if pronoun in _THEY and re.search(r"\d", entry.text) and not looks_plural(entry.text):
        return -1.5
    if pronoun and entry.explains:
        return JUST_ASKED
    if pronoun and entry.explained:  # of the fault, not of its code
        return -1.5
    asked_too = any(other.kind == "phrase" and other.in_last_query for other in entries)
    if pronoun and asked_too and entry.scope:
        return -1.5
    if pronoun and entry.in_last_query and entry.kind != "phrase":
        return 0.0 if entry.possessor else ASKED_NAME
    if pronoun and entry.in_last_query and entry.possessed:
        return JUST_ASKED
    if pronoun and entry.in_last_query:
        named = any(other.kind != "phrase" and other.in_last_query and not other.scope for other in entries)
        return 0.0 if entry.relation else JUST_ASKED / 2 if named else JUST_ASKED
    return 0.0


def _person(entry: _Entry) -> bool:
    return entry.kind == "name" and not entry.articled and looks_like_person(entry.text)


def _collect(turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> list[_Entry]:
    """Mentions over all turns, those with the same words (or a name's last word) as one."""
    entries: list[_Entry] = []
    lower_case = {word for turn in turns for text in turn for word in re.findall(r"\b[a-z][a-z'’-]+", text)}

    def named(mention: Mention, text: str) -> bool:
        """Whether a mention is what it seems: "Net sales rose" names no Net if somebody else wrote "net sales"."""
        if mention.kind != "name" or not opens_sentence(text, mention.start):
            return True
        single = " " not in mention.text
        return not (single and mention.text.lower() in lower_case) and not _IMPERATIVE.match(text[mention.start :])

    def note(mention: Mention, ago: int) -> _Entry:
        key = frozenset(index_terms(_HONORIFIC.sub("", mention.text)))
        for entry in entries:
            if entry.topic and mention.kind == "phrase" and key and key < entry.key:
                entry.text = mention.text  # "the lease" for "Lease between A and B": as the user calls it
                break
            if entry.topic and key < entry.key and len(entry.key) > LONG_TITLE:
                continue  # one of the parties of "Agreement between A and B" is not the agreement
            same_kind = (entry.kind in ("name", "title", "topic")) == (mention.kind in ("name", "title"))
            if key and (
                key == entry.key or (same_kind and (key < entry.key or (entry.key < key and len(entry.key) > 1)))
            ):
                if len(mention.text) > len(entry.text) and entry.key < key and mention.kind == "name" and len(key) <= 5:
                    entry.text, entry.key = mention.text, key
                break
        else:
            entry = _Entry(mention.text, mention.kind, key, first=not entries)
            entries.append(entry)
        entry.scope |= bool(_SCOPE.fullmatch(mention.text))
        entry.latest = min(entry.latest, ago)
        entry.count += 1
        return entry

    for title in topics:
        if title.strip():
            entry = note(Mention(title.strip(), "name", 0, len(title)), len(turns))
            entry.topic = True
    for i, (asked, answer) in enumerate(turns):
        ago = len(turns) - 1 - i
        found = [m for m in mentions(asked) if named(m, asked)]
        if (own := subject(asked)) is not None and not any(own.start < m.end and m.start < own.end for m in found):
            found.insert(0, own)
        for place, mention in enumerate(found):
            entry = note(mention, ago)
            entry.asked = True
            entry.articled |= asked[: mention.start].lower().endswith("the ")
            entry.relation |= bool(re.match(r"\s+of\b", asked[mention.end :]))
            entry.first_of_question |= place == 0 and ago == 0
            entry.in_last_query |= ago == 0
            follows = asked[mention.end :]
            entry.possessor = ago == 0 and bool(re.match(r"[’']s?\s+[a-z]", follows))
            entry.possessed = ago == 0 and bool(re.search(r"[’']s?\s+$", asked[: mention.start]))
        explains = ago == 0 and bool(_EXPLAINS.match(asked))
        for entry in entries:
            entry.explained |= explains and entry.in_last_query
        answer_to_who = ago == 0 and bool(re.match(r"(?:and\s+)?who\b", asked, re.I))
        for mention in (m for m in mentions(answer[:600]) if named(m, answer)):
            entry = note(mention, ago)
            entry.answered = True
            entry.articled |= answer[: mention.start].lower().endswith("the ")
            if answer_to_who and not entry.asked and _person(entry):
                entry.named_for_who, answer_to_who = True, False
            entry.in_last_answer |= ago == 0
            if explains and not entry.asked and entry.kind == "phrase":
                entry.explains, explains = True, False  # the first that is new
        for sentence in re.split(r"(?<=[.!?])\s+", answer[:600]):
            people = [e for e in entries if _person(e) and e.text in sentence]
            if len(people) == 1 and (told := _GENDER.search(sentence, sentence.find(people[0].text))):
                people[0].gender = "he" if told["he"] else "she"
    return entries


def features(question: str, entry: _Entry, pronoun: str) -> dict[str, float]:
    """The values of FEATURES for one mention."""
    he, they = pronoun in _HE, pronoun in _THEY
    it = bool(pronoun) and not he and not they
    none = not pronoun
    person, plural = looks_like_person(entry.text) and not entry.articled, looks_plural(entry.text)
    phrase = entry.kind == "phrase"
    single = not phrase and len(entry.text.split()) == 1
    shares = bool(set(query_terms(question)) & entry.key)
    elliptic = bool(re.search(r"\b(?:else|other|another|more)\b", question, re.I)) or len(query_terms(question)) <= 3
    values = {
        "bias": 1.0,
        "name": entry.kind == "name",
        "title": entry.kind == "title",
        "phrase": phrase,
        "year": entry.kind in ("year", "number"),
        "topic": entry.topic,
        "asked": entry.asked,
        "first_of_question": entry.first_of_question,
        "answered": entry.answered,
        "age": min(entry.latest, 6) / 6,
        "latest": entry.latest == 0,
        "count": math.log1p(entry.count),
        "words": min(len(entry.text.split()), 6) / 6,
        "person_he": he and person,
        "person_it": it and person,
        "single_he": he and single,
        "plural_they": they and plural,
        "singular_they": they and not plural and not person,
        "thing_it": it and not person and not phrase,
        "person_they": they and person,
        "no_pronoun": none,
        "no_pronoun_asked": none and entry.in_last_query,
        "no_pronoun_phrase": none and phrase,
        "phrase_it": it and phrase,
        "phrase_he": he and phrase,
        "phrase_they": they and phrase,
        "shares_head": shares,
        "in_last_query": entry.in_last_query,
        "first_mention": entry.first,
        "it_latest_answer": it and entry.in_last_answer,
        "elliptic_topic": none and elliptic and (entry.topic or entry.first),
    }
    return {name: float(value) for name, value in values.items()}
