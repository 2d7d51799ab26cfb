"""Spoken form: Roman numerals, where what stands around them shows that they are numerals.

A numeral after the name of a ruler or a person is an ordinal ("Henry the eighth"), after "Part", "Chapter", "World
War" and on its own a cardinal. What is more often an abbreviation or a letter stays as it is: CD, MIX, IV drip, the
pronoun I. Runs after omni/spoken_dates.py, which has written out "Art." and "Vol.".
"""

from __future__ import annotations

import re

from omni import number_words as say
from omni.spoken_lexicon import MONARCHS, NUMBERED_BY_ROMAN
from omni.spoken_rules import DASH, Rules

RULES = Rules()
# One look instead of ten: most sentences hold no numeral.
MAY_HOLD = re.compile(r"\b(?:[IVXLC]+|WW[I\d]+)\b|\([ivx]+\)|[Pp]age|[Pp]aragraph|[Cc]lause|centur")
rule = RULES.rule

_NUMERAL = r"[IVXLC]+"
_CUES = f"{NUMBERED_BY_ROMAN}|{NUMBERED_BY_ROMAN.upper()}"
_LOWER_CUES = (
    "section|chapter|article|part|volume|book|appendix|title|phase|type|class|tier|schedule|exhibit|figure|table|annex|"
    "level|stage|grade|category|group|factor|quadrant|theorem|lemma|region|mark|cranial nerve"
)
_PRONOUN_VERB = "(?:am|have|do|think|like|want|need|know|mean|saw|see|said|say|love|hate|believe|remember)"
_ANY_VERB = (
    f"(?:{_PRONOUN_VERB[3:-1]}|was|had|did|will|would|can|could|shall|should|may|might|must|took|use|read|wrote|"
    "[a-z]+ed)"
)
# Two letters and more that are hardly ever anything else, with or without a word that announces them.
_PLAIN = r"(?:I{2,3}|VI{1,3}|IX|XI{1,3}|XI?V|XVI{1,3}|XIX|XX(?:I{1,3}|IV|IX|VI{0,3})|XL(?:I{1,3}|IV|IX|VI{1,3}))"
_NOT_NAMES = "(?:The|An|A|This|That|Each|Every|Via|By|Oral|Or|And|With|For|Of|In|On|To|No)"


def _value(numeral: str) -> int | None:
    """Of a numeral in its usual form; C and L alone are letters: "Appendix C"."""
    return say.roman(numeral) if numeral not in ("C", "L") and say.ROMAN.match(numeral) else None


@rule(rf"\b(World War|WORLD WAR) ({_NUMERAL})\b|\bWW(I{{1,3}}|[123])\b")
def _world_war(m: re.Match[str]) -> str:
    numeral = m[2] or m[3]
    value = int(numeral) if numeral.isdigit() else _value(numeral)
    return f"World War {say.cardinal(str(value))}" if value else m[0]


@rule(rf"\b({_CUES})([sS]?)\s(?=[IVXLC])({_NUMERAL})(?:({DASH}|/|, | and | or | to )({_NUMERAL})\b)?(?![\w’']|-[a-z])")
def _section(m: re.Match[str]) -> str:
    first, last = _value(m[3]), _value(m[5] or "")
    if first is None or (first == 1 and re.match(rf"\s{_PRONOUN_VERB}\b", m.string[m.end(3) :])):
        return m[0]
    words = f"{m[1]}{m[2]} {say.cardinal(str(first))}"
    if not m[5]:
        return words
    if last is None or last <= first:  # "Part I and I am"
        return words + m[4] + m[5]
    joint = m[4].strip()
    return words + (f" {joint} " if joint.isalpha() else ", " if joint == "," else " to ") + say.cardinal(str(last))


@rule(rf"\b({_LOWER_CUES})(s?)\s(?=[IVX])([IVX]+)(?:(-|–|/| and | or | to )([IVX]+)\b)?(?![\w’'])")
def _lower_section(m: re.Match[str]) -> str:
    first, last = _value(m[3]), _value(m[5] or "")
    if first is None or (first == 1 and re.match(rf"(?:\s(?:{_ANY_VERB})\b|\s*$)", m.string[m.end(3) :]) and not m[5]):
        return m[0]
    words = f"{m[1]}{m[2]} {say.cardinal(str(first))}"
    if not m[5]:
        return words
    if last is None or last <= first:
        return words + m[4] + m[5]
    return words + (m[4] if m[4].strip().isalpha() else " to ") + say.cardinal(str(last))


@rule(r"\b([Pp]ages?|[Pp]aragraphs?|[Cc]lauses?) ([ivxl]+)(?:[-–]([ivxl]+))?\b")
def _front_page(m: re.Match[str]) -> str:
    first, last = _value(m[2].upper()), _value((m[3] or "").upper())
    if first is None or (m[3] and last is None):
        return m[0]
    return f"{m[1]} {say.cardinal(str(first))}" + (f" to {say.cardinal(str(last))}" if last else "")


@rule(r"(?<![A-Za-z])\((i{1,3}|iv|vi{0,3}|ix|xi{1,3}|xiv|xv)\)")
def _numbered_clause(m: re.Match[str]) -> str:
    """(ii) is two; (i) and (v) among (h) and (u) are letters."""
    if (m[1] == "i" and "(h)" in m.string) or (m[1] == "v" and "(u)" in m.string):
        return m[0]
    return f"({say.cardinal(str(say.roman(m[1].upper())))})"


@rule(
    rf"\b((?:{MONARCHS})(?: (?:[A-Z]\.|[A-Z][a-z]+)){{0,2}}|"
    r"(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Kaiser|Sultan|Shah|Pharaoh|Antipope)(?: [A-Z][\w’'-]*[a-z]){1,3}),? "
    r"([IVX]+)(['’]s)?(?![\w’']|\. [A-Z][a-z]+ [A-Z]|-\w)"
)
def _ruler(m: re.Match[str]) -> str:
    value = _value(m[2])
    if value is None:
        return m[0]
    after = m.string[m.end() :]
    ruler_goes_on = r"\s*(?:$|[.,;:)(–—]|(?:of|was|is|had|has|died|ruled|and|in|to|by)\b)"
    if m[2] == "I" and not m[3] and not re.match(ruler_goes_on, after):
        return m[0]  # "With Charles I went home"
    if len(m[2]) == 1 and re.match(r"\. [A-Z]", after) and " " not in m[1]:
        return m[0]  # an initial: Robert V. Smith
    return f"{m[1]} the {say.ordinal(value)}{m[3] or ''}"


@rule(r"(?<![\w.-])([IVX]+)(?:th)? (centur(?:y|ies))\b")
def _century(m: re.Match[str]) -> str:
    value = _value(m[1])
    return f"{say.ordinal(value)} {m[2]}" if value and len(m[1]) > 1 else m[0]


@rule(rf"(?<![\w.&/'’-])({_PLAIN})(?![\w&/-]|\.\w)")
def _plain(m: re.Match[str]) -> str:
    value = _value(m[1])
    return say.cardinal(str(value)) if value else m[0]


@rule(
    rf"\b(?!{_NOT_NAMES}\b)([A-Z][a-z]{{2,}}) IV(?=['’]s\b|\s*[.,;:)]|\s*$|\s(?:is|was|of|and|in|has)\b)"
    r"|^IV(?=\.\s+[A-Z])"
)
def _four(m: re.Match[str]) -> str:
    """IV is intravenous in medicine: only after a name, or as the number of a heading."""
    return f"{m[1]} four" if m[1] else "four"
