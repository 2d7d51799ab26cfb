"""What a user states rather than asks: kept word for word as a fact, with a subject that a later fact supersedes.

    stated_fact("I mean the 2022 lease")       # Said("I mean the 2022 lease", kind="fact", subject="meant lease")
    stated_fact("When does the lease end?")    # None

By patterns, in English. A statement that fits none is still remembered, verbatim, as a turn.
"""

from __future__ import annotations

import re

from ingest.tokens import STOP_WORDS
from memory.types import Said

_LEAD = re.compile(
    r"^(?:(?:no|yes|well|ok(?:ay)?|actually|sorry|please|by the way|btw|so|and|but|oh|correction|from now on)[,:\s]+)+",
    re.I,
)
_REMEMBER = re.compile(
    r"^(?:(?:please\s+)?(?:remember|note|keep in mind|bear in mind)(?:\s+that|:)?|fyi[,:]?)\s+", re.I
)
_MEANT = re.compile(
    r"^(?:i\s+(?:mean|meant|am\s+(?:talking|asking)\s+about|was\s+(?:talking|asking)\s+about|refer(?:red)?\s+to)"
    r"|i'm\s+(?:talking|asking)\s+about|not\s+.{2,40},?\s+but)\s+(?P<what>.{2,160})$",
    re.I,
)
_OWN = re.compile(
    r"^(?P<subject>(?:my|our|the)\s+(?:[\w'’-]+\s+){0,4}?[\w'’-]+)\s+"
    r"(?:is|are|was|were|will be|has been|(?:is|are)\s+(?:called|named))\s+(?P<value>.{1,200})$",
    re.I,
)
_CALL_ME = re.compile(r"^(?:call me|i am called|i'm called)\s+.{2,60}$", re.I)
# Only verbs that state: "I need the rent for 2020" asks, and a recogniser writes no question mark.
_I_DO = re.compile(r"^(?:i|we)\s+(?P<verb>live|work|prefer|moved|rent|own|speak|study|signed|bought|sold)\b", re.I)
_WONDERS = re.compile(r"(?:^|[,;]\s*|\s)(?:who|what|when|where|why|which|whose|how)[\s?.!]*$|\bquestion\b", re.I)
_ASKS = re.compile(
    r"^(?:who|what|when|where|why|which|whose|whom|how|is|are|was|were|do|does|did|can|could|will|would|should|may|has|have"
    r"|tell|show|list|give|find|explain|describe|compare|summari[sz]e)\b",
    re.I,
)  # fmt: skip
_WANTS = re.compile(
    r"^(?:i|we)\s+(?:want|need|would like|'d like)\s+to\s+(?:know|see|find|ask|hear|understand)\b", re.I
)
_ABOUT_MEMORY = re.compile(
    r"\b(?:did|have|had)\s+(?:i|we)\s+(?:just\s+|ever\s+)?(?:say|said|tell|told|mention(?:ed)?|ask(?:ed)?|mean|meant|state[d]?|discuss(?:ed)?|talk(?:ed)?)\b"
    r"|\bwhat\s+i\s+(?:said|told|mentioned|asked|meant)\b|\bdo you (?:remember|recall)\b|\bremind me\b"
    r"|^(?:what|who|where|which|when|how\s+\w+)(?:'s|\s+(?:is|are|was|were))\s+(?:my|our)\b"
    r"|^(?:where|who|what)\s+(?:do|am)\s+i\b|\b(?:our|my)\s+(?:first|last|previous|earlier)\s+(?:question|conversation|talk)\b"
    r"|\bwhat(?:'s| is) my name\b",
    re.I,
)
_AS_SAID = re.compile(
    r"^(?:(?:and|but|so|well)[,\s]+)?(?:as|like)\s+(?:i|we)\s+(?:(?:just|already)\s+)?(?:said|told you|mentioned|asked)"
    r"(?:\s+(?:before|earlier|already|above|at the beginning))*\s*[,:–-]?\s*",
    re.I,
)
_AFTERWORD = re.compile(r"[,\s]+(?:sorry|please|thanks|thank you)(?=[\s?.!]*$)", re.I)
_ARTICLE = re.compile(r"^(?:the|a|an|my|our)\s+", re.I)
_VERB = re.compile(r"\b(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|i|we|you)\b", re.I)
_DENIED = re.compile(r"^(?:no|nope|sorry|wait|wrong|actually)[,.!:]?\s+(?:not\s+[^,]{2,40},\s*)?(?P<what>.+)$", re.I)
_SINGLE_VALUED = frozenset(["live", "work", "prefer", "moved", "rent", "speak", "study"])


def stated_fact(text: str) -> Said | None:
    """The fact that a user's words state, or None if they ask or state nothing that should be kept apart."""
    plain = " ".join(text.split()).rstrip(" .!")
    if not plain or plain.endswith("?") or len(plain) > 400:
        return None
    bare = _LEAD.sub("", plain)
    kept = _REMEMBER.sub("", bare)
    told = kept != bare  # "remember that ...": kept whatever it says
    if not kept or _WANTS.match(kept) or _WONDERS.search(kept) or (_ASKS.match(kept) and not told):
        return None
    if match := _MEANT.match(kept):
        return Said(kept, kind="fact", subject=f"meant {_head(match['what'])}")
    if _CALL_ME.match(kept):
        return Said(kept, kind="fact", subject="my name")
    if match := _OWN.match(kept):
        subject = re.sub(r"^our\b", "my", match["subject"].lower())
        if told or not subject.startswith("the "):
            # "is called ..." and "is in ..." are told of one thing and do not contradict each other
            aspect = re.match(r"(called|named|in|at|on|near|from|with|for|by)\s", match["value"], re.I)
            return Said(kept, kind="fact", subject=f"{subject} {aspect[1].lower()}" if aspect else subject)
    if match := _I_DO.match(kept):
        verb = (match["verb"] or "").lower()
        return Said(kept, kind="fact", subject=f"i {verb}" if verb in _SINGLE_VALUED else "")
    return Said(kept, kind="fact", subject="") if told else None


def meant(fact: Said | str) -> str:
    """What "I mean ..." names: "2022 lease"; empty for other facts."""
    match = _MEANT.match(fact if isinstance(fact, str) else fact.text)
    return _ARTICLE.sub("", match["what"]) if match else ""


def correction(text: str) -> tuple[str, str] | None:
    """(what is meant, instead of what) of "no, I meant 2021", "not 2020 but 2019", "no, the tenant"; else None."""
    plain = " ".join(text.split()).rstrip(" .!?")
    lead = _LEAD.match(plain)
    bare = plain[lead.end() :] if lead else plain
    if match := _MEANT.match(bare):
        what = re.split(r"[,;]?\s+(?:and\s+)?not\s+|\s+instead of\s+|\s+rather than\s+", match["what"], maxsplit=1)
        old = re.match(r"not\s+(?:the\s+)?(.{2,40}?),?\s+but\s", bare, re.I)
        return _ARTICLE.sub("", what[0]), (old[1] if old else "")
    denied = re.match(
        r"^(?:no|nope|sorry|wait|wrong|actually)[,.!:]?\s+(?:not\s+[^,]{2,40},\s*)?(?P<what>.+)$", plain, re.I
    )
    if denied and len(denied["what"].split()) <= 5 and not _ASKS.match(denied["what"]) and not _VERB.search(plain):
        return _ARTICLE.sub("", denied["what"]), ""
    return None


def asks_about_conversation(text: str) -> bool:
    """Whether a question is about what was said, not about the documents: "what did I say ...", "what is my name?"."""
    return bool(_ABOUT_MEMORY.search(without_preface(text)))


def without_preface(text: str) -> str:
    """The question without "as I said earlier," in front and ", sorry" behind."""
    plain = " ".join(text.split())
    return _AFTERWORD.sub("", _AS_SAID.sub("", plain)) or plain


def _head(phrase: str) -> str:
    """The last noun-like word of the first phrase: "the 2022 lease, not the old one" -> "lease"."""
    first = re.split(r"[,;:(]|\b(?:of|from|for|with|in|at|that|which|not|between)\b", phrase, maxsplit=1)[0]
    words = [w for w in re.findall(r"[^\W_][\w'’-]*", first.lower()) if w not in STOP_WORDS and not w.isdigit()]
    return words[-1] if words else first.strip().lower()
