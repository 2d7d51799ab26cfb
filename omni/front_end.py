"""Waveform -> log-mel spectrogram, as Whisper wants it.

    front_end = LogMel(n_mels=128)
    mel = front_end(samples)              # (windows, 3000, 128) float32, one window per started 30 s

Every constant is Whisper's (Radford et al., 2022, section 2.2): 16 kHz, 25 ms Hann windows every 10 ms, slaney bank,
log10 clamped to 8 below the maximum of the padded 30 s, then (x + 4) / 4.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
WINDOW_S = 30
WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE  # 480,000
WINDOW_FRAMES = WINDOW_SAMPLES // HOP  # 3000


class LogMel:
    """The front end; holds the mel bank and the Hann window."""

    sample_rate = SAMPLE_RATE

    def __init__(self, n_mels: int = 128) -> None:
        self.n_mels = n_mels
        bank = mel_filter_bank(1 + N_FFT // 2, n_mels, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, "slaney", "slaney")
        self._bank = torch.from_numpy(bank.T.astype(np.float32))  # (n_mels, 201)
        self._window = torch.hann_window(N_FFT)

    def __call__(self, samples: np.ndarray | Tensor, *, device: torch.device | str = "cpu") -> Tensor:
        """Mono samples at 16 kHz in -1..1, (n,) -> (windows, 3000, n_mels) float32 on `device`.

        Sound longer than 30 s continues in further windows, each clamped to its own maximum, as Whisper would hear it.
        """
        audio = torch.as_tensor(samples, dtype=torch.float32).to(device)
        windows = max(1, -(-len(audio) // WINDOW_SAMPLES))
        padded = torch.nn.functional.pad(audio, (0, windows * WINDOW_SAMPLES - len(audio)))
        return torch.stack([self._window_mel(part) for part in padded.split(WINDOW_SAMPLES)])

    def _window_mel(self, audio: Tensor) -> Tensor:
        if self._bank.device != audio.device:
            self._bank, self._window = self._bank.to(audio.device), self._window.to(audio.device)
        spectrum = torch.stft(audio, N_FFT, HOP, window=self._window, return_complex=True)
        power = spectrum[..., :-1].abs() ** 2  # the last frame is centred on the end: Whisper drops it
        mel = torch.clamp(self._bank @ power, min=1e-10).log10()
        return ((torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0).T


def frames_of(n_samples: int) -> int:
    """Mel frames with sound in them, at most 3000 in each window."""
    return -(-n_samples // HOP)
