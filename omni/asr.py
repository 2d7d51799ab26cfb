"""Speech to text behind one protocol: Moonshine from its wheel (default), pocketsphinx where it is missing, or Whisper.

    recogniser = load_recogniser(settings.speech)
    transcript = recogniser.transcribe(load_audio("question.wav"), vocabulary=words_of_the_documents)

Every recogniser is given stretches of speech that the VAD has found, so recordings of any length work; nobody speaking
gives an empty transcript. All are thread-safe: one decoding at a time each.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from core.errors import LecternError, UsageError
from core.runtime import require, resolve_device
from core.settings import SpeechSettings
from omni.arpabet import phones
from omni.audio import resample
from omni.close_terms import TermIndex
from omni.language_bias import DocumentLanguage
from omni.moonshine_model import weights_folder
from omni.second_opinion import combined
from omni.tts import cannot_load, folder_or_id
from omni.types import Hypothesis, RecognitionSession, Segment, SpeechRecogniser, Transcript, Waveform
from omni.vad import SAMPLE_RATE, VadSettings, cut, speech_segments
from omni.window_session import WindowSession

logger = logging.getLogger(__name__)

N_BEST = 4  # beams of a transformers model, all of them kept as hypotheses
HINT_CHARACTERS = 600  # of the documents' words, given to Whisper as its prompt (224 tokens at most)


class FasterWhisperRecogniser:
    """Whisper through CTranslate2: a size ("small.en"), a hub id or a folder; int8 on CPU, float16 on CUDA."""

    def __init__(self, model: str, *, device: str = "auto", min_silence_ms: int = 500) -> None:
        faster_whisper = require("faster_whisper", needed_for=f"the recogniser {model}", package="faster-whisper")
        kind = resolve_device(device).type
        try:
            self._model: Any = faster_whisper.WhisperModel(
                folder_or_id(model), device=kind, compute_type="float16" if kind == "cuda" else "int8", cpu_threads=2
            )
        except (OSError, ValueError, RuntimeError) as error:  # huggingface_hub's errors are OSErrors and ValueErrors
            raise cannot_load(f"recogniser {model!r}", error) from error
        self.name = f"faster-whisper:{model}"
        self._vad = VadSettings(min_silence_ms=min_silence_ms)
        self._lock = threading.Lock()

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        heard, found, scores = resample(waveform, SAMPLE_RATE), [], []
        for start, end in speech_segments(heard, self._vad):
            with self._lock:
                pieces, _info = self._model.transcribe(
                    cut(heard, start, end).samples,
                    hotwords=_hint(vocabulary),  # of every window of 30 s, where a prompt is of the first alone
                    condition_on_previous_text=False,
                )
                for piece in pieces:  # lazily decoded: stays inside the lock
                    if piece.text.strip():
                        begins = min(end, start + piece.start)
                        found.append(Segment(begins, max(begins, min(end, start + piece.end)), piece.text.strip()))
                        scores.append(float(np.exp(piece.avg_logprob)))
        return _transcript(
            [(segment, [(segment.text, 0.0)]) for segment in found], scores, waveform.seconds, vocabulary
        )

    def stream(self, vocabulary: Sequence[str] = ()) -> RecognitionSession:
        return WindowSession(lambda sound: self.transcribe(sound, vocabulary=vocabulary))


class TransformersRecogniser:
    """Whisper of transformers: a hub id or a folder, on CPU or CUDA."""

    def __init__(self, model: str, *, device: str = "auto", min_silence_ms: int = 500) -> None:
        transformers = require("transformers", needed_for=f"the recogniser {model}")
        self._device = resolve_device(device)
        try:
            self._processor: Any = transformers.AutoProcessor.from_pretrained(folder_or_id(model))
            whisper = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder_or_id(model))
        except (OSError, ValueError, KeyError) as error:
            raise cannot_load(f"recogniser {model!r}", error) from error
        self._model: Any = whisper.to(self._device).eval()
        self.name = f"transformers:{model}"
        self._vad = VadSettings(min_silence_ms=min_silence_ms)
        self._lock = threading.Lock()

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        import torch

        heard, found = resample(waveform, SAMPLE_RATE), []
        hint = _hint(vocabulary)
        prompt = self._processor.get_prompt_ids(hint, return_tensors="pt").to(self._device) if hint else None
        for start, end in speech_segments(heard, self._vad):
            samples = cut(heard, start, end).samples
            features = self._processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
            with self._lock, torch.inference_mode():
                beams = self._model.generate(
                    features.to(self._device, self._model.dtype),
                    prompt_ids=prompt,
                    num_beams=N_BEST,
                    num_return_sequences=N_BEST,
                    return_dict_in_generate=True,
                    output_scores=True,
                )
            tokens, scores = beams["sequences"], beams["sequences_scores"].tolist()
            # a beam's score is the mean log-probability of its tokens; hypotheses compare whole readings
            texts = [text.strip() for text in self._processor.batch_decode(tokens, skip_special_tokens=True)]
            lengths = [int((row != self._model.config.pad_token_id).sum()) for row in tokens]
            read: dict[str, float] = {}
            for text, score, length in zip(texts, scores, lengths, strict=True):
                read.setdefault(text, score * length)
            if texts[0]:
                found.append((Segment(start, end, texts[0]), list(read.items())))
        return _transcript(found, [], waveform.seconds, vocabulary)

    def stream(self, vocabulary: Sequence[str] = ()) -> RecognitionSession:
        return WindowSession(lambda sound: self.transcribe(sound, vocabulary=vocabulary))


def load_recogniser(settings: SpeechSettings | None = None, *, device: str = "auto") -> SpeechRecogniser:
    """The recogniser that `speech.recogniser` names; loaded once per process.

    Raises UsageError for a kind that does not exist, ModelError for a model that cannot be loaded.
    """
    settings = settings or SpeechSettings()
    return _load(settings.recogniser, device, settings.min_silence_ms)


def recogniser_name(settings: SpeechSettings) -> str:
    """What `speech.recogniser` means here, without loading it: "auto" is moonshine where its wheel is installed."""
    if settings.recogniser != "auto":
        return settings.recogniser
    return "moonshine" if weights_folder() else "pocketsphinx"


@lru_cache(maxsize=4)
def _load(recogniser: str, device: str, min_silence_ms: int) -> SpeechRecogniser:
    kind, _, name = recogniser.partition(":")
    if recogniser == "auto":
        try:
            return _load("moonshine", device, min_silence_ms)
        except LecternError as error:
            logger.warning("listening with pocketsphinx, which understands less: %s", error)
            return _load("pocketsphinx", device, min_silence_ms)
    if recogniser == "moonshine":
        from omni.moonshine import MoonshineRecogniser

        return MoonshineRecogniser(min_silence_ms=min_silence_ms)
    if recogniser == "pocketsphinx":
        from omni.sphinx import SphinxRecogniser

        return SphinxRecogniser(min_silence_ms=min_silence_ms)
    if kind == "faster-whisper" and name:
        return FasterWhisperRecogniser(name, device=device, min_silence_ms=min_silence_ms)
    if kind == "transformers" and name:
        return TransformersRecogniser(name, device=device, min_silence_ms=min_silence_ms)
    raise UsageError(
        f"there is no recogniser {recogniser!r}",
        remedy="Set speech.recogniser to auto, moonshine, pocketsphinx, faster-whisper:NAME_OR_PATH or "
        "transformers:ID_OR_PATH",
    )


def _hint(vocabulary: Sequence[str]) -> str | None:
    """Names first: common words need no hint."""
    words = [*vocabulary.names, *vocabulary] if isinstance(vocabulary, DocumentLanguage) else vocabulary
    return ", ".join(dict.fromkeys(words))[:HINT_CHARACTERS] or None


def _transcript(
    found: Sequence[tuple[Segment, list[tuple[str, float]]]],
    scores: Sequence[float],
    seconds: float,
    vocabulary: Sequence[str],
) -> Transcript:
    """Segments with their readings (best first: text, log-probability) -> one transcript."""
    segments = tuple(segment for segment, _ in found)
    text = " ".join(segment.text for segment in segments)
    n_best = combined([[Hypothesis(words, score) for words, score in readings] for _, readings in found])
    confidence = float(np.mean(scores)) if scores else 0.0
    corrections = tuple(_terms(vocabulary).corrections(text)) if text and len(vocabulary) else ()
    return Transcript(text, segments, seconds, confidence, n_best, corrections)


def _terms(vocabulary: Sequence[str]) -> TermIndex:
    """The vocabulary by how it sounds; the latest ones are kept."""
    key = vocabulary.name if isinstance(vocabulary, DocumentLanguage) else "\n".join(vocabulary)
    if key not in _INDEXES:
        for old in list(_INDEXES)[:-3]:
            del _INDEXES[old]
        words = (word.lower() for word in vocabulary)
        _INDEXES[key] = TermIndex(dict.fromkeys((word for word in words if word.isalpha()), 1), phones)
    return _INDEXES[key]


_INDEXES: dict[str, TermIndex] = {}
