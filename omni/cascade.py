"""The cascade: hear a question, have it answered, speak the answer while it is still being written.

    for event in speak_answer(engine.stream(question), synthesiser):
        if event.text: show(event.text)              # a piece of the written answer, as it came
        if event.waveform: play(event.waveform)      # sound of event.sentence
        if event.answer: finish(event.answer)        # the whole answer; sound may still follow

`hear_and_answer` puts a recogniser in front of it. Leaving the loop (or setting `cancel`) stops reading and speaking.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.errors import AudioError
from omni.audio import AudioSource, load_audio
from omni.sentences import SentenceSplitter
from omni.spoken_form import SpokenForm
from omni.types import SpeechRecogniser, SpeechSynthesiser, Transcript, Waveform
from rag.types import Answer, AnswerEvent, Citation

PATIENCE_S = 0.2  # a text that pauses this long after a full stop has ended its sentence


@dataclass(frozen=True)
class SpeechEvent:
    """One step of a spoken answer. One of transcript, text, citation, waveform and answer is set, or `done`."""

    text: str = ""  # a piece of the written answer
    waveform: Waveform | None = None
    sentence: str = ""  # with a waveform: the written sentence that it speaks
    spoken: str = ""  # with a waveform: the words said
    citation: Citation | None = None
    transcript: Transcript | None = None
    answer: Answer | None = None
    done: bool = False  # the last event
    timings_ms: dict[str, float] = field(default_factory=dict)  # with `done`: first_audio (if any), total, transcribe


class QuestionAnswerer(Protocol):
    def stream(self, question: str, *, history: Sequence[tuple[str, str]] = ()) -> Iterator[AnswerEvent]: ...


def speak_answer(
    events: Iterable[AnswerEvent],
    synthesiser: SpeechSynthesiser,
    *,
    rate: float = 1.0,
    cancel: threading.Event | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[SpeechEvent]:
    """Speak an answer sentence by sentence, each as soon as it is complete, while the next is being written.

    The answer is read in a thread of its own, so that neither a slow voice holds up the text nor a slow writer the
    voice. Errors of `events` are raised here. Timings count from the first event asked for, in ms.
    """
    started = time.perf_counter()
    timings: dict[str, float] = {}
    cancelled = cancel or threading.Event()
    abandoned = threading.Event()
    inbox = _read_in_background(events, lambda: cancelled.is_set() or abandoned.is_set())
    splitter, spoken_form = SentenceSplitter(), SpokenForm()
    waiting: list[str] = []  # sentences to speak
    read_anything = finished = False

    def take(event: AnswerEvent) -> Iterator[SpeechEvent]:
        nonlocal read_anything
        if event.citation is not None:
            spoken_form.citations.learn(event.citation)
            yield SpeechEvent(citation=event.citation)
        if event.text:
            read_anything = True
            waiting.extend(splitter.push(event.text))
            yield SpeechEvent(text=event.text)
        if event.answer is not None:
            for citation in event.answer.citations:
                spoken_form.citations.learn(citation)
            if not read_anything:  # an engine that does not stream
                waiting.extend(splitter.push(event.answer.text))
            waiting.extend(splitter.flush())
            yield SpeechEvent(answer=event.answer)

    def arrived(timeout_s: float | None) -> Iterator[SpeechEvent]:
        """Everything that has been written by now; waits for the first of it."""
        nonlocal finished
        while not finished:
            try:
                item = inbox.get(timeout=timeout_s) if timeout_s != 0 else inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, BaseException):
                raise item
            if item is None:
                finished = True
                waiting.extend(splitter.flush())
                return
            yield from take(item)
            timeout_s = 0

    try:
        while not cancelled.is_set():
            yield from arrived(0)  # also: citations that came just after their sentence
            if waiting:
                sentence = waiting.pop(0)
                words = spoken_form(sentence)
                for waveform in synthesiser.stream(words, rate=rate) if words else ():
                    if cancelled.is_set():
                        break
                    timings.setdefault("first_audio", (time.perf_counter() - started) * 1000)
                    yield SpeechEvent(waveform=waveform, sentence=sentence, spoken=words)
                    yield from arrived(0)
            elif finished:
                break
            else:
                before = inbox.qsize()
                yield from arrived(patience_s)  # wakes up regularly, to notice a cancellation
                if not waiting and not finished and not before and inbox.empty() and splitter.looks_complete():
                    waiting.extend(splitter.flush())
        timings["total"] = (time.perf_counter() - started) * 1000
        yield SpeechEvent(done=True, timings_ms=timings)
    finally:
        abandoned.set()


def hear_and_answer(
    source: AudioSource,
    recogniser: SpeechRecogniser,
    engine: QuestionAnswerer,
    synthesiser: SpeechSynthesiser | None = None,
    *,
    vocabulary: Sequence[str] = (),
    history: Sequence[tuple[str, str]] = (),
    rate: float = 1.0,
    cancel: threading.Event | None = None,
) -> Iterator[SpeechEvent]:
    """Recording -> transcript -> answer -> speech (none without a synthesiser). The first event is the transcript.

    Raises AudioError if the recording cannot be decoded or nobody speaks in it. The last event's timings count from
    the call: transcribe, first_audio, total.
    """
    started = time.perf_counter()
    transcript = recogniser.transcribe(load_audio(source), vocabulary=vocabulary)
    require_speech(transcript, "the recording")
    elapsed_ms = (time.perf_counter() - started) * 1000
    yield SpeechEvent(transcript=transcript)
    voice = synthesiser or Silence()
    for event in speak_answer(engine.stream(transcript.text, history=history), voice, rate=rate, cancel=cancel):
        if event.done:
            timings = {name: value + elapsed_ms for name, value in event.timings_ms.items()}
            event = SpeechEvent(done=True, timings_ms={"transcribe": elapsed_ms, **timings})
        yield event


def require_speech(transcript: Transcript, label: str) -> None:
    """Raises AudioError if nobody was heard."""
    if not transcript.text:
        raise AudioError(
            f"no speech was recognised in {label}", remedy="Speak closer to the microphone, or choose another recording"
        )


class Silence:
    """The voice of an answer that is only read."""

    name = "none"
    sample_rate = 16_000

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        return iter(())


def _read_in_background(
    events: Iterable[AnswerEvent], stopped: Callable[[], bool]
) -> queue.SimpleQueue[AnswerEvent | BaseException | None]:
    """Drain `events` into a queue; None marks the end, an exception is passed on in place of it."""
    inbox: queue.SimpleQueue[AnswerEvent | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for event in events:
                inbox.put(event)
                if stopped():
                    break
            inbox.put(None)
        except BaseException as error:  # handed to the thread that listens
            inbox.put(error)
        finally:
            close = getattr(events, "close", None)
            if close:
                close()

    threading.Thread(target=read, name="answer-reader", daemon=True).start()
    return inbox
