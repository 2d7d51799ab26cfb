"""Every kind of file, and every way in which a file can be bad: reported by name with reason and remedy."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import pypdf
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_pdfs import make_pdf, prose, set_column
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from core.errors import DocumentError
from core.settings import IngestSettings
from ingest.decoding import decode_text
from ingest.markdown import markdown_headings
from ingest.readers import SUFFIXES, read_document
from ingest.titles import readable_file_name

SETTINGS = IngestSettings()


def text_page(canvas: Canvas) -> None:
    set_column(canvas, prose(1, 200), 72, 720, 468)


def scan_page(canvas: Canvas) -> None:
    canvas.drawImage(ImageReader(Image.new("L", (200, 260), 180)), 0, 0, 612, 792)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refuse(path: Path, *reasons: str, settings: IngestSettings = SETTINGS) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read_document(path, settings=settings)
    error = caught.value
    assert error.message.startswith(path.name) and error.remedy
    assert any(reason in error.message for reason in reasons), error.message
    return error


# -- bad files ---------------------------------------------------------------------------------------------------------


def encrypted(folder: Path, *, user: str, algorithm: str) -> Path:
    writer = pypdf.PdfWriter(clone_from=make_pdf(folder / "plain.pdf", [text_page]))
    writer.encrypt(user_password=user, owner_password="owner", algorithm=algorithm)
    writer.write(folder / "locked.pdf")
    return folder / "locked.pdf"


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128"])
def test_a_pdf_with_a_password_is_refused_and_one_with_an_empty_one_opens(tmp_path: Path, algorithm: str) -> None:
    error = refuse(encrypted(tmp_path, user="secret", algorithm=algorithm), "password")
    assert "qpdf" in error.remedy
    document = read_document(encrypted(tmp_path, user="", algorithm=algorithm), settings=SETTINGS)
    assert "marker1" in document.pages[0].text


def test_a_scan_is_refused_naming_ocr(tmp_path: Path) -> None:
    error = refuse(make_pdf(tmp_path / "scan.pdf", [scan_page, scan_page]), "scan")
    assert "ocrmypdf" in error.remedy


def test_scanned_pages_among_others_are_problems_of_these_pages(tmp_path: Path) -> None:
    document = read_document(make_pdf(tmp_path / "mixed.pdf", [text_page, scan_page, text_page]), settings=SETTINGS)
    assert [(problem.page, "ocrmypdf" in problem.remedy) for problem in document.problems] == [(2, True)]
    assert [bool(page.text) for page in document.pages] == [True, False, True]


def test_a_blank_page_is_no_problem(tmp_path: Path) -> None:
    document = read_document(make_pdf(tmp_path / "blank.pdf", [text_page, lambda canvas: None]), settings=SETTINGS)
    assert len(document.pages) == 2 and not document.problems


def test_empty_corrupt_pageless_and_huge_files(tmp_path: Path) -> None:
    good = make_pdf(tmp_path / "good.pdf", [text_page, text_page, text_page])
    refuse(write(tmp_path / "empty.pdf", b""), "empty")
    refuse(write(tmp_path / "corrupt.pdf", b"%PDF-1.7\n" + b"\x93\x00garbage" * 500 + b"%%EOF"), "corrupt")
    pypdf.PdfWriter().write(tmp_path / "pageless.pdf")
    refuse(tmp_path / "pageless.pdf", "no pages", "corrupt")
    refuse(good, "3 pages", settings=IngestSettings(max_pages=2))
    refuse(write(tmp_path / "big.txt", b"a " * 600_000), "MiB", settings=IngestSettings(max_file_mb=1))
    refuse(tmp_path / "missing.pdf", "cannot be opened")
    refuse(write(tmp_path / "blank.txt", b" \n\n\t "), "no text")


def test_a_truncated_pdf_gives_what_can_be_recovered_and_says_so(tmp_path: Path) -> None:
    whole = make_pdf(tmp_path / "whole.pdf", [text_page] * 30).read_bytes()
    recovered = 0
    for share in (0.3, 0.6, 0.9, 0.99):
        path = write(tmp_path / "cut.pdf", whole[: int(len(whole) * share)])
        try:
            document = read_document(path, settings=SETTINGS)
        except DocumentError as error:
            assert error.remedy and error.message.startswith("cut.pdf")
        else:
            recovered += 1
            assert any("ends early" in problem.reason for problem in document.problems)
            assert any("marker1" in page.text for page in document.pages)
    assert recovered >= 1


@hypothesis_settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_pdfs_are_read_or_refused_never_crash(pdf_bytes: bytes, tmp_path_factory, data) -> None:
    damaged = bytearray(pdf_bytes)
    for _ in range(data.draw(st.integers(1, 30))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp() / "damaged.pdf", bytes(damaged))
    try:
        document = read_document(path, settings=SETTINGS)
    except DocumentError as error:
        assert error.remedy
    else:
        assert all(isinstance(page.text, str) and page.text.isprintable for page in document.pages)


@pytest.fixture(scope="module")
def pdf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_pdf(tmp_path_factory.mktemp("pdf") / "a.pdf", [text_page, text_page]).read_bytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("photo.pdf", b"\x89PNG\r\n\x1a\n" + bytes(200)),
        ("noise.pdf", bytes(range(256)) * 20),
        ("noise.txt", bytes(range(256)) * 20),
        ("program.txt", b"\x7fELF\x02\x01\x01" + bytes(500)),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
        ("noise.docx", b"PK\x03\x04" + bytes(300)),
        ("zeros.pdf", bytes(5000)),
        ("noise.html", bytes(range(128, 256)) * 3 + bytes(400)),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    error = refuse(write(tmp_path / name, data), name)
    assert len(error.message) < 200


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", [text_page]).read_bytes()
    page = b"<!DOCTYPE html><html><body><h1>Lease</h1><p>The rent is due.</p></body></html>"
    cases = {
        "pdf.txt": (pdf, "application/pdf"),
        "junk first.pdf": (b"\r\nHTTP/1.1 200 OK\r\n\r\n" + pdf, "application/pdf"),
        "page.txt": (page, "text/html"),
        "page.pdf": (page, "text/html"),
        "plain.pdf": (b"Only some words, no PDF at all.", "text/plain"),
    }
    for name, (data, media_type) in cases.items():
        assert read_document(write(tmp_path / name, data), settings=SETTINGS).media_type == media_type, name


# -- text and Markdown -------------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=80, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\r\t")))
def test_the_text_of_a_text_file_is_the_file_unchanged(text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        if text and not text.startswith("\ufeff"):
            assert decode_text(text.encode(encoding), name="a.txt") == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Die Miete beträgt 500 € – fällig am Ersten.", "cp1252"), ("合同期限为五年。租金按月支付。" * 5, "gb18030"),
     ("Plain words without a mark\r\n", "utf-16-le")],
)  # fmt: skip
def test_other_encodings_are_recognised(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding), name="a.txt") == text


def test_a_text_document_keeps_newlines_and_takes_its_title_from_the_name(tmp_path: Path) -> None:
    document = read_document(write(tmp_path / "mill_house-lease.txt", b"One.\r\n\r\nTwo.\n"), settings=SETTINGS)
    assert document.pages[0].text == "One.\r\n\r\nTwo.\n" and document.pages[0].width == 0
    assert document.title == "mill house-lease"


def test_markdown_headings_but_not_those_in_code() -> None:
    text = (
        "---\ntitle: x\n---\n# Lease of *Mill* House #\n\nSetext one\n===\r\n\n```\n# no heading\n```\n\n"
        "## [Rent](http://x)\ntext\n\nSetext two\n---\n\n    # code\n\n####### no\n~~~~\n## no\n~~~\n~~~~\n### Last\n"
    )
    found = markdown_headings(text)
    assert [(h.title, h.level) for h in found] == [
        ("Lease of Mill House", 1), ("Setext one", 1), ("Rent", 2), ("Setext two", 2), ("Last", 3)
    ]  # fmt: skip
    assert [text[h.start :][:6] for h in found] == ["# Leas", "Setext", "## [Re", "Setext", "### La"]


# -- HTML --------------------------------------------------------------------------------------------------------------

HTML = """<html><head><title>Mill House lease - Example</title><meta name="author" content="Ann Hale">
<style>p {color: red}</style><script>alert("no")</script></head><body>
<h1>Lease of the <em>Mill</em> House</h1><p>The   rent is
 <b>500</b> pounds&nbsp;a month.<br>Due on the first.</p>
<div hidden>secret</div><p style="display: none">secret too</p>
<table><tr><th>Year</th><th>Rent</th></tr><tr><td>2021</td><td>6,000</td></tr></table>
<ul><li>heating</li><li>water</li></ul><h2>Repairs</h2><pre>line 1
  line 2</pre><p>Tail<script>x</script> stays.</p></body></html>"""


def test_html_becomes_lines_of_what_is_shown(tmp_path: Path) -> None:
    document = read_document(write(tmp_path / "lease.html", HTML.encode()), settings=SETTINGS)
    text = document.pages[0].text
    assert text.split("\n") == [
        "Lease of the Mill House", "", "The rent is 500 pounds a month.", "Due on the first.", "",
        "Year | Rent", "2021 | 6,000", "", "- heating", "- water", "", "Repairs", "", "line 1", "  line 2", "",
        "Tail stays.",
    ]  # fmt: skip
    assert [(h.title, h.level, text[h.start :][:5]) for h in document.headings] == [
        ("Lease of the Mill House", 1, "Lease"), ("Repairs", 2, "Repai")
    ]  # fmt: skip
    assert document.title == "Mill House lease - Example" and document.metadata["author"] == "Ann Hale"


def test_html_nested_very_deeply_and_in_other_encodings(tmp_path: Path) -> None:
    deep = "<div>" * 50_000 + "<p>The rent is due.</p>" + "</div>" * 50_000
    assert (
        "The rent is due."
        in read_document(write(tmp_path / "deep.html", deep.encode()), settings=SETTINGS).pages[0].text
    )
    latin = '<html><head><meta charset="iso-8859-1"></head><body><p>Miete fällig für März</p></body></html>'
    document = read_document(write(tmp_path / "latin.html", latin.encode("latin-1")), settings=SETTINGS)
    assert document.pages[0].text == "Miete fällig für März"


# -- DOCX --------------------------------------------------------------------------------------------------------------


def made_docx() -> bytes:
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "Mill House lease", "Ann Hale"
    document.add_heading("Rent", 1)
    document.add_paragraph("The rent is 500 pounds.")
    table = document.add_table(2, 3)
    for row, cells in enumerate((("Year", "Rent", "Paid"), ("2021", "6,000", "yes"))):
        for column, cell in enumerate(cells):
            table.cell(row, column).text = cell
    document.add_heading("Repairs", 2)
    document.add_paragraph("The landlord repairs the roof.", style="List Bullet")
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def test_docx_paragraphs_tables_and_headings(tmp_path: Path) -> None:
    document = read_document(write(tmp_path / "lease.docx", made_docx()), settings=SETTINGS)
    text = document.pages[0].text
    assert [line for line in text.split("\n") if line] == [
        "Rent", "The rent is 500 pounds.", "Year | Rent | Paid", "2021 | 6,000 | yes", "Repairs",
        "- The landlord repairs the roof.",
    ]  # fmt: skip
    assert [(h.title, h.level, text[h.start :][:4]) for h in document.headings] == [
        ("Rent", 1, "Rent"),
        ("Repairs", 2, "Repa"),
    ]
    assert document.title == "Mill House lease" and document.metadata["author"] == "Ann Hale"


def test_bad_docx_files(tmp_path: Path) -> None:
    good = made_docx()
    refuse(write(tmp_path / "cut.docx", good[: len(good) // 2]), "corrupt")
    locked = b"\xd0\xcf\x11\xe0" + bytes(100) + "EncryptedPackage".encode("utf-16-le") + bytes(100)
    refuse(write(tmp_path / "locked.docx", locked), "password")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"a" * (120 * 2**20))
    refuse(write(tmp_path / "bomb.docx", bomb.getvalue()), "unpacks")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refuse(write(tmp_path / "other.docx", other.getvalue()), "no Word document")


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "readable"),
    [("3M_2022_10K.pdf", "3M 2022 10K"), ("lease%20of%20mill.docx", "lease of mill"),
     ("annual-report-2021.pdf", "annual report 2021"),
     ("FOOTLOCKER_2022_8K_dated_2022-08-19.pdf", "FOOTLOCKER 2022 8K dated 2022-08-19"), ("___.txt", "___.txt")],
)  # fmt: skip
def test_file_names_made_readable(name: str, readable: str) -> None:
    assert readable_file_name(name) == readable


def test_progress_is_told_page_by_page(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_document(make_pdf(tmp_path / "a.pdf", [text_page] * 3), settings=SETTINGS, on_page=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert ".pdf" in SUFFIXES and ".docx" in SUFFIXES and ".md" in SUFFIXES
