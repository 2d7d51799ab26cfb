"""The espeak voice speaks, quickly and from any thread; another synthesiser can take its place."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_tiny_vits

from core.errors import ModelError, UsageError
from core.settings import SpeechSettings
from omni.audio import concatenate
from omni.espeak import espeak
from omni.tts import load_synthesiser
from omni.types import SpeechSynthesiser, Waveform
from omni.vad import VadSettings, speech_segments


@pytest.fixture(scope="module")
def voice() -> SpeechSynthesiser:
    return load_synthesiser(SpeechSettings(voice="espeak"))


def say(voice: SpeechSynthesiser, text: str, rate: float = 1.0) -> Waveform:
    return concatenate(voice.stream(text, rate=rate))


def test_speech_is_heard_and_does_not_clip(voice: SpeechSynthesiser) -> None:
    waveform = say(voice, "The rent is due on the first day of the month.")
    assert isinstance(voice, SpeechSynthesiser)
    assert waveform.sample_rate == voice.sample_rate == 22_050
    assert 2 < waveform.seconds < 5
    assert 0.1 < np.abs(waveform.samples).max() <= 1.0
    assert waveform.samples.dtype == np.float32


def test_the_first_sentence_comes_before_the_second_is_spoken(voice: SpeechSynthesiser) -> None:
    text = "The first sentence is short. " + "The second is a good deal longer than the first one was. " * 20
    started = time.process_time()
    pieces = voice.stream(text)
    first = next(pieces)
    first_cpu_s = time.process_time() - started
    rest = concatenate(pieces)
    total_cpu_s = time.process_time() - started
    assert first.seconds < 3 < rest.seconds
    assert first_cpu_s < total_cpu_s / 3


def test_rate_changes_the_length_and_does_not_stick(voice: SpeechSynthesiser) -> None:
    text = "Speech can be faster or slower than usual."
    normal, fast, slow, again = (say(voice, text, rate).seconds for rate in (1.0, 1.5, 0.7, 1.0))
    assert fast < 0.8 * normal < normal < 0.85 * slow
    assert again == pytest.approx(normal, abs=0.05)


def test_threads_do_not_mix_their_sentences(voice: SpeechSynthesiser) -> None:
    """espeak has one voice, one callback and one speed for the whole process."""
    texts = [f"Sentence number {word} is not like the others." * 3 for word in ("one", "eleven", "seventeen", "forty")]
    alone = [say(voice, text).seconds for text in texts]
    together: dict[int, float] = {}

    def run(index: int) -> None:
        for _ in range(5):
            together[index] = say(voice, texts[index]).seconds
            say(voice, "Quick.", rate=2.0)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[index] for index in range(4)] == pytest.approx(alone, abs=0.1)


def test_other_languages(voice: SpeechSynthesiser) -> None:
    german = load_synthesiser(SpeechSettings(voice="espeak:de"))
    assert german.name == "espeak:de"
    assert say(german, "Guten Tag.").seconds != pytest.approx(say(voice, "Guten Tag.").seconds, abs=0.01)
    assert say(voice, "房租是每月一千元。").seconds > 1  # Chinese by itself, without a setting


def test_nothing_to_say_is_no_sound(voice: SpeechSynthesiser) -> None:
    assert list(voice.stream("")) == []
    assert list(voice.stream(" \n")) == []


def test_phonemes_of_a_word() -> None:
    assert espeak().ipa("lectern") == "lˈɛktɚn"


def test_a_stranger_hears_speech_and_pauses(voice: SpeechSynthesiser) -> None:
    """Judge: the voice activity detector, trained on people. (The recogniser is no judge of this voice.)"""
    waveform = say(voice, "What is the name of the president? He is called Lincoln.")
    segments = speech_segments(waveform, VadSettings(min_silence_ms=200, pad_ms=0))
    assert sum(end - start for start, end in segments) > 0.5 * waveform.seconds


def test_a_transformers_voice_takes_its_place(tmp_path: Path) -> None:
    folder = save_tiny_vits(tmp_path / "vits")
    voice = load_synthesiser(SpeechSettings(voice=f"transformers:{folder}"), device="cpu")
    assert isinstance(voice, SpeechSynthesiser)
    pieces = list(voice.stream("hello there. good bye."))
    assert len(pieces) == 2
    assert all(p.sample_rate == 22_050 and p.samples.dtype == np.float32 and len(p.samples) for p in pieces)
    assert np.abs(concatenate(pieces).samples).max() <= 1.0


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("espeak:klingonish", ModelError),
        ("transformers:/nowhere/at/all", ModelError),
        ("transformers:nobody/no-such-voice", ModelError),
        ("gramophone", UsageError),
        ("transformers:", UsageError),
    ],
)
def test_a_voice_that_is_not_there_is_one_clear_error(setting: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        load_synthesiser(SpeechSettings(voice=setting))
    assert caught.value.remedy  # type: ignore[attr-defined]
