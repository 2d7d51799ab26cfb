"""Where speech begins and ends; a stream is judged like the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from speech_data import FOLDER, needs_speech

from omni.audio import load_audio
from omni.types import Waveform
from omni.vad import FRAME, SAMPLE_RATE, SpeechProbability, TurnDetector, VadSettings, cut, speech_segments, trim

pytestmark = needs_speech


@pytest.fixture(scope="module")
def two_turns() -> Waveform:
    """1.5 s of silence, a question, 1.5 s of silence, another, 1 s of silence; with a little noise."""

    def quiet(seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * SAMPLE_RATE), np.float32)

    first = load_audio(FOLDER / "omni_vicuna_2.wav", sample_rate=SAMPLE_RATE).samples
    second = load_audio(FOLDER / "omni_helpful_base_4.wav", sample_rate=SAMPLE_RATE).samples
    samples = np.concatenate([quiet(1.5), first, quiet(1.5), second, quiet(1.0)])
    noise = np.random.default_rng(0).normal(0, 0.001, len(samples)).astype(np.float32)
    return Waveform(samples + noise, SAMPLE_RATE)


def test_probabilities_equal_the_models_own_wrapper(two_turns: Waveform) -> None:
    """Judge: the torch model of the same wheel, through its own code."""
    torch = pytest.importorskip("torch")
    silero = pytest.importorskip("silero_vad").load_silero_vad(onnx=False)
    model, samples = SpeechProbability(), two_turns.samples[SAMPLE_RATE : 4 * SAMPLE_RATE]
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    ours = [model(frame) for frame in frames]
    theirs = [float(silero(torch.from_numpy(frame.copy()), SAMPLE_RATE)) for frame in frames]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_two_turns_are_found_where_they_are(two_turns: Waveform) -> None:
    segments = speech_segments(two_turns)
    assert len(segments) == 2
    assert segments[0][0] == pytest.approx(1.5, abs=0.4)
    assert segments[1][1] < two_turns.seconds - 0.5
    assert all(start < end for start, end in segments) and segments[0][1] <= segments[1][0]


@pytest.mark.parametrize("block", [160, 512, 700, 5000])
def test_streaming_equals_whole(two_turns: Waveform, block: int) -> None:
    whole, streamed = TurnDetector(), TurnDetector()
    expected = whole.feed(two_turns.samples) + whole.flush()
    samples = two_turns.samples
    events = [e for at in range(0, len(samples), block) for e in streamed.feed(samples[at : at + block])]
    assert events + streamed.flush() == expected
    assert [event.kind for event in expected] == ["speech_start", "speech_end"] * 2


def test_the_end_of_a_turn_is_noticed_after_the_silence_asked_for(two_turns: Waveform) -> None:
    for silence_ms in (300, 500, 1000):
        detector = TurnDetector(VadSettings(min_silence_ms=silence_ms))
        end = next(e for e in detector.feed(two_turns.samples) if e.kind == "speech_end")
        assert end.detected_s - end.time_s == pytest.approx(silence_ms / 1000, abs=0.04)


def test_an_open_turn_is_closed_by_the_end_of_the_stream() -> None:
    speech = load_audio(FOLDER / "LJ001-0001.wav", sample_rate=SAMPLE_RATE)
    detector = TurnDetector()
    assert [e.kind for e in detector.feed(speech.samples[: 3 * SAMPLE_RATE])] == ["speech_start"]
    assert detector.speaking
    assert [e.kind for e in detector.flush()] == ["speech_end"]
    assert not detector.speaking
    detector.reset()
    assert detector.feed(np.zeros(SAMPLE_RATE, np.float32)) == []


def test_noise_and_tones_are_no_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 3 * SAMPLE_RATE).astype(np.float32)
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    assert speech_segments(Waveform(noise, SAMPLE_RATE)) == []
    assert speech_segments(Waveform(hum, SAMPLE_RATE)) == []


def test_trim_keeps_the_speech_and_drops_the_silence(two_turns: Waveform) -> None:
    shorter = trim(two_turns)
    assert two_turns.seconds - 2.5 < shorter.seconds < two_turns.seconds - 1.5
    quiet = Waveform(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    assert trim(quiet) is quiet


def test_long_speech_is_divided_and_nothing_is_lost() -> None:
    speech = load_audio(FOLDER / "LJ001-0001.wav", sample_rate=SAMPLE_RATE)
    long = Waveform(np.tile(trim(speech).samples, 5), SAMPLE_RATE)
    settings = VadSettings(max_segment_s=10, min_silence_ms=2000)
    segments = speech_segments(long, settings)
    assert all(end - start <= 10 + 2 * settings.pad_ms / 1000 for start, end in segments)
    assert sum(end - start for start, end in segments) == pytest.approx(long.seconds, abs=0.5)


def test_other_rates_are_resampled(two_turns: Waveform) -> None:
    from omni.audio import resample

    assert len(speech_segments(resample(two_turns, 44_100))) == 2
    assert cut(two_turns, 1.0, 2.0).seconds == pytest.approx(1.0)
