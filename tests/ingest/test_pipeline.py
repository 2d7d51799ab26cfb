"""Files into a workspace: names, repetition, replacement, failures, progress."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from core.errors import StoreError, UsageError
from core.settings import Settings
from ingest.pipeline import embed_pending, embed_workspace, ingest_file, ingest_paths, reembed
from ingest.progress import Progress
from ingest.workspace import Workspace
from tests.ingest.corpus import contents, hashing_settings, prose, write_corpus, write_pdf, write_scan


@pytest.fixture
def settings(lectern_home: Path) -> Settings:
    return hashing_settings(lectern_home, reading_workers=1)


def statuses(reports) -> dict[str, str]:
    return {report.name: report.status for report in reports}


def test_a_folder_comes_in_whole_and_a_second_run_does_nothing(settings: Settings, tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "docs", files=4)
    (folder / ".hidden.txt").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "a.txt").write_text("x")
    (folder / "table.xlsx").write_text("x")
    with Workspace.open(settings.home) as workspace:
        reports = ingest_paths(workspace, [folder], settings=settings)
        names = ["deep/text0.txt", "lease.pdf", "text1.md", "text2.txt", "text3.md"]
        assert statuses(reports) == {**dict.fromkeys(names, "added"), "table.xlsx": "skipped"}
        assert [info.name for info in workspace.documents()] == names
        assert all(report.embedded == report.chunks > 0 for report in reports if report.status == "added")
        before, version = contents(settings.home), workspace.version
        again = ingest_paths(workspace, [folder, folder / "lease.pdf"], settings=settings)
        assert statuses(again) == {**dict.fromkeys(names, "unchanged"), "table.xlsx": "skipped"}
        assert workspace.version == version and contents(settings.home) == before


def test_changed_content_replaces_and_other_chunk_sizes_read_again(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("The zebra. " + prose(1))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [file], settings=settings)
        file.write_text("The giraffe. " + prose(1))
        [report] = ingest_paths(workspace, [file], settings=settings)
        assert report.status == "replaced" and report.embedded == report.chunks
        assert not workspace.lexical_search(["zebra"], 5) and workspace.lexical_search(["giraff"], 5)
        assert len(workspace.documents()) == len(list((workspace.path / "files").iterdir())) == 1
        os.utime(file)  # touched, not changed
        assert statuses(ingest_paths(workspace, [file], settings=settings)) == {"a.txt": "unchanged"}
        smaller = hashing_settings(settings.home, chunk_tokens=64, overlap_tokens=10)
        [smaller_report] = ingest_paths(workspace, [file], settings=smaller)
        assert smaller_report.status == "replaced" and smaller_report.chunks > report.chunks


def test_files_of_one_name_from_two_folders_are_kept_apart(settings: Settings, tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lease.txt").write_text(prose(seed))
    with Workspace.open(settings.home) as workspace:
        both = [tmp_path / "a" / "lease.txt", tmp_path / "b" / "lease.txt"]
        assert statuses(ingest_paths(workspace, both, settings=settings)) == {
            "lease.txt": "added",
            "b/lease.txt": "added",
        }
        assert statuses(ingest_paths(workspace, both[::-1], settings=settings)) == {
            "b/lease.txt": "unchanged",
            "lease.txt": "unchanged",
        }
        # by way of their folder they are the files they were
        assert set(statuses(ingest_paths(workspace, [tmp_path], settings=settings)).values()) == {"unchanged"}
        assert len(workspace.documents()) == 2


def test_a_moved_file_keeps_one_document_under_its_new_name(settings: Settings, tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text(prose(1))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [old], settings=settings)
        old.rename(tmp_path / "new.txt")
        ingest_paths(workspace, [tmp_path / "new.txt"], settings=settings)
        assert [(info.name, info.status) for info in workspace.documents()] == [("new.txt", "embedded")]
        assert {chunk.document for chunk in workspace.document_chunks("new.txt")} == {"new.txt"}


def test_the_same_content_under_a_second_name_is_an_alias(settings: Settings, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(prose(1))
    with Workspace.open(settings.home) as workspace:
        reports = ingest_paths(workspace, [tmp_path], settings=settings)
        assert statuses(reports) == {"one.txt": "added", "two.txt": "duplicate"}
        assert "one.txt" in reports[1].reason
        assert statuses(ingest_paths(workspace, [tmp_path], settings=settings)) == statuses(
            [reports[0], reports[1]]
        ) | {"one.txt": "unchanged"}
        [info] = workspace.documents()
        assert info.aliases == ("two.txt",) and workspace.document("two.txt") == info
        workspace.remove("one.txt")  # the second name still stands for the content
        [info] = workspace.documents()
        assert info.name == "two.txt" and workspace.lexical_search(["tenant"], 5)
        (tmp_path / "one.txt").unlink()
        ingest_paths(workspace, [tmp_path], settings=settings)
        workspace.remove("two.txt")
        assert workspace.documents() == [] and not list((workspace.path / "files").iterdir())


def test_an_alias_whose_file_changes_becomes_a_document(settings: Settings, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(prose(1))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path], settings=settings)
        (tmp_path / "two.txt").write_text(prose(2))
        assert statuses(ingest_paths(workspace, [tmp_path], settings=settings)) == {
            "one.txt": "unchanged",
            "two.txt": "added",
        }
        assert [(info.name, info.aliases) for info in workspace.documents()] == [("one.txt", ()), ("two.txt", ())]


def test_every_bad_file_is_named_with_reason_and_remedy_and_the_others_come_in(
    settings: Settings, tmp_path: Path
) -> None:
    from pypdf import PdfWriter

    folder = tmp_path / "docs"
    folder.mkdir()
    whole = write_pdf(folder / "good.pdf", [prose(1, 10)]).read_bytes()
    (folder / "good.txt").write_text(prose(2))
    write_pdf(folder / "encrypted.pdf", [prose(3, 5)], password="secret")
    write_scan(folder / "scanned.pdf")
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_text(" \n\n ")
    (folder / "truncated.pdf").write_bytes(whole[: len(whole) // 3])
    (folder / "corrupt.pdf").write_bytes(b"%PDF-1.7\n" + os.urandom(5000))
    (folder / "picture.pdf").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with (folder / "zero-page.pdf").open("wb") as stream:
        PdfWriter().write(stream)
    with Workspace.open(settings.home) as workspace:
        reports = {report.name: report for report in ingest_paths(workspace, [folder], settings=settings)}
        good = {name for name, report in reports.items() if report.status == "added"}
        assert good == {"good.pdf", "good.txt"}
        for name in reports.keys() - good:
            assert reports[name].status == "failed" and reports[name].reason and reports[name].remedy, name
            info = workspace.document(name)
            assert (info.status, info.reason) == ("failed", reports[name].reason)
        assert "password" in (reports["encrypted.pdf"].reason + reports["encrypted.pdf"].remedy).lower()
        assert len(list((workspace.path / "files").iterdir())) == 2
        # remembered, not read again ...
        again = {r.name: r for r in ingest_paths(workspace, [folder], settings=settings)}
        assert {n: (r.status, r.reason) for n, r in again.items() if n not in good} == {
            n: (r.status, r.reason) for n, r in reports.items() if n not in good
        }
        assert max(report.seconds for report in again.values()) < 1
        # ... until the file is mended
        write_pdf(folder / "encrypted.pdf", [prose(3, 5)])
        mended = {r.name: r.status for r in ingest_paths(workspace, [folder], settings=settings)}
        assert mended["encrypted.pdf"] == "added" and workspace.document("encrypted.pdf").status == "embedded"
        workspace.remove("scanned.pdf")
        assert "scanned.pdf" not in {info.name for info in workspace.documents()}


def test_a_version_that_cannot_be_read_leaves_the_old_one_searchable(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("The zebra. " + prose(1))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [file], settings=settings)
        good = file.read_bytes()
        file.write_bytes(b"")
        assert statuses(ingest_paths(workspace, [file], settings=settings)) == {"a.txt": "failed"}
        info = workspace.document("a.txt")
        assert info.status == "embedded" and "newer version" in info.reason
        assert workspace.lexical_search(["zebra"], 5)
        file.write_bytes(good)
        assert statuses(ingest_paths(workspace, [file], settings=settings)) == {"a.txt": "unchanged"}
        assert workspace.document("a.txt").reason == ""


def test_an_upload_replaces_by_name_and_is_searchable_before_it_is_embedded(settings: Settings, tmp_path: Path) -> None:
    upload = tmp_path / "tmp1234"
    upload.write_text("The zebra. " + prose(1))
    with Workspace.open(settings.home) as workspace:
        report = ingest_file(workspace, upload, settings=settings, name="lease.txt")
        assert (report.status, report.embedded) == ("added", 0)
        assert workspace.document("lease.txt").status == "searchable"
        assert workspace.lexical_search(["zebra"], 5) and workspace.vectors()[0] == []
        assert workspace.source_path("lease.txt").suffix == ".txt"
        other = tmp_path / "tmp5678"
        other.write_text(prose(2))
        assert ingest_file(workspace, other, settings=settings, name="lease.txt").status == "replaced"
        assert len(workspace.documents()) == 1


def test_embedding_stops_when_asked_and_goes_on_later(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1, 2500))
    stop = threading.Event()
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path / "a.txt"], settings=settings, embed=False)
        total = workspace.pending_count()
        assert total > 128
        first = embed_workspace(workspace, settings, progress=lambda _: stop.set(), stop=stop)
        assert 0 < first < total and workspace.document("a.txt").embedded == first
        assert workspace.document("a.txt").status == "searchable"
        seen: list[Progress] = []
        assert embed_workspace(workspace, settings, progress=seen.append) == total - first
        assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("embedding", total - first, total - first)
        assert workspace.document("a.txt").status == "embedded"


def test_progress_counts_pages_and_files(settings: Settings, tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf", [prose(page, 5) for page in range(4)])
    (tmp_path / "b.txt").write_text(prose(9))
    seen: list[Progress] = []
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path], settings=settings, progress=seen.append)
    assert Progress("reading", "a.pdf", 4, 4) in seen
    assert [(p.done, p.total) for p in seen if p.stage == "files"] == [(1, 2), (2, 2)]
    assert seen[-1].stage == "embedding"


def test_reembedding_changes_the_embedder(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1))
    other = settings.model_copy(update={"embedder": settings.embedder.model_copy(update={"model": "hashing:32"})})
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path / "a.txt"], settings=settings)
        with pytest.raises(StoreError, match="--reembed"):
            ingest_paths(workspace, [tmp_path / "a.txt"], settings=other)
        assert reembed(workspace, other) == workspace.chunk_count()
        assert workspace.embedder_name == "hashing:32" and workspace.vectors()[1].shape[1] == 32
        assert ingest_paths(workspace, [tmp_path / "a.txt"], settings=other)[0].status == "unchanged"


def test_missing_paths_are_named_before_anything_is_read(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1))
    with (
        Workspace.open(settings.home) as workspace,
        pytest.raises(UsageError, match=r"missing1.*missing2"),
    ):
        ingest_paths(workspace, [tmp_path / "a.txt", tmp_path / "missing1", tmp_path / "missing2"], settings=settings)
    with Workspace.open(settings.home) as workspace:
        assert workspace.documents() == []


def test_odd_file_names_are_no_obstacle(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    names = ["with space & 'quote'.txt", "中文 文件.txt", "a;b--.txt", "%s{0}.txt", "x" * 200 + ".txt"]
    for number, name in enumerate(names):
        (folder / name).write_text(prose(number))
    broken = os.fsdecode(b"latin1-\xe9.txt")
    (folder / broken).write_text(prose(50))
    with Workspace.open(settings.home) as workspace:
        reports = ingest_paths(workspace, [folder], settings=settings, embed=False)
        assert {report.status for report in reports} == {"added"} and len(reports) == 6
        assert set(names) < {info.name for info in workspace.documents()}
        assert {r.status for r in ingest_paths(workspace, [folder], settings=settings, embed=False)} == {"unchanged"}
        for info in workspace.documents():
            workspace.remove(info.name)


def test_the_real_embedder_finds_by_meaning_through_worker_processes(lectern_home: Path, tmp_path: Path) -> None:
    from core.settings import load_settings
    from ingest.embedders import load_embedder, passage_text

    settings = load_settings(lectern_home, ingest={"embedding_workers": 1, "reading_workers": 1})
    (tmp_path / "a.txt").write_text("The landlord shall mend the roof within ten days.\n\n" + prose(1, 30))
    (tmp_path / "b.txt").write_text("Cats sleep for most of the day.\n\n" + prose(2, 30))
    import ingest.embedding

    with Workspace.open(settings.home) as workspace, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.embedding, "_POOL_FROM", 1)
        ingest_paths(workspace, [tmp_path], settings=settings)
        ids, vectors = workspace.vectors()
        embedder = load_embedder(settings.embedder)
        expected = embedder.embed_passages([passage_text(chunk) for chunk in workspace.chunks(ids)])
        assert (vectors * expected).sum(axis=1).min() > 0.999
        assert workspace.embedder_name == embedder.name
        assert embed_pending(workspace, embedder) == 0
