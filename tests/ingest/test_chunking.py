"""Chunks: nothing lost, nothing across headings or pages, cut at sentence ends, with the place they stand in."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from core.settings import IngestSettings
from ingest.chunking import _pack, _Sections, _Sentence, chunk_document
from ingest.readers import read_document
from ingest.sentences import sentence_spans
from ingest.token_counts import token_counter
from ingest.types import Chunk, Document, Heading, Page

FILINGS = Path(__file__).parents[2].parent / "shared" / "data" / "financebench" / "pdfs"
SETTINGS = IngestSettings()


def count_words(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


def document_of(
    *texts: str, headings: tuple[Heading, ...] = (), name: str = "lease.pdf", title: str = "Lease"
) -> Document:
    pages = tuple(Page(number, text) for number, text in enumerate(texts, start=1))
    return Document(name, "application/pdf", title, pages, headings)


def chunks_of(document: Document, settings: IngestSettings = SETTINGS) -> list[Chunk]:
    return chunk_document(document, "d1", count_tokens=count_words, settings=settings)


def check_invariants(document: Document, chunks: list[Chunk], settings: IngestSettings) -> None:
    texts = {page.number: page.text for page in document.pages}
    seen = {page.number: bytearray(len(page.text)) for page in document.pages}
    assert [chunk.chunk_id for chunk in chunks] == [f"d1:{i}" for i in range(len(chunks))]
    assert [chunk.page for chunk in chunks] == sorted(chunk.page for chunk in chunks)
    for chunk in chunks:
        assert chunk.text == texts[chunk.page][chunk.start : chunk.end] and chunk.text.strip()
        assert count_words(chunk.text) <= settings.chunk_tokens * 1.25 + 1
        seen[chunk.page][chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
        crossed = [h for h in document.headings if h.page == chunk.page and chunk.start < h.start < chunk.end]
        for heading in crossed:  # only a heading right under another one
            above = chunk.text[: heading.start - chunk.start]
            assert len(above) < 300 and any(h.start == chunk.start for h in document.headings if h.page == chunk.page)
    for number, text in texts.items():
        assert all(flag or c.isspace() for flag, c in zip(seen[number], text, strict=True))


SENTENCE = st.text(st.sampled_from("abc de ABC 12,.5!?\n。é"), min_size=1, max_size=200)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.lists(SENTENCE, max_size=12).map(" ".join), min_size=1, max_size=3),
    tokens=st.integers(32, 80),
    overlap=st.integers(0, 40),
    places=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2000), st.integers(1, 4)), max_size=6),
)
def test_nothing_is_lost_and_no_chunk_is_too_long(texts, tokens, overlap, places) -> None:
    headings = tuple(
        Heading(page, start, texts[page - 1][start : start + 10].split("\n")[0] or "x", level)
        for page, start, level in sorted(set(places))
        if page <= len(texts) and start < len(texts[page - 1])
    )
    document = document_of(*texts, headings=headings)
    settings = IngestSettings(chunk_tokens=tokens, overlap_tokens=overlap)
    check_invariants(document, chunks_of(document, settings), settings)


def long_text(sentences: int, seed: int = 0) -> str:
    chooser = random.Random(seed)
    made = []
    for number in range(sentences):
        words = [
            chooser.choice(["the", "tenant", "pays", "rent", "and", "the", "landlord", "repairs", "roofs"])
            for _ in range(14)
        ]
        made.append(f"Clause {number} {' '.join(words)}.")
    return " ".join(made)


def test_chunks_end_at_sentence_ends_and_share_whole_sentences() -> None:
    text = long_text(100)
    chunks = chunks_of(document_of(text))
    assert all(chunk.text.startswith("Clause") and chunk.text.endswith(".") for chunk in chunks)
    assert 150 <= sum(count_words(c.text) for c in chunks[:-1]) / (len(chunks) - 1) <= 200
    for before, after in pairwise(chunks):
        assert before.start < after.start < before.end < after.end
        assert 30 <= count_words(text[after.start : before.end]) <= 60


def test_tokens_are_counted_about_once_a_sentence() -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return count_words(text)

    text = long_text(400)
    chunk_document(document_of(text), "d1", count_tokens=count, settings=SETTINGS)
    assert counted <= 1.1 * len(text)


def test_the_rest_of_a_page_joins_the_chunk_before() -> None:
    text = long_text(12) + " The end."
    (last,) = chunks_of(document_of(text))[-1:]
    assert last.text.endswith("The end.") and count_words(last.text) > 100


def test_context_names_document_and_open_section_also_from_earlier_pages() -> None:
    pages = ["Part One\nRent\n" + long_text(20), long_text(20, 1), "Repairs\n" + long_text(3, 2)]
    headings = (Heading(1, 0, "Part One", 1), Heading(1, 9, "Rent", 2), Heading(3, 0, "Repairs", 2))
    chunks = chunks_of(document_of(*pages, headings=headings))
    assert {c.context for c in chunks if c.page < 3} == {"Lease > Part One > Rent"}
    assert {c.context for c in chunks if c.page == 3} == {"Lease > Part One > Repairs"}
    assert chunks[0].text.startswith("Part One\nRent\n")  # a bare heading goes with the next one


def test_context_adds_the_file_name_where_it_says_more_than_the_title() -> None:
    document = document_of("Net sales 34,229", name="3M_2022_10K.pdf", title="3M Company")
    assert chunks_of(document)[0].context == "3M Company (3M 2022 10K)"


def test_rows_far_down_a_table_carry_the_title_of_their_statement() -> None:
    rows = "\n".join(f"Item number {i} of the statement $ {i * 17 % 9973} {i * 31 % 9973}" for i in range(60))
    chunks = chunks_of(document_of(f"CONSOLIDATED BALANCE SHEETS\n(in millions)\n\n{rows}"))
    assert len(chunks) > 2
    assert all(c.context.endswith("CONSOLIDATED BALANCE SHEETS (in millions)") for c in chunks[1:])
    assert all(line in rows or line.startswith(("CONS", "(in")) for c in chunks for line in c.text.split("\n"))


@pytest.mark.skipif(not FILINGS.is_dir(), reason="../shared/data/financebench is not here")
def test_chunks_of_a_real_filing() -> None:
    document = read_document(FILINGS / "AMAZON_2019_10K.pdf", settings=SETTINGS)
    chunks = chunks_of(document)
    check_invariants(document, chunks, SETTINGS)
    sizes = [count_words(chunk.text) for chunk in chunks]
    assert sum(size < 40 for size in sizes) < 0.15 * len(sizes)
    assert all("AMAZON" in chunk.context and "2019" in chunk.context for chunk in chunks)
    operations = next(chunk for chunk in chunks if "Total net sales 177,866" in chunk.text)
    assert "CONSOLIDATED STATEMENTS OF OPERATIONS" in operations.context + operations.text


# -- sentences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mr. Hale paid $3.5 million to Acme Inc. in May.", "He left."],
        ["The U.S. Government sued.", "See Fig. 3 and Sec. 2.1 for details.", "It won!"],
        ["Sales rose 4.2% vs. 3.1% in 2021.", "In the U.S. we grew.", "Is that all?", "Yes."],
        ["He works for Apple Inc.", "The company is in California."],
        ["“It is due.”", "She said so (cf. p. 12)."],
        ["合同期限为五年。", "租金按月支付！", "可以续租吗？", "可以。"],
        ["Item 1. Business", "We sell tools, e.g. hammers, i.e. hand tools."],
        ["J. P. Morgan founded it.", "A. Smith et al. wrote about it."],
        ["Total assets $ 3,841 $ 3,743", "Total liabilities 1.5 2.5", "(1) Restated."],
        ["1. The tenant pays.", "2. The landlord repairs."],
        ["The meeting was at 5 p.m. on Friday.", "Then we left."],
        ["Wait... what happened?", "Nothing."],
        ["Save the variables v1, v2, . . ., in the file.", "It is new."],
        ["3.1 The package name . . . . . . . 13"],
    ],
)
def test_sentences_are_found(sentences: list[str]) -> None:
    rows = sentences[0].startswith(("Total", "Item"))
    text = ("\n" if rows else "" if "合" in sentences[0] else " ").join(sentences)
    assert [text[a:b] for a, b in sentence_spans(text)] == sentences


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("ab AB.!?\n 。12（)\"'…,"), max_size=300))
def test_every_character_lies_in_exactly_one_sentence(text: str) -> None:
    spans = sentence_spans(text)
    assert all(a < b for a, b in spans) and all(x[1] <= y[0] for x, y in pairwise(spans))
    covered = "".join(text[a:b] for a, b in spans)
    assert re.sub(r"\s", "", covered) == re.sub(r"\s", "", text)


def test_paragraphs_wrapped_at_a_width_are_not_cut_at_line_ends() -> None:
    text = (
        "The tenant shall pay the rent on the first day of each month to the\nlandlord or to whom the landlord names, "
        "and shall not\nwithhold any part of it without the written consent of\nthe landlord. The landlord repairs.\n\n"
        "- roofs\n- walls\n"
    )
    found = [" ".join(text[a:b].split()) for a, b in sentence_spans(text)]
    assert found[0].startswith("The tenant") and found[0].endswith("consent of the landlord.")
    assert found[1:] == ["The landlord repairs.", "- roofs", "- walls"]


# -- long files --------------------------------------------------------------------------------------------------------


class CountingText(str):
    """A text that notes how many characters are copied out of it."""

    copied = 0

    def __getitem__(self, place: object) -> str:
        part = CountingText(super().__getitem__(place))  # type: ignore[index]
        CountingText.copied += len(part)
        return part


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_ten_times_as_long_costs_ten_times_the_copying(wrapped: bool) -> None:
    """The cost of a line must not grow with what follows it: files of tens of megabytes are one page."""
    paragraph = long_text(5, 3)
    if wrapped:
        paragraph = "\n".join(textwrap.wrap(paragraph, 70))

    def copied(paragraphs: int) -> int:
        text = CountingText("\n\n".join([paragraph] * paragraphs))
        CountingText.copied = 0
        document = Document("a.txt", "text/plain", "A", (Page(1, text),))
        assert len(chunks_of(document)) >= paragraphs / 4
        return CountingText.copied

    assert copied(400) < 12 * copied(40)


class CountingList(list[_Sentence]):
    """A list that notes how many of its items were asked for."""

    asked = 0

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        CountingList.asked += len(part) if isinstance(place, slice) else 1
        return part


def test_packing_looks_at_each_sentence_a_few_times() -> None:
    sentences = CountingList(_Sentence(10 * i, 10 * i + 9, 20) for i in range(3000))
    CountingList.asked = 0
    assert len(_pack(sentences, 200, 60)) > 300
    assert CountingList.asked <= 10 * len(sentences)


def test_a_word_of_megabytes_is_cut() -> None:
    """Tokenisers take a word beyond all measure for one unknown token; a passage of megabytes helps nobody."""
    chunks = chunk_document(document_of("7" * 200_000), "d1", count_tokens=lambda text: 1, settings=SETTINGS)
    assert "".join(chunk.text for chunk in chunks) == "7" * 200_000
    assert max(len(chunk.text) for chunk in chunks) <= 100 * SETTINGS.chunk_tokens * 1.25 + 100


PIECES = [
    "the",
    "rent",
    "rents",
    "[SEP]",
    "[UNK]",
    "un-known",
    "xqzj",
    "$5.00",
    "é",
    "\x01",
    "中",
    "_",
    "#",
    "A",
    "\x0b",
]


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " ", "\n"]))
def test_tokens_counted_word_by_word_are_those_of_the_tokeniser(pieces: list[str], between: str) -> None:
    whole, quick = tiny_wordpiece()
    text = between.join(pieces)
    assert quick(text) == len(whole.encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=1)
def tiny_wordpiece() -> tuple[Tokenizer, Callable[[str], int]]:
    """BERT's tokeniser over letters, a few words and two-letter pieces."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), "the", "rent", "##ab"]
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    return tokenizer, token_counter(tokenizer)


_LINES = (
    "# A",
    "## A longer title",
    "### ",
    "Some words of text.",
    "",
    "   ",
    "# Title\t",
    "x",
    "* an item",
    "text " * 9,
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(_LINES), max_size=40))
def test_headings_right_below_each_other_open_one_stretch(lines: list[str]) -> None:
    """As told by the text between them, read anew for each; thousands of them must not be (a file may hold as many)."""
    text, headings, position = "\n".join(lines), [], 0
    for line in lines:
        if line.startswith("#") and line.strip("# "):
            headings.append(Heading(1, position, line.strip("# \t"), line.count("#")))
        position += len(line) + 1
    page = Page(1, text)
    document = Document("d.md", "text/markdown", "d", (page,), tuple(headings))
    edges = [(0, -1)]
    for heading in headings:
        previous, anchor = edges[-1]
        above = text[previous : heading.start].strip()
        titles = sum(len(h.title) + 2 for h in headings if previous <= h.start < heading.start)
        bare = not above or (anchor >= 0 and len(above) <= titles + 4)
        edges[-1 if bare else len(edges) :] = [(previous if bare else heading.start, heading.start)]
    stops = [start for start, _ in edges[1:]] + [len(text)]
    expected = [(start, stop, anchor) for (start, anchor), stop in zip(edges, stops, strict=True)]
    assert _Sections(document).stretches(page) == expected
