"""Follow-up questions made self-contained before retrieval, with rules and a small fitted scorer, or by a chat model.

    understand("And the year before?", [("What were Nike's net sales in 2021?", "They were $44.5 billion [1].")]).query
    # "What were Nike's net sales in 2020?"

Five kinds: a fragment or correction put into the question before it ("what about Adidas?", "no, I meant 2021", "the
second one": memory/fragments.py); a bare question word about the answer before it ("why is that?"); a pronoun, replaced
by what it stands for, and a question that says nothing by itself, completed (memory/completion.py); and one that stands
for itself, left alone. What a pronoun stands for is decided by a logistic regression over a dozen features of form,
place and recency (memory/referents.py), fitted on CANARD's rewrites. Where that is uncertain, all that may be meant is
searched. English; questions in other languages pass unchanged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace

from core.errors import ModelError
from ingest.tokens import STOP_WORDS, query_terms
from memory.completion import about, complete
from memory.facts import correction, without_preface
from memory.fragments import VERB, asks_shortly, compared_with, fragment_of, in_place, narrowed, other_one
from memory.mentions import mentions, years
from memory.types import Understood
from rag.prompts import harmless
from rag.types import TextGenerator
from rag.wordings import Wording

log = logging.getLogger(__name__)

READ_TURNS = 6  # earlier turns that are read
LISTS_BACK = 4  # of these the latest whose lists are remembered

_YEAR_BEFORE = re.compile(
    r"\b(?:(?:the\s+|a\s+)?(?:year|one)\s+(?P<b>before|prior|earlier|previously)|(?:the\s+)?(?P<p>previous|prior|preceding)\s+(?:fiscal\s+)?year"
    r"|(?:the\s+|a\s+)?year\s+(?P<a>after|later)|(?:the\s+)?(?P<n>next|following)\s+(?:fiscal\s+)?year"
    r"|(?P<k>two|three|four|five)\s+years\s+(?P<ka>before|earlier|prior|after|later))\b",
    re.I,
)  # fmt: skip
_ORDINAL = re.compile(
    r"\b(?:the\s+)?(?P<n>first|second|third|fourth|fifth|last|other|former|latter)\s+"
    r"(?:one|two|point|item|option|of (?:them|these|those))\b"
    r"|\bthe\s+(?P<m>former|latter|first|second|third|last|other)\s*[?.!]*$",
    re.I,
)
_BARE_WORD = re.compile(
    r"^\s*(?:(?:and|but|so|ok(?:ay)?|then)[,\s]+)*"
    r"(?P<w>how come|how so|since when|by whom|in what way|what for|why|how|when|where|who)"
    r"(?:\s+(?:is|was|were|are|did|does|do|would|has|had))?(?:\s+(?P<not>not|n't))?"
    r"(?:\s+(?:that|this|it|so|they|he|she))?"
    r"(?:\s+(?:be|so|happen|happened|case|the case|true|do that|do it|do this))?"
    r"(?:\s+(?:by\s+)?(?:myself|yourself|ourselves|themselves|now|again|both))?[\s?.!]*$",
    re.I,
)
_COURTESY = re.compile(
    r"^\W*(?:(?:thanks?|thank you|thx|cheers|hello|hi|hey|bye|goodbye|ok|okay|great|good|nice|perfect|yes|no|cool|very"
    r"|much|so|a lot|got it|i see)\W*)+$",
    re.I,
)
_REASONED = re.compile(
    r"^(?:How come|How so|Since when|By whom|In what way|What for|Why|How|When|Where|Who): (?P<question>.+?) – .+\?$"
)
_DOCUMENTS = frozenset(  # in which something stands
    ("lease", "contract", "agreement", "report", "manual", "handbook", "policy", "plan", "budget", "edition", "version")
) | frozenset(
    ("filing", "statement", "guideline", "act", "law", "code", "standard", "survey", "study", "minutes", "guide")
)
_SCOPE = re.compile(r"(?:1[5-9]|20)\d\d [a-z]+")
_MARKER = re.compile(r"\s*\[\d+(?:\s*[,;]\s*\d+)*\]")
_LEADING = re.compile(r"^\W*(?:(?:and|but|so|what about|how about)[,\s]+)*", re.I)
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}
_PLACES = {
    "first": 0,
    "former": 0,
    "second": 1,
    "latter": 1,
    "other": 1,
    "third": 2,
    "fourth": 3,
    "fifth": 4,
    "last": -1,
}


def understand(
    question: str,
    turns: Sequence[tuple[str, str]],
    *,
    topics: Sequence[str] = (),
    generator: TextGenerator | None = None,
) -> Understood:
    """`turns`: earlier (question as understood, answer), oldest first. `topics`: titles of what was cited, latest last.

    With a `generator` it rewrites; if that fails or rambles, the rules do. Never raises for what a user types.
    """
    text = without_preface(question)
    turns = [(_plain(asked), _MARKER.sub("", answer)) for asked, answer in turns[-READ_TURNS:]]
    # No content at all ("thanks", "?!"), or no Latin letter: these rules would only add noise.
    if not (turns or topics) or not re.search(r"[A-Za-z]{2}", text) or _COURTESY.match(text):
        return Understood(question, question, "alone")
    by_rules = _by_rules(text, turns, topics)
    # Questions that stand for themselves are not sent to a model: it could only harm them, and it takes time.
    if generator is not None and turns and by_rules.kind != "alone":
        rewritten = _by_model(text, turns, generator)
        if rewritten:
            return Understood(question, rewritten, "model", by_rules.because)
    found = _in_scope(by_rules, [asked for asked, _ in turns])
    return replace(found, question=question, query=found.query if found.query != text else question)


def _plain(asked: str) -> str:
    """The question itself, of one that was asked for a reason: "When: How is it paid – It is paid in cash?"."""
    match = _REASONED.match(asked)
    return f"{match['question']}?" if match else asked


def _in_scope(found: Understood, asked: Sequence[str]) -> Understood:
    """ "The 2019 lease" that the talk is about, with a question that names neither it nor another year.

    Where there is a lease of 2022 as well, the talk goes on about the one that was last spoken of: it is put in for
    "the lease", added to "and the deposit?", and searched for with "what is the deposit?" as one of two readings.
    """
    scope = next((each.text for text in reversed(asked) for each in mentions(text) if _SCOPE.fullmatch(each.text)), "")
    if not scope or years(found.query) or re.search(r"\b(?:other|both|each|all)\b", found.query, re.I):
        return found
    query = narrowed(found.query, scope, only_if_named=True)
    if query != found.query:
        return replace(found, query=query, because=(*found.because, scope))
    if re.search(rf"\b{re.escape(scope.split()[-1])}\b", found.query, re.I) or not query_terms(found.query):
        return found  # "the older lease"
    others = tuple(replace(other, weight=other.weight / 2) for other in found.others)
    if found.kind in ("pronoun", "fragment") and scope.split()[-1] in _DOCUMENTS:
        inside = f"{query.rstrip(' ?.!')} in the {scope}?"
        return replace(found, query=inside, because=(*found.because, scope), others=(Wording(query, 0.25), *others))
    return replace(found, others=(Wording(f"{query.rstrip(' ?.!')} ({scope})?", 0.5), *others))


def _by_rules(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood:
    if (said := about(text)) is not None:
        return said
    if turns:
        for rule in (_correction, _year_shift, _ordinal, _bare_word, _fragment):
            if (found := rule(text, turns, topics)) is not None:
                return found
    return complete(text, turns, topics)


def _correction(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood | None:
    """ "No, I meant 2021": put into the question before it."""
    found = correction(text)
    if found is None:
        return None
    asked = [question for question, _ in turns]
    query = corrected(asked, found[0], instead_of=found[1])
    return Understood(text, query, "fragment", (asked[-1],))


def corrected(asked: Sequence[str], what: str, *, instead_of: str = "") -> str:
    """The last question about `what` ("2022 lease"), put in for its last word or its like."""
    query = narrowed(asked[-1], what, only_if_named=True) if not instead_of else asked[-1]
    if query == asked[-1]:
        rest = f"the {what}" if _SCOPE.fullmatch(what) and not instead_of else what  # "the 2022 lease" is no "2022"
        query = in_place(rest, asked, instead_of=instead_of)[0]
    return query


# -- years, lists, reasons -----------------------------------------------------------------------------------------


def _year_shift(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood | None:
    """ "and the year before?": the latest year of the talk, moved."""
    match = _YEAR_BEFORE.search(text)
    rest = _YEAR_BEFORE.sub(" ", text) if match else text
    if match is None or years(text):
        return None
    asked, answer = turns[-1]
    known = years(asked) or years(answer) or [year for turn in reversed(turns[:-1]) for year in years(turn[0])]
    if not known:
        when = " ".join(_LEADING.sub("", text).split()).rstrip("?.! ")
        return None if _content(rest) else Understood(text, f"{asked.rstrip(' ?.!')} {when}?", "fragment", (asked,))
    later = (match["a"] or match["n"] or (match["ka"] or "").lower() in ("after", "later")) and True
    shift = _NUMBERS.get((match["k"] or "").lower(), 1) * (1 if later else -1)
    base = max(known) if later else min(known)
    year = str(int(base) + shift)
    content = _content(rest)
    if content and (VERB.search(rest) or len(content) > 2):  # a question of its own that only borrows the year
        whole = text[: match.start()] + f"{_preposition(text[: match.start()])}{year}" + text[match.end() :]
        inner = complete(" ".join(whole.split()), turns, topics)
        return Understood(text, inner.query, "fragment", (base, *inner.because))
    return Understood(text, _with_year(asked, base, year), "fragment", (base, asked))


_EMPTY = frozenset(["year", "prior", "previous", "next", "one", "later", "earlier", "follow", "preced"])


def _content(text: str) -> list[str]:
    """Terms that carry a subject; none if there are stop words only."""
    return [term for term in query_terms(text) if term not in STOP_WORDS and term not in _EMPTY]


def _preposition(before: str) -> str:
    return "" if re.search(r"\b(?:in|for|of|during|by|since|to|from|than)\s*$", before, re.I) else "in "


def _with_year(asked: str, old: str, new: str) -> str:
    if old in asked:
        return asked.replace(old, new)
    return f"{asked.rstrip(' ?.!')} in {new}?"


def _ordinal(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood | None:
    """ "what about the second one?": an item of the list in the answer before."""
    match = _ORDINAL.search(text)
    if match is None:
        return None
    asked = turns[-1][0]
    rest = _content(text[: match.start()] + " " + text[match.end() :])
    items, taken = _list_of(turns)
    if re.fullmatch(r"(?:the\s+)?other(?:\s+one)?", match[0].rstrip(" ?.!"), re.I):
        if taken and len(items) == 2:
            items = [item for item in reversed(items) if item != taken] + [taken]
            match_place = 0
        elif not rest:
            swapped = other_one([each for each, _ in turns])
            return Understood(text, swapped, "fragment", (asked,)) if swapped else None
        else:
            match_place = 1
    else:
        match_place = _PLACES[(match["n"] or match["m"]).lower()]
    if not items or match_place >= len(items):
        return None
    item = items[match_place]
    if taken and not rest:  # "and the last one?", of what the question before asked of another
        return Understood(
            text, re.sub(re.escape(taken), lambda _: item, asked, count=1, flags=re.I), "fragment", (item, asked)
        )
    if rest:
        query = text[: match.start()] + item + (text[match.end() :] if match["n"] else "?")
        inner = complete(" ".join(query.split()), turns, topics)
        return Understood(text, inner.query, "fragment", (item, *inner.because))
    return Understood(text, f"{asked.rstrip(' ?.!')}: {item}?", "fragment", (item, asked))


def _list_of(turns: Sequence[tuple[str, str]]) -> tuple[list[str], str]:
    """The list that "the second one" is of, and which of its items the last question has asked about ("" if none)."""
    asked, answer = turns[-1]
    for _, earlier in reversed(turns[-LISTS_BACK:-1]):
        items = list_items(earlier)
        if taken := next((item for item in items if re.search(rf"\b{re.escape(item)}\b", asked, re.I)), ""):
            return items, taken
    return list_items(answer), ""


def list_items(answer: str) -> list[str]:
    """The items that an answer lists: numbered or bulleted lines, or a series "a, b and c"; [] if there is none."""
    lines = re.findall(r"^\s*(?:[-*•]|\(?\d{1,2}[.)])\s+(.+?)\s*$", answer, re.M)
    if len(lines) > 1:
        return lines
    numbered = re.split(r"\s*\(?(?:\b[1-9]|\b[a-e]|\bi{1,3})\)\s+", answer)
    if len(numbered) > 2:
        return [item.strip(" ,;.") for item in numbered[1:]]
    series = re.search(
        r"(?:[^,.;:]{2,60},\s*){1,6}[^,.;:]{2,60}?,?\s+(?:and|or)\s+[^,.;:]{2,60}"
        r"|[^,.;:]{2,60}\s+and\s+[^,.;:]{2,60}",
        answer,
    )
    if series is None:
        return []
    parts = re.split(r",\s*(?:and|or)\s+|,\s*|\s+(?:and|or)\s+", series[0])
    first = re.split(r"\b(?:are|were|is|was|include|includes|including|of|between|to|both|with)\b\s*", parts[0])[-1]
    items = [item for part in (first, *parts[1:]) if (item := part.strip(" .;\n"))]
    if len(items) > 2 and not items[0].startswith("the ") and all(item.startswith("the ") for item in items[1:]):
        return [" ".join(item.split()[:3]) for item in items[1:]]  # "two ferries, the Aurora and the Meridian, were"
    return items


def _bare_word(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood | None:
    """ "why is that?": the question word, asked of the statement before."""
    match = _BARE_WORD.match(text)
    if match is None:
        return None
    asked, answer = turns[-1]
    statement = _first_sentence(answer)
    subject = " – ".join(part for part in (asked.rstrip(" ?.!"), statement) if part)
    word = match["w"].lower()
    return Understood(text, f"{word[0].upper()}{word[1:]}: {subject}?", "reason", (asked,))


def _first_sentence(answer: str, limit: int = 240) -> str:
    first = re.split(r"(?<=[.!?])\s+(?=[A-Z\"“])|\n", answer.strip(), maxsplit=1)[0].rstrip(" .!")
    return first if len(first) <= limit else first[:limit].rsplit(" ", 1)[0]


def _fragment(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood | None:
    """ "what about Adidas?", "under which rules?": put into the question before."""
    asked = [question for question, _ in turns]
    if whole := asks_shortly(text, asked[-1]) or compared_with(text, asked[-1]):
        return Understood(text, whole, "fragment", (asked[-1],))
    rest = fragment_of(text)
    if not rest:
        return None
    if (own := complete(rest, turns, topics)).kind == "pronoun":
        rest = rest[0] + own.query.rstrip("?")[1:] if own.query[0].lower() == rest[0].lower() else own.query.rstrip("?")
    query, *others = in_place(rest, asked)
    share = 0.5 / max(1, len(others))  # the likeliest is as likely as all the others
    return Understood(text, query, "fragment", (asked[-1],), tuple(Wording(other, share) for other in others[:2]))


# -- by a chat model ----------------------------------------------------------------------------------------------

_REWRITE = """Rewrite the user's last question so that it can be understood without the conversation: replace pronouns
and complete what is left out, with the conversation's own words. Do not answer it, add nothing else. If it is complete,
repeat it. Reply with the rewritten question alone, on one line."""


def _by_model(text: str, turns: Sequence[tuple[str, str]], generator: TextGenerator) -> str:
    talk = "\n".join(f"User: {asked}\nAssistant: {harmless(answer[:400])}" for asked, answer in turns[-4:])
    try:
        reply = "".join(generator.generate(_REWRITE, [("user", f"{talk}\n\nLast question: {text}")]))
    except ModelError as error:
        log.warning("%s; the question is completed by rules", error)
        return ""
    line = reply.strip().strip("\"'“”").strip()
    # A reply of several lines, an answer or an essay is no question.
    return line if line and "\n" not in line and len(line) <= 3 * len(text) + 200 else ""
