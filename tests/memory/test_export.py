"""A session as Markdown holds other people's words: documents, their names, what was asked. None of it runs."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from memory.export import _line, _shown

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![picture](https://evil.example/?q=1)",
    "[click][1]\n\n[1]: javascript:alert(1)",
    "[1]: https://evil.example",
    "<javascript:alert(1)>",
    "<https://evil.example>",
    "</title></textarea><svg/onload=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;b&#62;",
    "![a][b]",
    "text <!-- hidden --> text",
)


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_stands_in_documents_is_shown_and_does_nothing(attack: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    shows = markdown_it.MarkdownIt("commonmark", {"html": True})
    for markdown, asked in (
        (f"# {_line(attack)}\n", _line),
        (f"{_shown(attack)}\n", _shown),
        (f"- [1] {_line(attack)}", _line),
    ):
        page = Elements()
        page.feed(shows.render(markdown))
        assert set(page.seen) <= {"p", "h1", "ul", "li"}, (asked, page.seen)
        assert " ".join(attack.split()) in " ".join(page.text.split())  # in the very words


def test_markers_and_ordinary_text_stay_as_they_are() -> None:
    for text in ("The rent is 1,250 euros. [1] It was lower in 2020. [2]", "R&D costs 3 > 2 *and* more", "a_b [sic] c"):
        assert _shown(text) == text
