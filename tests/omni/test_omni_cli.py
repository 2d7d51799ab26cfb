"""`python -m omni` as its users and other tools rely on it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_data import FOLDER, needs_speech

from core.errors import cli_main
from omni.__main__ import main


def run(*arguments: str) -> int:
    return cli_main(lambda: main(list(arguments)))


def test_speak_writes_a_wav_and_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.wav"
    assert run("speak", "Net sales were $34,229 million in FY2022.", "-o", str(out), "--json") == 0
    record = json.loads(capsys.readouterr().out)
    samples, rate = soundfile.read(out)
    assert record["audio"] == {
        "path": str(out),
        "sample_rate": rate,
        "seconds": pytest.approx(len(samples) / rate, abs=0.01),
    }
    assert record["spoken"].startswith("Net sales were thirty-four thousand")
    assert 0 < record["timings_ms"]["first_audio"] <= record["timings_ms"]["total"]
    assert len(samples) / rate > 3


def test_speak_reads_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello there."))
    assert run("speak", "-", "-o", str(tmp_path / "out.wav")) == 0
    assert "out.wav" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["speak", "***", "-o", "out.wav"], 2, "nothing to say"),
        (["speak", "Hi.", "-o", "/nowhere/out.wav"], 1, "cannot write"),
        (["speak", "Hi.", "-o", "out.wav", "--voice", "gramophone"], 2, "no voice"),
        (["speak", "Hi.", "-o", "out.wav", "--rate", "9"], 2, "speech.rate"),
        (["transcribe", "missing.wav", "--recogniser", "ear"], 2, "no recogniser"),
        (["transcribe", "missing.wav"], 1, "cannot read missing.wav"),
        (["transcribe", "missing.wav", "--workspace", "nothere"], 1, "nothere"),
    ],
)
def test_failures_are_one_line_and_a_status(
    arguments: list[str],
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and says in captured.err
    assert list(tmp_path.glob("*.wav")) == []


@needs_speech
def test_transcribe_goes_on_after_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, quiet = tmp_path / "bad.wav", tmp_path / "quiet.wav"
    bad.write_text("no sound")
    soundfile.write(quiet, np.random.default_rng(0).normal(0, 0.01, 16_000), 16_000)
    good = [str(FOLDER / "omni_vicuna_2.wav"), str(FOLDER / "LJ001-0002.wav")]
    assert run("transcribe", good[0], str(bad), str(quiet), good[1], "--json") == 1
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["file"] for record in records] == good
    assert "stress" in records[0]["text"]
    assert {"file", "text", "seconds", "rtf", "segments"} <= records[0].keys()
    assert records[0]["segments"][0].keys() == {"start_s", "end_s", "text"}
    assert captured.err.count("\n") == 2 and "bad.wav" in captured.err and "quiet.wav" in captured.err


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    help_text = capsys.readouterr().out
    assert "transcribe" in help_text and "speak" in help_text


def test_wrong_usage_is_status_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["transcribe"])
    assert caught.value.code == 2
