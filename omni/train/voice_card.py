"""What a listener wants to see and hear of a trained voice: samples, and its spectrogram above the teacher's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import MissingDependencyError
from omni.audio import concatenate, save_wav
from omni.spoken_form import spoken
from omni.train.flite_teacher import FliteTeacher
from omni.voice.neural_voice import NeuralVoice

SAMPLES = {
    "answer": "That is on page twelve of the lease: rent is due on the first day of each month.",
    "numbers": "Net sales were $34,229 million in FY2022, down 3.2% from the year before.",
    "question": "Do you want me to read the whole section aloud?",
    "names": "Ms. Kowalczyk of Zyxel wrote to NASA and the EBC on June 30, 2021.",
}


def write_samples(model: Path, speaker: str) -> None:
    """samples/*.wav and spectrogram.png (ours above, the teacher's below) in the model folder."""
    voice = NeuralVoice.load(model)
    (model / "samples").mkdir(exist_ok=True)
    for name, text in SAMPLES.items():
        save_wav(model / "samples" / f"{name}.wav", concatenate(list(voice.stream(spoken(text)))))
    text = SAMPLES["answer"]
    pictures = [spectrogram(concatenate(list(voice.stream(text))).samples)]
    try:
        pictures.append(spectrogram(FliteTeacher(speaker).speak(text).waveform / 32768))
    except MissingDependencyError as error:
        print(f"no teacher beside it: {error}")
    width = max(picture.shape[1] for picture in pictures)
    gap = np.full((6, width), 255, np.uint8)
    rows = [np.pad(picture, ((0, 0), (0, width - picture.shape[1])), constant_values=255) for picture in pictures]
    Image.fromarray(np.concatenate([part for row in rows for part in (row, gap)][:-1])).save(
        model / "spectrogram.png", optimize=True
    )


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """(samples,) -> (256, steps of 5 ms) uint8, 0 to 8 kHz from bottom to top, 70 dB from white to black."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::80] * np.hanning(400)
    level = 20 * np.log10(np.abs(np.fft.rfft(frames, 512)[:, 1:]) + 1e-6)
    shade = np.clip((level - level.max() + 70) / 70, 0, 1)
    return (255 * (1 - shade.T[::-1])).astype(np.uint8)
