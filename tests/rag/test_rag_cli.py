"""`python -m rag` as other tools call it: shapes, order, one-line errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import cli_main
from core.settings import EmbedderSettings, load_settings
from ingest.pipeline import embed_pending, ingest_paths
from ingest.workspace import Workspace
from rag.__main__ import main

ROOT = Path(__file__).parents[2]
HIT = {"document", "page", "pages", "chunk_id", "text", "start", "end", "score", "spans"}
CITATION = {"n", "document", "page", "quote", "start", "end", "boxes", "verified", "score"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two small documents; a hashing embedder keeps torch out of it."""
    from ingest.embedders import load_embedder

    home = tmp_path / "home"
    monkeypatch.setenv("LECTERN_EMBEDDER__MODEL", "hashing:64")
    monkeypatch.setenv("LECTERN_LOCATOR__MODEL", "sentence")
    settings = load_settings(home, embedder=EmbedderSettings(model="hashing:64"), ingest={"reading_workers": 1})
    (tmp_path / "tarn.txt").write_text("The observatory on Mount Tarn was founded in 1897 by Ida Voss.\n")
    (tmp_path / "tea.txt").write_text("Green tea is not fermented. It comes from China.\n")
    with Workspace.open(home) as workspace:
        ingest_paths(workspace, [tmp_path / "tarn.txt", tmp_path / "tea.txt"], settings=settings, embed=False)
        embed_pending(workspace, load_embedder(settings.embedder))
    return home


def run(*arguments: str) -> int:
    return cli_main(lambda: main(arguments))


def test_search_prints_the_agreed_object(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", "Who founded the observatory?", "-k", "1", "--home", str(home), "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["question"] == "Who founded the observatory?" and len(found["hits"]) == 1
    hit = found["hits"][0]
    assert set(hit) >= HIT and (hit["document"], hit["page"], hit["pages"]) == ("tarn.txt", 1, [1])
    assert {"embed", "coarse", "fine", "total"} <= set(found["timings_ms"])
    source = "The observatory on Mount Tarn was founded in 1897 by Ida Voss.\n"
    assert source[hit["start"] : hit["end"]] == hit["text"]
    span = hit["spans"][0]
    assert source[span["start"] : span["end"]] == span["text"] and span["boxes"] == []


def test_ask_prints_the_agreed_object(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", "Who founded the observatory?", "--home", str(home), "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"question", "answer", "refused", "citations", "model", "timings_ms"} <= set(answer)
    assert {"first_text", "total"} <= set(answer["timings_ms"])
    for citation in answer["citations"]:
        assert set(citation) >= CITATION


def test_a_file_of_questions_is_answered_in_order_by_one_process(home: Path, tmp_path: Path) -> None:
    questions = ["Is green tea fermented?", "Who founded the observatory?", "茶?", "Is green tea fermented?"]
    file = tmp_path / "questions.txt"
    file.write_text("\ufeff" + "\r\n".join(questions) + "\n\n", encoding="utf-8")
    command = [sys.executable, "-m", "rag", "search", "--queries", str(file), "--home", str(home), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ), timeout=120)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["question"] for record in records] == questions
    assert records[1]["hits"][0]["document"] == "tarn.txt" and records[0]["hits"][0]["document"] == "tea.txt"


def test_people_get_text(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", "Who", "founded", "the", "observatory?", "--home", str(home)) == 0
    assert "tarn.txt, page 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("search", "x", "--workspace", "nowhere"), 1, "python -m ingest"),
        (("search", "x", "--workspace", "empty"), 1, "python -m ingest"),
        (("search", "x", "--workspace", "../up"), 2, "workspace name"),
        (("search",), 2, "QUESTION"),
        (("ask", "x", "--queries", "f"), 2, "QUESTION"),
        (("ask", "--queries", "missing.txt"), 2, "missing.txt"),
        (("search", "x", "-k", "0"), 2, "-k 0"),
        (("ask", " "), 2, "empty"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(
    home: Path, arguments: tuple[str, ...], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Workspace.open(home, "empty").close()
    assert run(*arguments, "--home", str(home)) == status
    printed = capsys.readouterr()
    assert printed.out == "" and words in printed.err and len(printed.err.strip().splitlines()) == 1


def test_help_loads_no_heavy_library() -> None:
    check = (
        "import sys, rag.__main__; print([m for m in ('torch', 'faiss', 'gradio', 'langchain') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
