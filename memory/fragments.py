"""Fragments and corrections, put into the question before them: "and with soft water?", "no, I meant 2021".

    in_place("with soft water", ["How often is it descaled with hard water?"])[0]
    # "How often is it descaled with soft water?"

What a fragment takes the place of is told by its form: a year replaces a year, a name a name, "for ..." what followed
"for", a noun phrase one with the same last word, else what the last fragment had put in, else the last noun phrase.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.tokens import STOP_WORDS
from memory.mentions import Mention, looks_like_person, mentions, subject, years

LOOK_BACK = 3  # questions in which a parallel ("for the tenant") is looked for
MAX_WORDS = 8  # a longer rest is a question of its own

_PREPOSITION = (
    r"(?:in|on|at|for|of|with|without|by|from|to|under|during|about|against|between|before|after|per|within|through"
    r"|outside(?: of)?|inside|since|until|above|below|over)"
)
_AUXILIARY = (
    r"(?:is|are|was|were|be|been|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must|n't)"
)
_WH = re.compile(r"^(?:who|what|when|where|why|which|how|whose|whom)\b", re.I)
VERB = re.compile(rf"\b{_AUXILIARY}\b", re.I)
_LED = re.compile(
    r"^\s*(?:(?:and|but|or|so|ok(?:ay)?|then|well)[,\s]+)*"
    r"(?:(?:what|how)\s+about|(?:and|or|also|same)(?:\s+(?:question|thing))?)\s+(?P<rest>.+?)"
    r"(?:\s+(?:then|instead|too|as well))?[\s?.!]*$",
    re.I,
)
_BARE = re.compile(rf"^\s*(?P<rest>(?:{_PREPOSITION}|the)\s+\S.*?)(?:\s+(?:then|instead|too|as well))?[\s?.!]*$", re.I)
_BARE_TIME = re.compile(
    r"^\s*(?:(?:and|but)\s+)?(?P<rest>(?:in|for|during|of|by)?\s*(?:fy|fiscal\s*(?:year\s*)?)?(?:1[5-9]|20)\d\d)[\s?.!]*$",
    re.I,
)
_ONE = re.compile(r"^(?:the|a|an)\s+(?P<which>\w+(?:\s+\w+)?)\s+ones?$", re.I)
_OTHER = re.compile(r"^(?:the\s+)?other(?:\s+(?:one|party|side|company|person|man|woman))?$", re.I)
_THOSE_OF = re.compile(r"^(?:those|that|the same)\s+(?:(?:of|for)\s+|(?=(?:in|at|by)\b))", re.I)
_YEAR_ONE = re.compile(
    r"^(?:(?:the|that)\s+)?(?:(?:one|ones)\s+(?:of|from)\s+)?(?P<year>(?:1[5-9]|20)\d\d)(?:\s+ones?)?$", re.I
)
_DATED = re.compile(
    rf"^(?:(?P<preposition>{_PREPOSITION})\s+)?(?P<article>the\s+)?(?P<phrase>(?:1[5-9]|20)\d\d\s+[a-z]{{3,}})$"
)
_PLACE = re.compile(r"^the\s+(?P<which>first|second|third|fourth|fifth|last|next|\w+est)$", re.I)
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.I)
_TIME_WORDS = re.compile(r"^(?:in|for|during|of|by)\s+|\b(?:fy|fiscal(?:\s+year)?)\b", re.I)
_ASKING = re.compile(  # what of a question asks, before what it asks about
    rf"^(?:{_PREPOSITION}\s+)?(?:who|whom|what|when|where|why|which\s+\w+"
    rf"|how(?:\s+(?:much|many|long|often|far|old|big|high|large|late|soon))?)\s+(?={_AUXILIARY}\b)",
    re.I,
)
_COMPARED = re.compile(
    r"^(?:and\s+)?compared?\s+(?:(?:that|this|it|them|those)\s+)?(?:to|with)\s+(?P<rest>.+?)[\s?.!]*$", re.I
)


def fragment_of(text: str) -> str:
    """What a fragment puts in: "the tenant" of "and what about the tenant?"; empty for questions of their own."""
    match = _BARE_TIME.match(text) or _LED.match(text)
    if match is None and len(text.split()) <= 5:
        match = _BARE.match(text)
    if match is None:
        return ""
    rest = match["rest"].strip()
    if _WH.match(rest) or VERB.search(rest) or len(rest.split()) > MAX_WORDS:
        return ""  # "and when did it end?" has a question of its own
    if re.match(rf"{_PREPOSITION}\s+(?:which|what|whom|whose)\b", rest, re.I):
        return ""
    return _THOSE_OF.sub("", rest)


def asks_shortly(text: str, asked: str) -> str:
    """ "Under which rules?" asked of "Where are disputes settled?"; empty for other questions."""
    bare = re.sub(r"^(?:(?:and|but|so)[,\s]+)+", "", text, flags=re.I).strip().rstrip("?.! ")
    if not re.match(rf"(?:{_PREPOSITION}\s+)?(?:which|what|whose|whom|how\s+\w+)\s*\w*", bare, re.I):
        return ""
    if VERB.search(bare) or len(bare.split()) > 4 or len(bare.split()) < 2 or re.search(r"\b(?:about|if|else)\b", bare):
        return ""
    body = _ASKING.sub("", asked)
    bare = bare[0].upper() + bare[1:]
    return f"{bare} {body}" if body != asked else f"{bare}: {asked}"


def compared_with(text: str, asked: str) -> str:
    """ "Compare that to 2020": the question before, and what to compare it with; empty for other questions."""
    match = _COMPARED.match(text)
    return f"{asked.rstrip(' ?.!')}, compared to {match['rest']}?" if match and not VERB.search(match["rest"]) else ""


def in_place(rest: str, asked: Sequence[str], *, instead_of: str = "") -> list[str]:
    """Questions with the fragment in the place of its like, likeliest first. `asked`: questions so far, oldest first.

    `instead_of`: what it replaces, where the user has said so ("not 2020 but 2019").
    """
    last = asked[-1]
    rest = _YEAR_ONE.sub(r"\g<year>", rest)
    if instead_of:
        for question in reversed(asked[-LOOK_BACK:]):
            if instead_of.lower() in question.lower():
                return [re.sub(re.escape(instead_of), lambda _: rest, question, count=1, flags=re.I)]
    if (dated := _DATED.match(rest)) and (whole := _of_that_year(dated, last)):
        return [whole]
    if new := years(rest):
        return [_with_year(rest, new[0], last)]
    if _OTHER.match(rest) and (swapped := other_one(asked)):
        return [swapped]
    phrases = _phrases(last)
    if one := _ONE.match(rest):
        modified = [m for m in phrases if len(m.text.split()) > 1]
        if modified:
            noun = modified[-1].text.split()[-1]
            return [_put(last, modified[-1], f"{one['which']} {noun}")]
    if (place := _PLACE.match(rest)) and (modified := [m for m in phrases if len(m.text.split()) > 1]):
        old, noun = modified[-1].text.split()[-2:]
        plain = _put(last, modified[-1], f"{place['which']} {noun}")
        superlative = old.endswith("est") and not place["which"].endswith("est")
        return [_put(last, modified[-1], f"{place['which']} {old} {noun}"), plain] if superlative else [plain]
    led = re.match(rf"(?P<preposition>{_PREPOSITION})\s+(?P<object>.+)$", rest, re.I)
    if led is not None:
        for question in reversed(asked[-LOOK_BACK:]):
            if parallel := _after(led["preposition"], question):
                start, end = parallel
                what = led["object"]
                if one := re.match(r"(?P<which>.+?)\s+ones?$", what):  # "for light ones"
                    what = f"{one['which']} {question[start:end].split()[-1]}"
                return [question[:start] + what + question[end:]]
        return [f"{last.rstrip(' ?.!')} {rest}?"]
    own = mentions("about " + rest)
    bare = _ARTICLE.sub("", rest)
    if own and own[0].kind in ("name", "title"):
        named = [m for m in mentions(last) if m.kind in ("name", "title")]
        if named:
            return [_put(last, m, bare) for m in reversed(named)]
    if (same := _same_head(bare, last)) is not None:
        return [last[: same[0]] + bare + last[same[1] :]]
    if len(asked) > 1 and (slot := _slot(asked[-2], last)):
        return [last[: slot[0]] + bare + last[slot[1] :]]
    appended = f"{last.rstrip(' ?.!')}: {rest}?"  # whose place it takes is beyond its form: all words, then
    if phrases:
        return [_put(last, phrases[-1], bare), appended, *(_put(last, mention, bare) for mention in phrases[-2::-1])]
    named = [m for m in mentions(last) if m.kind == "name"]
    if len(named) == 1 and looks_like_person(named[0].text) and rest != bare:  # "and the chair?" of a person
        return [_put(last, named[0], rest), appended]
    return [appended]


def _of_that_year(dated: re.Match[str], last: str) -> str:
    """ "The 2022 lease": in the place of "the lease", else added to the question; empty if it may be something else."""
    phrase, head = f"the {dated['phrase']}", dated["phrase"].split()[-1]
    year = r"(?:1[5-9]|20)\d\d"
    same = re.search(rf"\b(?:the\s+)?(?:{year}\s+)?{re.escape(head)}\b(?:\s+of\s+{year})?", last, re.I)
    if same is not None:
        return last[: same.start()] + phrase + last[same.end() :]
    if dated["preposition"]:
        return f"{last.rstrip(' ?.!')} {dated['preposition']} {phrase}?"
    return f"{last.rstrip(' ?.!')} in {phrase}?" if dated["article"] else ""


def _same_head(phrase: str, question: str) -> tuple[int, int] | None:
    """Where a question has a noun phrase with the same last word: "steam lamp" for "brew lamp"."""
    head = phrase.split()[-1]
    if len(phrase.split()) < 2:
        return None
    found = re.search(rf"\b(?:the|a|an|any|our|my|your)\s+(?P<np>(?:[\w’'-]+\s+){{0,3}}?{head})\b", question, re.I)
    if found is not None and phrase.lower() not in found["np"].lower():
        return found.span("np")
    bare = re.search(rf"\b(?P<np>[\w’'-]+\s+{head})\b", question, re.I)
    if bare is None or phrase.lower() in question.lower():
        return None
    start = (
        bare.start() if bare["np"].split()[0].lower() not in STOP_WORDS else bare.end() - len(bare["np"].split()[-1])
    )
    return start, bare.end()


def _phrases(question: str) -> list[Mention]:
    found = [m for m in mentions(question) if m.kind == "phrase"]
    own = subject(question)
    if own is not None and not any(own.start < m.end and m.start < own.end for m in mentions(question)):
        found.insert(0, own)
    return found


def _put(question: str, mention: Mention, text: str) -> str:
    return question[: mention.start] + text + question[mention.end :]


def _with_year(rest: str, new: str, last: str) -> str:
    if not (old := years(last)):
        return f"{last.rstrip(' ?.!')} in {new}?"
    query = last.replace(old[-1], new)
    bare = " ".join(_TIME_WORDS.sub(" ", rest.replace(new, " ")).split())
    bare = re.sub(rf"^{_PREPOSITION}$", "", bare, flags=re.I)
    return query if not bare or bare.lower() in query.lower() else f"{query.rstrip(' ?')} {bare}?"


def _after(preposition: str, question: str) -> tuple[int, int] | None:
    """Where what follows the preposition stands in a question; a year is no parallel to anything but a year."""
    pattern = re.compile(
        rf"\b{preposition}\s+(?P<object>(?:[^\s?.!,]+\s+){{0,4}}?[^\s?.!,]+)(?=\s+(?:{_PREPOSITION}|{_AUXILIARY})\b|[?.!,:]|\s*$)",
        re.I,
    )
    found = [m for m in pattern.finditer(question) if not years(m["object"])]
    return found[-1].span("object") if found else None


def _slot(before: str, last: str) -> tuple[int, int] | None:
    """Where two questions differ, if it is one place of a few words: what the last fragment has put in."""
    a, b = before.split(), last.split()
    start = 0
    while start < min(len(a), len(b)) and a[start].strip("?.!,") == b[start].strip("?.!,"):
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end].strip("?.!,") == b[-1 - end].strip("?.!,"):
        end += 1
    new = b[start : len(b) - end]
    if not new or len(new) > 4 or start + end < 3 or re.fullmatch(_PREPOSITION, new[0], re.I):
        return None  # "in the 2022 lease" was added, and is no parallel to "the deposit"
    if any(VERB.fullmatch(word) for word in new):
        return None  # more than a thing
    places = [m.span() for m in re.finditer(r"\S+", last)]
    text = last[places[start][0] : places[len(b) - end - 1][1]]
    return places[start][0], places[start][0] + len(text.rstrip("?.!,"))


def other_one(asked: Sequence[str]) -> str:
    """ "The other one": the name of the last question, replaced by the latest other name."""
    named = [m for m in mentions(asked[-1]) if m.kind in ("name", "title")]
    if not named:
        return ""
    for question in reversed(asked[:-1]):
        for other in mentions(question):
            alike = looks_like_person(other.text) == looks_like_person(named[-1].text)
            if other.kind == named[-1].kind and alike and other.text.lower() not in asked[-1].lower():
                return _put(asked[-1], named[-1], other.text)
    if years(named[-1].text):  # "the 2022 lease"
        return _put(asked[-1], named[-1], f"other {named[-1].text.split()[-1]}")
    return ""


def narrowed(query: str, what: str, *, only_if_named: bool = False) -> str:
    """The query about `what` ("2022 lease"): put in for its last word, else in the place of its like.

    `only_if_named`: only where the last word stands for itself, for "the brew lamp" is no "steam lamp".
    """
    if what.lower() in query.lower() or (only_if_named and years(what) and years(query)):
        return query
    head = what.split()[-1].strip(".,!?")
    named = None if head.isdigit() else re.search(rf"\b{re.escape(head)}\b", query, re.I)
    if named is not None:
        before = re.findall(r"[\w’'-]+", query[: named.start()])
        alone = not before or before[-1].lower() in STOP_WORDS - {"other"}
        if alone:
            return query[: named.start()] + what + query[named.end() :]
    return query if only_if_named else in_place(what, [query])[0]
