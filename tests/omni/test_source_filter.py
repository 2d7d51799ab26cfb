"""The source-filter head against what its parameters say, measured on the sound it makes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import firwin, welch

from omni.voice.source_filter import HOP, N_BANDS, N_MCEP, SAMPLE_RATE, SourceFilter, SourceFilterConfig

EDGES = [(None, 1000), (1000, 2000), (2000, 4000), (4000, 6000), (6000, None)]


@pytest.fixture(scope="module")
def head() -> SourceFilter:
    """Five bands that sum to a delay, as in mixed excitation."""
    rows = []
    for low, high in EDGES:
        cuts = [edge for edge in (low, high) if edge]
        kind = "lowpass" if low is None else "highpass" if high is None else "bandpass"
        rows.append(firwin(49, cuts, fs=SAMPLE_RATE, pass_zero=kind))
    return SourceFilter(np.stack(rows), SourceFilterConfig(beta=0.0, gain=1.0))


def frames(count: int, *, f0: float, strength: float, mcep: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    cepstra = np.zeros((count, N_MCEP), np.float32) if mcep is None else np.repeat(mcep[None], count, axis=0)
    return np.full(count, f0), cepstra, np.full((count, N_BANDS), strength, np.float32)


def wandering(count: int, seed: int) -> tuple[np.ndarray, ...]:
    chance = np.random.default_rng(seed)
    f0 = 120 + 40 * np.sin(np.arange(count) / 15)
    f0[40:70] = 0
    mcep = np.cumsum(chance.normal(0, 0.05, (count, N_MCEP)), axis=0).astype(np.float32)
    return f0, mcep, chance.uniform(0, 1, (count, N_BANDS)).astype(np.float32)


@pytest.mark.parametrize("sizes", [[1], [2, 7, 1, 50], [3, 40]])
def test_chunks_join_to_exactly_the_whole(head: SourceFilter, sizes: list[int]) -> None:
    parts = wandering(150, seed=1)
    whole = head(*parts)
    stream, pieces, at, turn = head.stream(), [], 0, 0
    while at < 150:
        size = sizes[turn % len(sizes)]
        pieces.append(stream.push(*(part[at : at + size] for part in parts)))
        at, turn = at + size, turn + 1
    pieces.append(stream.finish())
    streamed = np.concatenate(pieces)
    assert len(streamed) == len(whole) == 150 * HOP + HOP
    np.testing.assert_allclose(streamed, whole, atol=2e-5 * np.abs(whole).max())


@pytest.mark.parametrize("f0", [80.0, 125.0, 210.0])
def test_the_pitch_heard_is_the_pitch_asked_for(head: SourceFilter, f0: float) -> None:
    sound = head(*frames(200, f0=f0, strength=1.0))[2000:14000]
    correlation = np.correlate(sound, sound, mode="full")[len(sound) :]
    shortest, longest = int(0.6 * SAMPLE_RATE / f0), int(1.5 * SAMPLE_RATE / f0)
    period = shortest + 1 + int(correlation[shortest:longest].argmax())
    assert SAMPLE_RATE / period == pytest.approx(f0, rel=0.02)


def test_the_spectrum_of_noise_is_the_cepstrum_on_the_mel_scale(head: SourceFilter) -> None:
    """Independent judge: Welch's periodogram against the definition of the mel-cepstrum, within 1 dB on average."""
    mcep = np.zeros(N_MCEP, np.float32)
    mcep[:6] = [0.5, 0.8, -0.4, 0.3, 0.2, -0.1]
    sound = head(*frames(2000, f0=0.0, strength=0.0, mcep=mcep))[8000:-8000]
    hertz, power = welch(sound, SAMPLE_RATE, nperseg=512)
    omega = 2 * np.pi * hertz / SAMPLE_RATE
    warped = omega + 2 * np.arctan(0.42 * np.sin(omega) / (1 - 0.42 * np.cos(omega)))
    expected = sum(c * np.cos(k * warped) for k, c in enumerate(mcep))
    inside = (hertz > 100) & (hertz < 7900)
    measured = 10 * np.log10(power[inside] * SAMPLE_RATE / 2)
    assert np.abs(measured - 20 / np.log(10) * expected[inside]).mean() < 1.0


def test_band_voicing_makes_low_bands_periodic_and_high_bands_noisy(head: SourceFilter) -> None:
    f0, mcep, strengths = frames(400, f0=100.0, strength=0.0)
    strengths[:, :2] = 1.0
    sound = head(f0, mcep, strengths)[4000:28000]

    def periodicity(band: np.ndarray) -> float:
        return float(np.corrcoef(band[:-160], band[160:])[0, 1])

    low = np.convolve(sound, firwin(101, 1500, fs=SAMPLE_RATE), mode="valid")
    high = np.convolve(sound, firwin(101, 5000, fs=SAMPLE_RATE, pass_zero=False), mode="valid")
    assert periodicity(low) > 0.95
    assert abs(periodicity(high)) < 0.2


def test_silence_in_silence_out_and_no_frames_no_sound(head: SourceFilter) -> None:
    stream = head.stream()
    assert len(stream.push(np.zeros(0), np.zeros((0, N_MCEP)), np.zeros((0, N_BANDS)))) == 0
    assert len(stream.finish()) == 0
    f0, mcep, strengths = frames(50, f0=0.0, strength=0.0)
    mcep[:, 0] = -20
    assert np.abs(head(f0, mcep, strengths)).max() < 1e-6
