"""`app.py ask`: hear a question, find, answer, speak; once, from the command line, without a server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError, NotFoundError, UsageError
from core.settings import Settings
from omni.types import Transcript, Waveform
from rag.types import Answer
from rag.wordings import Wording
from web.schemas import transcript_json

if TYPE_CHECKING:
    from memory.session import Conversation, OpenTurn
    from omni.cascade import SpeechEvent
    from web.wiring import Assistant


@dataclass
class Outcome:
    """A question that has been answered, and when what was there, in ms from the start."""

    answer: Answer
    transcript: str | None = None  # of a recorded question
    sound: Waveform | None = None
    heard: Transcript | None = None  # by a recogniser: with its hypotheses and corrections
    turn: OpenTurn | None = None  # of a conversation
    timings_ms: dict[str, float] = field(default_factory=dict)


def ask_once(
    settings: Settings,
    question: str | None,
    *,
    audio: Path | None = None,
    speak: Path | None = None,
    as_json: bool = False,
    workspace: str = "default",
    session: str = "",
) -> int:
    """Answer a written or recorded question from `workspace`; print it, and write the spoken answer to `speak`.

    `session`: id or title of the conversation that it belongs to; one of this title is begun if there is none.

    Raises LecternError: an unreadable or silent recording, a workspace that does not exist, a folder that cannot be
    written to. Returns the exit status: 0 also for a refused answer.
    """
    from web.wiring import build

    if speak is not None and not speak.parent.is_dir():
        raise UsageError(f"the folder of {speak} does not exist", remedy="Create it, or name another file")
    started = time.perf_counter()
    assistant = build(settings)
    try:
        talk = _conversation(assistant, workspace, session) if session else None
        by = _by_speech_model if assistant.uses_omni and (audio is not None or speak is not None) else _by_cascade
        outcome = by(assistant, question, audio, workspace, talk, speak=speak is not None, started=started)
        if speak is not None:
            if outcome.sound is None:
                raise ModelError("the voice said nothing", remedy=_OTHER_VOICE[settings.engine])
            from omni.audio import save_wav

            save_wav(speak, outcome.sound)
        outcome.timings_ms["total"] = (time.perf_counter() - started) * 1000
    finally:
        assistant.close()
    if assistant.licence:
        print(assistant.licence, file=sys.stderr)
    if as_json:
        print(json.dumps(_json(outcome, path=speak), ensure_ascii=False))
    else:
        _print(outcome, speak)
    return 0


_OTHER_VOICE = {
    "cascade": "Try another one with LECTERN_SPEECH__VOICE",
    "omni": 'Ask again in other words, or set engine = "cascade"',
}


def _conversation(assistant: Assistant, workspace: str, name: str) -> Conversation:
    dialogue = assistant.dialogue(workspace)
    try:
        return dialogue.resume(dialogue.store.find(name).session_id)
    except NotFoundError:
        return dialogue.start(name)


def _by_cascade(
    assistant: Assistant, question: str | None, audio: Path | None, workspace: str, talk: Conversation | None, *,
    speak: bool, started: float,
) -> Outcome:  # fmt: skip
    """Hear, then answer, then say it: one part after the other, overlapping where they can."""
    from omni.cascade import speak_answer
    from omni.close_terms import wordings

    transcript = heard = None
    readings: list[Wording] = []
    transcribe_ms = 0.0
    if audio is not None:
        heard = _hear(assistant, audio, workspace)
        question = transcript = heard.text
        readings = wordings(heard)
        transcribe_ms = (time.perf_counter() - started) * 1000
    assert question is not None
    turn = talk.ask(question, wordings=readings) if talk is not None else None
    events = turn if turn is not None else assistant.stream(question, workspace, wordings=readings)
    if speak:
        outcome = _collect(speak_answer(events, assistant.synthesiser(), rate=assistant.settings.speech.rate), started)
    else:
        outcome = Outcome(next(event.answer for event in events if event.answer is not None))
    outcome.transcript, outcome.turn, outcome.heard = transcript, turn, heard
    outcome.timings_ms = {**outcome.answer.timings_ms, "transcribe": transcribe_ms, **outcome.timings_ms}
    return outcome


def _by_speech_model(
    assistant: Assistant, question: str | None, audio: Path | None, workspace: str, talk: Conversation | None, *,
    speak: bool, started: float,
) -> Outcome:  # fmt: skip
    """One model hears and answers; what it heard is written down beside it."""
    from omni.audio import load_audio

    asked = load_audio(audio) if audio is not None else question
    assert asked is not None
    turn = talk.open_turn() if talk is not None else None
    outcome = _collect(assistant.converse(asked, workspace, turn=turn, speak=speak), started)
    if turn is not None:
        turn.keep(outcome.answer)
        outcome.turn = turn
    outcome.timings_ms = {**outcome.answer.timings_ms, "transcribe": 0.0, **outcome.timings_ms}
    return outcome


def _hear(assistant: Assistant, audio: Path, workspace: str) -> Transcript:
    from omni.audio import load_audio
    from omni.cascade import require_speech

    transcript = assistant.transcribe(load_audio(audio), workspace)
    require_speech(transcript, str(audio))
    return transcript


def _collect(events: Iterator[SpeechEvent], started: float) -> Outcome:
    """The answer, all its sound joined, and when the first of it was there."""
    answer: Answer | None = None
    transcript: str | None = None
    pieces: list[Waveform] = []
    timings: dict[str, float] = {}
    for event in events:
        if event.transcript is not None:
            transcript = event.transcript.text
            timings["transcribe"] = (time.perf_counter() - started) * 1000
        if event.waveform is not None:
            timings.setdefault("first_audio", (time.perf_counter() - started) * 1000)
            pieces.append(event.waveform)
        answer = event.answer or answer
    assert answer is not None
    sound = Waveform(np.concatenate([p.samples for p in pieces]), pieces[0].sample_rate) if pieces else None
    return Outcome(answer, transcript, sound, timings_ms=timings)


def _json(outcome: Outcome, *, path: Path | None) -> dict[str, Any]:
    from rag.output import answer_to_json

    timings = {name: round(ms, 1) for name, ms in outcome.timings_ms.items()}
    printed = {**answer_to_json(outcome.answer), "timings_ms": timings}
    if outcome.transcript is not None:
        printed["transcript"] = outcome.transcript
    if outcome.heard is not None:
        printed["heard"] = transcript_json(outcome.heard)
    if (turn := outcome.turn) is not None and turn.turn is not None:
        printed |= {"understood": turn.turn.understood, "session": turn.turn.session_id, "turn": turn.turn.number}
    if outcome.sound is not None:
        printed["audio"] = {
            "path": str(path),
            "sample_rate": outcome.sound.sample_rate,
            "seconds": round(outcome.sound.seconds, 2),
        }
    return printed


def _print(outcome: Outcome, path: Path | None) -> None:
    answer = outcome.answer
    if outcome.transcript is not None:
        print(f"Heard: {outcome.transcript}", file=sys.stderr)
    if outcome.turn is not None and outcome.turn.understood is not None and outcome.turn.understood.changed:
        print(f"Understood as: {outcome.turn.understood.query}", file=sys.stderr)
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
