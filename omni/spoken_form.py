"""A written answer -> the words to say: no figure, no symbol, no markup is left for a voice to stumble over.

    spoken("Net sales were $34,229 million in FY2022 [1].", citations)
    # "Net sales were thirty-four thousand two hundred twenty-nine million dollars in fiscal year twenty twenty-two,
    #  page forty-eight of three M twenty twenty-two ten K."

Rules (see omni/spoken_rules.py) run in order, each turning one kind of writing into words, so a later one never sees
what an earlier one has said. English; Chinese text keeps its characters and gets Chinese numerals. Other languages are
not covered: their letters pass, their figures are read in English.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

from omni import number_words as say
from omni import spoken_amounts, spoken_dates, spoken_numerals, spoken_words
from omni.sentences import speakable_sentences
from omni.spoken_citations import SpokenCitations
from rag.types import Citation

__all__ = ["SpokenForm", "speakable_sentences", "spoken", "strip_markdown"]

_FOOTNOTE = re.compile(r"\[\^[^\]]+\]:?|(?<=[\w.,;!?)\"”])[¹²³⁰⁴-⁹]+(?!\w)|[†‡]|(?<=[a-z.,;])\*+(?=\s|$)")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
# 10⁶, 2³, x², m², mc², 10⁻³: a power; word², 2019³: a note
_POWER = re.compile(
    r"(?:(?<=\d)(?<![\w.,]\d)(?<!\d\d)|(?<=10)(?<![\w.,]10)|(?<![A-Za-z]{3})(?<=[A-Za-zµΑ-Ωα-ω])|(?<=\)))"
    r"(?:[²³ⁿ⁴-⁹]|¹(?=[⁰-⁹¹²³]))[⁰-⁹¹²³]*"
    r"|(?<=[\w)])[⁻⁺][⁰-⁹¹²³]+"
)
_PER_UNIT = re.compile(r"(?<=[A-Za-z])[ ·⋅](s|h|min|kg|g|m|L|l|km)⁻([¹²])(?![⁰-⁹¹²³])")
_KEPT_TAG = re.compile(r"<((?:https?://|mailto:)[^<>\s]+|[^<>\s]+@[^<>\s]+\.\w+)>")
_PLACEHOLDER = re.compile(
    r"<(?!(?:BR|HR|TD|TR|TH|DIV|SPAN|PRE|TABLE|PAGE|IMG|FONT|CENTER|BODY|HTML|HEAD|UL|OL|LI|TITLE|TEXT|EM)>)"
    r"([A-Z][A-Z_ -]{2,30})>"
)
_DECIMAL_COMMA = re.compile(
    r"([€£$]\s?\d+),(\d{2})(?![\d,])|(?<![\d.,])(\d{1,3}(?:\.\d{3})*),(\d{2})(?=\s?(?:€|EUR\b))"
)
_BROKEN_WORD = re.compile(r"\b([a-z]{2,}|[A-Z][a-z]{2,})- (?!and\b|or\b|to\b|but\b|as\b|nor\b)([a-z]{2,})")
_WHOLE_BEFORE_HYPHEN = frozenset(
    str.split(
        """long short non self well high low multi pre post co ex part full first second third year day time cost cross
    inter intra state short-term mid over under single two three four five one"""
    )
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_SAID_MARKS = ".,;:!?'-"
_HAN_MARKS = "，。！？；：、"


class SpokenForm:
    """The spoken form of one answer, sentence by sentence; remembers which page was cited last."""

    def __init__(self, citations: Sequence[Citation] = ()) -> None:
        self.citations = SpokenCitations(citations)

    def __call__(self, text: str) -> str:
        text = strip_markdown(text)
        text = self.citations.place(text)
        if len(_HAN.findall(text)) > 0.3 * sum(letter.isalpha() for letter in text):
            return _clean(_say_han(text))
        return _clean(_say_english(text))


def spoken(text: str, citations: Sequence[Citation] = ()) -> str:
    """What a voice shall say for a written text. [n] marks are said as the page and document of `citations`."""
    return SpokenForm(citations)(text)


def strip_markdown(text: str) -> str:
    """The text alone: no headings, emphasis, links, images, code fences, bullets, table rules or HTML."""
    text = html.unescape(text)
    text = re.sub(r"```[^\n]*\n?|~~~[^\n]*\n?", "\n", text)
    text = re.sub(r"<!--.*?-->", " ", text, flags=re.DOTALL)
    if "<" in text:
        text = _KEPT_TAG.sub(r"\1", text)
        text = _PLACEHOLDER.sub(lambda m: m[1].replace("_", " ").lower(), text)
        text = re.sub(r"</?[A-Za-z][^<>\n]{0,200}>", " ", text)
    text = re.sub(r"!?\[([^\]\n]*)\]\(([^()\n]*)\)", r"\1", text)
    text = re.sub(r"^[ \t]*(?:#{1,6}[ \t]+|>+[ \t]?|[-*+•‣▪][ \t]+)", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]*\|?[ \t:|-]*-{3,}[ \t:|-]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]*\|[ \t]*|[ \t]*\|[ \t]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"[ \t]*\|[ \t]*", ", ", text)
    text = re.sub(r"(\*\*|__|~~|`+)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])([*_])(?=\S)([^*_\n]+?)(?<=\S)\1(?![\w*])", r"\2", text)
    # the end of a list item or heading is the end of a sentence to a listener
    return re.sub(r"(?<=[\w)\]%])[ \t]*\n\s*", ". ", text.strip())


def _say_english(text: str) -> str:
    if not text.isascii():
        text = _PER_UNIT.sub(lambda m: f"/{m[1]}" + ("²" if m[2] == "²" else ""), text)
        text = _POWER.sub(lambda m: "^" + m[0].translate(_SUPERSCRIPTS), text)
    text = re.sub(r"(\d)\s?['′](\d{1,2})(?:\"|″|'')", r"\1 feet \2 inches", text)
    text = re.sub(r"(?<=\d)\s?″|(?<=\d/\d)\"|(?<=\d/\d\d)\"", " inches", text)
    text = _DECIMAL_COMMA.sub(lambda m: f"{m[1]}.{m[2]}" if m[1] else f"{m[3].replace('.', '')}.{m[4]}", text)
    if "- " in text:
        text = _BROKEN_WORD.sub(_mend, text)
    text = re.sub(r"(?<![\w])([fgh])\(([a-z])\)", r"\1 of \2", text)
    text = _FOOTNOTE.sub("", text)
    text = re.sub(r"(\d)([½⅓⅔¼¾⅕⅛⅜⅝⅞])", r"\1 \2", text)
    text = unicodedata.normalize("NFKC", text.replace("…", ". ").replace("´", "'"))
    text = re.sub(r"[‘’ʼ′]", "'", text)
    text = re.sub(r"\s+", " ", text)
    for rules in (
        spoken_dates.RULES,
        spoken_numerals.RULES,
        spoken_amounts.RULES,
        spoken_words.RULES,
    ):
        if rules is not spoken_numerals.RULES or spoken_numerals.MAY_HOLD.search(text):
            text = rules.apply(text)
    return text


def _mend(m: re.Match[str]) -> str:
    """A word that a line's end has broken: "infor- mation"; "long- term" keeps its hyphen."""
    return f"{m[1]}-{m[2]}" if m[1].lower() in _WHOLE_BEFORE_HYPHEN else m[1] + m[2]


def _say_han(text: str) -> str:
    text = unicodedata.normalize("NFKC", _FOOTNOTE.sub("", text))
    text = re.sub(r"\bpage (\d+) of ", r"第\1页，", text, flags=re.IGNORECASE)
    text = re.sub(r"\bpage (\d+)", r"第\1页", text, flags=re.IGNORECASE)
    text = re.sub(r"((?:1[5-9]|20)\d\d)(?=\s?年)", lambda m: say.han_digits(m[0]), text)
    text = re.sub(r"(\d[\d,]*(?:\.\d+)?)\s?%", lambda m: "百分之" + say.han_number(m[1]), text)
    text = re.sub(r"(?<=\d)\s?[-–—~]\s?(?=\d)", "到", text)
    text = re.sub(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", lambda m: say.han_number(m[0]), text)
    # NFKC has made the wide marks narrow: a Chinese voice wants them wide, and no space after them
    wide = dict(zip(",!?;:", "，！？；：", strict=True))
    return re.sub(r"(?<=[\u3400-\u9fff])([,!?;:])", lambda m: wide[m[1]], text)


def _clean(text: str) -> str:
    """Only letters, the marks that a voice pauses at, and single spaces; brackets and dashes become pauses."""
    text = re.sub(r"\s[-–—‒]+\s|[—–]|--+", ", ", text)
    text = re.sub(r"\s*[(\[{]\s*", ", ", text)
    text = re.sub(r"\s*[)\]}]\s*(?=[.,;:!?])", "", text)
    text = re.sub(r"\s*[)\]}]\s*", ", ", text)
    kept = []
    for mark in text:
        if mark.isalpha() or unicodedata.category(mark).startswith("M") or mark in _SAID_MARKS or mark in _HAN_MARKS:
            kept.append(mark)
        elif (digit := unicodedata.digit(mark, None)) is not None:
            kept.append(f" {say.spell_digits(str(digit))} ")
        elif (value := unicodedata.numeric(mark, None)) is not None:
            kept.append(f" {say.cardinal(str(int(value))) if value == int(value) and value >= 0 else ''} ")
        else:
            kept.append(" ")
    text = "".join(kept)
    text = re.sub(r"(?<![^\W_])['-]+|['-]+(?![^\W_])(?<!s')", " ", text)  # only inside a word, or after a plural
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s+([.,;:!?，。！？；：、])", r"\1", text)
    text = re.sub(r"([.,;:!?])(?:\s*[,;:])+", r"\1", text)
    text = re.sub(r"[,;:]+(?=[.!?])", "", text)
    text = re.sub(r"([.!?])(?:\s*\.)+", r"\1", text)
    text = re.sub(r"([.,;:!?])(?=[^\W\d_])", r"\1 ", text)
    return re.sub(r"^[\s.,;:!?-]+", "", text).strip().rstrip(",;:")
