"""Readers and parsers under whatever bytes a stranger sends: a clear error of ours, or a result, and nothing else.

LECTERN_FUZZ=5000 pytest tests/security/test_fuzz.py      # so many examples a test instead of 60, some minutes
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from functools import lru_cache

import docx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import DocumentError, LecternError
from core.settings import IngestSettings
from ingest.docx import read_docx
from ingest.html import read_html
from ingest.readers import read_document
from rag.prompts import harmless
from rag.suspicious import suspicion
from web.accounts.access import Principal
from web.accounts.audit import _plain
from web.accounts.policy import need
from web.accounts.routes import safe_next
from web.inbox import MAX_NAME_BYTES, safe_name
from web.live_messages import MAX_TEXT, parse
from web.v1.bounded import MAX_DEPTH, depth

EXAMPLES = int(os.environ.get("LECTERN_FUZZ", "60"))
quick = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

_PIECES = (
    "<p>", "</p>", "<table>", "<tr>", "<td>", "</table>", "<!--", "-->", "<![CDATA[", "<script>", "</script>", "<br/>",
    "&amp;", "&#0;", "&#x110000;", "<h1>", "</h1>", "<pre>", "<a href='", "'>", "\x00", "text ", "<svg>", "<li>", "<",
)  # fmt: skip
markup = st.lists(st.sampled_from(_PIECES) | st.text(max_size=8), max_size=60).map("".join)


@lru_cache(maxsize=1)
def word_file() -> bytes:
    data = io.BytesIO()
    document = docx.Document()
    document.add_heading("Title", 1)
    document.add_paragraph("A paragraph.")
    document.add_table(2, 2).cell(0, 0).text = "cell"
    document.save(data)
    return data.getvalue()


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """A file with some of its bytes changed, cut out or repeated."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 40))
        data[at : at + length] = draw(st.binary(max_size=40))
    return bytes(data)


@quick
@given(markup)
def test_html_of_any_shape_is_read_or_refused(page: str) -> None:
    """No script comes through as text of the page, and headings lie inside the text."""
    try:
        text, headings, _ = read_html(page.encode("utf-8", "replace"), name="x.html")
    except DocumentError:
        return
    assert all(0 <= heading.start <= len(text) for heading in headings)


@quick
@given(mutated(word_file()))
def test_a_damaged_word_file_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(DocumentError):
        read_docx(data, name="x.docx")


@quick
@given(markup)
def test_word_files_with_any_xml_are_read_or_refused(xml: str) -> None:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word_file())) as source, zipfile.ZipFile(result, "w") as target:
        for entry in source.namelist():
            part = xml.encode("utf-8", "replace") if entry == "word/document.xml" else source.read(entry)
            target.writestr(entry, part)
    with contextlib.suppress(DocumentError):
        read_docx(result.getvalue(), name="x.docx")


@quick
@given(st.binary(max_size=400), st.sampled_from(["x.txt", "x.md", "x.html", "x.docx", "x.pdf", "x", "x.exe"]))
def test_any_bytes_under_any_name_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(data)
    try:
        document = read_document(path, name=name, settings=IngestSettings())
    except DocumentError as error:
        assert error.message and error.remedy
        return
    assert document.pages


@quick
@given(
    st.text(max_size=300)
    | st.sampled_from(["..", ".", "../../etc/passwd", "a/..", "C:\\x\\..", "\x00", "." * 300, "…", "/"])
)
def test_upload_names_stay_in_their_folder(name: str) -> None:
    plain = safe_name(name)
    assert plain and "/" not in plain and "\\" not in plain and plain not in (".", "..") and plain.isprintable()
    assert len(plain.encode()) <= MAX_NAME_BYTES


@quick
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["type", "text", "turn", "protocol", "mode", "x"]), inner)
        ),
        max_leaves=12,
    ).map(json.dumps)
    | st.text(max_size=100)
    | st.sampled_from(
        ['{"type":"hello"' + " " * MAX_TEXT, "[" * 10_000, '{"type":' * 5_000, '{"type":"ask","text":"\\ud800"}']
    )
)
def test_live_messages_are_understood_or_refused(message: str) -> None:
    """The WebSocket's messages: a model of ours, or an error of ours that the client is told."""
    with contextlib.suppress(LecternError):
        assert parse(message) is not None


@quick
@given(st.text(st.sampled_from('[]{}"\\a:, '), max_size=200))
def test_depth_of_json_is_never_counted_too_low(text: str) -> None:
    def deepest(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(deepest, inner), default=0)

    try:
        value = json.loads(text)
    except ValueError:
        return
    assert depth(text.encode()) >= min(deepest(value), MAX_DEPTH)


@settings(max_examples=5 * EXAMPLES, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"]),
    st.lists(
        st.sampled_from(
            ["api", "v1", "workspaces", "vault", "lease", "..", "", "documents", "mcp", "ui", "login", "%2e"]
        )
        | st.text(max_size=5),
        max_size=6,
    ),
    st.sampled_from(["", "workspace=vault", "workspace=lease", "workspace=&workspace=vault"]),
)
def test_no_path_of_the_api_lets_a_stranger_to_the_vault(method: str, parts: list[str], query: str) -> None:
    """Whatever the path: where it or its query names the vault, who is not of the vault is refused."""
    path = "/" + "/".join(parts)
    wanted = need(method, path, query)
    mia = Principal("mia", grants={"lease": "reader"})
    allowed = wanted.open or all(mia.allows(name, wanted.action) for name in (wanted.workspaces or (None,)))
    if parts[:1] in (["api"], ["v1"]) and parts[1:3] == ["workspaces", "vault"]:
        assert not allowed
    if query.endswith("vault") and not wanted.open:
        assert not allowed
    if wanted.open:
        assert parts[:1] not in (["mcp"], ["v1"]) and "vault" not in wanted.workspaces


@quick
@given(st.text(max_size=100))
def test_texts_of_strangers_stay_what_they_are(text: str) -> None:
    """One line in the audit log, a path of this server after a login, no fence in a prompt, a number for suspicion."""
    assert _plain(text).isprintable()
    assert safe_next(text).startswith("/") and not safe_next(text).startswith(("//", "/\\"))
    assert "<<" not in harmless(text) and ">>" not in harmless(text) and suspicion(text) >= 0
