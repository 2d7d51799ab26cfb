"""The title of a document: what finds the document before the page. Metadata are often rubbish, so they are judged."""

from __future__ import annotations

import re
from pathlib import PurePath

_RUBBISH = re.compile(
    r"^(?:untitled|document\d*|title|unknown|none|null|default|slide \d+|powerpoint presentation|\(?anonymous\)?|"
    r"united states|securities and exchange commission|united states securities and exchange commission|"
    r"annual report(?: on form 10-k)?|quarterly report|current report|table of contents|contents|abstract|"
    r"print(?:ing)?|layout \d+|full page|form\s?(?:10-?[kq]|8-?k|20-?f)(?:/a)?|10-?[kq]|8-?k|cover|index|home)$|"
    r"^microsoft (?:word|excel|powerpoint)\b|\.(?:docx?|pdf|indd|qxd|xlsx?|pptx?|tex|dvi|html?|rtf|fm|p65|txt|pages)$|"
    r"^[\d\W_]+$|^https?:|^file:|^[a-z]:\\|^/|^\d{10}-\d\d-\d{6}",
    re.IGNORECASE,
)
MAX_TITLE_CHARS = 200


def readable_file_name(name: str) -> str:
    """`3M_2022_10K.pdf` -> `3M 2022 10K`; never empty."""
    stem = PurePath(name).stem
    words = re.sub(r"[_+]+|(?<!\d)\.(?!\d)|%20", " ", stem)
    if " " not in words.strip():
        words = re.sub(r"(?<=[^\W\d_])-(?=[^\W_])|(?<=\d)-(?=[^\W\d_]{2})", " ", words)
    return " ".join(words.split()) or name


def sensible_title(title: str | None, name: str) -> str:
    """`title` cleaned if it says something that the file name does not, else an empty string."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in title or "").split()).strip(" -–—|_")
    squeezed = re.sub(r"[\W_]+", "", cleaned.lower())
    if len(squeezed) < 4 or len(cleaned) > MAX_TITLE_CHARS or _RUBBISH.search(cleaned):
        return ""
    if squeezed == re.sub(r"[\W_]+", "", PurePath(name).stem.lower()):
        return ""
    if " " not in cleaned and (re.search(r"\d", cleaned) or "_" in cleaned):
        return ""  # an identifier
    return cleaned if sum(map(str.isalpha, cleaned)) >= 0.5 * len(squeezed) else ""
