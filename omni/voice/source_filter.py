"""Source-filter synthesis with carried state: F0, mel-cepstra and band voicing -> sound.

    head = SourceFilter(filters)                       # filters: (5, 48) FIR of the mixed excitation
    with_state = head.stream()
    for f0, mcep, strengths in arriving:               # any number of 5 ms frames at a time
        play(with_state.push(f0, mcep, strengths))     # concatenates to exactly the sound of the whole utterance
    play(with_state.finish())

The vocoder of the teacher voices, done by frames instead of samples: pulses and noise pass through band filters mixed
by the voicing strengths (McCree and Barnwell 1995), then through exp(sum_k c_k z~^-k), the minimum-phase filter that
the mel-cepstrum c describes, where z~^-1 = (z^-1 - alpha) / (1 - alpha z^-1) (MLSA, Imai 1983). A mel-cepstrum is
linear in the log spectrum, phase included, so no Hilbert transform is needed. Overlapping triangles replace the
interpolation of coefficients from sample to sample. The formant postfilter scales c_2... by 1 + beta and keeps the
energy (Yoshimura et al. 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

SAMPLE_RATE = 16_000  # Hz
HOP = 80  # samples per frame: 5 ms
N_MCEP = 25
N_BANDS = 5

_FFT = 1024
_TAIL = _FFT - 2 * HOP  # what a frame's filters may add behind its own window


@dataclass(frozen=True)
class SourceFilterConfig:
    alpha: float = 0.42  # all-pass constant of the mel scale at 16 kHz
    beta: float = 0.4  # formant postfilter
    gain: float = 1.5 / 32768


class SourceFilter:
    """Precomputed spectra; no state, thread-safe."""

    def __init__(self, filters: np.ndarray, config: SourceFilterConfig | None = None) -> None:
        assert filters.shape[0] == N_BANDS, filters.shape
        self.config = config or SourceFilterConfig()
        omega = np.linspace(0, np.pi, _FFT // 2 + 1)
        alpha = self.config.alpha
        warped = omega + 2 * np.arctan(alpha * np.sin(omega) / (1 - alpha * np.cos(omega)))
        self._warp = np.exp(-1j * np.outer(np.arange(N_MCEP), warped)).astype(np.complex64)  # (25, bins)
        self._bands = fft.rfft(filters, _FFT, axis=1).astype(np.complex64)  # (5, bins)
        # A cosine per coefficient on a coarse grid is enough to compare energies.
        self._cosines = np.ascontiguousarray(self._warp.real[:, ::8])
        self._window = (1 - np.abs(np.arange(2 * HOP) - HOP) / HOP).astype(np.float32)

    def stream(self, *, seed: int = 0) -> SourceFilterStream:
        return SourceFilterStream(self, seed)

    def __call__(self, f0: np.ndarray, mcep: np.ndarray, strengths: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Whole utterance: (T,) Hz with 0 = unvoiced, (T, 25), (T, 5) in 0..1 -> (T * 80 + tail,) float32."""
        stream = self.stream(seed=seed)
        return np.concatenate([stream.push(f0, mcep, strengths), stream.finish()])

    def filtered(self, mcep: np.ndarray, strengths: np.ndarray, pulses: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(n, 25), (n, 5) and excitation windows (n, 160) -> (n, 1024) sound of each frame."""
        pulse_bands = strengths.astype(np.float32) @ self._bands
        noise_bands = self._bands.sum(0) - pulse_bands
        source = fft.rfft(pulses * self._window, _FFT) * pulse_bands
        source += fft.rfft(noise * self._window, _FFT) * noise_bands
        return fft.irfft(source * self._envelope(mcep), _FFT).astype(np.float32)

    def _envelope(self, mcep: np.ndarray) -> np.ndarray:
        alpha, beta = self.config.alpha, self.config.beta
        mcep = mcep.astype(np.float32)
        sharp = mcep.copy()
        sharp[:, 2:] *= 1 + beta
        sharp[:, 0] -= beta * alpha**2 * mcep[:, 2]
        energy = [np.exp(2 * (c @ self._cosines)).mean(-1) for c in (mcep, sharp)]
        sharp[:, 0] += 0.5 * np.log(energy[0] / energy[1])
        return np.exp(sharp @ self._warp) * self.config.gain


class SourceFilterStream:
    """One utterance: pitch phase, noise generator, the frame that waits for its successor, overlapping tails."""

    def __init__(self, head: SourceFilter, seed: int = 0) -> None:
        self._head = head
        self._random = np.random.default_rng(seed)
        self._phase = 0.0  # samples since the last pulse
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None  # F0, mcep, strengths of the waiting frame
        self._before = np.zeros((2, HOP), np.float32)  # pulses and noise of the interval before the waiting frame
        self._overlap = np.zeros(HOP + _TAIL, np.float32)

    def push(self, f0: np.ndarray, mcep: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        """n frames -> the samples that are now final (80 per frame, the first frame of all gives none)."""
        if not len(f0):
            return np.zeros(0, np.float32)
        if self._last is not None:
            last_f0, last_mcep, last_strengths = self._last
            f0 = np.concatenate([[last_f0], f0])
            mcep = np.concatenate([last_mcep[None], mcep])
            strengths = np.concatenate([last_strengths[None], strengths])
        self._last = (float(f0[-1]), mcep[-1], strengths[-1])
        if len(f0) == 1:
            return np.zeros(0, np.float32)
        pulses = np.concatenate([self._pulses(f0[i], f0[i + 1]) for i in range(len(f0) - 1)])
        noise = np.where(self._random.random(len(pulses)) < 0.5, np.float32(-1), np.float32(1))
        return self._synthesise(mcep[:-1], strengths[:-1], pulses, noise)

    def finish(self) -> np.ndarray:
        """The waiting frame and the last tail."""
        if self._last is None:
            return np.zeros(0, np.float32)
        _, mcep, strengths = self._last
        silence = np.zeros(HOP, np.float32)
        sound = self._synthesise(mcep[None], strengths[None], silence, silence)
        self._last = None
        return np.concatenate([sound, self._overlap[:HOP] * np.linspace(1, 0, HOP, dtype=np.float32)])

    def _synthesise(self, mcep: np.ndarray, strengths: np.ndarray, pulses: np.ndarray, noise: np.ndarray) -> np.ndarray:
        count = len(mcep)
        rows = []
        for index, new in enumerate((pulses, noise)):
            whole = np.concatenate([self._before[index], new]).reshape(count + 1, HOP)
            rows.append(np.concatenate([whole[:-1], whole[1:]], axis=1))
            self._before[index] = whole[-1]
        sound = self._head.filtered(mcep, strengths, rows[0], rows[1])
        out = np.zeros(count * HOP + HOP + _TAIL, np.float32)
        out[: len(self._overlap)] = self._overlap
        for index in range(count):
            out[index * HOP : index * HOP + _FFT] += sound[index]
        self._overlap = out[count * HOP :]
        # The first frame's window begins one hop before time zero, where it is silent.
        return out[: count * HOP]

    def _pulses(self, f0: float, next_f0: float) -> np.ndarray:
        """Excitation of the 80 samples between two frames; the period runs linearly from one to the other."""
        pulses = np.zeros(HOP, np.float32)
        if f0 <= 0 or next_f0 <= 0:
            self._phase = np.inf  # the next voiced stretch begins with a pulse
            return pulses
        period, next_period = SAMPLE_RATE / f0, SAMPLE_RATE / next_f0
        slope = (next_period - period) / HOP
        self._phase = min(self._phase, period)
        at = 0
        while True:
            # smallest n >= at with phase + (n - at) + 1 >= period + slope * n
            n = max(at, int(np.ceil((period + at - 1 - self._phase) / (1 - slope))))
            if n >= HOP:
                self._phase += HOP - at
                return pulses
            now = period + slope * n
            pulses[n] += np.sqrt(now)
            self._phase += n - at + 1 - now
            at = n + 1
