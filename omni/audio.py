"""Recordings in, `Waveform`s out: any container, rate and channel count becomes mono float32; and back to WAV.

    waveform = load_audio("question.m4a")            # or bytes, an open file, or (rate, array) as Gradio gives it
    save_wav("answer.wav", resample(waveform, 16_000))

libsndfile reads WAV (8 to 32 bits, float, A-law, mu-law), FLAC, OGG (Vorbis, Opus) and MP3; what browsers record (WebM,
M4A) and anything else goes through PyAV. Not covered: video without a sound track, raw PCM without a header.
"""

from __future__ import annotations

import io
import logging
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from core.errors import AudioError
from core.runtime import require
from omni.types import Waveform

logger = logging.getLogger(__name__)

AudioSource = str | os.PathLike[str] | bytes | BinaryIO | tuple[int, np.ndarray] | Waveform

SILENCE_PEAK = 10 ** (-66 / 20)  # quieter than -66 dBFS at its loudest: a muted microphone
CLIPPED_SHARE = 0.4  # of all samples at full scale; speech overdriven by 20 dB has about 0.3 and is still understood
MAX_SAMPLES = 2**28  # over all channels: 1 GiB decoded, 4.6 h at 16 kHz; a file of silence unpacks to far more
RECORD_AGAIN = "Check the file by playing it, or record again (WAV, FLAC, OGG, MP3, M4A and WebM are read)"


def load_audio(source: AudioSource, *, sample_rate: int | None = None, name: str = "") -> Waveform:
    """Decode a recording to mono float32 in -1..1.

    source: a path, the bytes of a file, an open binary file, or (Hz, array of shape (n,) or (n, channels)).
    sample_rate: Hz of the result; None keeps the recording's own.
    name: what error messages call it; by default its path.
    Raises AudioError (with what to do next) for what is no sound: missing, empty, cut short, not audio, NaN, mute.
    """
    label = name or _label(source)
    if isinstance(source, Waveform):
        rate, samples = source.sample_rate, source.samples
    elif isinstance(source, tuple):
        rate, samples = source
    else:
        data = _read_bytes(source, label)
        _refuse_truncated_wav(data, label)
        rate, samples = _decode(data, label)
    if rate <= 0:
        raise AudioError(f"{label} states a sample rate of {rate} Hz", remedy=RECORD_AGAIN)
    waveform = Waveform(_check(_to_mono(np.asarray(samples)), label), int(rate))
    return resample(waveform, sample_rate) if sample_rate else waveform


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """The same sound at another rate (soxr, high quality)."""
    if waveform.sample_rate == sample_rate:
        return waveform
    import soxr

    samples = soxr.resample(waveform.samples, waveform.sample_rate, sample_rate, quality="HQ")
    return Waveform(np.clip(samples, -1.0, 1.0).astype(np.float32), sample_rate)


def concatenate(waveforms: Iterable[Waveform]) -> Waveform:
    """Join pieces of one sample rate; no pieces give 0 samples at 16 kHz."""
    pieces = list(waveforms)
    if not pieces:
        return Waveform(np.zeros(0, dtype=np.float32), 16_000)
    rates = {piece.sample_rate for piece in pieces}
    assert len(rates) == 1, f"cannot join sounds of different rates: {sorted(rates)} Hz"
    return Waveform(np.concatenate([piece.samples for piece in pieces]), rates.pop())


def to_pcm16(waveform: Waveform) -> np.ndarray:
    """(n,) int16, rounded and saturated."""
    return np.clip(np.rint(waveform.samples * 32767.0), -32768, 32767).astype(np.int16)


def wav_bytes(waveform: Waveform) -> bytes:
    """A 16-bit mono WAV file as bytes (what a browser plays)."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(waveform), waveform.sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def save_wav(path: str | os.PathLike[str], waveform: Waveform) -> Path:
    """Write a 16-bit mono WAV; the file appears whole or not at all. Raises AudioError if it cannot be written."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(wav_bytes(waveform))
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AudioError(
            f"cannot write {target}: {error.strerror or error}", remedy="Choose a file in a folder that can be written"
        ) from error
    return target


def _label(source: AudioSource) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else "the recording"


def _read_bytes(source: str | os.PathLike[str] | bytes | BinaryIO, label: str) -> bytes:
    if isinstance(source, bytes | bytearray):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise AudioError(
                f"cannot read {label}: {error.strerror or error}", remedy="Check the path and its permissions"
            ) from error
    else:
        data = source.read()
    if not data:
        raise AudioError(f"{label} is empty (0 bytes)", remedy="Record again, or copy the file again")
    return data


def _refuse_truncated_wav(data: bytes, label: str) -> None:
    """libsndfile silently returns what is left of a WAV that was cut; half a question is worse than a clear error.

    Sizes of 0 or of almost 2 or 4 GiB are what streaming writers leave in the header: they promise nothing.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    position = 12
    while position + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, position + 4)
        body = position + 8
        if data[position : position + 4] == b"data":
            present = len(data) - body
            if 0 < size < 0x7FFF0000 and present < size:
                raise AudioError(
                    f"{label} is cut short: {present} of the {size} bytes of sound in its header are there",
                    remedy="Copy or record it again",
                )
            return
        position = body + size + (size & 1)


def _decode(data: bytes, label: str) -> tuple[int, np.ndarray]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.frames * file.channels > MAX_SAMPLES:
                raise _too_long(label)
            return file.samplerate, file.read(MAX_SAMPLES // file.channels, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        logger.debug("%s: libsndfile says %s; trying PyAV", label, error)
    return _decode_with_av(data, label)


def _too_long(label: str) -> AudioError:
    return AudioError(f"{label} is longer than can be held in memory", remedy="Cut it into pieces of an hour")


def _decode_with_av(data: bytes, label: str) -> tuple[int, np.ndarray]:
    av = require("av", needed_for=f"reading {label}")
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioError(f"{label} has no sound track", remedy=RECORD_AGAIN)
            stream = container.streams.audio[0]
            rate = stream.rate
            to_float = av.AudioResampler(format="fltp")  # keeps rate and layout
            planes: list[np.ndarray] = []
            decoded = 0
            for frame in container.decode(stream):
                planes += [out.to_ndarray() for out in to_float.resample(frame) if out.samples]
                decoded += frame.samples * len(frame.layout.channels)
                if decoded > MAX_SAMPLES:
                    raise _too_long(label)
    except AudioError:
        raise
    except Exception as error:  # av raises OSError, ValueError and its own family for bytes that are no media
        raise AudioError(f"{label} is not a recording that can be decoded", remedy=RECORD_AGAIN) from error
    if not planes:
        raise AudioError(f"{label} holds no sound", remedy=RECORD_AGAIN)
    return rate, np.concatenate(planes, axis=1).T


def _to_mono(samples: np.ndarray) -> np.ndarray:
    """(n,) or (n, channels) of any PCM type -> (n,) float32."""
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1] and samples.shape[0] <= 8:
        samples = samples.T  # (channels, n), as torch people hand it over
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    samples = samples.astype(np.float32, copy=False)
    if samples.ndim == 1 or samples.size == 0:
        return samples.reshape(-1)
    mixed = samples.mean(axis=1)
    loudest = samples[:, int(np.argmax(np.square(samples).sum(axis=0)))]
    # Two microphones wired in opposite phase cancel in the mean: then one of them is the better recording.
    return mixed if np.square(mixed).sum() >= 0.05 * np.square(loudest).sum() else loudest


def _check(samples: np.ndarray, label: str) -> np.ndarray:
    if samples.size == 0:
        raise AudioError(f"{label} holds no sound (0 samples)", remedy="Record again, or copy the file again")
    if not np.isfinite(samples).all():
        raise AudioError(f"{label} holds samples that are not numbers (NaN or infinite)", remedy=RECORD_AGAIN)
    peak = float(np.abs(samples).max())
    if peak < SILENCE_PEAK:
        raise AudioError(f"{label} is silent", remedy="Check that the right microphone is chosen and not muted")
    if peak > 1.0:  # float files may exceed full scale, or hold 16-bit values unscaled; nothing is lost yet
        samples = samples / peak
    elif float(np.mean(np.abs(samples) >= 0.999)) > CLIPPED_SHARE:
        raise AudioError(f"{label} is clipped beyond use", remedy="Lower the input level and record again")
    return np.ascontiguousarray(samples, dtype=np.float32)
