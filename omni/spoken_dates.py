"""Spoken form, first rules: e-mail and web addresses, telephone numbers, dates, times, names with figures in them."""

from __future__ import annotations

import re

from omni import number_words as say
from omni.spoken_lexicon import MONTH_NAMES, MONTHS, NUMBERED
from omni.spoken_rules import DASH, Rules

RULES = Rules()
rule = RULES.rule

_MONTH = "|".join([*MONTH_NAMES, *(f"{short}\\.?" for short in (*MONTHS, "Sept"))])


# --- addresses -------------------------------------------------------------------------------------------------------


def _address(text: str) -> str:
    words = re.sub(r"(\d+)", lambda m: f" {say.spell_digits(m[1])} ", text)
    for mark, word in ((".", "dot"), ("-", "dash"), ("_", "underscore"), ("/", "slash"), ("@", "at"), ("+", "plus")):
        words = words.replace(mark, f" {word} ")
    return re.sub(r"[^\w ]+", " ", words).strip()


@rule(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
def _email(m: re.Match[str]) -> str:
    return _address(m[0])


@rule(r"\b(?:https?://|ftp://|www\.)(?:www\.)?([^\s/?#<>()\"]+)([^\s<>()\"]*?)(?=[.,;:!?]*(?:[\s<>()\"]|$))")
def _url(m: re.Match[str]) -> str:
    """The host, and the path where it is short enough to be remembered."""
    path = m[2].partition("?")[0].partition("#")[0].rstrip("/")
    return _address(m[1].partition(":")[0] + (path if path.count("/") <= 2 and len(path) <= 30 else ""))


@rule(r"\b((?:[\w-]+\.)+)(pdf|txt|csv|json|ya?ml|py|md|html?|docx?|xlsx?|pptx?|xml|zip|exe|log|conf|cfg|ini|toml|js|sh|jpe?g|png|"
      r"gz|sql|java|cpp|so|dll)\b(?![/@])")  # fmt: skip
def _file_name(m: re.Match[str]) -> str:
    return _address(m[0])


@rule(r"(?<![\w/.])(?:~|\.{1,2})?(?:/[A-Za-z][\w.-]*[\w-]){2,}/?(?![\w/])")
def _path(m: re.Match[str]) -> str:
    return _address(m[0].rstrip("/"))


@rule(r"(?<![\w.])\+(\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5})(?![\w-])")
def _international_phone(m: re.Match[str]) -> str:
    if not 8 <= sum(mark.isdigit() for mark in m[1]) <= 15:
        return m[0]
    return "plus " + ", ".join(say.spell_digits(group) for group in re.findall(r"\d+", m[1]))


@rule(r"\b([A-Z]{2}|D\.C\.),? (\d{5})(?:-(\d{4}))?(?![\w,.-]\d|\d)")
def _postal_code(m: re.Match[str]) -> str:
    return f"{m[1]} {say.spell_digits(m[2])}" + (f", {say.spell_digits(m[3])}" if m[3] else "")


@rule(r"\b((?:ISO|IEC|EN|DIN|ANSI|IEEE|BS|ASTM)[ /\w]*? ?[\d.-]+):((?:19|20)\d\d)\b")
def _standard(m: re.Match[str]) -> str:
    return f"{m[1]} {say.year(int(m[2]))}"


@rule(r"(?<![\w.])(?:\+?(\d{1,3})[ .-])?(?:\((\d{3})\)\s?|(\d{3})[.-])(\d{3})[.-](\d{4})(?![\w-])")
def _phone(m: re.Match[str]) -> str:
    groups = [say.spell_digits(group) for group in m.groups() if group]
    return ("plus " if m[0][0] == "+" else "") + ", ".join(groups)


# --- dates and times -------------------------------------------------------------------------------------------------


def _month(text: str) -> str:
    return MONTHS[text[:3]]


def _year_after(text: str | None) -> str:
    return f", {say.year(int(text))}" if text else ""


@rule(r"(?<![\d-])((?:1[5-9]|20|21)\d\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:T(?=\d))?(?!\d|-\d)")
def _iso_date(m: re.Match[str]) -> str:
    return f"{MONTH_NAMES[int(m[2]) - 1]} {say.ordinal(int(m[3]))}, {say.year(int(m[1]))} ".rstrip()


@rule(r"(?<![\d/.])(\d{1,2})([/.])(\d{1,2})\2((?:19|20)\d\d)(?![\d/])")
def _numeric_date(m: re.Match[str]) -> str:
    """American order unless the first number can be no month; with dots (30.6.2022) the European one."""
    first, second = int(m[1]), int(m[3])
    month, day = (second, first) if first > 12 or (m[2] == "." and second <= 12) else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join([say.number(m[1]), say.number(m[3]), say.year(int(m[4]))])
    return f"{MONTH_NAMES[month - 1]} {say.ordinal(day)}, {say.year(int(m[4]))}"


@rule(rf"\b({_MONTH})\s(\d{{1,2}})(?:st|nd|rd|th)?(?:{DASH}(\d{{1,2}}))?(?:,?\s((?:1[1-9]|20)\d\d))?(?![\d%]|,\d|\.\d)")
def _month_day(m: re.Match[str]) -> str:
    if not 1 <= int(m[2]) <= 31:
        return m[0]
    until = f" to {say.ordinal(int(m[3]))}" if m[3] else ""
    return f"{_month(m[1])} {say.ordinal(int(m[2]))}{until}{_year_after(m[4])}"


@rule(rf"\b(the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})(?:,?\s((?:1[1-9]|20)\d\d))?(?!\w)")
def _day_month(m: re.Match[str]) -> str:
    return f"the {say.ordinal(int(m[2]))} of {_month(m[3])}{_year_after(m[4])}"


@rule(rf"\b((?:{'|'.join(s for s in (*MONTHS, 'Sept') if s != 'May')})\.?),?\s((?:1[1-9]|20)\d\d)\b")
def _month_year(m: re.Match[str]) -> str:
    return f"{_month(m[1])} {say.year(int(m[2]))}"


@rule(r"(?<![\w:.,])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?:\s?([ap])\.?m\b\.?)?(?![\d:])", re.IGNORECASE)
def _time(m: re.Match[str]) -> str:
    hour, minute = int(m[1]), int(m[2])
    words = say.cardinal(str(hour))
    if minute:
        words += f" {say.short_year(m[2])}"
    elif not m[4]:
        words += " o'clock" if 0 < hour < 13 else " hundred hours" if hour else " hours"
    if m[3]:
        words += f" and {say.cardinal(str(int(m[3])))} seconds"
    return words + (f" {m[4].upper()} M" + _time_stop(m) if m[4] else "")


@rule(r"(?<![\w:.,])(1[0-2]|[1-9])\s?([ap])\.?m\b\.?", re.IGNORECASE)
def _full_hour(m: re.Match[str]) -> str:
    return f"{say.cardinal(m[1])} {m[2].upper()} M" + _time_stop(m)


def _time_stop(m: re.Match[str]) -> str:
    return "." if m[0].endswith(".") and re.match(r"\s+[A-Z][a-z]|\s*$", m.string[m.end() :]) else ""


# --- names with figures ----------------------------------------------------------------------------------------------


@rule(r"\b(?:version |v\.? ?|Version )(\d+(?:\.\d+)*)\b")
def _version(m: re.Match[str]) -> str:
    return "version " + " point ".join(say.cardinal(part) for part in m[1].split("."))


@rule(r"(?<![\w.])\d+(?:\.\d+){2,}(?!\w)")
def _dotted(m: re.Match[str]) -> str:
    return " point ".join(say.cardinal(part) for part in m[0].split("."))


@rule(r"\b(?:FY|fy)\s?'?((?:19|20)\d\d|\d\d)\b")
def _fiscal_year(m: re.Match[str]) -> str:
    return "fiscal year " + (say.year(int(m[1])) if len(m[1]) == 4 else say.short_year(m[1]))


@rule(r"\b(?:(in|during|for|of|since|by|from|to|until|and|than|In|During|For|Since|By|From) )?([QH])([1-4])"
      r"(?:[ -]?(?:of )?'?((?:19|20)\d\d|(?:FY)?\d\d(?!\d)))?\b")  # fmt: skip
def _quarter(m: re.Match[str]) -> str:
    if m[2] == "H" and m[3] in "34":
        return m[0]
    words = f"{say.ordinal(int(m[3]))} {'quarter' if m[2] == 'Q' else 'half'}"
    if m[4]:
        digits = m[4].removeprefix("FY")
        words += " of " + (say.year(int(digits)) if len(digits) == 4 else say.short_year(digits))
    return f"{m[1]} the {words}" if m[1] else words


@rule(r"\b(?:c(?=\. ?\d{3,4}\b)|ca)\. ?(?=\d)")
def _circa(m: re.Match[str]) -> str:
    return "about "


@rule(rf"\b({'|'.join(NUMBERED)})\.\s?(?=[\dIVX]|[A-Z]\b)")
def _numbered(m: re.Match[str]) -> str:
    return NUMBERED[m[1]] + " "


@rule(r"#\s?(?=\d)")
def _hash_number(m: re.Match[str]) -> str:
    return "number "


@rule(r"§§?\s?")
def _section_sign(m: re.Match[str]) -> str:
    return "sections " if m[0].startswith("§§") else "section "


@rule(r"\b([Ss]ections?|[Cc]lauses?|[Aa]rticles?|[Pp]aragraphs?|[Ff]igures?|[Tt]ables?|[Nn]otes?|[Rr]ules?|[Cc]hapters?)\s"
      r"(\d+)\.(\d+)([a-z]?)((?:\([a-zA-Z0-9]{1,4}\))*)")  # fmt: skip
def _clause(m: re.Match[str]) -> str:
    """Section 4.10(b) is "four point ten b", not the decimal 4.1."""
    tail = " ".join([m[4], *re.findall(r"\w+", m[5])]).strip()
    return f"{m[1]} {say.cardinal(m[2])} point {say.cardinal(m[3])}{' ' + _letters(tail) if tail else ''}"


def _letters(text: str) -> str:
    """Figures of a subsection in words, and its small Roman numerals: "a iii" -> "a three"."""
    text = re.sub(r"\b(?:i{2,3}|iv|vi{1,3}|ix|xi{1,3})\b", lambda d: str(say.roman(d[0].upper())), text)
    return re.sub(r"\d+", lambda d: say.cardinal(d[0]), text)


@rule(r"\b(\d{1,3})-([A-Z])\b(?:/A\b)?")
def _form(m: re.Match[str]) -> str:
    """10-K, 8-K, 20-F: the forms of the SEC."""
    return f"{say.cardinal(m[1])} {m[2]}" + (" A" if m[0].endswith("/A") else "")


@rule(r"\b3M\b")
def _brand(m: re.Match[str]) -> str:
    """The company, in every second collection of filings; "5M users" stays five million."""
    return "three M"
