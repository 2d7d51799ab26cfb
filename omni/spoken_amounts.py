"""Spoken form, second rules: money, shares, ranges, fractions, units, and every number that is left."""

from __future__ import annotations

import re

from omni import number_words as say
from omni.spoken_lexicon import GLUED_ONLY, PER, POWERS, UNITS
from omni.spoken_rules import DASH, NUM, START, Rules

RULES = Rules()
rule = RULES.rule

SIGN = r"(?:US\$|C\$|A\$|CA\$|AU\$|[$€£¥₹₩])"
CODE = r"(?:USD|EUR|GBP|JPY|INR|KRW|CHF|CNY|RMB)"
SCALE = r"(?:thousand|million|billion|trillion|mln|mn|bn|tn|MM|mm|[KkMmBbT])(?![A-Za-z])"


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
    return " times " if m.string.startswith("10^", m.end()) else " by "


@rule(r"(?<![\w.,/])(24/7|50/50|9/11|20/20)(?![\w/])")
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


@rule(rf"(?<!\w)10\^(-|−)?(\d+)(?:\s?({_UNIT})(\^?[23²³])?(?![\w'’°²³^]|-[A-Za-z]))?")
def _power_of_ten(m: re.Match[str]) -> str:
    """Before the units: of 10^-3 m the three is no length."""
    words = f"ten to the power of {'minus ' if m[1] else ''}{say.cardinal(m[2])}"
    if not m[3]:
        return words
    return f"{words} {POWERS[m[4][-1]] + ' ' if m[4] else ''}{UNITS[m[3]][1]}"


@rule(r"(?<![\w)^{])[-−–](?=\d|\.\d)")
def _minus(m: re.Match[str]) -> str:
    return "minus "


@rule(r"(\d\s?)(in|ft|lbs?|oz|yd|sec|min|hrs?|mi|gal)\.(?=\s+[a-z\d(]|[,;)]|$)")
def _dotted_unit(m: re.Match[str]) -> str:
    stop = "" if m.string[m.end() :].strip() else "."
    return m[1] + ("inches" if m[2] == "in" else m[2]) + stop


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


@rule(r"(?<=[\w)])\^\{?([-−+])?(\d{1,4}|[A-Za-z]\b)\}?")
def _power(m: re.Match[str]) -> str:
    sign = "minus " if m[1] in ("-", "−") else ""
    if m[2] in ("2", "3") and not sign:
        return " squared" if m[2] == "2" else " cubed"
    return f" to the power of {sign}{say.cardinal(m[2]) if m[2].isdigit() else m[2]}"


@rule(r"(?<![\w.,])(\d+(?:\.\d+)?)[eE]([+-]?)(\d{1,3})\b")
def _scientific(m: re.Match[str]) -> str:
    return f"{say.number(m[1])} times ten to the power of {'minus ' if m[2] == '-' else ''}{say.cardinal(m[3])}"


@rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b")
def _ordinal(m: re.Match[str]) -> str:
    return say.ordinal(int(m[1].replace(",", "")))


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
