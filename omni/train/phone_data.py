"""What the phone recogniser learns from: sentences that several voices speak, and the phones they say in them.

    for example in examples(texts, model, seed=3):
        example.states, example.phones           # (frames, 288) of Moonshine's encoder, (n,) numbers of PHONES

flite's voices tell the phones they say; our own voice says what its front end reads, espeak-ng its own pronunciation.
Each utterance is sometimes quicker or slower, higher or lower, in noise, in a room or through a narrow channel.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from omni.arpabet import to_arpabet
from omni.audio import load_audio, resample
from omni.close_terms import phone_numbers
from omni.espeak import espeak
from omni.moonshine_model import SAMPLE_RATE, MoonshineModel
from omni.sentences import split_sentences
from omni.spoken_form import spoken
from omni.types import Waveform
from omni.voice.front_end import FrontEnd
from omni.voice.letters_to_sound import LettersToSound
from omni.voice.lexicon import Lexicon
from omni.voice.neural_voice import LETTERS, LEXICON, SHIPPED, NeuralVoice

# voice and its share of the utterances
VOICES = {
    "rms": 0.2, "slt": 0.22, "awb": 0.22, "kal16": 0.1, "kal": 0.08, "lectern:rms": 0.03, "lectern:slt": 0.03,
    "espeak:en-us": 0.03, "espeak:en-us+f2": 0.03, "espeak:en-us+m3": 0.03, "espeak:en-us+Annie": 0.03,
}  # fmt: skip
LEAST_S, LONGEST_S = 1.0, 11.0
SHORTEST, LONGEST = 20, 140  # characters of a sentence
_SAME = {"AX": "AH", "AXR": "ER"}  # flite's phones that CMUdict writes otherwise


@dataclass(frozen=True)
class Example:
    """One utterance."""

    voice: str
    states: np.ndarray  # (frames, 288) float16, what Moonshine's encoder makes of it
    phones: np.ndarray  # (n,) uint8, numbers of PHONES


def sentences(squad: Path, without: frozenset[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Questions and sentences of SQuAD's articles except those named, in a random order: to learn from, and of some
    other articles (one in 25) to measure with."""
    articles = [a for a in json.loads(squad.read_text(encoding="utf-8"))["data"] if a["title"] not in without]
    rng = random.Random(seed)
    rng.shuffle(articles)
    apart = len(articles) // 25
    parts = []
    for chosen in (articles[apart:], articles[:apart]):
        found = []
        for paragraph in (paragraph for article in chosen for paragraph in article["paragraphs"]):
            found += [question["question"].strip() for question in paragraph["qas"]]
            found += split_sentences(paragraph["context"])
        found = [text for text in dict.fromkeys(found) if SHORTEST <= len(text) <= LONGEST]
        rng.shuffle(found)
        parts.append(found)
    return parts[0], parts[1]


def examples(
    texts: Sequence[str], model: MoonshineModel, *, seed: int, voices: Sequence[str] = (), changed: bool = True
) -> Iterator[Example]:
    """Each sentence spoken by one voice, by lot; `voices`: only these, in turn; `changed`: in rooms, noise and so on.
    What cannot be said in English phones, or is too short or long, is left out."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    for index, text in enumerate(texts):
        voice = voices[index % len(voices)] if voices else rng.choices(list(VOICES), list(VOICES.values()))[0]
        said = speak(spoken(text), voice, rate=rng.uniform(0.85, 1.2) if changed else 1.0)
        if said is None:
            continue
        waveform, phones = said
        samples = altered(waveform, rng, noise) if changed else resample(waveform, SAMPLE_RATE).samples
        if phones and LEAST_S <= len(samples) / SAMPLE_RATE <= LONGEST_S:
            yield Example(voice, model.encode(samples).astype(np.float16), np.array(phones, np.uint8))


def speak(text: str, voice: str, *, rate: float = 1.0) -> tuple[Waveform, list[int]] | None:
    """A voice's sound and the numbers of its phones; None if it cannot say the text."""
    kind, _, name = voice.partition(":")
    if kind == "espeak":
        phones = [to_arpabet(part) for part in re.split(r"[^\w' -]+", text) if part.strip()]
        if not all(phones):
            return None
        samples = espeak().synthesise(text, voice=name, rate=rate)
        return Waveform(samples, espeak().sample_rate), phone_numbers(" ".join(phones))
    if kind == "lectern":
        own, front_end = _own_voice(name)
        parts = list(own.stream(text, rate=rate))
        if not parts:
            return None
        said = [phone.name for sentence in split_sentences(text) for phone in front_end.phones(sentence)]
        return Waveform(np.concatenate([part.samples for part in parts]), own.sample_rate), numbers(said)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        stretch = ["--setf", f"duration_stretch={1 / rate:.3f}"]
        command = ["flite", "-voice", voice, "-psdur", *stretch, "-t", text, "-o", str(path)]
        timed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return load_audio(path), numbers([phone.partition(":")[0] for phone in timed.split()])


def altered(waveform: Waveform, rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """(n,) float32 at 16 kHz: as another throat, room and microphone would have it."""
    if rng.random() < 0.6:  # formants, pitch and tempo together
        waveform = Waveform(waveform.samples, round(waveform.sample_rate * rng.uniform(0.88, 1.14)))
    samples = resample(waveform, SAMPLE_RATE).samples.astype(np.float64)
    if rng.random() < 0.25:
        tail = np.arange(int(rng.uniform(0.08, 0.35) * SAMPLE_RATE))
        echo = noise.normal(size=len(tail)) * np.exp(-6.9 * tail / len(tail))
        echo *= rng.uniform(0.1, 0.5) / np.sqrt((echo**2).sum())
        echo[0] += 1.0
        size = 1 << (len(samples) + len(echo)).bit_length()
        samples = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size))[: len(samples)]
    if rng.random() < 0.3:
        low, high = rng.uniform(30, 300), rng.uniform(3200, 7500)
        hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
        passed = 1 / (1 + (low / np.maximum(hertz, 1.0)) ** 6) / (1 + (hertz / high) ** 12)
        samples = np.fft.irfft(np.fft.rfft(samples) * passed, len(samples))
    if rng.random() < 0.4:
        loudness = np.sqrt(np.mean(samples**2))
        hiss = np.fft.rfft(noise.normal(size=len(samples)))
        hiss *= np.maximum(np.arange(len(hiss)), 20.0) ** -rng.uniform(0.0, 0.6)  # white to pink
        hum = np.fft.irfft(hiss, len(samples))
        samples = samples + hum * (loudness / np.sqrt(np.mean(hum**2)) * 10 ** (-rng.uniform(8, 35) / 20))
    start, end = (int(rng.uniform(0.0, 0.25) * SAMPLE_RATE) for _ in range(2))
    samples = np.pad(samples, (start, end))
    return (samples * (rng.uniform(0.1, 0.9) / max(1e-6, float(np.abs(samples).max())))).astype(np.float32)


def numbers(phones: Sequence[str]) -> list[int]:
    """flite's and our own voice's phones: lower case, stress marked, pauses among them."""
    plain = (phone.upper().rstrip("01") for phone in phones)
    return phone_numbers(" ".join(_SAME.get(phone, phone) for phone in plain))


@lru_cache(maxsize=2)
def _own_voice(speaker: str) -> tuple[NeuralVoice, FrontEnd]:
    lexicon = Lexicon.load(SHIPPED / LEXICON, LettersToSound.load(SHIPPED / LETTERS))
    return NeuralVoice.load(SHIPPED / speaker), FrontEnd(lexicon)
