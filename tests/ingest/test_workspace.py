"""The store: what went in comes out, is found, is replaced in one moment and is removed without a trace."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.errors import NotFoundError, StoreError, UsageError
from core.settings import EmbedderSettings, IngestSettings, Settings
from ingest.chunking import chunk_document
from ingest.embedders import load_embedder, load_token_counter, passage_text
from ingest.pipeline import embed_pending, ingest_file, ingest_paths
from ingest.prepared import pack_text
from ingest.readers import read_document
from ingest.schema import DATABASE
from ingest.tokens import index_terms, query_terms
from ingest.workspace import Workspace, delete_workspace, list_workspaces
from tests.ingest.corpus import hashing_settings, prose, write_corpus, write_pdf


@pytest.fixture
def settings(lectern_home: Path) -> Settings:
    return hashing_settings(lectern_home, reading_workers=1)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """A home with an embedded workspace, for tests that only read, and the folder it was made from."""
    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    settings = hashing_settings(tmp_path_factory.mktemp("home"))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [folder], settings=settings)
    return settings, folder


def test_pages_headings_chunks_and_boxes_come_back_as_they_were_read(filled: tuple[Settings, Path]) -> None:
    settings, folder = filled
    count = load_token_counter(EmbedderSettings(model="hashing:64"))
    with Workspace.open(settings.home) as workspace:
        for name in ("lease.pdf", "text1.md", "deep/text0.txt"):
            document = read_document(folder / name, name=name, settings=settings.ingest)
            info = workspace.document(name)
            expected = chunk_document(document, info.document_id, count_tokens=count, settings=settings.ingest)
            assert workspace.document_chunks(name) == expected
            assert workspace.headings(name) == list(document.headings)
            assert (info.title, info.media_type, info.pages) == (
                document.title,
                document.media_type,
                len(document.pages),
            )
            for page, stored in zip(document.pages, workspace.pages(name), strict=True):
                assert (stored.number, stored.text, stored.label) == (page.number, page.text, page.label)
                np.testing.assert_array_equal(stored.word_ranges, page.word_ranges)
                np.testing.assert_allclose(stored.word_boxes, page.word_boxes, atol=0.02)
            assert workspace.source_path(name).read_bytes() == (folder / name).read_bytes()
        page = workspace.page("lease.pdf", 2)
        [line] = workspace.boxes("lease.pdf", 2, 0, 20)
        assert 45 < line[0] < 55 and 770 < line[1] < line[3] < 800  # where write_pdf put the first line
        assert page.width > 500


def test_chunks_come_in_the_order_asked_for_and_unknown_ones_are_named(filled: tuple[Settings, Path]) -> None:
    with Workspace.open(filled[0].home) as workspace:
        ids = [chunk.chunk_id for chunk in workspace.document_chunks("text2.txt")]
        wanted = [ids[-1], ids[0], workspace.document_chunks("lease.pdf")[0].chunk_id]
        assert [chunk.chunk_id for chunk in workspace.chunks(wanted)] == wanted
        assert workspace.chunk_count() == sum(len(workspace.document_chunks(d.name)) for d in workspace.documents())
        for unknown in ("nonsense", "0123456789abcdef:0", ids[0].split(":")[0] + ":9999"):
            with pytest.raises(NotFoundError, match=unknown):
                workspace.chunk(unknown)


def test_lexical_search_ranks_by_bm25_as_computed_by_hand(filled: tuple[Settings, Path]) -> None:
    """BM25 (k1 = 1.2, b = 0.75) by brute force over the chunks; SQLite counts the context into the length."""
    terms = query_terms("insurance of the parking premises")
    with Workspace.open(filled[0].home) as workspace:
        chunks = [chunk for info in workspace.documents() for chunk in workspace.document_chunks(info.name)]
        bodies = {chunk.chunk_id: Counter(index_terms(chunk.text)) for chunk in chunks}
        lengths = {c.chunk_id: len(index_terms(c.text)) + len(index_terms(c.context)) for c in chunks}
        frequency = {term: sum(term in body for body in bodies.values()) for term in terms}
        average = sum(lengths.values()) / len(chunks)
        expected = {}
        for identifier, body in bodies.items():
            norm = 1.2 * (1 - 0.75 + 0.75 * lengths[identifier] / average)
            score = sum(
                max(1e-6, math.log((len(chunks) - frequency[t] + 0.5) / (frequency[t] + 0.5)))
                * (body[t] * 2.2 / (body[t] + norm))
                for t in terms
                if body[t]
            )
            if score:
                expected[identifier] = score
        found = workspace.lexical_search(terms, 10_000)
        assert workspace.document_frequency([*terms, "absent"]) == {**frequency, "absent": 0}
    assert dict(found) == pytest.approx(expected, rel=1e-6)
    assert [score for _, score in found] == sorted(expected.values(), reverse=True)


def test_search_within_documents_and_by_context(filled: tuple[Settings, Path]) -> None:
    with Workspace.open(filled[0].home) as workspace:
        wanted = {workspace.document(name).document_id for name in ("text1.md", "lease.pdf")}
        found = workspace.lexical_search(["tenant"], 500, documents=["text1.md", "lease.pdf", "no such"])
        assert {chunk.split(":")[0] for chunk, _ in found} == wanted
        everywhere = dict(workspace.lexical_search(["tenant"], 500))
        assert all(everywhere[chunk] == score for chunk, score in found)
        assert workspace.lexical_search(["tenant"], 500, documents=[]) == []
        assert workspace.lexical_search(["text1"], 500) == []  # the title stands in the context only
        assert workspace.lexical_search(["text1"], 500, context_weight=0.5)
        assert workspace.lexical_search([], 5) == workspace.lexical_search(["tenant"], 0) == []
        for hostile in ('"', "a OR b", 'x" OR "y', "body:", "NEAR(", "*", "-", "'; DROP TABLE chunks; --", "\0"):
            workspace.lexical_search([hostile], 5)


def test_vectors_are_those_of_the_passages(filled: tuple[Settings, Path]) -> None:
    embedder = load_embedder(EmbedderSettings(model="hashing:64"))
    with Workspace.open(filled[0].home) as workspace:
        ids, vectors = workspace.vectors()
        assert len(ids) == len(set(ids)) == workspace.chunk_count() and vectors.dtype == np.float32
        expected = embedder.embed_passages([passage_text(chunk) for chunk in workspace.chunks(ids)])
        np.testing.assert_allclose(vectors, expected, atol=1e-3)
        assert workspace.embedder_name == "hashing:64"


def test_names_that_do_not_exist_come_with_the_nearest(filled: tuple[Settings, Path]) -> None:
    with Workspace.open(filled[0].home) as workspace:
        with pytest.raises(NotFoundError, match=r"leese\.pdf.*lease\.pdf"):
            workspace.document("leese.pdf")
        with pytest.raises(NotFoundError, match=r"has no page 4.*1 to 3"):
            workspace.page("lease.pdf", 4)
    with pytest.raises(NotFoundError, match=r"other.*default"):
        Workspace.open(filled[0].home, "other", create=False)
    assert list_workspaces(filled[0].home) == ["default"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\0b", "x" * 65, "a..b", "end ", "e."]
)
def test_workspace_names_cannot_leave_the_home(name: str, lectern_home: Path) -> None:
    with pytest.raises(UsageError, match="no workspace name"):
        Workspace.open(lectern_home, name)
    assert not lectern_home.exists()


def test_opening_is_quick_and_loads_neither_torch_nor_faiss(lectern_home: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ingest.workspace import Workspace;"
        f"start = time.process_time(); w = Workspace.open(Path({str(lectern_home)!r})); w.documents();"
        "assert time.process_time() - start < 0.3; assert not {'torch', 'faiss', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_version_grows_with_every_change_of_what_is_found(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(prose(1))
    embedder = load_embedder(settings.embedder)
    with Workspace.open(settings.home) as workspace:
        versions = [workspace.version]
        for change in (
            lambda: ingest_file(workspace, file, settings=settings),
            lambda: embed_pending(workspace, embedder),
            lambda: workspace.remove("a.txt"),
        ):
            change()
            versions.append(workspace.version)
        assert versions == sorted(set(versions))
        assert ingest_file(workspace, file, settings=settings).status == "added"


def test_readers_see_the_old_or_the_new_document_never_a_mixture(settings: Settings, tmp_path: Path) -> None:
    """A reader hammers the store while a document is replaced to and fro; it is never blocked for long."""
    file = tmp_path / "a.txt"
    texts = ["old " * 5 + prose(1), "new " * 5 + prose(2, 60)]
    file.write_text(texts[0])
    errors: list[str] = []
    longest = 0.0
    done = threading.Event()
    with Workspace.open(settings.home) as workspace:
        ingest_file(workspace, file, settings=settings, name="a.txt")

        def read() -> None:
            nonlocal longest
            while not done.is_set():
                start = time.monotonic()
                text = workspace.page("a.txt", 1).text
                chunks = workspace.document_chunks("a.txt")
                longest = max(longest, time.monotonic() - start)
                if text not in texts:
                    errors.append("a page of neither version")
                source = next(t for t in texts if t.startswith(chunks[0].text[:3]))
                if any(source[c.start : c.end] != c.text for c in chunks):
                    errors.append("chunks of two versions")
                for term, other in (("old", "new"), ("new", "old")):
                    found = workspace.lexical_search([term], 100)
                    if found and other in (c.text[:3] for c in chunks) and term in (c.text[:3] for c in chunks):
                        errors.append("both versions found")

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(1, 4):
            file.write_text(texts[turn % 2])
            assert ingest_file(workspace, file, settings=settings, name="a.txt").status == "replaced"
        done.set()
        reader.join()
    assert not errors
    assert longest < 10


def test_replacing_takes_over_the_vectors_of_unchanged_passages(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    parts = ["# One\n\n" + prose(1, 10), "# Two\n\n" + prose(2, 10), "# Three\n\n" + prose(3, 10)]
    file.write_text("".join(parts))
    embedder = load_embedder(settings.embedder)
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [file], settings=settings)
        file.write_text("".join([parts[0], "# Two\n\nAnother text altogether.\n\n", parts[2]]))
        assert ingest_file(workspace, file, settings=settings).status == "replaced"
        info = workspace.document("a.md")
        assert 0 < info.embedded < info.chunks and info.status == "searchable"
        embed_pending(workspace, embedder)
        ids, vectors = workspace.vectors()
        expected = embedder.embed_passages([passage_text(chunk) for chunk in workspace.chunks(ids)])
        np.testing.assert_allclose(vectors, expected, atol=1e-3)
        assert workspace.document("a.md").status == "embedded"
        assert not workspace.lexical_search(["2001"], 5)


def test_removal_leaves_no_trace_on_disk(settings: Settings, tmp_path: Path) -> None:
    """The word, its stem, the packed page, the vectors, the name and the original are gone from every file."""
    secret, stem = "quixotropicalities", index_terms("quixotropicalities")[0]
    text = f"The {secret} of the contract. " + prose(7)
    (tmp_path / "secretfile.txt").write_text(text)
    write_pdf(tmp_path / "secretpdf.pdf", [text])
    (tmp_path / "other.txt").write_text(prose(8))
    with Workspace.open(settings.home) as workspace, Workspace.open(settings.home) as reader:
        ingest_paths(workspace, [tmp_path], settings=settings)
        (workspace.derived / "index.faiss").write_bytes(workspace.vectors()[1].tobytes())
        hits = [chunk for chunk, _ in workspace.lexical_search([stem], 10)]
        assert len(hits) >= 2 and reader.chunks(hits)  # another connection has the pages in its cache
        ids, _ = workspace.vectors()
        row = sqlite3.connect(workspace.database).execute("SELECT vector FROM vectors ORDER BY chunk").fetchall()
        vector = row[ids.index(hits[0])][0]
        traces = {
            "word": secret.encode()[4:],
            "stem": stem.encode()[2:],
            "page": pack_text(text)[20:60],
            "vector": vector[16:80],
            "name": b"secretfile",
            "name of the other": b"secretpdf",
        }
        before = _traces(workspace.path, traces)
        assert set(traces) <= before, "the test must be able to see what it looks for"
        workspace.remove("secretfile.txt")
        workspace.remove("secretpdf.pdf")
        assert _traces(workspace.path, traces) == set()
        assert workspace.document_frequency([stem]) == {stem: 0}
        assert [info.name for info in reader.documents()] == ["other.txt"]
        assert len(list((workspace.path / "files").iterdir())) == 1
        assert workspace.lexical_search(["tenant"], 5)
        with pytest.raises(NotFoundError):
            workspace.remove("secretfile.txt")


def test_removal_gives_the_space_back(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text(prose(8))
    (tmp_path / "large.txt").write_text("\n\n".join(prose(seed) for seed in range(300)))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path / "small.txt"], settings=settings)
        workspace.purge()
        before = workspace.database.stat().st_size
        ingest_paths(workspace, [tmp_path / "large.txt"], settings=settings)
        workspace.purge()
        assert workspace.database.stat().st_size > 2 * before
        workspace.remove("large.txt")
        workspace.purge()
        assert workspace.database.stat().st_size < 1.2 * before


def _traces(folder: Path, traces: dict[str, bytes]) -> set[str]:
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found |= {label for label, needle in traces.items() if needle in data or needle in path.name.encode()}
    return found


def test_a_deleted_workspace_is_gone(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1))
    with Workspace.open(settings.home, "temporary") as workspace:
        ingest_file(workspace, tmp_path / "a.txt", settings=settings)
    delete_workspace(settings.home, "temporary")
    assert list_workspaces(settings.home) == []
    with pytest.raises(NotFoundError):
        delete_workspace(settings.home, "temporary")


def test_another_embedder_is_refused_with_the_command_that_helps(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1))
    other = load_embedder(EmbedderSettings(model="hashing:32"))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path / "a.txt"], settings=settings)
        for attempt in (
            lambda: workspace.require_embedder(other.name),
            lambda: embed_pending(workspace, other),
            lambda: workspace.add_vectors(other.name, [1], np.ones((1, 32))),
        ):
            with pytest.raises(
                StoreError, match=r"hashing:64.*hashing:32.*python -m ingest --reembed --workspace default"
            ):
                attempt()


def test_a_tokeniser_of_another_version_rebuilds_the_index(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1))
    with Workspace.open(settings.home) as workspace:
        ingest_file(workspace, tmp_path / "a.txt", settings=settings)
        expected = workspace.lexical_search(["tenant"], 10)
        with sqlite3.connect(workspace.database) as connection:
            connection.execute("INSERT INTO lexical (lexical) VALUES ('delete-all')")
            connection.execute("UPDATE meta SET value = 'older' WHERE key = 'tokenizer'")
        assert workspace.lexical_search(["tenant"], 10) == []
        with pytest.raises(StoreError, match="another version"):
            ingest_file(workspace, tmp_path / "a.txt", settings=settings, name="b.txt", retry=True)
    with Workspace.open(settings.home) as workspace:
        assert workspace.lexical_search(["tenant"], 10) == expected


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"this is no database at all" * 100), "damaged.*files"),
        (lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99"), "newer Lectern"),
        (lambda path: sqlite3.connect(path).execute("PRAGMA application_id = 7"), "not a Lectern database"),
    ],
)
def test_a_damaged_or_foreign_database_is_a_clear_error(settings: Settings, damage, message: str) -> None:
    workspace = Workspace.open(settings.home)
    workspace.close()
    damage(workspace.database)
    with pytest.raises(StoreError, match=message):
        Workspace.open(settings.home)


def test_damage_in_the_middle_is_reported_where_it_is_met(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1, 400))
    with Workspace.open(settings.home) as workspace:
        ingest_file(workspace, tmp_path / "a.txt", settings=settings)
        database = workspace.database
    data = bytearray(database.read_bytes())
    for start in range(4096, len(data), 4096):  # all but the first page, which holds the schema
        data[start : start + 64] = b"\xff" * 64
    database.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"), Workspace.open(settings.home) as workspace:
        workspace.documents()
        workspace.document_chunks("a.txt")


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--home"):
        Workspace.open(tmp_path / "file" / "home")


def test_a_closed_workspace_says_so(settings: Settings) -> None:
    workspace = Workspace.open(settings.home)
    workspace.close()
    with pytest.raises(StoreError, match="closed"):
        workspace.documents()
    assert not (workspace.path / (DATABASE + "-wal")).exists()


def test_texts_of_many_pages_do_not_pile_up_in_memory(settings: Settings, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ingest.workspace_connection._TEXT_CACHE_CHARACTERS", 5_000)
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(prose(number))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path], settings=settings, embed=False)
        for _ in range(2):
            for info in workspace.documents():
                page = workspace.page(info.name, 1)
                assert all(page.text[c.start : c.end] == c.text for c in workspace.document_chunks(info.name))
        assert workspace._texts._size <= 5_000
    assert IngestSettings().max_pages >= 20_000
