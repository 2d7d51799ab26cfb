"""Sentence ends for English-like and CJK text, by rules: quick enough for whole books, no model.

>>> text = "Mr. Hale paid $3.5 million to Acme Inc. in May. He left."
>>> [text[a:b] for a, b in sentence_spans(text)]
['Mr. Hale paid $3.5 million to Acme Inc. in May.', 'He left.']
"""

from __future__ import annotations

import itertools
import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Never end a sentence, whatever follows.
_TITLES = _set(
    "mr mrs ms dr prof rev hon st sr messrs gen col lt sgt capt gov sen rep fig figs eq eqs sec secs no nos vol "
    "vols pp ch art arts para paras ref refs vs cf viz e.g i.e eg ie al approx esp incl resp ca tel ext pt ed eds"
)
# End one only when what follows looks like a beginning.
_MAYBE = _set(
    "inc corp co ltd llc llp plc l.p n.a s.a n.v jr etc u.s u.k u.n e.u d.c a.m p.m ph.d m.d b.a m.a est dept "
    "univ assn bros ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun"
)
_OPENERS = _set(
    "the a an this that these those it its he she they we our i in on at for from as if when while although "
    "however during under such no each all both some any there here what which who how why where following after "
    "before since because but and or so thus therefore moreover furthermore additionally also to by with your you"
)
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？；]+[”’」』）]*|\n+")
_LAST_TOKEN = re.compile(r"[^\s(\[“\"‘']+$")
_NEXT_TOKEN = re.compile(r"\s*[\"'“‘(\[]*([^\s]+)")
_SECTION = re.compile(
    r"\s*(?:item|section|note|article|clause|chapter|part|schedule|exhibit|figure|table)\s+[\w.-]+$", re.IGNORECASE
)
_ENUMERATOR = re.compile(r"^\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]?$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Character ranges [start, end) of the sentences of `text`, in order, without surrounding white space.

    Every non-space character lies in exactly one. A newline ends a sentence, as page texts keep it only for headings,
    list items and rows of tables; in text whose paragraphs are wrapped at a width (plain text files, mails, Markdown)
    only blank lines and lines that begin an item do.
    """
    return _spans(text, newline_ends=not _is_wrapped(text))


def _is_wrapped(text: str) -> bool:
    """No long lines, and many lines of a usual width that go on in small letters on the next one."""
    lines = text[:20_000].split("\n")
    if len(lines) < 3 or max(map(len, lines)) > 140:
        return False
    wide = goes_on = 0
    for line, following in itertools.pairwise(lines):
        if len(line) >= 50 and following.strip():
            wide += 1
            goes_on += following.lstrip()[:1].islower()
    return goes_on >= 2 and goes_on >= 0.4 * wide


def _spans(text: str, *, newline_ends: bool) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        mark = match.group()
        if mark[0] == "\n":
            if not newline_ends and not _is_break(text, match.start(), match.end()):
                continue
        elif mark[0] in "。！？；":
            pass
        elif not _ends(text, start, match.start(), match.end(), mark):
            continue
        _append(spans, text, start, match.end())
        start = match.end()
    _append(spans, text, start, len(text))
    return spans


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        spans.append((start, end))


_ITEM = re.compile(r"[ \t]*(?:[-*+•●▪◦–—|#>]\s?|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s)")


def _is_break(text: str, start: int, end: int) -> bool:
    """Whether newlines at [start, end) of a wrapped file end a paragraph or a line that stands for itself."""
    if text.count("\n", start, end) > 1:
        return True
    stop = text.find("\n", end)  # no slice of what is left: each line would cost the length of the file
    following = text[end : stop if stop >= 0 else len(text)]
    if not following.strip() or _ITEM.match(following):
        return True
    line_start = text.rfind("\n", 0, start) + 1
    line = text[line_start:start]
    # a heading, a row of a table or code: short and not followed by a line that continues it
    return line.lstrip().startswith(("#", "|", "    ", "\t")) or (
        len(line.strip()) < 40 and not following[:1].islower()
    )


def _ends(text: str, start: int, dot: int, end: int, mark: str) -> bool:
    if mark[0] in "!?…" or len(mark.rstrip("\"'”’)]")) > 1:
        following = _NEXT_TOKEN.match(text, end)
        return following is None or not following.group(1)[:1].islower()
    before = _LAST_TOKEN.search(text, max(start, dot - 40), dot)
    word = before.group().lower() if before else ""
    following = _NEXT_TOKEN.match(text, end)
    if following is None:
        return True
    next_word = following.group(1)
    if next_word[:1].islower() or next_word[0] in ".,;:)]":
        return False  # the dots of "v1, v2, . . ., in the file" and of a table of contents
    if before is None and next_word[0].isdigit():
        return False  # the last of these dots, and the page
    if mark[-1] in "\"'”’)]":
        return True
    if word in _TITLES or (word == "p" and next_word[:1].isdigit()):
        return False
    if dot - start <= 24 and _SECTION.match(text, start, dot):
        return False  # "Item 1A. Risk factors"
    if before and before.start() <= start + 1 and _ENUMERATOR.match(word) and dot - start <= 6:
        return False  # "1. First item": the number belongs to what follows
    initial = len(word) == 1 and word.isalpha() and before is not None and before.group().isupper()
    if initial or word in _MAYBE or re.fullmatch(r"(?:[a-z]\.)+[a-z]", word):
        plain = re.sub(r"\W+$", "", next_word).lower()
        return plain in _OPENERS and next_word[:1].isupper()
    return True
