"""The voice that ships, as a SpeechSynthesiser: spoken text in, sound out while the sentence is still being made.

    voice = NeuralVoice.load(SHIPPED / "slt")
    for waveform in voice.stream("Rent is due on the first day of each month."):
        play(waveform)

Words -> phones (`front_end`) -> units by the streaming CTC decoder of `omni.ctc_decoder` -> durations and vocoder
parameters (`unit_vocoder`) -> sound (`source_filter`). Every stage carries its state, so the pieces join without seams.
Sentences in scripts that this voice has no phones for go to `fallback`, and the log says so.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import ModelError
from omni.causal_layers import LayerConfig
from omni.ctc_decoder import CTCDecoder, CTCDecoderConfig
from omni.sentences import split_sentences
from omni.spoken_form import spoken
from omni.types import SpeechSynthesiser, Waveform
from omni.voice.front_end import FrontEnd, can_speak
from omni.voice.letter_rules import LetterRules
from omni.voice.letters_to_sound import LettersToSound
from omni.voice.lexicon import Lexicon, Pronunciation
from omni.voice.phones import VOWELS, Phone, states
from omni.voice.source_filter import SAMPLE_RATE, SourceFilter
from omni.voice.unit_vocoder import UnitVocoder, UnitVocoderConfig, VocoderStream

SHIPPED = Path(__file__).parents[2] / "models" / "voice"
DEFAULT_SPEAKER = "rms"
CONFIG, WEIGHTS = "config.json", "voice.safetensors"  # of a speaker
LEXICON, LETTERS, RULES = "lexicon.txt.gz", "letters.npz", "letter_rules.txt.gz"  # of all speakers

_FIRST_PHONES, _NEXT_PHONES = 16, 32  # per step of the decoder: little until something sounds, then more
_FIRST_PIECE_S, _NEXT_PIECE_S = 0.15, 0.4
_FIRST_PAUSE_FRAMES = 8  # before the first sentence nobody needs the teacher's 150 ms of silence
_RISE = 0.35  # of log F0 at the end of a question without a question word: 42 %
_QUESTION_WORDS = frozenset(str.split("what who whom whose which where when why how"))
_NOT_SPOKEN = re.compile(r"[^\w\s.,;:!?'’\-，。！？；：、]|[\d_]")

_log = logging.getLogger(__name__)


class NeuralVoice:
    """See the module. Thread-safe: all state belongs to a stream."""

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        front_end: FrontEnd,
        decoder: CTCDecoder,
        vocoder: UnitVocoder,
        head: SourceFilter,
        *,
        name: str = "lectern",
        fallback: Callable[[], SpeechSynthesiser] | None = None,
    ) -> None:
        self.name = name
        self._front_end, self._decoder, self._vocoder, self._head = front_end, decoder.eval(), vocoder.eval(), head
        self._fallback = fallback

    @classmethod
    def load(
        cls, folder: Path = SHIPPED / DEFAULT_SPEAKER, *, fallback: Callable[[], SpeechSynthesiser] | None = None
    ) -> NeuralVoice:
        """A speaker's folder; dictionary and letters lie there or one above. Raises ModelError if not all is there."""
        from safetensors.torch import load_file

        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            weights = {key: value.float() for key, value in load_file(folder / WEIGHTS).items()}
            front_end = _front_end(folder if (folder / LEXICON).is_file() else folder.resolve().parent)
            decoder, vocoder = networks(config)
            decoder.load_state_dict(_part(weights, "decoder."))
            vocoder.load_state_dict(_part(weights, "vocoder."))
            head = SourceFilter(weights["excitation_filters"].numpy())
        except (OSError, ValueError, KeyError, RuntimeError, EOFError) as error:
            raise ModelError(
                f"the voice in {folder} cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0][:160]}",
                remedy=f"Set speech.voice to one that is here ({', '.join(map('lectern:{}'.format, speakers()))} or"
                " espeak), or restore models/voice with `git checkout models/voice`",
            ) from error
        voice = cls(front_end, decoder, vocoder, head, name=f"lectern:{config['speaker']}", fallback=fallback)
        for _ in voice.stream("Hello."):  # the first sentence should not pay for what torch sets up at first use
            pass
        return voice

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        """Pieces of 0.15 to 0.5 s; rate 0.7 to 1.5 changes durations, not pitch. Any text speaks."""
        first = True
        for sentence in split_sentences(text):
            if not can_speak(sentence):
                yield from self._elsewhere(sentence, rate)
                continue
            if _NOT_SPOKEN.search(sentence):
                sentence = spoken(sentence)
            phones = self._front_end.phones(sentence)
            for samples in self._pieces(phones, sentence, rate, first):
                first = False
                yield Waveform(samples, self.sample_rate)

    @torch.inference_mode()
    def units(self, phones: Sequence[Phone]) -> Iterator[list[int]]:
        """The decoder alone: units of one utterance, as they come."""
        inputs = torch.from_numpy(states(phones))[None]
        with self._decoder.streaming() as stream:
            at, size = 0, _FIRST_PHONES
            while at < len(phones):
                yield stream.step(inputs[:, at : at + size])
                at, size = at + size, _NEXT_PHONES
            yield stream.finish()

    def _pieces(self, phones: Sequence[Phone], sentence: str, rate: float, first: bool) -> Iterator[np.ndarray]:
        if not phones:
            return
        stream = VocoderStream(
            self._vocoder,
            self._head,
            rate=rate,
            contour=_contour(phones, sentence),
            first_frames=_FIRST_PAUSE_FRAMES if first else None,
        )
        waiting: list[np.ndarray] = []
        enough = _FIRST_PIECE_S if first else _NEXT_PIECE_S
        for units in self.units(phones):
            waiting.append(stream.push(units))
            if sum(map(len, waiting)) >= enough * self.sample_rate:
                yield _clipped(waiting)
                waiting, enough = [], _NEXT_PIECE_S
        yield _clipped([*waiting, stream.finish()])

    def _elsewhere(self, sentence: str, rate: float) -> Iterator[Waveform]:
        if self._fallback is None:
            raise ModelError(
                f"the voice {self.name} speaks English only, not {sentence[:30]!r}",
                remedy="Set speech.voice to espeak or to a transformers model of that language",
            )
        other = self._fallback()
        _log.warning("%s speaks English only: %r is spoken by %s", self.name, sentence[:30], other.name)
        for piece in other.stream(sentence, rate=rate):
            samples = piece.samples
            if piece.sample_rate != self.sample_rate:
                import soxr

                samples = soxr.resample(samples, piece.sample_rate, self.sample_rate).astype(np.float32)
            yield Waveform(samples, self.sample_rate)


def speakers(folder: Path = SHIPPED) -> list[str]:
    """Names of the speakers that ship, the default first."""
    found = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    return sorted(found, key=lambda name: name != DEFAULT_SPEAKER)


@lru_cache(maxsize=2)
def _front_end(folder: Path) -> FrontEnd:
    """Shared by the speakers: the dictionary takes a second and 50 MB."""
    guess: Callable[[str], Pronunciation] = (
        LettersToSound.load(folder / LETTERS) if (folder / LETTERS).is_file() else LetterRules.load(folder / RULES)
    )
    return FrontEnd(Lexicon.load(folder / LEXICON, guess))


def networks(config: dict[str, Any]) -> tuple[CTCDecoder, UnitVocoder]:
    """Untrained networks of the sizes in a voice's config.json."""
    sizes = dict(config["decoder"])
    layers = LayerConfig(**sizes.pop("layers"))
    return CTCDecoder(CTCDecoderConfig(layers=layers, **sizes)), UnitVocoder(UnitVocoderConfig(**config["vocoder"]))


def sizes_of(decoder: CTCDecoder, vocoder: UnitVocoder) -> dict[str, Any]:
    return {"decoder": asdict(decoder.config), "vocoder": asdict(vocoder.config)}


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _clipped(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return np.clip(np.concatenate(pieces), -1.0, 1.0)


def _contour(phones: Sequence[Phone], sentence: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """A final rise for questions without a question word; the teacher falls in all of them."""
    words = re.findall(r"[a-z']+", sentence.lower())
    if phones[-1].mark != "?" or not words or _QUESTION_WORDS & set(words[:3]):
        return None
    vowels = [index for index, phone in enumerate(phones) if phone.name in VOWELS]
    stressed = [index for index in vowels if phones[index].stress] or vowels
    if not stressed:
        return None
    # two units per phone, but one for the first pause
    return partial(_rise, start=2 * stressed[-1] - 1, end=2 * vowels[-1] + 1)


def _rise(where: np.ndarray, log_f0: np.ndarray, *, start: int, end: int) -> np.ndarray:
    progress = np.clip((where - start) / (end - start), 0.0, 1.0)
    return log_f0 + _RISE * progress
