"""Bombs, crashes and readers that were taken over cost their own process and their own file, nothing else."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import docx
import pytest

from core.errors import DocumentError
from core.settings import IngestSettings, load_settings
from ingest.docx import read_docx
from ingest.html import read_html
from ingest.pipeline import ingest_paths
from ingest.worker_pool import Outcome, WorkerPool
from ingest.workspace import Workspace
from web.drawing import Drawer

HANDLERS = "tests.security.handlers"


# ---- what a confined process may do -----------------------------------------------------------------------------


def test_a_reader_may_read_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, program, file or gigabyte; endless work and crashes end the process, and the next task is done."""
    target = tmp_path / "target"
    target.write_text("untouched")
    monkeypatch.setenv("LECTERN_TEST_TARGET", str(target))
    attempts = ["connect", "look up", "program", "shell", "write", "remove", "allocate", "spin", "abort", "work"]
    with WorkerPool(f"{HANDLERS}:make_confined", (512,), processes=1) as pool:
        outcomes = {outcome.task: outcome for outcome in pool.map(attempts)}
    for attempt in attempts[:6]:
        assert str(outcomes[attempt].result).startswith("refused: "), outcomes[attempt]
    assert outcomes["allocate"].result == "no memory"
    assert "processor time" in str(outcomes["spin"].error)
    assert "SIGABRT" in str(outcomes["abort"].error)
    assert outcomes["work"].result == "done"
    assert target.read_text() == "untouched"


def test_what_a_worker_sends_runs_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle may name any function; of a worker's only records are made."""
    target = tmp_path / "target"
    monkeypatch.setenv("LECTERN_TEST_TARGET", str(target))
    with WorkerPool(f"{HANDLERS}:make_traitor", (), processes=1) as pool:
        [outcome] = pool.map(["anything"])
    assert "sent what no reader sends" in str(outcome.error) and not target.exists()


def test_a_worker_that_grows_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not limit it, the parent's look at its size does."""
    monkeypatch.setattr("ingest.worker_pool._resident_mb", lambda pid: 700.0)
    with WorkerPool("tests.security.handlers:make_confined", (2048,), processes=1, memory_mb=600) as pool:
        outcomes: list[Outcome[str]] = list(pool.map(["spin"]))
    assert "600 MiB of memory" in str(outcomes[0].error)


# ---- PDF --------------------------------------------------------------------------------------------------------


def pdf(objects: list[bytes]) -> bytes:
    """A PDF file of these objects, numbered from 1; the first is the catalogue."""
    data, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(data)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    packed = zlib.compress(content, 9)
    return b"<</Length %d/Filter/FlateDecode%s>>\nstream\n%s\nendstream" % (len(packed), entries, packed)


def one_page(content: bytes, *more: bytes, resources: bytes = b"") -> bytes:
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>%s>>>>" % resources
    )
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    return pdf(
        [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, stream(content), font, *more]
    )


def text_bomb() -> bytes:
    """Forty million characters of text on one page, in some hundred KiB."""
    return one_page(b"BT /F 8 Tf 10 10 Td " + b"(bombbombbomb) Tj " * 3_500_000 + b"ET")


def form_bomb(depth: int = 9, width: int = 12) -> bytes:
    """Forms that draw forms that draw forms: width ** depth times a word, in a few KiB."""
    forms = []
    for level in range(depth):
        number = 6 + level + 1
        inner = b"/X Do " * width if level + 1 < depth else b"BT /F 8 Tf 10 10 Td (word) Tj ET"
        nested = b"/XObject<</X %d 0 R>>" % number if level + 1 < depth else b""
        entries = b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</Font<</F 5 0 R>>%s>>" % nested
        forms.append(stream(inner, entries))
    start = b"BT /F 8 Tf 10 700 Td (start) Tj ET /X Do"
    return one_page(start, *forms, resources=b"/XObject<</X 6 0 R>>")


def test_bombs_cost_their_own_file_only(tmp_path: Path) -> None:
    """Between two bombs a good file is read; each bomb is told with a reason, and the program is still there."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a-text.pdf").write_bytes(text_bomb())
    (folder / "b-good.pdf").write_bytes(one_page(b"BT /F 12 Tf 10 700 Td (The good file is read as ever.) Tj ET"))
    (folder / "c-pages.pdf").write_bytes(
        pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2000000000>>"])
    )
    limits = {"reading_memory_mb": 320, "reading_cpu_s": 5, "page_timeout_s": 30, "reading_workers": 1}
    settings = load_settings(tmp_path / "home", embedder={"model": "hashing:64"}, ingest=limits)
    with Workspace.open(settings.home, "default") as workspace:
        reports = {r.name: r for r in ingest_paths(workspace, [folder], settings=settings, embed=False)}
        assert reports["b-good.pdf"].status == "added"
        assert "The good file" in workspace.page("b-good.pdf", 1).text
    for name in ("a-text.pdf", "c-pages.pdf"):
        assert reports[name].status == "failed" and reports[name].reason and reports[name].remedy, reports[name]


def test_a_page_that_cannot_be_drawn_costs_the_drawing_only(tmp_path: Path) -> None:
    """Drawn in a process of its own, within its time; the next page is drawn by a new one."""
    bomb, good = tmp_path / "bomb.pdf", tmp_path / "good.pdf"
    bomb.write_bytes(form_bomb())
    good.write_bytes(one_page(b"BT /F 12 Tf 10 700 Td (good) Tj ET"))
    drawer = Drawer(processes=1, cpu_s=2, timeout_s=30)
    try:
        with pytest.raises(DocumentError, match="cannot be drawn"):
            drawer.draw(bomb, "bomb.pdf", page=1, scale=1.0)
        assert drawer.draw(good, "good.pdf", page=1, scale=1.0)[:2] == b"\xff\xd8"
    finally:
        drawer.close()


# ---- DOCX and HTML ----------------------------------------------------------------------------------------------


def word_file(**replaced: bytes) -> bytes:
    """A DOCX with a paragraph, parts of which are replaced or added: part__name=bytes."""
    buffer = io.BytesIO()
    document = docx.Document()
    document.add_paragraph("A paragraph.")
    document.save(buffer)
    result = io.BytesIO()
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
        new = {name.replace("__", "/"): data for name, data in replaced.items()}
        for entry in source.namelist():
            target.writestr(entry, new.pop(entry, None) or source.read(entry))
        for name, data in new.items():
            target.writestr(name, data)
    return result.getvalue()


DOCUMENT = (
    b'<?xml version="1.0"?>%s<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    b"<w:body><w:p><w:r><w:t>Before %s after</w:t></w:r></w:p></w:body></w:document>"
)


@pytest.mark.parametrize("part", ["word__document.xml", "word__media__image1.bmp", "customXml__item1.xml"])
def test_zip_bombs_are_refused_before_they_are_unpacked(part: str) -> None:
    """A part of 300 MiB in 300 KiB, wherever in the archive it lies."""
    data = word_file(**{part: bytes(300 * 2**20)})
    assert len(data) < 2**20
    with pytest.raises(DocumentError, match="unpacks to"):
        read_docx(data, name="bomb.docx")


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    """Neither a billion laughs nor a file of this computer comes out of a DOCX."""
    (tmp_path / "secret").write_text("heliotrope")
    laughs = b"<!DOCTYPE x [<!ENTITY a0 'ha'>" + b"".join(
        b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)
    )
    outside = b"<!DOCTYPE x [<!ENTITY a9 SYSTEM '%s'>" % (tmp_path / "secret").as_uri().encode()
    for declared in (laughs + b"]>", outside + b"]>"):
        try:
            text, _, _ = read_docx(word_file(**{"word__document.xml": DOCUMENT % (declared, b"&a9;")}), name="x.docx")
        except DocumentError:
            continue
        assert len(text) < 1000 and "heliotrope" not in text


def test_paths_in_an_archive_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are read from the archive, never written; a name with .. writes no file."""
    monkeypatch.chdir(tmp_path)
    read_docx(word_file(**{"..__..__evil.txt": b"evil", "/tmp__evil.txt": b"evil"}), name="x.docx")
    assert list(tmp_path.rglob("evil*")) == []


@pytest.mark.parametrize(
    "page",
    [
        "<p>Fact.</p><script>steal()</script><style>p{background:url(http://evil.example)}</style>",
        "<p>Fact.</p><svg onload=steal()><script>steal()</script><text>hidden</text></svg>",
        "<p>Fact.</p><iframe src=http://evil.example></iframe><object data=evil.swf>steal()</object>",
        "<p onclick=steal()>Fact.</p><a href='javascript:steal()'> </a><img src=x onerror=steal()>",
        "<p>Fact.</p><noscript>steal()</noscript><template>steal()</template><p hidden>steal()</p>",
        "<p>Fact.</p><p style='display:none'>steal()</p><!-- steal() --><?php steal() ?>",
    ],
)
def test_what_html_does_not_show_is_not_read(page: str) -> None:
    """Scripts, styles, drawings, frames and what is hidden from people is no text of the document."""
    text, _, metadata = read_html(f"<html><body>{page}</body></html>".encode(), name="x.html")
    assert text.split() == ["Fact."] and "steal" not in str(metadata)


def test_limits_have_defaults_that_bind() -> None:
    """Nobody has to set them: bytes, pages, time, processor time and memory of a file are all bounded."""
    limits: Any = IngestSettings()
    assert 0 < limits.max_file_mb <= 1024 and 0 < limits.max_pages <= 50_000 and 0 < limits.page_timeout_s <= 600
    assert 0 < limits.file_timeout_s <= 7200 and 0 < limits.reading_cpu_s <= 3600 and limits.reading_memory_mb <= 4096
