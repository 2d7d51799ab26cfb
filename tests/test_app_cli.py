"""`app.py` as other programs call it: real files in, JSON and sound out, one clean line for every mistake."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from reportlab.pdfgen.canvas import Canvas

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]


def app(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def lease(lectern_home: Path, tmp_path: Path) -> Path:
    """A workspace `lease` with one document of two pages."""
    path = tmp_path / "lease.pdf"
    canvas = Canvas(str(path))
    canvas.drawString(72, 700, "The flat has three rooms and a kitchen on the second floor.")
    canvas.showPage()
    canvas.drawString(72, 700, "The notice period for the tenant is eleven weeks.")
    canvas.showPage()
    canvas.save()
    with Workspace.open(lectern_home, "lease") as workspace:
        ingest_paths(workspace, [path], settings=load_settings(lectern_home), embed=False)
    return path


def one_line(process: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in process.stderr
    assert process.stdout == ""
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    return lines[0]


def test_ask_prints_json_and_speaks(lease: Path, tmp_path: Path) -> None:
    """The answer's JSON has every field of the interface; the WAV holds the sound that it describes."""
    out = tmp_path / "out.wav"
    process = app("ask", "How long is the notice period?", "--workspace", "lease", "--speak", str(out), "--json")
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    assert "eleven weeks" in answer["answer"] and answer["refused"] is False
    [citation, *_] = answer["citations"]
    assert citation["n"] == 1 and (citation["document"], citation["page"]) == ("lease.pdf", 2)
    assert citation["verified"] is True and len(citation["boxes"][0]) == 4
    assert {"first_text", "total", "transcribe", "first_audio"} <= answer["timings_ms"].keys()
    assert answer["timings_ms"]["first_audio"] <= answer["timings_ms"]["total"]
    with wave.open(str(out)) as sound:
        assert sound.getnchannels() == 1
        assert sound.getframerate() == answer["audio"]["sample_rate"]
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    assert len(samples) / answer["audio"]["sample_rate"] == pytest.approx(answer["audio"]["seconds"], abs=0.02)
    assert answer["audio"]["seconds"] > 1 and np.abs(samples).max() > 1000
    assert answer["audio"]["path"] == str(out)


def test_ask_by_recording(lease: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTERN_EMBEDDER__MODEL", "hashing:256")  # loads faster; hearing is what counts here
    recording = shared_data / "speech" / "omni_vicuna_2.wav"
    if not recording.is_file():
        pytest.skip(f"needs {recording.name} of the measuring data")
    process = app("ask", "--audio", str(recording), "--workspace", "lease", "--json")
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    assert answer["transcript"] == answer["question"] != ""
    assert answer["timings_ms"]["transcribe"] > 0


def test_ask_for_people_names_the_page(lease: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTERN_EMBEDDER__MODEL", "hashing:256")
    process = app("ask", "How long is the notice period?", "--workspace", "lease")
    assert process.returncode == 0, process.stderr
    assert "eleven weeks" in process.stdout and "lease.pdf, page 2" in process.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["ask", "Why?", "--workspace", "nowhere"], 1, "nowhere"),
        (["ask", "--audio", "absent.wav"], 1, "absent.wav"),
        (["ask", "Why?", "--speak", "no/such/folder/out.wav"], 2, "no/such/folder"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], status: int, said: str) -> None:
    process = app(*arguments)
    assert process.returncode == status
    assert said in one_line(process)


def test_question_and_recording_exclude_each_other() -> None:
    for arguments in (["ask"], ["ask", "Why?", "--audio", "in.wav"]):
        process = app(*arguments)
        assert process.returncode == 2 and "--audio" in process.stderr and "Traceback" not in process.stderr


def test_a_taken_port_is_told_with_a_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = app("serve", "--port", str(port))
    assert process.returncode == 2
    message = one_line(process)
    assert str(port) in message and "--port" in message
