"""The rules of the spoken form, one kind of writing each, in the order in which they apply.

A rule is a pattern and what to say for a match. Numbers are matched as written ("1,234.5"); what a rule leaves alone, a
later one or the last resort (`number` and `symbol` rules) reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from omni import number_words as say
from omni.spoken_lexicon import (
    ABBREVIATIONS,
    AMBIGUOUS,
    GLUED_ONLY,
    MONARCHS,
    MONTH_NAMES,
    MONTHS,
    NUMBERED,
    NUMBERED_BY_ROMAN,
    PER,
    POWERS,
    SAID,
    SHOUTED,
    SYMBOLS,
    UNITS,
)

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
RULES: list[Rule] = []

NUM = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
INT = r"\d{1,3}(?:,\d{3})+|\d+"
START = r"(?<![\w.,/-])"  # a number that nothing is glued to
DASH = r"\s?[-–—‒]\s?"
SIGN = r"(?:US\$|C\$|A\$|CA\$|AU\$|[$€£¥₹₩])"
CODE = r"(?:USD|EUR|GBP|JPY|INR|KRW|CHF|CNY|RMB)"
SCALE = r"(?:thousand|million|billion|trillion|mln|mn|bn|tn|MM|mm|[KkMmBbT])(?![A-Za-z])"
_MONTH = "|".join([*MONTH_NAMES, *(f"{short}\\.?" for short in (*MONTHS, "Sept"))])


def rule(pattern: str, flags: int = 0) -> Callable[[Callable[[re.Match[str]], str]], Callable[[re.Match[str]], str]]:
    """Register what to say for `pattern`, after the rules above it."""

    def register(speak: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        RULES.append((re.compile(pattern, flags), speak))
        return speak

    return register


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


@rule(r"(?<![\w.])(?:\+(\d{1,3})[ .-])?(?:\((\d{3})\)\s?|(\d{3})[.-])(\d{3})[.-](\d{4})(?![\w-])")
def _phone(m: re.Match[str]) -> str:
    groups = [say.spell_digits(group) for group in m.groups() if group]
    return ("plus " if m[1] else "") + ", ".join(groups)


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


@rule(rf"\b({NUMBERED_BY_ROMAN})s?\s((?=[IVXLC])[IVXLC]+)(?:({DASH}|, | and | or | to )([IVXLC]+))?(?![\w'’])")
def _roman_section(m: re.Match[str]) -> str:
    if not say.ROMAN.match(m[2]) or (m[4] and not say.ROMAN.match(m[4])):
        return m[0]
    words = f"{m[0].split()[0]} {say.cardinal(str(say.roman(m[2])))}"
    if m[4]:
        joint = f" {m[3].strip()} " if m[3].strip().isalpha() else ", " if "," in m[3] else " to "
        words += joint + say.cardinal(str(say.roman(m[4])))
    return words


@rule(rf"\b({MONARCHS}) ([IVX]{{2,}}|V|X)(?![\w'’])")
def _monarch(m: re.Match[str]) -> str:
    return f"{m[1]} the {say.ordinal(say.roman(m[2]))}" if say.ROMAN.match(m[2]) else m[0]


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
    return re.sub(r"\d+", lambda d: say.cardinal(d[0]), text)


@rule(r"\b(\d{1,3})-([A-Z])\b(?:/A\b)?")
def _form(m: re.Match[str]) -> str:
    """10-K, 8-K, 20-F: the forms of the SEC."""
    return f"{say.cardinal(m[1])} {m[2]}" + (" A" if m[0].endswith("/A") else "")


@rule(r"\b3M\b")
def _brand(m: re.Match[str]) -> str:
    """The company, in every second collection of filings; "5M users" stays five million."""
    return "three M"


# --- money and shares ------------------------------------------------------------------------------------------------


@rule(r"[~≈∼]\s?(?=[\d$€£¥.])")
def _about(m: re.Match[str]) -> str:
    return "about "


def _money(sign: str, amount: str, scale: str | None) -> str:
    words = say.money("$" if sign.endswith("$") else sign, amount, scale or "")
    nation = {"C": "Canadian", "CA": "Canadian", "A": "Australian", "AU": "Australian"}.get(sign[:-1])
    return re.sub(r"\bdollar", f"{nation} dollar", words) if nation else words


@rule(rf"(?<!\w)({SIGN})\s?({NUM})(?:\s?({SCALE}))?{DASH}(?:{SIGN})?\s?({NUM})(?:[\s-]?({SCALE}))?(?![\d%]|[.,]\d)")
def _money_range(m: re.Match[str]) -> str:
    scale = m[5]
    low = say.number(m[2]) + (f" {say.SCALES[m[3].strip()]}" if m[3] and m[3] != scale else "")
    return f"{low} to {_money(m[1], m[4], scale)}"


@rule(rf"(?:(\()|(?<![\w)])([-−–]))?\s?({SIGN})\s?(\()?([-−–])?({NUM})(?:([\s-]?)({SCALE}))?(\))?(\))?(?:\s({SCALE}))?")
def _money_sign(m: re.Match[str]) -> str:
    """-$5, $(5), ($5): an amount in brackets is negative in accounts, words in brackets are only an aside."""
    bracketed = bool((m[1] or m[4]) and m[9])
    negative = bracketed or bool(m[2] or m[5])
    before = "(" if m[1] and not bracketed else ""
    after = (m[9] or "") * (not bracketed) + (m[10] or "")
    gap = " " if m[0][0] == " " else ""
    words = _money(m[3], m[6], m[8] or (m[11] if bracketed else None))
    if m[7] == "-":  # a $5-million deal
        words = words.removesuffix("s")
    late_scale = f" {m[11]}" if m[11] and not bracketed else ""
    return gap + before + ("minus " if negative else "") + words + after + late_scale


@rule(rf"\b({CODE})\s?({NUM})(?:\s?({SCALE}))?")
def _code_first(m: re.Match[str]) -> str:
    return _money(m[1], m[2], m[3])


@rule(rf"{START}({NUM})\s?(?:({SCALE})\s?)?({CODE}\b|[€£¥₹₩](?!\w))")
def _sign_last(m: re.Match[str]) -> str:
    return _money(m[3], m[1], m[2])


@rule(rf"{START}({NUM})\s?%?{DASH}({NUM})\s?%")
def _percent_range(m: re.Match[str]) -> str:
    return f"{say.number(m[1])} to {say.number(m[2])} percent"


@rule(rf"\(\s?({NUM})\s?%\s?\)")
def _negative_percent(m: re.Match[str]) -> str:
    return f"minus {say.number(m[1])} percent"


@rule(rf"(?:(?<![\w)])([-−–+]))?(?<![\d.,])({NUM})\s?%")
def _percent(m: re.Match[str]) -> str:
    sign = {"+": "plus ", None: ""}.get(m[1], "minus ")
    return f"{sign}{say.number(m[2])} percent"


@rule(r"\((\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)\)")
def _negative_account(m: re.Match[str]) -> str:
    return f"minus {say.number(m[1])}"


@rule(r"(?<![\w-])\d+(?:-\d+){2,}(?![\w-])")
def _grouped_digits(m: re.Match[str]) -> str:
    """ISBN, card and account numbers."""
    return ", ".join(say.spell_digits(group) for group in m[0].split("-"))


# --- ranges, ratios, fractions ---------------------------------------------------------------------------------------


@rule(r"(?<![\w.,-])((?:1[5-9]|20)\d\d)\s?[-–—/]\s?((?:1[5-9]|20)\d\d|\d\d)(?![\w-]|[.,]\d)")
def _year_range(m: re.Match[str]) -> str:
    until = say.year(int(m[2])) if len(m[2]) == 4 else say.short_year(m[2])
    return f"{say.year(int(m[1]))} to {until}"


@rule(rf"(?<![\w.,/-])({NUM}){DASH}({NUM})(?![\d/-]|[.,]\d)")
def _range(m: re.Match[str]) -> str:
    parts = [m[1], m[2]]
    if any(len(part) >= 7 or (len(part) > 1 and part[0] == "0" and part[1] != ".") for part in parts):
        return ", ".join(say.spell_digits(part) for part in parts)  # an account number
    return f"{say.number(m[1])} to {m[2]}"  # the second keeps its figures: a unit may follow


@rule(rf"(?<=\d)\s?[x×]\s?(?=(?:{NUM}))")
def _by(m: re.Match[str]) -> str:
    return " by "


@rule(r"(?<![\w.,/])(24/7|50/50|9/11)(?![\w/])")
def _said_as_pairs(m: re.Match[str]) -> str:
    return " ".join(say.cardinal(part) for part in m[1].split("/"))


@rule(r"(?<![\w.,:])(\d{1,4}(?:\.\d+)?):(\d{1,4}(?:\.\d+)?)(?![\w:])")
def _ratio(m: re.Match[str]) -> str:
    return f"{say.number(m[1])} to {say.number(m[2])}"


@rule(r"(?<![\w.,/])(?:(\d{1,3})\s)?(\d{1,2})[/⁄](\d{1,3})(?![\d/%]|[.,]\d)")
def _fraction(m: re.Match[str]) -> str:
    top, bottom = int(m[2]), int(m[3])
    if not (0 < top < bottom and bottom <= 20 and (bottom <= 10 or bottom in (12, 16, 20))):
        whole = f"{say.cardinal(m[1])} " if m[1] else ""
        return f"{whole}{say.cardinal(m[2])} over {say.cardinal(m[3])}"
    words = say.fraction(top, bottom)
    if m[1]:
        return f"{say.cardinal(m[1])} and {'a half' if (top, bottom) == (1, 2) else words}"
    return words


@rule(r"\b((?:1[1-9]|20)\d)0s\b|(?<!\w)['’]?([2-9])0s\b")
def _decade(m: re.Match[str]) -> str:
    words = say.year(int(m[1] + "0")) if m[1] else say.cardinal(m[2] + "0")
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


# --- units -----------------------------------------------------------------------------------------------------------

_UNIT = "|".join(sorted((re.escape(unit) for unit in UNITS), key=len, reverse=True))
_PER = "|".join(sorted(PER, key=len, reverse=True))


@rule(rf"(?<![\w.,])({NUM})(\s?-?)({_UNIT})(\^?[23²³])?(?:(?:/|\sper\s)({_PER})(\^?[2²])?)?(?![\w'’°²³/]|-[A-Za-z])")
def _unit(m: re.Match[str]) -> str:
    amount, gap, unit = m[1], m[2], m[3]
    if unit in GLUED_ONLY and gap:
        return m[0]
    if re.fullmatch(r"\d", amount) and unit == "x" and not gap:
        return f"{say.number(amount)} times"
    one, many = UNITS[unit]
    words = one if amount == "1" else many
    if m[4]:
        words = f"{POWERS[m[4][-1]]} {words}"
    if m[5]:
        words += f" per {PER[m[5]]}" + (" squared" if m[6] else "")
    return f"{say.number(amount)} {words}"


@rule(rf"(?<=[a-z])/({_PER})\b")
def _per(m: re.Match[str]) -> str:
    return f" per {PER[m[1]]}"


@rule(r"(?<=[A-Za-z])\s?/\s?(?=[A-Za-z])")
def _slash(m: re.Match[str]) -> str:
    before, after = m.string[: m.start()], m.string[m.end() :]
    if re.search(r"\b[Aa]nd$", before) and after.startswith("or"):
        return " "
    if re.search(r"(?:^|[^a-z])[A-Z]+$", before) and re.match(r"[A-Z]+\b", after):
        return " "  # I/O, TCP/IP
    return " or " if " " not in m[0] else ", "


@rule(rf"(?<![\w/])({_UNIT})\^([23])(?!\d)")
def _bare_square_unit(m: re.Match[str]) -> str:
    return (
        f"{POWERS[m[2]]} {UNITS[m[1]][1]}"
        if m[1] not in GLUED_ONLY
        else f"{m[1]} {'squared' if m[2] == '2' else 'cubed'}"
    )


@rule(r"(?<=[A-Za-z)])\^([23])(?!\d)")
def _squared(m: re.Match[str]) -> str:
    return " squared" if m[1] == "2" else " cubed"


# --- numbers ---------------------------------------------------------------------------------------------------------


@rule(r"(?<!\w)(10)\^(-|−)?(\d+)")
def _power_of_ten(m: re.Match[str]) -> str:
    return f"ten to the power of {'minus ' if m[2] else ''}{say.cardinal(m[3])}"


@rule(r"(?<![\w.,])(\d+(?:\.\d+)?)[eE]([+-]?)(\d{1,3})\b")
def _scientific(m: re.Match[str]) -> str:
    return f"{say.number(m[1])} times ten to the power of {'minus ' if m[2] == '-' else ''}{say.cardinal(m[3])}"


@rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b")
def _ordinal(m: re.Match[str]) -> str:
    return say.ordinal(int(m[1].replace(",", "")))


@rule(r"(?<![\w)])[-−–](?=\d|\.\d)")
def _minus(m: re.Match[str]) -> str:
    return "minus "


@rule(r"(?<![\w.,-])((?:1[6-9]|20)\d\d)(?![\d%]|,\d|\.\d|-\d)")
def _plain_year(m: re.Match[str]) -> str:
    return say.year(int(m[1])) + (" " if m.string[m.end() : m.end() + 1].isalpha() else "")


@rule(rf"(?:{NUM})(?!\d)")
def _number(m: re.Match[str]) -> str:
    """Every figure that no rule above knew, also inside words: "COVID-19", "3M", "H2O"."""
    before, after = m.string[: m.start()], m.string[m.end() : m.end() + 1]
    if m[0][0] == "." and before[-1:].isalnum():
        return " point " + say.spell_digits(m[0])
    if before[-1:] == "-" and before[-2:-1].isalpha():
        before = ""  # the hyphen of COVID-19 is dropped with the others
    gap = " " if before[-1:].isalnum() else ""
    return gap + say.number(m[0]) + (" " if after.isalnum() else "")


# --- words -----------------------------------------------------------------------------------------------------------


_ABBREVIATED = [re.escape(a) for a in sorted(ABBREVIATIONS, key=len, reverse=True)] + [r"E\.g\.", r"I\.e\.", r"Cf\."]


@rule(r"\bSt\. (?=[A-Z])")
def _saint(m: re.Match[str]) -> str:
    return "Saint "


@rule(r"\bSt\.(?!\w)")
def _street(m: re.Match[str]) -> str:
    return "Street" + _stop(m)


@rule("(?<!\\w)(" + "|".join(_ABBREVIATED) + r")(?!\w)")
def _abbreviation(m: re.Match[str]) -> str:
    words = ABBREVIATIONS.get(m[1]) or ABBREVIATIONS[m[1].lower()]
    return (words.capitalize() if m[1][0].isupper() and m[1] not in ABBREVIATIONS else words) + _stop(m)


def _stop(m: re.Match[str]) -> str:
    """The dot of an abbreviation that is the last word also ends the sentence."""
    return "." if m[0].endswith(".") and not m.string[m.end() :].strip(" \"'”’)\n") else ""


@rule(r"\b(?:[A-Za-z]\.){2,}(?!\w)")
def _initialism(m: re.Match[str]) -> str:
    """U.S., p.m., B.C."""
    return " ".join(m[0].upper().replace(".", " ").split()) + _stop(m)


@rule(r"\b([A-Z]{2,})(s|'s)?\b")
def _acronym(m: re.Match[str]) -> str:
    word, ending = m[1], m[2] or ""
    if word in SAID:
        return word.capitalize() + ending
    around = (
        re.findall(r"[A-Za-z]{2,}", m.string[max(0, m.start() - 30) : m.start()])[-1:]
        + re.findall(r"[A-Za-z]{2,}", m.string[m.end() : m.end() + 30])[:1]
    )
    shouted = any(other.isupper() and (len(other) > 4 or other in SHOUTED) for other in around)
    vowels = re.search("[AEIOUY]", word)
    joined = re.match(r" ?& ?[A-Z]\b", m.string[m.end() :])  # AT&T
    if joined or (word in AMBIGUOUS and not shouted):
        return " ".join(word) + ending
    if word in SHOUTED or (len(word) >= 5 and vowels) or (shouted and len(word) >= 4 and vowels):
        return word.capitalize() + ending
    return " ".join(word) + ending


@rule("[" + re.escape("".join(SYMBOLS)) + "]")
def _symbol(m: re.Match[str]) -> str:
    return f" {SYMBOLS[m[0]]} "
