"""Speech starts before the answer is complete, stops when asked, and says where things stand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from core.errors import AudioError, ModelError
from omni.cascade import SpeechEvent, hear_and_answer, speak_answer
from omni.types import Segment, Transcript, Waveform
from rag.types import Answer, AnswerEvent, Citation

RATE = 16_000


class ToneVoice:
    """Speaks a tone of 10 ms per letter, and writes down what it was asked to say."""

    name, sample_rate = "tone", RATE

    def __init__(self, delay_s: float = 0.0) -> None:
        self.said: list[str] = []
        self.delay_s = delay_s

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        self.said.append(text)
        for word in text.split():
            time.sleep(self.delay_s)
            yield Waveform(np.full(160 * len(word), 0.1, np.float32), RATE)


def answer(text: str, *citations: Citation) -> Answer:
    return Answer("Q?", text, False, citations, (), "scripted")


def events(*pieces: str, citations: Sequence[Citation] = ()) -> Iterator[AnswerEvent]:
    for piece in pieces:
        yield AnswerEvent(text=piece)
    yield AnswerEvent(answer=answer("".join(pieces), *citations))


LEASE = Citation(1, "lease.pdf", 12, "", 0, 0)


def test_all_text_passes_all_sentences_are_spoken_in_order_and_done_comes_last() -> None:
    voice = ToneVoice()
    stream = list(speak_answer(events("Rent is ", "$5 [1]. It ", "is due on 1 ", "June."), voice))
    assert "".join(e.text for e in stream) == "Rent is $5 [1]. It is due on 1 June."
    assert voice.said == ["Rent is five dollars.", "It is due on the first of June."]
    assert [e.answer is not None for e in stream].count(True) == 1
    assert stream[-1].done and not any(e.done for e in stream[:-1])
    assert 0 <= stream[-1].timings_ms["first_audio"] <= stream[-1].timings_ms["total"]
    spoken = [e.sentence for e in stream if e.waveform is not None]
    assert list(dict.fromkeys(spoken)) == ["Rent is $5 [1].", "It is due on 1 June."]


@pytest.mark.parametrize("first", ["The rent is five dollars. ", "The rent is five dollars.", "The rent is due [1]."])
def test_the_first_sentence_sounds_while_the_second_is_not_written_yet(first: str) -> None:
    """The writer waits for the sound of the first sentence: if speech waited for the end, both would wait for ever."""
    heard = threading.Event()

    def stalling() -> Iterator[AnswerEvent]:
        yield AnswerEvent(text=first, citation=LEASE)
        assert heard.wait(10), "no sound before the answer was complete"
        yield AnswerEvent(text="The second sentence.")
        yield AnswerEvent(answer=answer(first + "The second sentence."))

    voice = ToneVoice()
    for event in speak_answer(stalling(), voice):
        if event.waveform is not None:
            heard.set()
    assert len(voice.said) == 2
    assert "[1]" not in first or voice.said[0] == "The rent is due, page twelve of the lease."


def test_text_is_not_held_up_by_a_slow_voice() -> None:
    seen: list[str] = []
    for event in speak_answer(events("One two three four. ", "Next. ", "Last."), ToneVoice(delay_s=0.05)):
        seen.append("text" if event.text else "sound" if event.waveform is not None else "other")
    assert seen.index("sound") > 0
    last_text = len(seen) - 1 - seen[::-1].index("text")
    assert seen[last_text:].count("sound") >= 4


def test_a_page_is_said_once() -> None:
    same = Citation(2, "lease.pdf", 12, "", 0, 0)
    voice = ToneVoice()
    list(speak_answer(iter([
        AnswerEvent(text="Rent is due [1]. ", citation=LEASE),
        AnswerEvent(text="It is small [2].", citation=same),
        AnswerEvent(answer=answer("Rent is due [1]. It is small [2].", LEASE, same)),
    ]), voice))  # fmt: skip
    assert voice.said == ["Rent is due, page twelve of the lease.", "It is small."]


def test_an_engine_that_does_not_stream_is_spoken_all_the_same() -> None:
    voice = ToneVoice()
    list(speak_answer(iter([AnswerEvent(answer=answer("It is so [1].", LEASE))]), voice))
    assert voice.said == ["It is so, page twelve of the lease."]


def test_cancel_stops_voice_and_writer() -> None:
    closed = threading.Event()
    cancel = threading.Event()

    def endless() -> Iterator[AnswerEvent]:
        try:
            while True:
                time.sleep(0.001)
                yield AnswerEvent(text="And on it goes. ")
        finally:
            closed.set()

    stream = speak_answer(endless(), ToneVoice(), cancel=cancel)
    for event in stream:
        if event.waveform is not None:
            cancel.set()
            break
    rest = list(stream)
    assert not [e for e in rest if e.waveform is not None]
    assert closed.wait(5)


def test_cancel_is_noticed_while_the_writer_is_silent() -> None:
    release, cancel = threading.Event(), threading.Event()

    def silent() -> Iterator[AnswerEvent]:
        release.wait(30)
        yield AnswerEvent(answer=answer("Too late."))

    threading.Timer(0.3, cancel.set).start()
    started = time.perf_counter()
    stream = list(speak_answer(silent(), ToneVoice(), cancel=cancel))
    release.set()
    assert time.perf_counter() - started < 5
    assert [e.done for e in stream] == [True]


def test_leaving_the_loop_closes_the_writer() -> None:
    closed = threading.Event()

    def endless() -> Iterator[AnswerEvent]:
        try:
            while True:
                time.sleep(0.001)
                yield AnswerEvent(text="More. ")
        finally:
            closed.set()

    stream = speak_answer(endless(), ToneVoice())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert closed.wait(5)


def test_an_error_of_the_engine_reaches_the_listener() -> None:
    def failing() -> Iterator[AnswerEvent]:
        yield AnswerEvent(text="So far. ")
        raise ModelError("the endpoint is gone", remedy="Start it")

    with pytest.raises(ModelError, match="endpoint"):
        list(speak_answer(failing(), ToneVoice()))


class Ear:
    name = "ear"

    def __init__(self, text: str) -> None:
        self.text = text
        self.vocabulary: Sequence[str] = ()

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        self.vocabulary = vocabulary
        segments = (Segment(0, waveform.seconds, self.text),) if self.text else ()
        return Transcript(self.text, segments, waveform.seconds)


class Echo:
    def stream(self, question: str, *, history: Sequence[tuple[str, str]] = ()) -> Iterator[AnswerEvent]:
        yield from events(f"You asked: {question} ", "That is all.")


SOUND = (RATE, np.full(RATE, 0.1, np.float32))


def test_hear_find_answer_speak() -> None:
    ear, voice = Ear("What is the rent?"), ToneVoice()
    stream = list(hear_and_answer(SOUND, ear, Echo(), voice, vocabulary=["rent"]))
    assert stream[0].transcript is not None and stream[0].transcript.text == "What is the rent?"
    assert ear.vocabulary == ["rent"]
    assert voice.said == ["You asked: What is the rent?", "That is all."]
    timings = stream[-1].timings_ms
    assert timings["transcribe"] <= timings["first_audio"] <= timings["total"]


def test_without_a_voice_the_answer_is_written_only() -> None:
    stream: list[SpeechEvent] = list(hear_and_answer(SOUND, Ear("Why?"), Echo()))
    assert not any(e.waveform for e in stream)
    assert "first_audio" not in stream[-1].timings_ms
    assert any(e.answer for e in stream)


def test_nobody_speaking_is_an_audio_error() -> None:
    with pytest.raises(AudioError, match="no speech"):
        list(hear_and_answer(SOUND, Ear(""), Echo(), ToneVoice()))
