"""Any recording becomes the same mono sound; what is none is refused with a way out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import AudioError
from omni.audio import load_audio, resample, save_wav, wav_bytes
from omni.types import Waveform

SECONDS = 1.5


def tone(rate: int, hertz: float = 440.0, seconds: float = SECONDS) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def loudest_hertz(waveform: Waveform) -> float:
    """By an independent FFT."""
    spectrum = np.abs(np.fft.rfft(waveform.samples * np.hanning(len(waveform.samples))))
    return float(np.argmax(spectrum)) * waveform.sample_rate / len(waveform.samples)


def encoded(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("container", "subtype", "rate"),
    [
        ("WAV", "PCM_U8", 8000),
        ("WAV", "PCM_16", 16000),
        ("WAV", "PCM_24", 44100),
        ("WAV", "PCM_32", 48000),
        ("WAV", "FLOAT", 22050),
        ("WAV", "DOUBLE", 96000),
        ("WAV", "ALAW", 8000),
        ("WAV", "ULAW", 8000),
        ("FLAC", "PCM_16", 44100),
        ("OGG", "VORBIS", 44100),
        ("OGG", "OPUS", 48000),
        ("MP3", "MPEG_LAYER_III", 44100),
    ],
)
def test_every_container_gives_the_same_tone(container: str, subtype: str, rate: int) -> None:
    stereo = np.stack([tone(rate), tone(rate)], axis=1)
    waveform = load_audio(encoded(stereo, rate, container, subtype), sample_rate=16_000)
    assert waveform.sample_rate == 16_000
    assert waveform.samples.dtype == np.float32 and waveform.samples.ndim == 1
    assert waveform.seconds == pytest.approx(SECONDS, abs=0.1)  # MP3 and OGG pad their ends
    assert loudest_hertz(waveform) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(waveform.samples**2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize(("container", "codec", "rate"), [("webm", "libopus", 48000), ("mp4", "aac", 44100)])
def test_what_browsers_record_is_read_through_pyav(tmp_path: Path, container: str, codec: str, rate: int) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "clip.bin"
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(rate) * 32767).astype(np.int16)[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for converted in resampler.resample(frame):
            fifo.write(converted)
        while part := fifo.read(stream.codec_context.frame_size or 960, partial=True):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    waveform = load_audio(path)
    assert waveform.sample_rate == rate
    assert waveform.seconds == pytest.approx(SECONDS, abs=0.1)
    assert loudest_hertz(waveform) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", ["mono", "stereo"])
def test_gradio_tuples_of_any_type(dtype: type, shape: str) -> None:
    samples = tone(22_050)
    if dtype is np.uint8:
        array = (samples * 127 + 128).astype(np.uint8)
    elif np.issubdtype(dtype, np.integer):
        array = (samples * np.iinfo(dtype).max).astype(dtype)
    else:
        array = samples.astype(dtype)
    if shape == "stereo":
        array = np.stack([array, array], axis=1)
    waveform = load_audio((22_050, array))
    np.testing.assert_allclose(waveform.samples, samples, atol=0.02 if dtype is np.uint8 else 1e-4)


def test_channels_in_opposite_phase_do_not_cancel() -> None:
    waveform = load_audio((16_000, np.stack([tone(16_000), -tone(16_000)], axis=1)))
    assert np.abs(waveform.samples).max() > 0.3


def test_floats_beyond_full_scale_are_scaled_not_cut() -> None:
    waveform = load_audio((16_000, tone(16_000) * 20_000))
    np.testing.assert_allclose(waveform.samples, tone(16_000) / 0.4, atol=1e-3)


def test_resampling_agrees_with_scipy() -> None:
    signal = pytest.importorskip("scipy.signal")
    sweep = signal.chirp(np.arange(48_000) / 48_000, 100, 1, 6000).astype(np.float32) * 0.5
    ours = resample(Waveform(sweep, 48_000), 16_000).samples
    theirs = signal.resample_poly(sweep, 1, 3)
    assert len(ours) == pytest.approx(len(theirs), abs=2)
    middle = slice(1000, 15_000)
    assert np.corrcoef(ours[middle], theirs[middle])[0, 1] > 0.999


def test_saved_wav_comes_back(tmp_path: Path) -> None:
    waveform = Waveform(tone(22_050), 22_050)
    path = save_wav(tmp_path / "out.wav", waveform)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 22_050
    np.testing.assert_allclose(samples, waveform.samples, atol=1e-4)
    assert wav_bytes(waveform) == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["out.wav"]


def test_saving_into_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot write"):
        save_wav(tmp_path / "missing" / "out.wav", Waveform(tone(8000), 8000))


def test_streaming_writers_sizes_promise_nothing() -> None:
    """ffmpeg and browsers write 0xFFFFFFFF when the length is not known yet."""
    data = bytearray(encoded(tone(16_000), 16_000, "WAV", "PCM_16"))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    assert load_audio(bytes(data)).seconds == pytest.approx(SECONDS, abs=0.01)


def nan_wav() -> bytes:
    samples = tone(16_000)
    samples[100] = np.nan
    return encoded(samples, 16_000, "WAV", "FLOAT")


def clipped() -> np.ndarray:
    return np.clip(tone(16_000) * 20, -1, 1)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"", "empty"),
        (b"This is a letter, no sound at all. " * 50, "not a recording"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, "not a recording"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not a recording"),
        (encoded(tone(16_000), 16_000, "WAV", "PCM_16")[:9000], "cut short"),
        (encoded(np.zeros(0, np.float32), 16_000, "WAV", "PCM_16"), "no sound"),
        (encoded(np.zeros(16_000, np.float32), 16_000, "WAV", "PCM_16"), "silent"),
        (nan_wav(), "not numbers"),
        ((16_000, clipped()), "clipped"),
        ((0, tone(16_000)), "sample rate"),
        ("/nowhere/question.wav", "cannot read"),
    ],
    ids=["empty", "text", "pdf", "header", "truncated", "no-samples", "silent", "nan", "clipped", "rate", "missing"],
)
def test_what_is_no_recording_is_refused_with_a_remedy(source: object, says: str) -> None:
    with pytest.raises(AudioError, match=says) as caught:
        load_audio(source)  # type: ignore[arg-type]
    assert caught.value.remedy


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot read"):
        load_audio(tmp_path)
