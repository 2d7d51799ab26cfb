"""`app.py ask`: hear a question, find, answer, speak; once, from the command line, without a server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ModelError, UsageError
from core.settings import Settings
from omni.types import Waveform
from rag.types import Answer


def ask_once(
    settings: Settings,
    question: str | None,
    *,
    audio: Path | None = None,
    speak: Path | None = None,
    as_json: bool = False,
    workspace: str = "default",
) -> int:
    """Answer a written or recorded question from `workspace`; print it, and write the spoken answer to `speak`.

    Raises LecternError: an unreadable or silent recording, a workspace that does not exist, a folder that cannot be
    written to. Returns the exit status: 0 also for a refused answer.
    """
    from web.wiring import build

    if speak is not None and not speak.parent.is_dir():
        raise UsageError(f"the folder of {speak} does not exist", remedy="Create it, or name another file")
    started = time.perf_counter()
    assistant = build(settings)
    try:
        transcript = None
        transcribe_ms = 0.0
        if audio is not None:
            transcript = _hear(assistant, audio, workspace)
            transcribe_ms = (time.perf_counter() - started) * 1000
            question = transcript
            if not as_json:
                print(f"Heard: {transcript}", file=sys.stderr)
        assert question is not None
        events = assistant.stream(question, workspace)
        timings = {"transcribe": transcribe_ms}
        sound: Waveform | None = None
        if speak is None:
            answer = next(event.answer for event in events if event.answer is not None)
        else:
            answer, sound, first_audio_ms = _speak(assistant, events, started)
            timings["first_audio"] = first_audio_ms
        timings = {**answer.timings_ms, **timings, "total": (time.perf_counter() - started) * 1000}
        printed = _json(answer, timings, transcript=transcript, sound=sound, path=speak)
        if speak is not None and sound is not None:
            from omni.audio import save_wav

            save_wav(speak, sound)
    finally:
        assistant.close()
    if as_json:
        print(json.dumps(printed, ensure_ascii=False))
    else:
        _print(answer, speak)
    return 0


def _hear(assistant: Any, audio: Path, workspace: str) -> str:
    from omni.audio import load_audio
    from omni.cascade import require_speech

    transcript = assistant.transcribe(load_audio(audio), workspace)
    require_speech(transcript, str(audio))
    return transcript.text


def _speak(assistant: Any, events: Iterator[Any], started: float) -> tuple[Answer, Waveform, float]:
    """The answer, all its sound joined, and when the first of it was there, ms."""
    from omni.cascade import speak_answer

    answer: Answer | None = None
    pieces: list[Waveform] = []
    first_audio_ms = 0.0
    for event in speak_answer(events, assistant.synthesiser(), rate=assistant.settings.speech.rate):
        if event.waveform is not None:
            first_audio_ms = first_audio_ms or (time.perf_counter() - started) * 1000
            pieces.append(event.waveform)
        answer = event.answer or answer
    assert answer is not None
    if not pieces:
        raise ModelError("the voice said nothing", remedy="Try another one with LECTERN_SPEECH__VOICE")
    samples = np.concatenate([piece.samples for piece in pieces])
    return answer, Waveform(samples, pieces[0].sample_rate), first_audio_ms


def _json(
    answer: Answer, timings_ms: dict[str, float], *, transcript: str | None, sound: Waveform | None, path: Path | None
) -> dict[str, Any]:
    from rag.output import answer_to_json

    printed = {**answer_to_json(answer), "timings_ms": {name: round(ms, 1) for name, ms in timings_ms.items()}}
    if transcript is not None:
        printed["transcript"] = transcript
    if sound is not None:
        printed["audio"] = {
            "path": str(path),
            "sample_rate": sound.sample_rate,
            "seconds": round(sound.seconds, 2),
        }
    return printed


def _print(answer: Answer, path: Path | None) -> None:
    print(answer.text)
    if answer.citations:
        print()
    for citation in answer.citations:
        unverified = "" if citation.verified else "  (unverified)"
        print(f"  [{citation.n}] {citation.document}, page {citation.page}{unverified}")
    if answer.notice:
        print(answer.notice, file=sys.stderr)
    if path is not None:
        print(f"Spoken answer: {path}", file=sys.stderr)
