"""Figures -> English words: cardinals, decimals, years, ordinals, digits, money. Chinese integers as well."""

from __future__ import annotations

import re
from functools import lru_cache

from num2words import num2words

LARGEST = 10**15  # longer numbers are account numbers: read digit by digit
_CURRENCIES = {  # unit, plural, hundredth, its plural
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
    "RMB": ("yuan", "yuan", "", ""),
}
CURRENCY_CODES = {
    "USD": "$", "US$": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "CHF": "CHF", "CNY": "RMB",
    "RMB": "RMB",
    "$": "$", "€": "€", "£": "£", "¥": "¥", "₹": "₹", "₩": "₩",
}  # fmt: skip
SCALES = {
    "k": "thousand", "K": "thousand", "thousand": "thousand", "m": "million", "M": "million", "mm": "million",
    "MM": "million",
    "mn": "million", "mln": "million", "million": "million", "B": "billion", "b": "billion", "bn": "billion",
    "billion": "billion",
    "T": "trillion", "tn": "trillion", "trillion": "trillion",
}  # fmt: skip


def cardinal(digits: str) -> str:
    """ "1,234" -> "one thousand two hundred thirty-four"; leading zeros or 16 digits and more are read one by one."""
    plain = digits.replace(",", "")
    if (len(plain) > 1 and plain[0] == "0") or int(plain) >= LARGEST:
        return spell_digits(plain)
    return _below(int(plain))


@lru_cache(maxsize=4096)
def _below(value: int) -> str:
    words = num2words(value, lang="en").replace(",", "")
    return re.sub(r"(hundred|thousand|million|billion|trillion) and ", r"\1 ", words)


def number(text: str) -> str:
    """A cardinal or a decimal: "3.50" -> "three point five zero", ".5" -> "zero point five"."""
    whole, _, fraction = text.partition(".")
    words = cardinal(whole or "0")
    return f"{words} point {spell_digits(fraction)}" if fraction else words


def spell_digits(digits: str) -> str:
    """ "0042" -> "zero zero four two"."""
    return " ".join(_below(int(digit)) for digit in digits if digit.isdigit())


def ordinal(value: int) -> str:
    return re.sub(
        r"(hundred|thousand|million|billion) and ", r"\1 ", num2words(value, to="ordinal", lang="en")
    ).replace(",", "")


def year(value: int) -> str:
    """1984 "nineteen eighty-four", 2005 "two thousand five", 2019 "twenty nineteen", 1905 "nineteen oh five"."""
    century, rest = divmod(value, 100)
    if value % 1000 < 10:
        return _below(value)
    if rest == 0:
        return f"{_below(century)} hundred"
    return f"{_below(century)} {'oh ' if rest < 10 else ''}{_below(rest)}"


def short_year(digits: str) -> str:
    """Two digits of a year: "19" -> "nineteen", "05" -> "oh five"."""
    return f"oh {_below(int(digits))}" if digits[0] == "0" else _below(int(digits))


def money(sign: str, amount: str, scale: str = "") -> str:
    """("$", "1.2", "million") -> "one point two million dollars"; ("$", "5.25") -> "five dollars and
    twenty-five cents"."""
    unit, units, part, parts = _CURRENCIES[CURRENCY_CODES[sign]]
    whole, _, fraction = amount.replace(",", "").partition(".")
    whole = whole or "0"
    if scale:
        return f"{number(amount)} {SCALES[scale]} {units}"
    if not part or len(fraction) != 2:
        return f"{number(amount)} {unit if amount == '1' else units}"
    words = [f"{cardinal(whole)} {unit if int(whole) == 1 else units}"] if int(whole) else []
    if int(fraction) or not words:
        words.append(f"{_below(int(fraction))} {part if int(fraction) == 1 else parts}")
    return " and ".join(words)


def fraction(numerator: int, denominator: int) -> str:
    """(3, 4) -> "three quarters"; (1, 2) -> "one half"."""
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    one, many = names.get(denominator) or (ordinal(denominator), ordinal(denominator) + "s")
    return f"{_below(numerator)} {one if numerator == 1 else many}"


_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
ROMAN = re.compile(r"^(?=[IVXLC])(?:XC|XL|L?X{0,3}|C)(?:IX|IV|V?I{0,3})$")


def roman(numeral: str) -> int:
    """The value of a Roman numeral up to 100 and a bit: "XIV" -> 14."""
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-v if v < following else v for v, following in zip(values, [*values[1:], 0], strict=True))


_HAN_DIGITS = "零一二三四五六七八九"


def han_number(text: str) -> str:
    """Figures in a Chinese text: "1,205" -> "一千二百零五", "3.14" -> "三点一四"; years are up to the caller."""
    whole, _, fraction = text.replace(",", "").partition(".")
    tail = "点" + han_digits(fraction) if fraction else ""
    value = int(whole or "0")
    if value >= 10**16:
        return han_digits(whole) + tail
    if value == 0:
        return "零" + tail
    groups: list[tuple[int, str]] = []
    for unit in ("", "万", "亿", "万亿"):
        value, group = divmod(value, 10_000)
        groups.append((group, unit))
    words, gap = "", False
    for group, unit in reversed(groups):
        if not group:
            gap = bool(words)
            continue
        if words and (gap or group < 1000):
            words += "零"
        words += _han_group(group) + unit
        gap = False
    return (words.removeprefix("一") if words.startswith("一十") else words) + tail


def han_digits(digits: str) -> str:
    """ "2019" -> "二零一九"."""
    return "".join(_HAN_DIGITS[int(digit)] for digit in digits)


def _han_group(group: int) -> str:
    words, gap = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, group = divmod(group, unit)
        if digit:
            words += ("零" if gap and words else "") + _HAN_DIGITS[digit] + name
            gap = False
        else:
            gap = True
    return words
