"""Crashes, kills, full disks and several processes at once: nothing half, nothing lost."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import ingest.embedding
import ingest.pipeline
from core.errors import ModelError
from ingest.pipeline import embed_workspace, ingest_paths
from ingest.schema import DATABASE
from ingest.worker_pool import WorkerDied, WorkerPool
from ingest.workspace import Workspace
from tests.ingest.corpus import (
    ROOT,
    command,
    contents,
    environment,
    hashing_settings,
    prose,
    run_cli,
    run_json,
    write_corpus,
)

HANDLERS = "tests.ingest.handlers"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("faults") / "docs", files=8)


@pytest.fixture(scope="module")
def clean(corpus: Path, tmp_path_factory: pytest.TempPathFactory):
    """What an undisturbed run gives, and how long it takes (s)."""
    home = tmp_path_factory.mktemp("clean")
    start = time.monotonic()
    run_json(home, corpus)
    return contents(home), time.monotonic() - start


def start_cli(home: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(home, *arguments),
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_whole(home: Path, expected: dict) -> dict[str, str]:
    """The database is sound and every document in it is complete; returns when each was added."""
    database = home / "workspaces" / "default" / DATABASE
    if not database.exists():
        return {}
    with sqlite3.connect(database) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            return {}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO lexical (lexical) VALUES ('integrity-check')")
        indexed = connection.execute("SELECT count(*) FROM lexical").fetchone()[0]
    with Workspace.open(home, create=False) as workspace:
        infos = workspace.documents()
        for info in infos:
            document_id, _, pages, chunks, _, sha256 = expected["documents"][info.name]
            assert (info.document_id, info.pages, info.chunks, info.sha256) == (document_id, pages, chunks, sha256)
            assert len(workspace.document_chunks(info.name)) == chunks
            assert len(list(workspace.pages(info.name))) == pages
            assert workspace.source_path(info.name).is_file()
            vectors = [identifier for identifier in workspace.vectors()[0] if identifier.startswith(document_id)]
            assert len(vectors) == info.embedded
        assert indexed == sum(info.chunks for info in infos)
        return {info.name: info.added_at for info in infos}


def test_killed_at_random_moments_a_rerun_ends_where_a_clean_run_does(corpus: Path, clean, tmp_path: Path) -> None:
    expected, duration = clean
    dice = random.Random(7)
    home = tmp_path / "home"
    added: dict[str, str] = {}
    for _ in range(3):
        process = start_cli(home, corpus)
        time.sleep(dice.uniform(0.15, 1.0) * duration)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = check_whole(home, expected)
        assert added.items() <= now.items(), "what had been stored was lost or done again"
        added = now
    run_json(home, corpus)
    assert check_whole(home, expected).items() >= added.items()
    assert contents(home) == expected  # stored originals included: no copies left over


def test_killed_as_soon_as_something_is_stored_nothing_half_is_searchable(corpus: Path, clean, tmp_path: Path) -> None:
    """The kill follows the first commits closely instead of the clock, and comes again while it catches up."""
    expected, _ = clean
    home = tmp_path / "home"
    database = home / "workspaces" / "default" / DATABASE
    for threshold in (1, 7):
        process = start_cli(home, corpus)
        while process.poll() is None:
            if database.exists():
                try:
                    with sqlite3.connect(database) as connection:
                        if connection.execute("SELECT count(*) FROM documents").fetchone()[0] >= threshold:
                            break
                except sqlite3.OperationalError:
                    pass  # not laid out yet
            time.sleep(0.002)
        process.kill()
        process.communicate()
        assert len(check_whole(home, expected)) >= threshold
    run_json(home, corpus)
    assert contents(home) == expected


def test_two_ingests_at_once_give_what_one_gives(corpus: Path, clean, tmp_path: Path) -> None:
    home = tmp_path / "home"
    processes = [start_cli(home, corpus, "--json") for _ in range(2)]
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert contents(home) == clean[0]
    statuses = [[file["status"] for file in json.loads(output)["files"]] for output, _ in outputs]
    assert sorted(map(set, statuses), key=str) in ([{"added"}, {"unchanged"}], [{"unchanged"}, {"added"}])


def test_a_server_goes_on_reading_while_another_process_ingests(corpus: Path, clean, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Workspace.open(home) as workspace:
        process = start_cli(home, corpus)
        slowest, seen = 0.0, set()
        while process.poll() is None:
            start = time.monotonic()
            seen.add(len(workspace.documents()))
            for chunk, _ in workspace.lexical_search(["tenant"], 20):
                assert workspace.chunk(chunk).text
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.02)
        process.communicate()
        assert process.returncode == 0 and slowest < 5
        assert len(workspace.documents()) == len(clean[0]["documents"])


def test_a_file_that_crashes_or_hangs_its_reader_costs_only_itself(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ingest.pipeline, "FACTORY", f"{HANDLERS}:make_fragile_reader")
    folder = tmp_path / "docs"
    folder.mkdir()
    names = ["bug.txt", "crash.txt", "good1.txt", "good2.txt", "hang.txt", "oom.txt"]
    for number, name in enumerate(names):
        (folder / name).write_text(prose(number))
    settings = hashing_settings(tmp_path / "home", page_timeout_s=8, reading_workers=2)
    with Workspace.open(settings.home) as workspace:
        reports = {report.name: report for report in ingest_paths(workspace, [folder], settings=settings)}
        assert {name: report.status for name, report in reports.items()} == {
            name: "added" if name.startswith("good") else "failed" for name in names
        }
        assert "SIGSEGV" in reports["crash.txt"].reason
        assert "no progress" in reports["hang.txt"].reason
        assert "memory" in reports["oom.txt"].reason
        assert "a parser's bug" in reports["bug.txt"].reason
        # what was killed from outside is tried again without being asked; what crashed by itself is remembered
        monkeypatch.undo()
        again = {report.name: report.status for report in ingest_paths(workspace, [folder], settings=settings)}
        assert again["oom.txt"] == "added" and again["crash.txt"] == "failed"
        asked = ingest_paths(workspace, [folder / "crash.txt"], settings=settings, retry=True)
        assert asked[0].status == "added"


def test_embedding_survives_the_death_of_a_worker(tmp_path: Path, monkeypatch) -> None:
    settings = hashing_settings(tmp_path / "home", embedding_workers=2)
    (tmp_path / "a.txt").write_text(prose(1, 1200))
    flag = tmp_path / "died"
    monkeypatch.setattr(ingest.embedding, "FACTORY", f"{HANDLERS}:make_dying_embedder")
    monkeypatch.setattr(ingest.embedding, "worth_processes", lambda settings, pending: True)
    pool = ingest.embedding.WorkerPool
    monkeypatch.setattr(ingest.embedding, "WorkerPool", lambda f, _, **options: pool(f, (str(flag),), **options))
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [tmp_path / "a.txt"], settings=settings, embed=False)
        assert embed_workspace(workspace, settings) == workspace.chunk_count()
        assert flag.exists() and workspace.pending_count() == 0
    with Workspace.open(settings.home, "other") as workspace:
        ingest_paths(workspace, [tmp_path / "a.txt"], settings=settings, embed=False)
        monkeypatch.setattr(ingest.embedding, "WorkerPool", lambda f, _, **options: pool(f, ("",), **options))
        with pytest.raises(ModelError, match="embedding_workers"):
            embed_workspace(workspace, settings)
        assert workspace.lexical_search(["tenant"], 5), "still searchable by words"


def test_worker_pool_reports_each_death_with_its_task_and_goes_on() -> None:
    progress = []
    pool: WorkerPool[object] = WorkerPool(
        f"{HANDLERS}:make_doubler", (), processes=2, on_progress=lambda *p: progress.append(p), silence_limit_s=5
    )
    with pool:
        outcomes = {outcome.task: outcome for outcome in pool.map([1, "die", 2, "fail", "hang", 3])}
    assert {task: outcome.result for task, outcome in outcomes.items()} == {
        1: 2, 2: 4, 3: 6, "die": None, "fail": None, "hang": None
    }  # fmt: skip
    assert isinstance(outcomes["die"].error, WorkerDied) and "status 3" in str(outcomes["die"].error)
    assert isinstance(outcomes["hang"].error, WorkerDied) and "no progress" in str(outcomes["hang"].error)
    assert isinstance(outcomes["fail"].error, KeyError)
    assert (1, "half way") in progress


def test_workers_end_with_the_process_that_started_them(corpus: Path, tmp_path: Path) -> None:
    import psutil

    process = start_cli(tmp_path / "home", corpus)
    children: list[psutil.Process] = []
    while process.poll() is None and not children:
        children = psutil.Process(process.pid).children()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert children and not alive


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "small.txt").write_text(prose(1))
    home = tmp_path / "home"
    run_json(home, folder)
    (folder / "big.txt").write_text(prose(2, 6000))

    def limit() -> None:  # no file may grow beyond 300 kB: to a program this looks like a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = run_cli(home, folder, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "disk" in done.stderr
    before = run_json(home, "--list")["documents"]
    assert [(info["name"], info["status"]) for info in before] == [("small.txt", "embedded")]
    after = run_json(home, folder)
    assert {file["name"]: file["status"] for file in after["files"]} == {"big.txt": "added", "small.txt": "unchanged"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_one_clear_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    (tmp_path / "a.txt").write_text(prose(1))
    done = run_cli(home, tmp_path / "a.txt")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "--home" in done.stderr
