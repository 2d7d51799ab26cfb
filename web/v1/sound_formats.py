"""Sound in the formats that OpenAI's clients ask for: WAV, FLAC, MP3 and Opus by libsndfile, raw PCM at 24 kHz."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from omni.types import Waveform
from web.v1.errors import ApiError

PCM_RATE = 24_000  # Hz: what OpenAI's `pcm` means

# format -> (libsndfile's container, its encoding, media type, rates it can hold; none named: any)
_FORMATS: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
    "wav": ("WAV", "PCM_16", "audio/wav", ()),
    "flac": ("FLAC", "PCM_16", "audio/flac", ()),
    "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg", (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "opus": ("OGG", "OPUS", "audio/ogg", (8_000, 12_000, 16_000, 24_000, 48_000)),
}
MEDIA_TYPES = {name: media_type for name, (_, _, media_type, _) in _FORMATS.items()} | {
    "pcm": f"audio/pcm;rate={PCM_RATE};encoding=signed-int;bits=16;channels=1"
}


def check_format(name: str) -> None:
    """Raises ApiError for a format that cannot be written here."""
    import soundfile

    if name == "pcm":
        return
    if name in _FORMATS:
        container, encoding, _, _ = _FORMATS[name]
        if encoding in soundfile.available_subtypes(container):
            return
    raise ApiError(
        f"sound cannot be written as {name!r} here",
        remedy=f"Ask for one of {', '.join(sorted(MEDIA_TYPES))}",
        param="response_format",
    )


def encode(waveform: Waveform, name: str) -> bytes:
    """A whole sound file; `name` has passed `check_format` and is not pcm."""
    import soundfile

    from omni.audio import resample, to_pcm16

    container, encoding, _, rates = _FORMATS[name]
    if rates and waveform.sample_rate not in rates:
        waveform = resample(waveform, min((rate for rate in rates if rate >= waveform.sample_rate), default=max(rates)))
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(waveform), waveform.sample_rate, format=container, subtype=encoding)
    return buffer.getvalue()


def pcm_stream(waveforms: Iterator[Waveform], sample_rate: int) -> Iterator[bytes]:
    """16-bit little-endian mono at PCM_RATE, piece by piece; one resampler runs through, so that there are no seams."""
    import soxr

    from omni.audio import to_pcm16

    resampler = soxr.ResampleStream(sample_rate, PCM_RATE, 1, dtype="float32", quality="HQ")

    def pcm(samples: np.ndarray) -> bytes:
        return to_pcm16(Waveform(samples.reshape(-1), PCM_RATE)).astype("<i2").tobytes()

    for waveform in waveforms:
        yield pcm(resampler.resample_chunk(waveform.samples.astype(np.float32)))
    yield pcm(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
