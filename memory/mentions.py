"""What a conversation has mentioned: names, dates, numbers and noun phrases, found by their form alone.

No tagger and no model: capital letters, determiners, digits and quotation marks. English; other languages that
capitalise names get their names, languages without capitals and spaces (Chinese) get nothing here, and a question in
them stays as it was asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ingest.tokens import STOP_WORDS

MentionKind = Literal["name", "year", "number", "phrase", "title"]


@dataclass(frozen=True)
class Mention:
    text: str
    kind: MentionKind
    start: int  # characters into the text it was found in
    end: int


_CAPITAL = r"(?:(?:Mr|Mrs|Ms|Dr|Prof|St)\.|[A-Z][\w’'&.-]*[\w’']|[A-Z]\.(?=\s[A-Z])|[A-Z])"
_LINK = r"(?:of(?: the)?|the|and the|and|de|del|la|le|van(?: der)?|von|for(?: the)?|in the|&|'s)"
_NAME = re.compile(rf"(?<![\w’'&-]){_CAPITAL}(?:\s+(?:{_LINK}\s+)?(?:{_CAPITAL}|\d{{1,4}}(?!\w)))*")
_YEAR = re.compile(r"\b(?:FY|fiscal(?: year)? )?((?:1[5-9]|20)\d\d)\b")
_OF_A_YEAR = re.compile(  # "the 2022 lease" names one of several
    r"\b(?P<name>(?:1[5-9]|20)\d\d\s+(?!(?:and|or|to|in|of|on|for|was|were|is|are|did|does|do|had|has|have|the|a|an|with|by|"
    r"as|at|from|but|compared|figures?|numbers?|results?)\b)[a-z]{3,})\b(?!-)"
)
_NUMBER = re.compile(r"[$€£]?\d[\d,.]*\d(?:\s?(?:%|percent|million|billion|thousand))?|[$€£]?\d+%?")
_QUOTED = re.compile(r"[\"“]([^\"“”]{3,60})[\"”]")
_POSSESSED = re.compile(r"[’']s\s+(?P<words>(?:[a-z][a-z’'-]+\s+){0,2}[a-z][a-z’'-]+)")  # "Nike's net sales"
_BEFORE_VERB = re.compile(r"\b(?:does|do|did|can|could|will|would|shall|should|must|may|might)\s+$", re.I)
_PARTICIPLES = frozenset(
    ("paid", "held", "kept", "made", "sent", "built", "sold", "bought", "given", "taken", "written", "shown", "known")
) | frozenset(
    ("found", "told", "done", "seen", "born", "begun", "chosen", "driven", "grown", "lost", "spent", "worn", "won")
)
_NO_NOUN = r"(?!(?:of|in|on|at|for|with|by|from|to|and|or|the|a|an|is|are|was|were|that|which|who)\b)"
_DETERMINED = re.compile(
    r"\b(?:the|a|an|his|her|their|its|our|my|your|this|that|these|those|any|some|each)\s+"
    rf"((?:{_NO_NOUN}[a-z][a-z’'-]+\s+){{0,3}}{_NO_NOUN}[a-z][a-z’'-]+)"
)
_SUBJECT = re.compile(  # "What was [net income in] ...", "How much interest do [late payments bear]?"
    r"^(?:(?:[Aa]nd|[Bb]ut|[Ss]o),?\s+)?(?:[Ww]hat|[Ww]ho|[Ww]hen|[Ww]here|[Ww]hy|[Ww]hich|[Hh]ow)(?:\s+[a-z]+){0,2}?\s+"
    r"(?:(?:is|are|was|were|has|have|had)|(?P<verb>does|do|did|can|could|will|would|should|must|may))\s+"
    r"(?P<words>(?:[a-z][a-z’'-]+\s+){0,3}[a-z][a-z’'-]+)"
)
_COUNTED = re.compile(  # "How many [employees] are there?", "Which [ferries] were converted?"
    r"^(?:(?:[Aa]nd|[Bb]ut|[Ss]o),?\s+)?(?:[Hh]ow\s+(?:many|much)|[Ww]hich|[Ww]hat)\s+"
    r"(?P<words>(?:[a-z][a-z’'-]+\s+){0,2}?[a-z][a-z’'-]+)\s+(?:is|are|was|were)\s+(?P<rest>[a-z]+)"
)
# Words at the beginning of a sentence that are capitalised only because they stand there.
_OPENERS = STOP_WORDS | frozenset(
    [
        "according",
        "although",
        "based",
        "until",
        "also",
        "another",
        "back",
        "besides",
        "along",
        "among",
        "apart",
        "aside",
        "around",
        "beginning",
        "compared",
        "considering",
        "due",
        "except",
        "including",
        "inside",
        "like",
        "outside",
        "per",
        "prior",
        "regarding",
        "starting",
        "throughout",
        "towards",
        "unlike",
        "via",
        "during",
        "despite",
        "early",
        "every",
        "first",
        "following",
        "from",
        "given",
        "how",
        "however",
        "if",
        "initially",
        "instead",
        "late",
        "later",
        "many",
        "much",
        "name",
        "near",
        "next",
        "now",
        "often",
        "one",
        "since",
        "some",
        "soon",
        "still",
        "that",
        "then",
        "though",
        "thus",
        "today",
        "two",
        "upon",
        "using",
        "various",
        "well",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "why",
        "with",
        "within",
        "without",
        "yes",
        "no",
        "okay",
        "give",
        "list",
        "show",
        "explain",
        "describe",
        "compare",
        "many",
        "most",
        "several",
        "three",
        "four",
        "five",
    ]
)
WEAK = STOP_WORDS | frozenset(
    [
        "happen",
        "happened",
        "happens",
        "go",
        "went",
        "gone",
        "going",
        "get",
        "got",
        "take",
        "took",
        "make",
        "made",
        "making",
        "say",
        "said",
        "says",
        "come",
        "came",
        "know",
        "known",
        "many",
        "much",
        "other",
        "another",
        "else",
        "anything",
        "something",
        "interesting",
        "important",
        "first",
        "second",
        "third",
        "last",
        "next",
        "one",
        "ones",
        "way",
        "time",
        "times",
        "year",
        "years",
        "thing",
        "things",
        "start",
        "started",
        "begin",
        "began",
        "become",
        "became",
        "ever",
        "still",
        "also",
        "first",
        "then",
        "lot",
        "part",
        "called",
        "named",
        "like",
        "use",
        "used",
        "any",
        "kind",
        "type",
        "there",
        "aspects",
        "article",
        "mean",
        "means",
        "work",
        "works",
        "say",
        "apply",
        "applies",
        "include",
        "includes",
        "contain",
        "contains",
        "require",
        "requires",
        "need",
        "needs",
        "mention",
        "describe",
    ]
)


def mentions(text: str) -> list[Mention]:
    """Names, quoted titles, years and noun phrases of a text, in order; none overlaps a name."""
    found: list[Mention] = []
    for match in _QUOTED.finditer(text):
        found.append(Mention(re.sub(r"^the\s+", "", match[1].strip(" .,")), "title", *match.span(1)))
    for match in _NAME.finditer(text):
        name = _trimmed(match[0], opens=opens_sentence(text, match.start()))
        if name:
            start = match.start() + match[0].find(name)
            found.append(Mention(name, "name", start, start + len(name)))
        if possessed := _POSSESSED.match(text, match.end() - 2) or _POSSESSED.match(text, match.end()):
            kept = _noun_words(possessed["words"].split())
            if kept and possessed["words"].startswith(kept):
                found.append(Mention(kept, "phrase", possessed.start("words"), possessed.start("words") + len(kept)))
    for match in _OF_A_YEAR.finditer(text):
        found.append(Mention(match["name"], "name", *match.span("name")))
    for match in _YEAR.finditer(text):
        found.append(Mention(match[1], "year", *match.span(1)))
    for match in _DETERMINED.finditer(text):
        words = match[1].split()
        if len(words) > 1 and _BEFORE_VERB.search(text[: match.start()]):
            words = words[:-1]  # "must the tenant give": an auxiliary, its subject and then the verb
        kept = _noun_words(words)
        if kept:
            start = match.start(1) + match[1].find(kept)
            found.append(Mention(kept, "phrase", start, start + len(kept)))
    result: list[Mention] = []
    for mention in sorted(found, key=lambda m: (m.start, -m.end)):
        if not any(mention.start < other.end and other.start < mention.end for other in result):
            result.append(mention)
    return result


def subject(question: str) -> Mention | None:
    """What a question is about where it has no article: "net income" of "What was net income in 2021?"."""
    counted = _COUNTED.match(question)
    if counted is not None and (counted["rest"] == "there" or _is_participle(counted["rest"])):
        kept = _noun_words(counted["words"].split())
        start = counted.start("words")
        return Mention(kept, "phrase", start, start + len(kept)) if counted["words"].startswith(kept or "-") else None
    match = _SUBJECT.match(question)
    words = match["words"].split() if match else []
    if match is not None and match["verb"] and len(words) > 1 and len(words) < 4:
        words = words[:-1]  # the verb
    kept = _noun_words(words)
    if match is None or not kept or not match["words"].startswith(kept):
        return None
    return Mention(kept, "phrase", match.start("words"), match.start("words") + len(kept))


def names(text: str) -> list[str]:
    """Names and titles of a text, each once."""
    return list(dict.fromkeys(m.text for m in mentions(text) if m.kind in ("name", "title")))


def years(text: str) -> list[str]:
    return [match[1] for match in _YEAR.finditer(text)]


def looks_like_person(name: str) -> bool:
    """Two or three capitalised words without an article, a link or an organisation's word."""
    words = name.split()
    titled = words[0] in ("Mr.", "Mrs.", "Ms.", "Dr.", "Prof.")
    words = [word for word in words[titled:] if not re.fullmatch(r"[A-Z]\.|II|III|IV|Jr\.?|Sr\.?", word)]
    if not (1 - titled) < len(words) + (len(words) < len(name.split()) - titled) < 4:
        return False
    if any(not word[0].isupper() or not word.replace(".", "").isalpha() for word in words):
        return False
    return not _ORGANISATION.search(name) and not _ROLE.search(name)


def looks_plural(name: str) -> bool:
    last = name.split()[-1].lower()
    return " and " in name or (last.endswith("s") and not last.endswith(("ss", "us", "is", "'s", "’s")))


_ORGANISATION = re.compile(
    r"\b(?:Inc|Corp|Company|University|College|School|Party|Council|Church|Records|Group|Band|Club|League|States|City|"
    r"River|War|Act|Street|Award|Awards|Festival|Island|Museum|Army|Court|Institute|Society|Association|County|Court|"
    r"Album|Series|Show|Music|Channel|Network|Bowl|Cup|Prize|House|Empire|Kingdom|Republic|Union|Agreement|Lease)\b"
)


_ROLE = re.compile(
    r"\b(?:President|Chair(?:man|woman|person)?|Chief|Executive|Officer|Director|Manager|Secretary|Board|Vice)\b"
)


def opens_sentence(text: str, start: int) -> bool:
    """Whether the character at `start` begins a sentence."""
    before = text[:start].rstrip(" \"'“(")
    return not before or before[-1] in ".!?:;\n"


def _trimmed(name: str, *, opens: bool) -> str:
    """The name without sentence openers and dangling points; empty if nothing is left."""
    words = name.rstrip(".").split()
    while words and (words[0].lower() in _OPENERS and (opens or words[0].lower() in STOP_WORDS)):
        words = words[1:]
        while words and words[0].islower():
            words = words[1:]
    text = " ".join(words)
    for ending in ("'s", "’s", "'", "’"):
        text = text.removesuffix(ending)
    # "By 1931": what is left is a number, which _YEAR finds by itself
    return "" if text.lower() in _OPENERS or len(text) < 2 or text.isdigit() else text


def _is_participle(word: str) -> bool:
    return word.endswith("ed") or word in _PARTICIPLES


def _noun_words(words: list[str]) -> str:
    """The leading words that can be a noun phrase: up to the first stop word or verb-like word."""
    kept: list[str] = []
    for word in words:
        if word in STOP_WORDS or (kept and (_is_participle(word) or word.endswith(("ing", "ly")))):
            break
        kept.append(word)
    while kept and kept[-1] in WEAK:
        kept.pop()
    return " ".join(kept) if kept and any(word not in WEAK for word in kept) else ""
