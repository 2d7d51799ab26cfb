"""Bytes of a text file to text: UTF-8, UTF-16 and UTF-32 with or without mark, else Windows-1252."""

from __future__ import annotations

import codecs

from core.errors import DocumentError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAVE_REMEDY = "Save it as UTF-8 text, or give it the suffix of what it is"


def decode_text(data: bytes, *, name: str) -> str:
    """The text of `data`, newlines as they are in the file. Raises DocumentError for what is no text."""
    text = _decode(data)
    controls = sum(1 for c in text[:100_000] if (c < " " and c not in "\t\n\r\f\v\x1b") or c in "\x7f\ufffd")
    if controls > 0.02 * len(text[:100_000]) + 1:
        raise DocumentError(f"{name} is not text: it holds binary data", remedy=SAVE_REMEDY)
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text) if _has_surrogates(text) else text


def _has_surrogates(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _decode(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\x00" in data[:4096]:
        guess = _utf16_without_mark(data[:4096])
        if guess:
            return data.decode(guess, "replace")
    for encoding in ("utf-8", "gb18030" if _looks_chinese(data) else "cp1252", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", "replace")


def _utf16_without_mark(head: bytes) -> str:
    """Western text in UTF-16 has zeros in every second byte."""
    half = max(len(head) // 2, 1)
    even, odd = head[::2].count(0) / half, head[1::2].count(0) / half
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 and odd < 0.1 else ""


def _looks_chinese(data: bytes) -> bool:
    """Whether most bytes beyond ASCII come in pairs of the GB2312 range: Western text has them singly."""
    head = data[:20_000]
    pairs = position = singles = 0
    while position < len(head) - 1:
        if head[position] < 0x80:
            position += 1
        elif 0xA1 <= head[position] <= 0xF7 and head[position + 1] >= 0xA1:
            pairs, position = pairs + 1, position + 2
        else:
            singles, position = singles + 1, position + 1
    return pairs > 8 * max(singles, 1)
