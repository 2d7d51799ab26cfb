"""`python -m ingest`: tables for people, JSON alone for tools, exit statuses, one line for an error."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.ingest.corpus import ROOT, command, environment, prose, run_cli, run_here, run_json, write_corpus


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """A home filled by one run over a good folder with one bad and one unsupported file."""
    folder = write_corpus(tmp_path_factory.mktemp("cli") / "docs", files=3)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "song.mp3").write_bytes(b"ID3\x04")
    path = tmp_path_factory.mktemp("home")
    return path, folder, run_cli(path, folder)


def test_the_table_names_every_file_and_the_status_tells_of_a_failure(home) -> None:
    _, _, done = home
    assert done.returncode == 1 and done.stderr == ""  # quiet when piped
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["file", "status", "pages", "chunks", "embedded", "s"]
    for name, status in {
        "lease.pdf": "added", "deep/text0.txt": "added", "broken.pdf": "failed", "song.mp3": "skipped"
    }.items():  # fmt: skip
        assert any(line.split()[:2] == [name, status] for line in lines), name
    assert "4 added" in lines[-1] and "1 failed" in lines[-1]


def test_json_stands_alone_on_stdout(home) -> None:
    path, folder, _ = home
    done = run_cli(path, folder, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["workspace"] == "default" and answer["not_embedded"] == 0
    files = {file["name"]: file for file in answer["files"]}
    assert files["lease.pdf"]["status"] == "unchanged" and files["lease.pdf"]["pages"] == 3
    assert files["lease.pdf"]["embedded"] == files["lease.pdf"]["chunks"] > 0
    assert files["broken.pdf"]["reason"] and files["broken.pdf"]["remedy"]
    assert answer["counts"] == {"unchanged": 4, "failed": 1, "skipped": 1}
    assert run_json(path, folder / "lease.pdf")["counts"] == {"unchanged": 1}


def test_list_shows_status_pages_and_chunks(home) -> None:
    path, _, _ = home
    answer = run_json(path, "--list")
    listed = {info["name"]: info for info in answer["documents"]}
    assert answer["embedder"] == "hashing:64"
    assert (listed["lease.pdf"]["status"], listed["lease.pdf"]["pages"]) == ("embedded", 3)
    assert listed["broken.pdf"]["status"] == "failed"
    table = run_here(path, "--list")
    assert table.returncode == 0 and "lease.pdf" in table.stdout and "song.mp3" not in table.stdout


def test_adding_without_vectors_then_with_then_another_embedder_then_removal(tmp_path: Path) -> None:
    path, file = tmp_path / "home", tmp_path / "a.txt"
    file.write_text(prose(1))
    first = run_json(path, file, "--no-embed", "--workspace", "lease")
    assert first["not_embedded"] == first["files"][0]["chunks"] > 0
    assert run_json(path, file, "--workspace", "lease")["not_embedded"] == 0
    refused = run_here(path, file, "--workspace", "lease", model="hashing:32")
    assert refused.returncode == 1 and "python -m ingest --reembed --workspace lease" in refused.stderr
    again = run_here(path, "--reembed", "--workspace", "lease", model="hashing:32")
    assert again.returncode == 0 and "hashing:32" in again.stdout
    assert run_json(path, "--list", "--workspace", "lease")["embedder"] == "hashing:32"
    assert run_json(path, "--remove", "a.txt", "--workspace", "lease")["removed"] == "a.txt"
    assert run_json(path, "--list", "--workspace", "lease")["documents"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing.pdf"], 2, "missing.pdf"),
        ([], 2, "no PATH"),
        (["--list", "x.pdf"], 2, "--list"),
        (["--list", "--workspace", "../up"], 2, "no workspace name"),
        (["--list", "--workspace", "nowhere"], 1, "nowhere"),
    ],
)
def test_errors_are_one_line_and_a_status(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    run = run_cli if message == "missing.pdf" else run_here  # one as a process of its own
    done = run(tmp_path / "home", *arguments, "--json")
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr


def test_removing_what_is_not_there_names_the_nearest(home) -> None:
    done = run_here(home[0], "--remove", "leas.pdf")
    assert done.returncode == 1 and "lease.pdf" in done.stderr


def test_help_states_defaults() -> None:
    done = run_here(Path("unused"), "--help")
    assert done.returncode == 0
    for word in ("--no-embed", "--reembed", "--retry", "default: default", "LECTERN_HOME", "exit status"):
        assert word in done.stdout


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(1))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # 24 lines, 100 columns
    done = subprocess.run(
        [*command(tmp_path / "home", tmp_path / "a.txt"), "--json"],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=120,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how a closed terminal ends on Linux
        pass
    os.close(ours)
    assert b"reading" in shown and b"embedding" in shown and b"page" in shown
    assert json.loads(done.stdout)["counts"] == {"added": 1}
