"""The events of an answer as the page receives them: text, citations, pieces of sound, the finished answer.

{"type": "heard", "text", "hypotheses", "corrections", ...}  what a recorded question asked, before its answer
{"type": "waking"}                                           models are still being loaded: this takes longer
{"type": "understood", "question", "query", "changed", "kind", "because"}      in a conversation, before any text: the
                                                             question in full, as it is searched for
{"type": "text", "text"}                                     a piece of the answer
{"type": "citation", "citation"}                             of a marker in the text so far
{"type": "audio", "pcm", "sample_rate", "sentence", "citations"}    the latter two on a sentence's first piece only,
                                                             and never from the speech language model
{"type": "answer", "answer", ["session", "turn"]}            once; sound may still follow. In a conversation with the
                                                             number under which it is on disk by now (null: it is not)
{"type": "silent", "error"}                                  the voice failed, the answer goes on in writing
"""

from __future__ import annotations

import base64
import logging
import re
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import LecternError, NotFoundError
from omni.types import Waveform
from rag.types import Answer, AnswerEvent, Citation
from web.schemas import answer_json, citation_json, error_json, has_sheets, transcript_json

if TYPE_CHECKING:
    from ingest.workspace import Workspace
    from memory.session import OpenTurn
    from memory.types import Understood
    from omni.cascade import SpeechEvent
    from omni.types import SpeechSynthesiser
    from rag.wordings import Wording
    from web.wiring import Assistant

log = logging.getLogger(__name__)

_MARKER = re.compile(r"\[(\d+)\]")


def answer_events(
    assistant: Assistant,
    question: str,
    workspace: str,
    *,
    history: Sequence[tuple[str, str]] = (),
    session: str = "",
    understood: str = "",
    readings: Sequence[Wording] = (),
    speak: bool = False,
    recording: bytes = b"",
) -> Iterator[dict[str, Any]]:
    """Answer a question and, on wish, speak the answer while it is being written. Raises LecternError.

    `readings`: what else the question may mean, searched as well; a recording and a conversation have their own.
    `recording`: the question as a sound file, in place of `question`. `session`: a conversation's id; it knows what was
    said, so that `history` is not read, and keeps this turn. `understood`: the question in full, corrected by the user.
    """
    from omni.audio import load_audio
    from omni.cascade import require_speech
    from omni.close_terms import wordings
    from rag.extractive import NOTHING_FOUND

    opened = assistant.workspace(workspace)
    if not assistant.ready.is_set():
        yield {"type": "waking"}
    sheets = Sheets(opened)
    written = ""
    talk = assistant.talk(workspace, session) if session else None
    turn: OpenTurn | None = None
    if assistant.uses_omni and (speak or recording):
        asked = load_audio(recording) if recording else question
        turn = talk.open_turn() if talk is not None else None
        events = _one_model(assistant, asked, workspace, history=history, turn=turn, speak=speak)
    else:
        if recording:
            transcript = assistant.transcribe(load_audio(recording), workspace)
            require_speech(transcript, "the recording")
            question, readings = transcript.text, wordings(transcript)
            yield {"type": "heard", **transcript_json(transcript)}
        if talk is not None:
            turn = reply = talk.ask(question, understood=understood or None, wordings=readings)
            events = _events(assistant, reply, speak)
        else:
            answer = assistant.stream(question, workspace, history=history, wordings=readings)
            events = _events(assistant, answer, speak)
    told = False
    with closing(events):  # a visitor who leaves ends the work, and the turn is kept as far as it came
        for event in events:
            if turn is not None and turn.understood is not None and not told:
                told = True
                yield understood_json(turn.understood)
            if isinstance(event, dict):
                yield event
                continue
            if event.text:
                written += event.text
                yield {"type": "text", "text": event.text}
            # A refusal names the nearest passages; they come with the finished answer and are no citations to open.
            if event.citation is not None and not written.startswith(NOTHING_FOUND):
                yield {
                    "type": "citation",
                    "citation": citation_json(event.citation, sheets=sheets[event.citation.document]),
                }
            if event.answer is not None:
                finished: dict[str, Any] = {
                    "answer": answer_json(event.answer, sheets=sheets, nothing_found=NOTHING_FOUND)
                }
                if turn is not None:
                    finished |= {"session": session, "turn": turn.turn.number if turn.turn is not None else None}
                yield {"type": "answer", **finished}


def read_aloud(assistant: Assistant, text: str, citations: Sequence[Citation]) -> Iterator[dict[str, Any]]:
    """Speak an answer that is already there. Raises LecternError."""
    answer = Answer("", text, False, tuple(citations), (), "")
    for event in _events(assistant, iter([AnswerEvent(answer=answer)]), speak=True):
        if isinstance(event, dict):
            if event["type"] == "silent":
                event = {"type": "error", "error": event["error"]}
            yield event


def _events(
    assistant: Assistant, events: Iterator[AnswerEvent], speak: bool
) -> Generator[dict[str, Any] | AnswerEvent | SpeechEvent]:
    """The events themselves, with the sound of their sentences between them as finished dicts."""
    if not speak:
        yield from events
        return
    from omni.cascade import speak_answer

    voice = _Voice(assistant)
    said = ""
    cancel = threading.Event()
    try:
        for event in speak_answer(events, voice, rate=assistant.settings.speech.rate, cancel=cancel):
            if event.waveform is not None:
                first = event.sentence != said
                said = event.sentence
                cited = [int(n) for n in _MARKER.findall(event.sentence)]
                yield audio_json(event.waveform, **({"sentence": said, "citations": cited} if first else {}))
            else:
                yield event
            if voice.problem is not None and not voice.told:
                voice.told = True
                yield {"type": "silent", "error": error_json(voice.problem)}
    finally:
        cancel.set()


def _one_model(
    assistant: Assistant,
    question: Waveform | str,
    workspace: str,
    *,
    history: Sequence[tuple[str, str]],
    turn: OpenTurn | None,
    speak: bool,
) -> Generator[dict[str, Any] | AnswerEvent | SpeechEvent]:
    """The same from the speech language model: its sound belongs to no sentence in particular."""
    cancel = threading.Event()
    events = assistant.converse(question, workspace, history=history, turn=turn, speak=speak, cancel=cancel)
    written = ""
    try:
        for event in events:
            if event.transcript is not None:
                yield {"type": "heard", "text": event.transcript.text}
            elif event.waveform is not None:
                yield audio_json(event.waveform)
            elif event.answer is not None and turn is not None:
                yield AnswerEvent(answer=turn.keep(event.answer))
            else:
                written += event.text
                yield event
    finally:
        cancel.set()
        if turn is not None:
            turn.keep_unfinished(written)
        events.close()  # type: ignore[attr-defined]  # frees the model for the next question at once


class _Voice:
    """The assistant's synthesiser; when it fails, silence and a problem, so that the written answer goes on."""

    def __init__(self, assistant: Assistant) -> None:
        self.problem: LecternError | None = None
        self.told = False
        self.name, self.sample_rate = "none", 16_000
        self._inner: SpeechSynthesiser | None = None
        try:
            self._inner = assistant.synthesiser()
            self.name, self.sample_rate = self._inner.name, self._inner.sample_rate
        except LecternError as error:
            log.warning("no voice: %s", error)
            self.problem = error

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        if self._inner is None or self.problem is not None:
            return
        try:
            yield from self._inner.stream(text, rate=rate)
        except LecternError as error:
            log.warning("the voice failed: %s", error)
            self.problem = error


class Sheets(dict[str, bool]):
    """Whether a document has pages to show, by its name; asked once each."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace

    def __missing__(self, document: str) -> bool:
        try:
            self[document] = has_sheets(self._workspace.document(document).media_type)
        except NotFoundError:  # removed while it was being quoted
            self[document] = True
        return self[document]


def understood_json(understood: Understood) -> dict[str, Any]:
    return {
        "type": "understood",
        "question": understood.question,
        "query": understood.query,
        "changed": understood.changed,
        "kind": understood.kind,
        "because": list(understood.because),
    }


def audio_json(waveform: Waveform, **described: Any) -> dict[str, Any]:
    """A piece of sound: base64 of 16-bit little-endian mono PCM."""
    pcm = (np.clip(waveform.samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
    return {
        "type": "audio",
        "sample_rate": waveform.sample_rate,
        "pcm": base64.b64encode(pcm).decode("ascii"),
        **described,
    }
