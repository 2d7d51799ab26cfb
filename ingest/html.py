"""HTML files to one page of text: blocks become lines, rows of tables one line each, what is not shown is dropped."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from core.errors import DocumentError
from ingest.decoding import decode_text
from ingest.types import Heading


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_HIDDEN = _set(
    "script style noscript template head svg math canvas iframe object embed audio video button select option "
    "input textarea dialog"
)
_CHROME = frozenset(("nav", "footer", "aside"))  # dropped only where a main part is marked
_BLOCKS = _set(
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form h1 "
    "h2 h3 h4 h5 h6 header hgroup hr html li main nav ol p pre section summary table tbody tfoot thead tr ul "
    "caption"
)
_PARAGRAPHS = _set("p h1 h2 h3 h4 h5 h6 table ul ol dl blockquote pre figure section article")
_CELLS = frozenset(("td", "th"))
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
# libxml2 gives up below some 2,000 levels of elements: without these tags nothing is nested that deep.
_NESTING = re.compile(r"</?(?:div|span|section|article|blockquote|font|center|b|i|em|strong|ul|ol|li)\b[^>]*>", re.I)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)


class _Writer:
    """Collects text with white space as a browser lays it out: runs collapse, breaks do not pile up."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self._breaks = 0  # newlines owed before the next text
        self._space = False

    def write(self, text: str) -> None:
        self._put("\n" * min(self._breaks, 2) if self.length else "")
        if not self._breaks and self._space and self.length:
            self._put(" ")
        self._breaks, self._space = 0, False
        self._put(text)

    def _put(self, text: str) -> None:
        if text:
            self.parts.append(text)
            self.length += len(text)

    def flow(self, text: str) -> None:
        words = text.split()
        if not words:
            self._space = self._space or bool(text)
            return
        self._space = self._space or text[0].isspace()
        self.write(" ".join(words))
        self._space = text[-1].isspace()

    def lines(self, text: str) -> None:
        for number, line in enumerate(text.expandtabs(4).split("\n")):
            if number:
                self._breaks = min(self._breaks + 1, 2)
            if line.strip():
                self.write(line.rstrip())

    def break_line(self, count: int = 1) -> None:
        self._breaks = max(self._breaks, count)

    def next_start(self) -> int:
        """Offset of the next text if it were written now."""
        return self.length + (min(self._breaks, 2) if self.length else 0)


def read_html(data: bytes, *, name: str) -> tuple[str, tuple[Heading, ...], dict[str, Any]]:
    """(text, headings, metadata with `title`, `author`, `date`, `description` where stated). Raises DocumentError."""
    root = _parse(data, name)
    metadata = _metadata(root)
    main = _main_part(root)
    writer, headings = _Writer(), list[Heading]()
    open_heading: tuple[int, int, list[str]] | None = None  # level, part count, (start filled when text comes)
    skip_until: Any = None
    pre_depth = 0
    first_cell = True
    heading_start = -1
    for event, element in etree.iterwalk(main, events=("start", "end", "comment", "pi")):
        tag = element.tag if isinstance(element.tag, str) else ""
        if event in ("comment", "pi"):
            if skip_until is None and element.tail:
                writer.flow(element.tail)
            continue
        if event == "start":
            if skip_until is not None:
                continue
            if tag in _HIDDEN or _is_hidden(element) or (tag in _CHROME and main is not root):
                skip_until = element
                continue
            if tag == "br":
                writer.break_line()
            elif tag in _BLOCKS:
                writer.break_line(2 if tag in _PARAGRAPHS else 1)
            if tag == "tr":
                first_cell = True
            elif tag in _CELLS:
                if not first_cell and writer._breaks == 0:
                    writer.flow(" | ")
                first_cell = False
            elif tag == "li":
                writer.write("- ")
            elif tag == "pre":
                pre_depth += 1
            elif re.fullmatch("h[1-6]", tag):
                open_heading, heading_start = (int(tag[1]), len(writer.parts), []), writer.next_start()
            if element.text:
                writer.lines(element.text) if pre_depth else writer.flow(element.text)
            continue
        if skip_until is not None:
            if element is not skip_until:
                continue
            skip_until = None
        else:
            if open_heading is not None and tag == f"h{open_heading[0]}":
                title = " ".join("".join(writer.parts[open_heading[1] :]).split())
                if title:
                    headings.append(Heading(1, heading_start, title[:200], open_heading[0]))
                open_heading = None
            if tag == "pre":
                pre_depth -= 1
            if tag in _BLOCKS:
                writer.break_line(2 if tag in _PARAGRAPHS else 1)
        if element is not main and element.tail:
            writer.lines(element.tail) if pre_depth else writer.flow(element.tail)
    return "".join(writer.parts), tuple(headings), metadata


def _parse(data: bytes, name: str) -> Any:
    declared = _CHARSET.search(data[:4096])
    text = ""
    if declared:
        try:
            text = data.decode(declared.group(1).decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            text = ""
    text = text or decode_text(data, name=name)
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.replace("\x00", ""))  # lxml refuses an encoding in decoded text
    parser = lxml_html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    for markup in (text, _NESTING.sub("<p>", text)):
        try:
            root = lxml_html.document_fromstring(markup.encode("utf-8", "replace"), parser=parser)
        except (etree.ParserError, etree.XMLSyntaxError, ValueError):
            continue
        if not any("depth" in entry.message for entry in parser.error_log):
            return root
    raise DocumentError(f"{name} holds no HTML text", remedy="Check that the file was saved whole")


def _main_part(root: Any) -> Any:
    """<main> or the only <article> when it carries most of the text, else everything."""
    for xpath in ("//main", "//*[@role='main']", "//article"):
        found = root.xpath(xpath)
        if len(found) == 1 and len(" ".join(found[0].itertext())) > 400:
            return found[0]
    return root


def _is_hidden(element: Any) -> bool:
    if "hidden" in element.attrib or element.get("aria-hidden") == "true":
        return True
    style = element.get("style")
    return bool(style and _INVISIBLE.search(style))


def _metadata(root: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    title = root.findtext(".//title")
    if title and title.strip():
        found["title"] = " ".join(title.split())[:300]
    wanted = {
        "author": "author",
        "description": "description",
        "date": "date",
        "article:published_time": "date",
        "dc.date": "date",
        "dc.creator": "author",
    }
    for meta in root.iterfind(".//meta"):
        key = wanted.get((meta.get("name") or meta.get("property") or "").lower())
        content = " ".join((meta.get("content") or "").split())
        if key and content:
            found.setdefault(key, content[:500])
    return found
