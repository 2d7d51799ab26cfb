"""Headings of a Markdown file, whose text stays as it is in the file."""

from __future__ import annotations

import re

from ingest.types import Heading

_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_NO_PARAGRAPH = re.compile(r"^(?: {4}|\t| {0,3}(?:[-*+>|]|\d+[.)])\s| {0,3}#)")
_INLINE = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """ATX and setext headings (CommonMark 4.2, 4.3) outside code fences and front matter, page 1."""
    headings: list[Heading] = []
    fence = ""
    offset = 0
    previous, previous_offset = "", 0
    lines = text.splitlines(keepends=True)
    skip = _front_matter(lines)
    for number, raw in enumerate(lines):
        line = raw.rstrip("\r\n")
        mark = _FENCE.match(line)
        if number < skip:
            previous = ""
        elif fence:
            closing = mark and mark.group(1)[0] == fence[0] and len(mark.group(1)) >= len(fence)
            if closing and not line.strip().strip(fence[0]):
                fence = ""
            previous = ""
        elif mark:
            fence, previous = mark.group(1), ""
        elif atx := _ATX.match(line):
            title = plain_inline(atx.group(2) or "")
            if title:
                headings.append(Heading(1, offset, title, len(atx.group(1))))
            previous = ""
        elif previous.strip() and not _NO_PARAGRAPH.match(previous) and (setext := _SETEXT.match(line)):
            headings.append(Heading(1, previous_offset, plain_inline(previous), 1 if setext.group(1)[0] == "=" else 2))
            previous = ""
        else:
            previous, previous_offset = line, offset
        offset += len(raw)
    return tuple(headings)


def plain_inline(text: str) -> str:
    """A heading's words without links, emphasis and code marks."""
    return " ".join(_INLINE.sub(lambda match: match.group(1) or "", text).split())


def _front_matter(lines: list[str]) -> int:
    """Number of lines of a YAML block at the top."""
    if not lines or lines[0].strip() != "---":
        return 0
    for number, line in enumerate(lines[1:200], start=1):
        if line.strip() in ("---", "..."):
            return number + 1
    return 0
