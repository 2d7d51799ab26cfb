"""Text to sound behind one protocol: the voice that ships, espeak-ng from its wheel, or a transformers model.

    synthesiser = load_synthesiser(settings.speech)
    for waveform in synthesiser.stream(spoken("Rent is due on 1 June.")):
        play(waveform)

`stream` yields sentence by sentence; closing the generator (or leaving the loop) cancels what has not been spoken.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ModelError, UsageError
from core.runtime import require, resolve_device
from core.settings import SpeechSettings
from omni.espeak import espeak
from omni.sentences import split_sentences
from omni.types import SpeechSynthesiser, Waveform

_log = logging.getLogger(__name__)
_HAN = range(0x4E00, 0xA000)


class EspeakSynthesiser:
    """espeak-ng: understandable, instant (about 10 ms to the first sound), 100 languages; no beauty.

    voice: a language of espeak-ng ("en-us", "de", "cmn"); "" speaks English, and sentences in Chinese with `cmn`.
    Thread-safe.
    """

    def __init__(self, voice: str = "") -> None:
        self._engine = espeak()
        self._voice = voice
        self._engine.check_voice(voice or "en-us")
        self.name = f"espeak:{voice}" if voice else "espeak"
        self.sample_rate = self._engine.sample_rate

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        for sentence in split_sentences(text):
            voice = self._voice or ("cmn" if mostly_han(sentence) else "en-us")
            samples = self._engine.synthesise(sentence, voice=voice, rate=rate)
            if len(samples):
                yield Waveform(samples, self.sample_rate)


class TransformersSynthesiser:
    """A waveform model of transformers (VITS, MMS): a hub id or a path. Sentence by sentence, thread-safe."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        transformers = require("transformers", needed_for=f"the voice {model}")
        self.name = f"transformers:{model}"
        self._device = resolve_device(device)
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder_or_id(model))
            self._model: Any = (
                transformers.AutoModelForTextToWaveform.from_pretrained(folder_or_id(model)).to(self._device).eval()
            )
        except (OSError, ValueError, KeyError) as error:
            raise cannot_load(f"voice {model!r}", error) from error
        self.sample_rate = int(getattr(self._model.config, "sampling_rate", 16_000))
        self._lock = threading.Lock()  # speaking_rate is an attribute of the model

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        import torch

        for sentence in split_sentences(text):
            inputs = self._tokenizer(sentence, return_tensors="pt").to(self._device)
            if inputs["input_ids"].shape[-1] == 0:
                continue  # nothing that this voice can say
            with self._lock, torch.inference_mode():
                if hasattr(self._model, "speaking_rate"):
                    self._model.speaking_rate = rate
                output = (
                    self._model(**inputs) if hasattr(self._model, "speaking_rate") else self._model.generate(**inputs)
                )
            samples = getattr(output, "waveform", output).reshape(-1).float().cpu().numpy()
            yield Waveform(np.clip(samples, -1.0, 1.0).astype(np.float32), self.sample_rate)


def load_synthesiser(settings: SpeechSettings | None = None, *, device: str = "auto") -> SpeechSynthesiser:
    """The voice that `speech.voice` names; loaded once per process.

    Raises UsageError for a kind that does not exist, ModelError for a model that cannot be loaded.
    """
    return _load((settings or SpeechSettings()).voice, device)


@lru_cache(maxsize=4)
def _load(voice: str, device: str) -> SpeechSynthesiser:
    kind, _, name = voice.partition(":")
    if kind in {"auto", "lectern"}:
        return _own_voice(name, needed=kind == "lectern")
    if kind == "espeak":
        return EspeakSynthesiser(name)
    if kind == "transformers" and name:
        return TransformersSynthesiser(name, device=device)
    raise UsageError(
        f"there is no voice {voice!r}",
        remedy="Set speech.voice to auto, lectern[:SPEAKER], espeak[:VOICE] or transformers:ID_OR_PATH",
    )


def _own_voice(name: str, *, needed: bool) -> SpeechSynthesiser:
    """The neural voice of a speaker that ships or from its folder ("": the default speaker).

    Where it is not `needed` and does not load, espeak-ng, which the log says.
    """
    from omni.voice.neural_voice import DEFAULT_SPEAKER, SHIPPED, NeuralVoice, speakers

    folder = SHIPPED / (name or DEFAULT_SPEAKER) if not name or name in speakers() else Path(name).expanduser()
    try:
        return NeuralVoice.load(folder, fallback=EspeakSynthesiser)
    except ModelError as error:
        if needed:
            raise
        _log.warning("%s; espeak-ng speaks instead", error)
        return EspeakSynthesiser()


def mostly_han(text: str) -> bool:
    """Whether most letters of a text are Chinese characters."""
    letters = [ord(letter) for letter in text if letter.isalpha()]
    return bool(letters) and sum(letter in _HAN for letter in letters) > len(letters) / 2


def cannot_load(what: str, error: Exception) -> ModelError:
    """One message for every model that is neither on disk nor to be had from a hub."""
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return ModelError(
        f"the {what} cannot be loaded: {reason}",
        remedy="Give the path of a downloaded model folder, or connect once so that the hub can be reached",
    )


def folder_or_id(name: str) -> str:
    """A path as the absolute path, anything else (a hub id) as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name
