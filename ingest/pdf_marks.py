"""Small marks set above the line, and accents that a font sets as characters of their own.

A text layer says "available.3" where the sheet shows a small raised 3, and "10−6" where it shows a power: the first
hides the end of a sentence, the second is another number. TeX's older fonts say "Ma¨ıeul" for "Maïeul".
"""

from __future__ import annotations

import ctypes
import re
import unicodedata

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium_c

_SUPERSCRIPTS = str.maketrans("0123456789+-−–n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻ⁿ")
_POWER = re.compile(r"[0-9+−–n-]{1,5}$")
_NOTE = re.compile(r"(?:\d{1,3}|[a-z]|[*†‡§¶∗])(?:,(?:\d{1,3}|[a-z]|[*†‡§¶∗]))*$")
_NOTED = re.compile(r"(?:[^\W\d_]{3}|[^\W\d_][.,;:!?)\]\"'”’»]+)$")  # a word of three letters or more, or its end
_BEFORE_STOP = re.compile(r"(?<=[^\W\d_]{3})(\d{1,3})([,.;:!?)]+)$")  # the mark in "deposit12,"
_CLOSING = frozenset(",.;:)")
_MAX_MARK = 6  # characters of a mark
_SMALLER, _RAISED = 0.85, 0.15  # of the type size: a mark is at most so large, and stands at least so high

_COMBINING = {
    "´": "\u0301", "`": "\u0300", "¨": "\u0308", "ˆ": "\u0302", "˜": "\u0303", "¸": "\u0327", "ˇ": "\u030c",
    "˚": "\u030a", "˝": "\u030b", "˘": "\u0306", "˙": "\u0307", "¯": "\u0304", "˛": "\u0328",
}  # fmt: skip
_ACCENTED = re.compile(
    rf"(?:(?<=[^\W\d_])[{''.join(_COMBINING)}](?=[a-zıȷ])|(?<![^\W_])[´¨¸ˇ˚](?=[A-Z]))([^\W\d_])"
)  # within a word before a small letter, or at its beginning before a capital


def has_spacing_accents(text: str) -> bool:
    return any(accent in text for accent in _COMBINING)


def compose_accents(word: str) -> str:
    """`Ma¨ıeul` -> `Maïeul`; what is no letter with its accent (a hat in a formula) stays."""
    if sum(map(str.isalpha, word)) < 4:
        return word
    return _ACCENTED.sub(_composed, word)


def _composed(match: re.Match[str]) -> str:
    letter = {"ı": "i", "ȷ": "j"}.get(match[1], match[1])
    whole = unicodedata.normalize("NFC", letter + _COMBINING[match[0][0]])
    return whole if len(whole) == 1 else match[0]


def raise_marks(
    textpage: pypdfium2.PdfTextPage,
    texts: list[str],
    glued: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    turns: np.ndarray,
) -> None:
    """Words that end in a raised mark, in place: powers in superscript characters, marks of notes taken off.

    `first` and `last` (n, 4) are the boxes of each word's first and last character as shown, `starts` and `stops` (n,)
    its characters' indices; `glued` (n,) says before which words no space stands, and may change. Words that no mark
    touches ("1st", "CO2") stay. On sheets that are turned marks stay, too. Call under PDFIUM_LOCK.
    """
    height = first[:, 3] - first[:, 1]
    smaller = last[:, 3] - last[:, 1] < 0.9 * height
    higher = last[:, 1] + last[:, 3] - first[:, 1] - first[:, 3] > 0.1 * height
    ends_raised = smaller & higher & (turns == 0) & (stops - starts >= 2)
    for i, inside in enumerate(map(_BEFORE_STOP.search, texts)):
        if inside and not turns[i] and stops[i] - starts[i] == len(texts[i]):
            stop = len(texts[i]) - len(inside[2])
            if _mark_length(textpage, int(starts[i]), int(starts[i]) + stop) == len(inside[1]):
                texts[i] = texts[i][: inside.start(1)] + inside[2]
    for i in np.flatnonzero(ends_raised).tolist():
        if stops[i] - starts[i] != len(texts[i]):
            continue  # a ligature: rare beside a mark, and its characters would have to be counted again
        length = _mark_length(textpage, int(starts[i]), int(stops[i]))
        if length:
            word = texts[i]
            texts[i] = _without_mark(word[:-length], word[-length:])
            if len(texts[i]) < len(word) and i + 1 < len(texts) and texts[i + 1] in _CLOSING:
                glued[i + 1] = True  # the space before "2 ," was the mark's


def _mark_length(textpage: pypdfium2.PdfTextPage, start: int, stop: int) -> int:
    """How many characters before `stop` are smaller than the word's first one and stand higher."""
    size, base = _size_and_baseline(textpage, start)
    length = 0
    while length < min(_MAX_MARK, stop - start - 1):
        small, raised = _size_and_baseline(textpage, stop - 1 - length)
        if small > _SMALLER * size or raised - base < _RAISED * size:
            return length
        length += 1
    return length if length == stop - start - 1 else 0


def _size_and_baseline(textpage: pypdfium2.PdfTextPage, index: int) -> tuple[float, float]:
    """Type size and height of the baseline of one character, points of user space."""
    matrix, x, y = pdfium_c.FS_MATRIX(), ctypes.c_double(), ctypes.c_double()
    size = float(pdfium_c.FPDFText_GetFontSize(textpage, index))
    if pdfium_c.FPDFText_GetMatrix(textpage, index, matrix):
        size *= (matrix.c * matrix.c + matrix.d * matrix.d) ** 0.5
    pdfium_c.FPDFText_GetCharOrigin(textpage, index, x, y)
    return size, y.value


def _without_mark(word: str, mark: str) -> str:
    """A note's mark goes from a word that it follows; what follows a number, a unit or a symbol is its power."""
    if _NOTE.match(mark) and _NOTED.search(word):
        return word
    if _POWER.match(mark) and word[-1:].isalnum():
        return word + mark.translate(_SUPERSCRIPTS)
    return word + mark
