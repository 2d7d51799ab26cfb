"""Follow-up questions made self-contained before retrieval, with rules and a small fitted scorer, or by a chat model.

    understand("And the year before?", [("What were Nike's net sales in 2021?", "They were $44.5 billion [1].")]).query
    # "What were Nike's net sales in 2020?"

Five kinds: a fragment put into the question before it ("what about Adidas?", "and in 2019?", "the second one"); a bare
question word about the answer before it ("why is that?"); a pronoun, replaced by what it stands for; a question that
names nothing of its own, completed by what the talk is about; and one that stands for itself, left alone. What a
pronoun stands for is decided by a logistic regression over a dozen features of form, place and recency (memory/
referents.py), fitted on CANARD's rewrites. English; questions in other languages pass unchanged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import ModelError
from ingest.tokens import STOP_WORDS, query_terms
from memory.mentions import Mention, mentions, years
from memory.referents import Referent, referents
from rag.prompts import harmless
from rag.types import TextGenerator

log = logging.getLogger(__name__)

FollowUpKind = Literal["alone", "fragment", "reason", "pronoun", "incomplete", "model"]
READ_TURNS = 6  # earlier turns that are read
# Low thresholds: for the search a wrong name beside the right words costs less than a missing name. Chosen by the F2 of
# the words put in, on SQuAD train's follow-ups and the half of CANARD that fits memory/referents.py.
SURE = 0.08  # probability from which a name is put in for a pronoun
ADD = 0.2  # probability from which a name completes a question that has no pronoun
SECOND = 0.25  # probability from which a second name is added


@dataclass(frozen=True)
class Understood:
    """A question as it is searched for."""

    question: str  # as asked
    query: str  # self-contained
    kind: FollowUpKind
    because: tuple[str, ...] = ()  # what was taken from earlier turns

    @property
    def changed(self) -> bool:
        return self.query != self.question


_PRONOUN = re.compile(
    r"\b(?P<possessive>his|their|its|her(?=\s+[a-z])|theirs)\b"
    r"|\b(?P<plain>he|she|him|they|them|it|himself|herself|themselves|itself|her)\b"
    r"|\b(?P<pointing>this|that|these|those)\b(?!\s+(?:is|was|were|are)\s+(?:the|a|an)\b)",
    re.I,
)
_EXPLETIVE = re.compile(  # "is it true that", "how long does it take to", "was it possible for"
    r"\b(?:is|was|does|did|will|would|can) it (?:true|possible|likely|necessary|mean|take|matter|cost|rain|legal"
    r"|important)\b"
    r"|\bwhat time is it\b",
    re.I,
)
_FRAGMENT = re.compile(
    r"^\s*(?:(?:and|but|or|so|ok(?:ay)?|then)[,\s]+)*(?:(?:what|how)\s+about|(?:and|or|also|same)(?:\s+for)?)\s+(?P<rest>.+?)[\s?.!]*$",
    re.I,
)
_BARE_TIME = re.compile(
    r"^\s*(?:and\s+|but\s+)?(?P<rest>(?:in|for|during|of|by)?\s*(?:fy|fiscal\s*)?(?:1[5-9]|20)\d\d)[\s?.!]*$", re.I
)
_YEAR_BEFORE = re.compile(
    r"\b(?:(?:the\s+)?(?:year|one)\s+(?P<b>before|prior|earlier|previously)|(?:the\s+)?(?P<p>previous|prior|preceding)\s+(?:fiscal\s+)?year"
    r"|(?:the\s+)?year\s+(?P<a>after|later)|(?:the\s+)?(?P<n>next|following)\s+(?:fiscal\s+)?year"
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
    r"(?:\s+(?:be|so|happen|happened|case|the case|true|do that|do it|do this))?[\s?.!]*$",
    re.I,
)
_ELSE = re.compile(r"\b(?:else|other|another|more|besides|aside from)\b", re.I)
_FILLER = re.compile(r"^(?:(?:and|but|so|ok(?:ay)?|then|well|also|thanks?(?: you)?)[,\s]+)+", re.I)
_COURTESY = re.compile(
    r"^\W*(?:(?:thanks?|thank you|thx|cheers|hello|hi|hey|bye|goodbye|ok|okay|great|good|nice|perfect|yes|no|cool|very"
    r"|much|so|a lot|got it|i see)\W*)+$",
    re.I,
)
_MARKER = re.compile(r"\s*\[\d+(?:\s*[,;]\s*\d+)*\]")
_VERB = re.compile(
    r"\b(?:is|are|was|were|be|been|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must)\b", re.I
)
_KNOWN_VERB_START = re.compile(r"^(?:who|what|when|where|why|which|how|whose|whom)\b", re.I)
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
    text = " ".join(question.split())
    turns = [(asked, _MARKER.sub("", answer)) for asked, answer in turns[-READ_TURNS:]]
    # No content at all ("thanks", "?!"), or no Latin letter: these rules would only add noise.
    if not (turns or topics) or not re.search(r"[A-Za-z]{2}", text) or _COURTESY.match(text):
        return Understood(question, question, "alone")
    by_rules = _by_rules(text, turns, topics)
    # Questions that stand for themselves are not sent to a model: it could only harm them, and it takes time.
    if generator is not None and turns and by_rules.kind != "alone":
        rewritten = _by_model(text, turns, generator)
        if rewritten:
            return Understood(question, rewritten, "model", by_rules.because)
    return Understood(question, by_rules.query if by_rules.query != text else question, by_rules.kind, by_rules.because)


def _by_rules(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood:
    if turns:
        for rule in (_year_shift, _ordinal, _bare_word, _fragment):
            if (found := rule(text, turns, topics)) is not None:
                return found
    return _resolve(text, turns, topics)


# -- a fragment, put into the question before it -------------------------------------------------------------------


def _year_shift(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood | None:
    """ "and the year before?": the latest year of the talk, moved."""
    match = _YEAR_BEFORE.search(text)
    rest = _YEAR_BEFORE.sub(" ", text) if match else text
    if match is None or years(text):
        return None
    asked, answer = turns[-1]
    known = years(asked) or years(answer) or [year for turn in reversed(turns[:-1]) for year in years(turn[0])]
    if not known:
        return None
    later = (match["a"] or match["n"] or (match["ka"] or "").lower() in ("after", "later")) and True
    shift = _NUMBERS.get((match["k"] or "").lower(), 1) * (1 if later else -1)
    base = max(known) if later else min(known)
    year = str(int(base) + shift)
    content = _content(rest)
    if content and (_VERB.search(rest) or len(content) > 2):  # a question of its own that only borrows the year
        whole = text[: match.start()] + f"{_preposition(text[: match.start()])}{year}" + text[match.end() :]
        inner = _resolve(" ".join(whole.split()), turns, topics)
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
    asked, answer = turns[-1]
    items = list_items(answer)
    place = _PLACES[(match["n"] or match["m"]).lower()]
    if not items or place >= len(items):
        return None
    item = items[place]
    rest = _content(text[: match.start()] + " " + text[match.end() :])
    if rest:
        query = text[: match.start()] + item + (text[match.end() :] if match["n"] else "?")
        inner = _resolve(" ".join(query.split()), turns, topics)
        return Understood(text, inner.query, "fragment", (item, *inner.because))
    return Understood(text, f"{asked.rstrip(' ?.!')}: {item}?", "fragment", (item, asked))


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
    return [item for part in (first, *parts[1:]) if (item := part.strip(" .;\n"))]


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
    """ "what about Adidas?", "and in 2019?": takes the place of its like in the question before."""
    match = _BARE_TIME.match(text) or _FRAGMENT.match(text)
    if match is None:
        return None
    rest = match["rest"].strip()
    if _KNOWN_VERB_START.match(rest) or _VERB.search(rest) or len(rest.split()) > 8:
        return None  # "and when did it end?" has a question of its own
    if _PRONOUN.search(rest):
        rest = _resolve(rest, turns, topics).query
    asked = turns[-1][0]
    new_years = years(rest)
    if new_years and (old := years(asked)):
        bare = re.sub(rf"^(?:in|for|during|of|by)\s+|\b(?:fy|fiscal)\s*|{new_years[0]}", " ", rest, flags=re.I).strip()
        query = asked.replace(old[-1], new_years[0])
        return Understood(text, query if not bare else f"{query.rstrip(' ?')} {bare}?", "fragment", (asked,))
    if new_years:
        return Understood(text, f"{asked.rstrip(' ?.!')} in {new_years[0]}?", "fragment", (asked,))
    old_mention = _like(rest, asked)
    if old_mention is not None:
        query = asked[: old_mention.start] + _without_article(rest) + asked[old_mention.end :]
        return Understood(text, query, "fragment", (asked,))
    return Understood(text, f"{asked.rstrip(' ?.!')}: {rest}?", "fragment", (asked,))


def _without_article(text: str) -> str:
    return re.sub(r"^(?:the|a|an|in|for|of|with|at|on)\s+", "", text, flags=re.I)


def _like(rest: str, asked: str) -> Mention | None:
    """What in the earlier question the fragment takes the place of: the last mention of its kind."""
    own = mentions("about " + rest)
    kind = own[0].kind if own else "phrase"
    if kind == "phrase":
        return None  # whose place "the landlord" takes is beyond its form: it is added instead
    same = [m for m in mentions(asked) if m.kind == kind or (kind in ("name", "title") and m.kind in ("name", "title"))]
    return same[-1] if same else None


# -- pronouns, and questions that name nothing --------------------------------------------------------------------


def _resolve(text: str, turns: Sequence[tuple[str, str]], topics: Sequence[str]) -> Understood:
    expletive = _EXPLETIVE.search(text)
    found = [
        m for m in _PRONOUN.finditer(text) if expletive is None or not expletive.start() <= m.start() < expletive.end()
    ]
    # "this"/"that" as a conjunction or with words that name something after it say nothing about earlier turns
    pronouns = [m for m in found if m["pointing"] is None or _points_back(text, m)]
    own_names = [m for m in mentions(text) if m.kind in ("name", "title")]
    if not pronouns and own_names:
        return Understood(text, text, "alone")
    ranked = referents(text, turns, topics, pronoun=pronouns[0][0].lower() if pronouns else "")
    ranked = [r for r in ranked if r.text.lower() not in text.lower() and (pronouns or r.named)]
    if not ranked:
        return Understood(text, text, "alone")
    if pronouns and ranked[0].probability >= SURE:
        return _put_in(text, pronouns, ranked)
    elliptic = bool(_ELSE.search(text)) or len(query_terms(text)) <= 4 or bool(_FILLER.match(text))
    best = ranked[0]
    if best.probability >= (SURE if elliptic else ADD):
        added = [best.text] + [r.text for r in ranked[1:2] if r.probability >= SECOND]
        query = f"{_FILLER.sub('', text).rstrip(' ?.!')} ({', '.join(added)})?"
        return Understood(text, query[0].upper() + query[1:], "pronoun" if pronouns else "incomplete", tuple(added))
    return Understood(text, text, "alone")


def _points_back(text: str, match: re.Match[str]) -> bool:
    if match[0].lower() == "that" and re.search(
        r"\b(?:say|said|think|know|show|state|so|true|fact|claim)\s*$", text[: match.start()]
    ):
        return False
    if match[0].lower() == "that" and re.search(r"[a-z]{4,}\s*$", text[: match.start()]):  # "the band that played"
        return bool(re.match(r"[\s?.!]*$", text[match.end() :]))
    return True


def _put_in(text: str, pronouns: Sequence[re.Match[str]], ranked: Sequence[Referent]) -> Understood:
    first, best = pronouns[0], ranked[0].text
    spoken = best if best[0].isupper() or best[0].isdigit() else f"the {best}"
    if first["pointing"]:
        after = text[first.end() :]
        noun = re.match(r"\s+[a-z]{3,}", after)
        if noun and noun[0].strip() not in STOP_WORDS and not re.match(r"\s+\w+(?:ed|en)\b", after):
            query = f"{text.rstrip(' ?.!')} ({best})?"  # "that album": the noun stays, the name tells which
        else:
            query = text[: first.start()] + spoken + after
    elif first["possessive"]:
        query = text[: first.start()] + spoken + ("'" if spoken.endswith("s") else "'s") + text[first.end() :]
    else:
        query = text[: first.start()] + spoken + text[first.end() :]
    added = [best]
    extra = [r.text for r in ranked[1:2] if r.probability >= SECOND and r.text.lower() not in best.lower()]
    if extra:
        query = f"{query.rstrip(' ?.!')} ({extra[0]})?"
        added += extra
    query = _FILLER.sub("", query)
    return Understood(text, query[0].upper() + query[1:], "pronoun", tuple(added))


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
