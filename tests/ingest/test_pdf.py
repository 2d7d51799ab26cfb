"""PDFs: reading order, what is mended and dropped, and above all that offsets lead back to the sheet."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pypdf
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_pdfs import PAGE, make_pdf, prose, set_column, turned
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from core.settings import IngestSettings
from ingest.boxes import boxes_for_range
from ingest.pdf import render_page
from ingest.readers import read_document
from ingest.types import Document, Page

FILINGS = Path(__file__).parents[2].parent / "shared" / "data" / "financebench" / "pdfs"
SETTINGS = IngestSettings()
needs_filings = pytest.mark.skipif(not FILINGS.is_dir(), reason="../shared/data/financebench is not here")


def read(path: Path) -> Document:
    return read_document(path, settings=SETTINGS)


@functools.cache
def filing(name: str) -> Document:
    return read(FILINGS / name)


def line_of(page: Page, words: str) -> str:
    """The line of the page's text that contains `words`."""
    return next(line for line in page.text.split("\n") if words in line)


def ink(path: Path, number: int, scale: float = 2.0) -> np.ndarray:
    """(height, width) bool: dark pixels of the rendered page, row 0 at the top."""
    return np.asarray(render_page(path, number, scale=scale).convert("L")) < 128


def covered(
    shape: tuple[int, int], boxes: list[tuple[float, ...]], scale: float = 2.0, slack: float = 2.0
) -> np.ndarray:
    """Pixels inside any of the boxes (points, origin bottom left), widened by `slack` points."""
    mask = np.zeros(shape, bool)
    for x0, y0, x1, y1 in boxes:
        rows = slice(max(0, int(shape[0] - (y1 + slack) * scale)), max(0, int(shape[0] - (y0 - slack) * scale)))
        mask[rows, max(0, int((x0 - slack) * scale)) : max(0, int((x1 + slack) * scale))] = True
    return mask


def two_column_paper(canvas: Canvas) -> None:
    canvas.setFont("Times-Bold", 18)
    canvas.drawCentredString(306, 730, "On the Renewal of Leases")
    below = set_column(canvas, ["Abstract:", *prose(1, 60)], 90, 700, 430)
    left = set_column(canvas, prose(2, 150), 54, below - 24, 240)
    set_column(canvas, prose(3, 150), 318, below - 24, 240)
    assert left > 60


def test_columns_are_read_one_after_the_other_below_a_title_that_spans_them(tmp_path: Path) -> None:
    document = read(make_pdf(tmp_path / "paper.pdf", [two_column_paper]))
    flat = " ".join(document.pages[0].text.split())
    for seed, words in ((1, 60), (2, 150), (3, 150)):
        assert " ".join(prose(seed, words)) in flat
    assert flat.index("marker1") < flat.index("marker2") < flat.index("marker3")
    assert document.title == "On the Renewal of Leases"


def test_three_columns_and_columns_whose_lines_do_not_align(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        for column, (x, top) in enumerate(((40, 740), (230, 735), (420, 729))):
            set_column(canvas, prose(column + 1, 120), x, top, 160)

    flat = " ".join(read(make_pdf(tmp_path / "three.pdf", [draw])).pages[0].text.split())
    for seed in (1, 2, 3):
        assert " ".join(prose(seed, 120)) in flat


STATEMENT = [
    ("Net sales", "34,229", "35,355", "32,184"),
    ("Cost of sales", "19,232", "18,795", "16,605"),
    ("Selling, general and administrative expenses", "9,049", "7,197", "6,929"),
    ("Research, development and related expenses", "1,862", "1,994", "1,878"),
    ("Operating income", "6,539", "7,369", "7,161"),
    ("Provision for income taxes", "612", "1,285", "1,337"),
]


@pytest.mark.parametrize("by_column", [False, True], ids=["drawn by rows", "drawn by columns"])
def test_rows_of_a_statement_stay_on_one_line_whatever_order_they_are_drawn_in(tmp_path: Path, by_column: bool) -> None:
    cells = [(r, c) for r in range(len(STATEMENT)) for c in range(4)]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        for r, c in sorted(cells, key=lambda rc: rc[::-1]) if by_column else cells:
            y = 700 - 13 * r
            canvas.drawString(60, y, STATEMENT[r][0]) if c == 0 else canvas.drawRightString(
                330 + 80 * c, y, STATEMENT[r][c]
            )

    page = read(make_pdf(tmp_path / "statement.pdf", [draw])).pages[0]
    assert [line for line in page.text.split("\n") if line] == [" ".join(row) for row in STATEMENT]


def test_a_table_above_two_columns_is_read_in_rows_and_the_columns_are_not(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 9)
        for r, row in enumerate(STATEMENT):
            canvas.drawString(54, 740 - 13 * r, row[0])
            for c in (1, 2, 3):
                canvas.drawRightString(320 + 75 * c, 740 - 13 * r, row[c])
        set_column(canvas, prose(2, 140), 54, 640, 240)
        set_column(canvas, prose(3, 140), 318, 640, 240)

    page = read(make_pdf(tmp_path / "mixed.pdf", [draw])).pages[0]
    lines = page.text.split("\n")
    assert all(" ".join(row) in lines for row in STATEMENT)
    assert all(" ".join(prose(seed, 140)) in " ".join(page.text.split()) for seed in (2, 3))


def lease_page(number: int, *, header: str = "Lease of the Mill House", pages: int = 8):
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Italic", 9)
        canvas.drawString(72, 760, header)
        canvas.drawCentredString(306, 30, f"Page {number} of {pages}")
        set_column(canvas, prose(number, 200), 72, 720, 468)
        canvas.drawString(72, 300, f"{1000 + number * 37}")  # a figure that stands alone in the body

    return draw


def test_running_headers_and_page_numbers_go_and_the_body_stays(tmp_path: Path) -> None:
    document = read(make_pdf(tmp_path / "lease.pdf", [lease_page(n) for n in range(1, 9)]))
    for page in document.pages:
        assert "Mill House" not in page.text
        assert "Page " not in page.text
        assert f"marker{page.number}" in page.text
        assert str(1000 + page.number * 37) in page.text
    assert [page.label for page in document.pages] == [str(n) for n in range(1, 9)]


def test_running_titles_that_change_go_with_the_page_number_beside_them(tmp_path: Path) -> None:
    """As manuals have them: the chapter on the left page, the section on the right one, each with the page's number."""

    def page(number: int):
        def draw(canvas: Canvas) -> None:
            canvas.setFont("Times-Roman", 10)
            left = f"{number + 10} Chapter {number // 3}. The wheel"
            right = f"{number // 3}.{number % 3}. Parts of it {number + 10}"
            canvas.drawString(72, 30, right if number % 2 else left)
            canvas.drawString(72, 740, f"Depth of the mill race in feet {(number * 7919) % 97}")
            set_column(canvas, prose(number, 200), 72, 700, 468)

        return draw

    document = read(make_pdf(tmp_path / "manual.pdf", [page(n) for n in range(1, 9)]))
    assert not [p.number for p in document.pages if "wheel" in p.text or "Parts of it" in p.text]
    assert all("Depth of the mill race" in p.text and f"marker{p.number}" in p.text for p in document.pages)
    assert [p.label for p in document.pages] == [str(n + 10) for n in range(1, 9)]


def test_the_dots_of_a_table_of_contents_take_no_room_and_its_entries_keep_their_lines(tmp_path: Path) -> None:
    entries = [("1.1 The parties", 3), ("1.2 The rent and how it is paid", 14), ("1.3 Repairs", 27)]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Roman", 10)
        for row, (entry, page) in enumerate(entries):
            canvas.drawString(72, 700 - 13 * row, f"{entry}{' .' * (90 - len(entry))} {page}")
        canvas.drawString(72, 500, "Signature: ______________________ (the variables v1, v2, . . ., vn)")

    page = read(make_pdf(tmp_path / "contents.pdf", [draw])).pages[0]
    assert page.text.split("\n")[:3] == [f"{entry} .... {number}" for entry, number in entries]
    assert "______________________" in page.text and "v2, . . ., vn" in page.text
    start = page.text.index("14")
    ((left, _, right, _),) = boxes_for_range(page, start, start + 2)
    dots = page.text.index("....")
    ((begin, _, end, _),) = boxes_for_range(page, dots, dots + 4)
    assert end - begin > 5 * (right - left)


def test_what_stands_on_each_page_of_a_short_document_is_dropped(tmp_path: Path) -> None:
    document = read(make_pdf(tmp_path / "short.pdf", [lease_page(n) for n in (1, 2, 3)]))
    assert not any("Mill House" in page.text or f"Page {page.number} of" in page.text for page in document.pages)
    assert all(f"marker{page.number}" in page.text for page in document.pages)


def test_the_heads_of_a_table_that_goes_on_over_two_pages_are_no_running_header(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 10)
        for row in range(40):
            cells = ("Tool", "Price") if not row else (f"Chisel {row}", f"{row}.50")
            canvas.drawString(72, 780 - 16 * row, cells[0])
            canvas.drawString(300, 780 - 16 * row, cells[1])

    document = read(make_pdf(tmp_path / "prices.pdf", [draw, draw]))
    assert all(page.text.startswith("Tool Price\n") for page in document.pages)


def test_first_lines_that_differ_or_hold_figures_are_no_headers(tmp_path: Path) -> None:
    def page(number: int):
        def draw(canvas: Canvas) -> None:
            canvas.setFont("Helvetica", 10)
            canvas.drawString(72, 760, f"Unit {(number * 7919) % 97} rent {(number * 104729) % 9973}")
            set_column(canvas, prose(number, 120), 72, 720, 468)

        return draw

    document = read(make_pdf(tmp_path / "units.pdf", [page(n) for n in range(1, 9)]))
    assert all(p.text.startswith(f"Unit {(p.number * 7919) % 97} rent") for p in document.pages)


def test_marks_of_notes_leave_the_sentence_and_powers_stay_powers(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        text = canvas.beginText(72, 700)
        text.setFont("Times-Roman", 11)
        for words, mark in (
            ("The rent is due each month.", "3"),
            (" The deposit", "12"),
            (", as agreed, covers 40 m", "2"),
            (" and at most 10", "−6"),
            (" of it is kept until the 1", "st"),
        ):
            text.setFont("Times-Roman", 11)
            text.textOut(words)
            text.setFont("Times-Roman", 7)
            text.setRise(4)
            text.textOut(mark.replace("−", "-"))
            text.setRise(0)
        canvas.drawText(text)

    page = read(make_pdf(tmp_path / "marks.pdf", [draw])).pages[0]
    assert page.text.strip() == (
        "The rent is due each month. The deposit, as agreed, covers 40 m² and at most 10⁻⁶ of it is kept until the 1st"
    )
    start = page.text.index("deposit")
    ((x0, _, x1, _),) = boxes_for_range(page, start, start + len("deposit"))
    width = pdfmetrics.stringWidth("deposit", "Times-Roman", 11)
    assert x1 - x0 == pytest.approx(width, abs=8)  # with the mark at most


def test_a_footnote_that_begins_with_a_small_mark_flows_on(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        set_column(canvas, prose(5, 120), 72, 700, 460, size=11, leading=14)
        canvas.setFont("Times-Roman", 6)
        canvas.drawString(72, 102, "1")
        canvas.setFont("Times-Roman", 9)
        first = "A tenant who leaves before the term has ended owes what the landlord loses, as far as the rent a new"
        canvas.drawString(78, 99, first)
        canvas.drawString(72, 89, "tenant does not make up for it within the year.")

    page = read(make_pdf(tmp_path / "footnote.pdf", [draw])).pages[0]
    assert "as far as the rent a new tenant does not make up for it" in page.text


def test_rows_whose_first_cell_is_a_short_word_keep_their_lines(tmp_path: Path) -> None:
    rows = [
        ("cat", "Utility to join files and write them to the output"),
        ("cp", "Utility to copy files and directories"),
    ]
    rows += [
        ("date", "Utility to print or to set the system's date"),
        ("dd", "Utility to convert and copy a single file"),
    ]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Roman", 10)
        for i, (name, what) in enumerate(rows):
            canvas.drawString(72, 700 - 16 * i, name)
            canvas.drawString(240, 700 - 16 * i, what)
        canvas.setFont("Courier", 9)
        for i, figures in enumerate(("0.2249894 0.6034277 0.8944541", "0.0546614 0.0817540 0.1521416")):
            canvas.drawString(72, 600 - 12 * i, f"{('count_of_all_tenants', 'share_of_the_tenants')[i]} {figures}")

    text = read(make_pdf(tmp_path / "rows.pdf", [draw])).pages[0].text
    for name, what in rows:
        assert f"{name} {what}" in text.split("\n")
    assert "share_of_the_tenants 0.0546614 0.0817540 0.1521416" in text.split("\n")


def test_a_table_of_contents_in_two_columns_is_read_column_by_column(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Roman", 9)
        for column, left in enumerate((54, 318)):
            for i in range(20):
                y = 700 - 12 * i - 2 * column
                canvas.drawString(left, y, f"{column + 1}.{i + 1}")
                canvas.drawString(left + 24, y, f"How do I renew the lease number {i + 1}" + " ." * 12)
                canvas.drawRightString(left + 240, y, str(i + 1))

    text = read(make_pdf(tmp_path / "contents.pdf", [draw])).pages[0].text
    places = [text.index(f"{column}.{i} How") for column in (1, 2) for i in range(1, 21)]
    assert places == sorted(places)


def test_accents_set_as_characters_of_their_own_join_their_letters(tmp_path: Path) -> None:
    pdfmetrics.registerFont(TTFont("Vera", "Vera.ttf"))

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Vera", 12)
        canvas.drawString(
            72, 700, "Ma\u00a8\u0131eul and Fran\u00b8cois of the Universit\u00b4e agreed; x\u02c6 is a hat"
        )

    text = read(make_pdf(tmp_path / "accents.pdf", [draw])).pages[0].text
    assert "Maïeul and François of the Université agreed" in text and "x\u02c6 is" in text


def test_words_broken_at_line_ends_are_mended_and_compounds_keep_their_hyphen(tmp_path: Path) -> None:
    lines = [
        "The committee considered every long-term obligation of the lessee and the recon-",
        "struction of the premises, which the parties had described as a question of long-",
        "term value in the annexed schedule and for which the landlord gave his consent.",
    ]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Roman", 11)
        for i, line in enumerate(lines):
            canvas.drawString(72, 700 - 14 * i, line)

    path = make_pdf(tmp_path / "hyphens.pdf", [draw])
    page = read(path).pages[0]
    assert "the reconstruction of the premises" in page.text
    assert "question of long-term value" in page.text
    start = page.text.index("reconstruction")
    upper, lower = boxes_for_range(page, start, start + len("reconstruction"))
    assert upper[0] > 400 and lower[0] == pytest.approx(72, abs=1)  # its two halves on their own lines
    assert upper[1] - lower[1] == pytest.approx(14, abs=0.5)


def test_ligatures_become_letters_and_keep_their_boxes(tmp_path: Path) -> None:
    pdfmetrics.registerFont(TTFont("Vera", "Vera.ttf"))

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Vera", 12)
        canvas.drawString(72, 700, "The \ufb01nal \ufb02oor o\ufb03ce of the \ufb01rm is here")

    path = make_pdf(tmp_path / "ligatures.pdf", [draw])
    page = read(path).pages[0]
    assert "The final floor" in page.text and "the firm is here" in page.text
    start = page.text.index("here")
    ((x0, _, x1, _),) = boxes_for_range(page, start, start + 4)
    columns = np.flatnonzero(ink(path, 1).any(axis=0)) / 2
    assert x1 == pytest.approx(columns.max(), abs=2) and x0 == pytest.approx(
        x1 - pdfmetrics.stringWidth("here", "Vera", 12), abs=2
    )


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (40, 60, 560, 770)], ids=["whole", "cropped"])
def test_boxes_lie_on_the_ink_of_the_page_as_shown(tmp_path: Path, degrees: int, crop) -> None:
    """Every word's box holds ink of the rendered page, and no ink lies outside all boxes."""
    plain = make_pdf(tmp_path / "plain.pdf", [two_column_paper])
    path = turned(plain, tmp_path / "turned.pdf", degrees=degrees, crop=crop)
    page = read(path).pages[0]
    dark = ink(path, 1)
    assert dark.shape == pytest.approx((page.height * 2, page.width * 2), abs=2)
    assert " ".join(prose(2, 150)) in " ".join(page.text.split())  # rotation does not change the reading
    boxes = [tuple(box) for box in page.word_boxes.tolist()]
    assert not (dark & ~covered(dark.shape, boxes)).any()
    assert all((dark & covered(dark.shape, [box], slack=0)).any() for box in boxes)


def test_a_landscape_table_set_sideways_on_an_upright_page_is_read_in_rows(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.rotate(90)
        canvas.setFont("Helvetica", 9)
        for r, row in enumerate(STATEMENT):
            canvas.drawString(60, -100 - 13 * r, row[0])
            for c in (1, 2, 3):
                canvas.drawRightString(330 + 80 * c, -100 - 13 * r, row[c])

    path = make_pdf(tmp_path / "sideways.pdf", [draw])
    page = read(path).pages[0]
    assert [line for line in page.text.split("\n") if line] == [" ".join(row) for row in STATEMENT]
    dark = ink(path, 1)
    assert not (dark & ~covered(dark.shape, boxes_for_range(page, 0, len(page.text)))).any()


def test_headings_come_from_the_outline_or_else_from_type(tmp_path: Path) -> None:
    def chapter(number: int, outline: bool):
        def draw(canvas: Canvas) -> None:
            canvas.setFont("Helvetica-Bold", 16)
            canvas.drawString(72, 720, f"{number}. Obligations of party {number}")
            if outline:
                canvas.bookmarkPage(f"c{number}")
                canvas.addOutlineEntry(f"Obligations of party {number}", f"c{number}", level=0)
            below = set_column(canvas, prose(number, 80), 72, 690, 468)
            canvas.setFont("Helvetica-Bold", 10)
            canvas.drawString(72, below - 20, "Repairs and alterations")
            set_column(canvas, prose(10 + number, 80), 72, below - 40, 468)

        return draw

    for outline in (False, True):
        path = make_pdf(tmp_path / f"outline{outline}.pdf", [chapter(n, outline) for n in (1, 2, 3)])
        document = read(path)
        found = [(h.page, h.title.split(". ")[-1]) for h in document.headings]
        assert found == [(n, t) for n in (1, 2, 3) for t in (f"Obligations of party {n}", "Repairs and alterations")]
        for heading in document.headings:
            assert document.pages[heading.page - 1].text[heading.start :].startswith(("1.", "2.", "3.", "Repairs"))
        assert document.headings[0].level < document.headings[1].level


def test_what_is_filled_into_a_form_is_read_where_it_is_shown(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        set_column(canvas, prose(1, 60), 72, 700, 468)
        canvas.drawString(72, 500, "Name of tenant:")
        canvas.acroForm.textfield(name="tenant", value="Ann Hale", x=160, y=495, width=200, height=18, fontSize=11)

    path = make_pdf(tmp_path / "form.pdf", [draw])
    page = read(path).pages[0]
    assert "Name of tenant: Ann Hale" in page.text
    ((x0, y0, x1, y1),) = boxes_for_range(page, page.text.index("Ann"), page.text.index("Hale") + 4)
    assert 158 < x0 < x1 < 362 and 490 < y0 < y1 < 516


def test_page_labels_and_metadata_come_from_the_file(tmp_path: Path) -> None:
    plain = make_pdf(tmp_path / "plain.pdf", [lease_page(n) for n in (1, 2, 3)])
    writer = pypdf.PdfWriter(clone_from=plain)
    writer.set_page_label(0, 1, style="/r")
    writer.set_page_label(2, 2, style="/D", start=1)
    writer.add_metadata({"/Title": "Lease of the Mill House", "/Author": "Ann Hale", "/CreationDate": "D:20210304Z"})
    writer.write(tmp_path / "labels.pdf")
    document = read(tmp_path / "labels.pdf")
    assert [page.label for page in document.pages] == ["i", "ii", "1"]
    assert document.title == "Lease of the Mill House"
    assert document.metadata["author"] == "Ann Hale" and document.metadata["created"].startswith("2021-03-04")


@pytest.mark.parametrize(
    "stated", ["Microsoft Word - lease.doc", "0001558370-22-000123", "untitled", "lease_2021_final", ""]
)
def test_rubbish_titles_give_way_to_the_title_page_or_the_file_name(tmp_path: Path, stated: str) -> None:
    plain = make_pdf(tmp_path / "plain.pdf", [two_column_paper])
    writer = pypdf.PdfWriter(clone_from=plain)
    writer.add_metadata({"/Title": stated})
    writer.write(tmp_path / "lease_2021_final.pdf")
    assert read(tmp_path / "lease_2021_final.pdf").title == "On the Renewal of Leases"
    body_only = make_pdf(tmp_path / "3M_2022_10K.pdf", [lambda canvas: set_column(canvas, prose(1, 90), 72, 700, 468)])
    assert read(body_only).title == "3M 2022 10K"


@hypothesis_settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_range_of_any_page_has_boxes_on_the_sheet(made: Document, data) -> None:
    """Also ranges inside words, over line ends, of white space only; and a part lies inside the whole."""
    page = data.draw(st.sampled_from(made.pages))
    start = data.draw(st.integers(0, len(page.text) - 1))
    end = data.draw(st.integers(start + 1, min(len(page.text), start + 400)))
    boxes = boxes_for_range(page, start, end)
    assert boxes
    for x0, y0, x1, y1 in boxes:
        assert -1 <= x0 <= x1 <= page.width + 1 and -1 <= y0 < y1 <= page.height + 1
    whole = covered((int(page.height), int(page.width)), boxes_for_range(page, 0, len(page.text)), 1.0)
    assert not (covered((int(page.height), int(page.width)), boxes, 1.0, 0.0) & ~whole).any()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = tmp_path_factory.mktemp("made")
    plain = make_pdf(folder / "plain.pdf", [two_column_paper, lease_page(2), lease_page(3)])
    return read(turned(plain, folder / "made.pdf", degrees=90, crop=(20, 10, 600, 780)))


def test_word_ranges_spell_the_page_and_never_overlap(made: Document) -> None:
    for page in made.pages:
        ends = page.word_ranges.ravel()
        assert (np.diff(ends) >= 0).all() and ends[-1] <= len(page.text)
        inside = np.zeros(len(page.text), bool)
        for start, end in page.word_ranges.tolist():
            inside[start:end] = True
        assert all(inside[i] or c.isspace() for i, c in enumerate(page.text))
        assert page.word_ranges.dtype == np.int32 and page.word_boxes.dtype == np.float32


# -- real filings ------------------------------------------------------------------------------------------------------


@needs_filings
@pytest.mark.parametrize(
    ("name", "number", "row"),
    [
        ("3M_2022_10K.pdf", 48, "Net sales $ 34,229 $ 35,355 $ 32,184"),
        ("AMAZON_2019_10K.pdf", 38, "Total net sales 177,866 232,887 280,522"),
        ("JPMORGAN_2022Q2_10Q.pdf", 15, "Total assets $ 3,841,314 $ 3,743,567 3 %"),
        ("JPMORGAN_2022Q2_10Q.pdf", 50, "Net cash outflows $ 676,234 $ 658,998 $ 647,757"),
    ],
)
def test_rows_of_real_statements(name: str, number: int, row: str) -> None:
    assert row in filing(name).pages[number - 1].text.split("\n")


def test_a_table_inside_a_column_does_not_hide_that_it_is_one(tmp_path: Path) -> None:
    """As papers have them: more cells than lines of prose on the right, beside a left column of prose alone."""

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Roman", 10)
        set_column(canvas, prose(1, 330), 72, 740, 220)
        below = set_column(canvas, prose(2, 110), 310, 740, 220)
        for row in range(12):
            for cell in range(5):
                canvas.drawString(310 + 44 * cell, below - 30 - 13 * row, f"C{row}" if not cell else f"{row}.{cell}5")

    text = read(make_pdf(tmp_path / "paper.pdf", [draw])).pages[0].text
    flowing = " ".join(text.split())
    for number, count in ((1, 330), (2, 110)):  # each column reads on, no line of the other one in it
        assert " ".join(prose(number, count)[20 : count - 20]) in flowing
    assert "C3 3.15 3.25 3.35 3.45" in text


@needs_filings
def test_columns_of_a_real_report_flow() -> None:
    page = filing("JPMORGAN_2022Q2_10Q.pdf").pages[14]
    assert "related to client-driven market-making activities in Markets, and" in page.text
    assert "consisting of $1.1 billion in wholesale and $314 million in consumer. The addition reflects" in page.text


@needs_filings
@pytest.mark.parametrize("name", ["FOOTLOCKER_2022_8K_dated_2022-08-19.pdf", "JPMORGAN_2022Q2_10Q.pdf"])
def test_boxes_agree_with_the_search_of_pdfium(name: str) -> None:
    """Words that PDFium's own search finds once on a page are where our boxes say."""
    document = filing(name)
    pdf = pypdfium2.PdfDocument(FILINGS / name)
    compared = 0
    for page in document.pages[2:30:3]:
        textpage = pdf[page.number - 1].get_textpage()
        for match in list(re.finditer(r"\b[A-Za-z]{7,}\b", page.text))[::8]:
            word = match.group()
            if len(re.findall(rf"\b{word}\b", page.text)) > 1 or page.text.lower().count(word.lower()) > 1:
                continue
            search = textpage.search(word, match_case=True, match_whole_word=True)
            found = search.get_next()
            if found is None or search.get_next() is not None:
                continue
            index, count = found
            rects = np.array([textpage.get_rect(i) for i in range(textpage.count_rects(index, count))])
            left, bottom, right, top = *rects[:, :2].min(axis=0), *rects[:, 2:].max(axis=0)
            ((x0, y0, x1, y1),) = boxes_for_range(page, *match.span())
            # A word of the text may carry a comma or a bracket in its box: a share of it is taken by characters.
            width = right - left
            assert abs(x0 - left) < 0.25 * width + 2 and abs(x1 - right) < 0.25 * width + 2
            assert y0 - 1 <= bottom and top <= y1 + 1
            compared += 1
    assert compared >= 20


@needs_filings
def test_no_page_of_a_filing_loses_words() -> None:
    """Against PDFium's plain text: hardly a word of any page is missing, but for headers, footers and page numbers."""
    document = filing("JPMORGAN_2022Q2_10Q.pdf")
    pdf = pypdfium2.PdfDocument(FILINGS / document.name)
    for page in document.pages[::7]:
        plain = re.sub(r"[\W_]+", "", pdf[page.number - 1].get_textpage().get_text_bounded())
        ours = re.sub(r"[\W_]+", "", page.text)
        assert len(plain) - 8 <= len(ours) + 12 and len(ours) <= len(plain) + 2


def test_render_page_has_the_size_of_the_sheet(tmp_path: Path) -> None:
    path = turned(make_pdf(tmp_path / "a.pdf", [two_column_paper]), tmp_path / "b.pdf", degrees=90)
    image = render_page(path, 1, scale=1.0)
    assert image.size == (PAGE[1], PAGE[0]) and image.mode == "RGB"
