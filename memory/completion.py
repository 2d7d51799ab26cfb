"""Pronouns replaced by what they stand for, and questions that name nothing of their own completed.

    complete("When is it returned?", [("How much is the deposit?", "It is 30,000 euros.")]).query
    # "When is the deposit returned?"

What is not certain is not decided here: the other things that may be meant, and the question as it was asked, are
searched as well, each with its probability (`Understood.others`, rag/wordings.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.tokens import STOP_WORDS, query_terms
from memory.fragments import VERB
from memory.mentions import WEAK, mentions, years
from memory.referents import Referent, referents
from memory.types import Understood
from rag.wordings import Wording

# Chosen on follow-ups of SQuAD train articles and the half of CANARD that fits memory/referents.py: the share of the
# gap to the gold rewrites that the search closes.
AS_ASKED = 0.25  # weight of a question as it was asked beside what its pronoun may stand for
WITH_TOPIC = 0.6  # weight of the topic beside a question that may need it
READINGS = 3  # at most so many things that may be meant
RIVAL = 0.3  # of the likeliest one's probability: what is less likely is not searched for
SURE = 0.08  # probability from which something is put in for a pronoun
ADD = 0.2  # probability from which a topic is searched with a question that has no pronoun

_PRONOUN = re.compile(
    r"\b(?P<possessive>his|their|its|her(?=\s+[a-z])|theirs)\b"
    r"|\b(?P<plain>he|she|him|they|them|it|himself|herself|themselves|itself|her)\b"
    r"|\b(?P<pointing>this|that|these|those)\b(?!\s+(?:is|was|were|are)\s+(?:the|a|an)\b)",
    re.I,
)
_EXPLETIVE = re.compile(  # "is it true that", "how long does it take to", "was it possible for"
    r"\b(?:is|was|does|did|will|would|can) it (?:true|possible|likely|necessary|mean|matter|rain|legal|important"
    r"|(?:take|cost)(?=\s+(?:to|for|me|you|one|somebody|a|an|the)\b))\b"
    r"|\bwhat time is it\b",
    re.I,
)
_THEN = re.compile(r"\s*\b(?:then|in (?:that|this|such a) case|if so|after that|about (?:it|that))\s*$", re.I)
_ELSE = re.compile(r"\b(?:else|another|besides|aside from)\b", re.I)
FILLER = re.compile(r"^(?:(?:and|but|so|ok(?:ay)?|then|well|also|thanks?(?: you)?)[,\s]+)+", re.I)
_ABOUT = re.compile(
    r"^(?:(?:ok(?:ay)?|so|and|but|now|well|let'?s)[,\s]+)*(?:(?:(?:go|com|return)(?:e|ing)?\s+)?back\s+to|returning\s+to|regarding|concerning|as\s+(?:for|to)|speaking\s+of|with\s+regard\s+to|about|on)\s+"
    r"(?P<topic>[^,:;?–.]{2,60}?)(?:\s+again)?\s*(?:[,:;–-]|(?<=[a-z]{3})\.)\s+(?P<question>\S.{4,})$",
    re.I,
)
_INTERESTED = re.compile(  # "No, I mean the 2019 lease. What are its premises?"
    r"^(?:(?:no|ok(?:ay)?|so|and|but|now|well|sorry|actually)[,\s]+)*i(?:'m|\s+am|\s+was)?\s+"
    r"(?:interested\s+in|(?:talking|asking)\s+about|looking\s+at|mean|meant)\s+"
    r"(?P<topic>[^,:;?–.]{2,60}?)\s*(?:[:;–-]|(?<=\w{3})[,.])\s+(?P<question>(?:who|what|when|where|why|which|how|is|are|was"
    r"|were|do|does|did|can|must|may|will|should|has|have|and)\b.{4,})$",
    re.I,
)


_DISLOCATED = re.compile(  # "And the warranty, how long is that?"
    r"^(?:(?:and|but|so)[,\s]+)?(?P<topic>(?:the|our|my|its)\s+(?!.*\b(?:is|are|was|were|has|does)\b[^,]*,)[^,?]{2,50}),\s+"
    r"(?P<question>(?:how|what|when|where|who|why|is|are|was|were|does|do|did|can|must|may|will|should|has|have)\b.{4,})$",
    re.I,
)


def complete(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str] = ()) -> Understood:
    """The question in full. `turns`, `topics` as for memory/follow_up.py's `understand`."""
    if (found := about(text)) is not None:
        return found
    pronouns = _pronouns(text)
    if not pronouns and any(m.kind in ("name", "title") for m in mentions(text)):
        return Understood(text, text, "alone")
    then = _THEN.search(text.rstrip(" ?.!"))  # "what should I do then?" asks about that
    ranked = referents(text, turns, topics, pronoun=pronouns[0][0].lower() if pronouns else "that" if then else "")
    ranked = [r for r in ranked if r.text.lower() not in text.lower()]
    if years(text) or re.search(r"\bother\b", text, re.I):
        ranked = [r for r in ranked if not years(r.text)]  # it is not about "the 2019 lease"
    if pronouns:
        ranked = [r for r in ranked if r.probability >= SURE]
        rivals = [r for r in ranked[:READINGS] if r.probability >= RIVAL * ranked[0].probability]
        if not rivals:
            return Understood(text, text, "alone")
        queries = [_put_in(text, pronouns, rival.text) for rival in rivals]
        return Understood(text, queries[0], "pronoun", (rivals[0].text,), _others(text, queries, rivals, AS_ASKED))
    return _topical(text, ranked)


def about(text: str) -> Understood | None:
    """ "Back to the carrier: is it liable?", "I meant the outdoor unit: ...": the user says what it is about."""
    match = _ABOUT.match(text) or _INTERESTED.match(text) or _DISLOCATED.match(text)
    return _about(text, match["topic"], match["question"]) if match and not _asks(match["topic"]) else None


def _topical(text: str, ranked: Sequence[Referent]) -> Understood:
    """A question without pronoun or name: completed if it says nothing, else searched with the topic as well."""
    then = _THEN.search(text.rstrip(" ?.!"))
    content = [t for t in query_terms(text) if t not in STOP_WORDS and t not in WEAK and not t.isdigit()]
    if _ELSE.search(text) or then or not content:
        if ranked and ranked[0].probability >= SURE:
            bare, best = FILLER.sub("", _THEN.sub("", text.rstrip(" ?.!"))), ranked[0].text
            query = f"{bare} about {spoken(best)}?" if then else f"{bare} ({best})?"
            query, asked = query[0].upper() + query[1:], Wording(text, AS_ASKED)
            return Understood(text, query, "incomplete", (best,), (asked,))
        return Understood(text, text, "alone")
    rivals = [r for r in ranked if r.named and r.probability >= ADD][:READINGS]
    rivals = [r for r in rivals if r.probability >= RIVAL * rivals[0].probability]
    total = sum(rival.probability for rival in rivals)
    others = tuple(
        Wording(f"{text.rstrip(' ?.!')} ({rival.text})?", WITH_TOPIC * rival.probability / total) for rival in rivals
    )
    return Understood(text, text, "alone", (), others)


def _about(text: str, topic: str, question: str) -> Understood:
    """ "Back to the carrier: is it liable?": the user says what is meant."""
    bare = re.sub(r"^(?:the|a|an)\s+", "", topic.strip(), flags=re.I)
    plain = [m for m in _PRONOUN.finditer(question) if m["plain"]]
    if pronouns := _pronouns(question) or plain:
        query = _put_in(question, pronouns, bare)
    elif bare.lower() in question.lower():
        query = question
    else:
        query = f"{question.rstrip(' ?.!')} ({bare})?"
    return Understood(text, query[0].upper() + query[1:], "pronoun", (topic.strip(),))


def _others(text: str, queries: Sequence[str], rivals: Sequence[Referent], as_asked: float) -> tuple[Wording, ...]:
    total = sum(rival.probability for rival in rivals)
    pairs = zip(queries[1:], rivals[1:], strict=True)
    found = [Wording(query, (1 - as_asked) * rival.probability / total) for query, rival in pairs]
    return (*found, Wording(text, as_asked))


def pronoun_of(text: str) -> str:
    """The first pronoun that points back to earlier turns, lower case; empty if there is none."""
    found = _pronouns(text)
    return found[0][0].lower() if found else ""


def _pronouns(text: str) -> list[re.Match[str]]:
    expletive = _EXPLETIVE.search(text)
    found = [
        m for m in _PRONOUN.finditer(text) if expletive is None or not expletive.start() <= m.start() < expletive.end()
    ]
    # "this"/"that" as a conjunction or with words that name something after it say nothing about earlier turns
    found = [m for m in found if m["pointing"] is None or _points_back(text, m)]
    return [m for m in found if not _inside(text, m)]


def _inside(text: str, match: re.Match[str]) -> bool:
    """Whether the question itself has said what the pronoun stands for: "the customer if it is late"."""
    named = [m for m in mentions(text[: match.start()]) if m.kind in ("name", "title")]
    before = text[: match.start()].lower()
    if named and match[0].lower() in ("its", "their"):  # "did Netflix complete its offering"
        return True
    return bool(named) and bool(re.search(r"\b(?:if|when|because|that|before|after|while|and|but|or)\s+$", before))


def _points_back(text: str, match: re.Match[str]) -> bool:
    if match[0].lower() == "that" and re.search(
        r"\b(?:say|said|think|know|show|state|so|true|fact|claim)\s*$", text[: match.start()]
    ):
        return False
    if (
        match[0].lower() == "that"
        and re.search(  # "the band that played", but "does that take"
            r"(?<!\bdoes)(?<!\bwill)(?<!\bmust)(?<!\bcould)(?<!\bwould)(?<!\bshould)(?<=[a-z]{4})\s*$",
            text[: match.start()],
        )
    ):
        return bool(re.match(r"[\s?.!]*$", text[match.end() :]))
    return True


def _put_in(text: str, pronouns: Sequence[re.Match[str]], best: str) -> str:
    first = pronouns[0]
    said = spoken(best)
    before, after = text[: first.start()], text[first.end() :]
    if first["pointing"]:
        noun = re.match(r"\s+[a-z]{3,}", after)
        verb = VERB.search(before[-8:]) and len(after.split()) == 1  # "how long does that take?"
        if noun and not verb and noun[0].strip() not in STOP_WORDS and not re.match(r"\s+\w+(?:ed|en)\b", after):
            query = f"{text.rstrip(' ?.!')} ({best})?"  # "that album": the noun stays, the name tells which
        else:
            query = before + said + after
    elif first["possessive"]:
        query = before + said + ("'" if said.endswith("s") else "'s") + after
    else:
        query = before + said + after
    query = FILLER.sub("", query)
    return query[0].upper() + query[1:]


def spoken(name: str) -> str:
    """With its article, where it has none of its own: "the 2022 lease", "Nike"."""
    return name if name[0].isupper() or not re.search(r"[a-z]", name) else f"the {name}"


def _asks(topic: str) -> bool:
    return bool(re.match(r"^(?:what|how|who|when|where|why|which|whose|average)\b", topic.strip(), re.I))
