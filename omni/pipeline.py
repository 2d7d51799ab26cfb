"""The speech language model as a chain of stages, any of which can be replaced while it runs.

pipeline = load_pipeline(folder, whisper=..., vocoder=...)
speech = pipeline.hear(waveform)                          # one encoder pass
prompt = pipeline.prompt(pipeline.format([("user", SPEECH)]), [speech])
louder = pipeline.replace(vocoder=another)                # shares all other stages; sizes are checked
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import AudioError, ModelError
from omni.front_end import WINDOW_FRAMES, WINDOW_SAMPLES, frames_of
from omni.prompt import SPEECH_ID, encode_prompt
from omni.stages import Adapter, Encoder, FrontEnd, LanguageModel, SpeechDecoder, Vocoder, check_sizes
from omni.types import Waveform


@dataclass(frozen=True)
class HeardSpeech:
    """Sound after the encoder: what the adapter and Whisper's own decoder both read."""

    states: Tensor  # (windows, T, encoder_dim), one window per started 30 s
    seconds: float
    key: int  # hash of the sound, for the prompt cache


@dataclass(frozen=True)
class Prompt:
    """What the language model reads: embeddings, and a key per position by which a cached prefix is recognised."""

    embeds: Tensor  # (1, T, dim)
    keys: tuple[int, ...]  # token ids; for sound a negative number that depends on what was said
    token_ids: tuple[int, ...]  # without the sound

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class OmniPipeline:
    """Stages, tokenizer and the ids that end a reply. Construction checks that neighbours fit (ModelError)."""

    front_end: FrontEnd
    encoder: Encoder
    adapter: Adapter
    llm: LanguageModel
    speech_decoder: SpeechDecoder | None  # None: text out only
    vocoder: Vocoder | None  # None: units out, no sound
    tokenizer: Any = None
    eos_ids: tuple[int, ...] = ()
    max_positions: int = 131_072  # prompt and reply together
    name: str = "llama-omni"
    licence: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.front_end, self.encoder, self.adapter, self.llm, self.speech_decoder, self.vocoder)

    def replace(self, **stages: Any) -> OmniPipeline:
        """The same pipeline with some stages exchanged; the others are shared, not copied. Raises ModelError."""
        known = {f.name for f in dataclasses.fields(self)}
        for name in stages:
            if name not in known:
                raise ModelError(f"there is no stage {name!r}", remedy="Stages: " + ", ".join(sorted(known)))
        return dataclasses.replace(self, **stages)

    # ---- sound -> embeddings

    @torch.inference_mode()
    def hear(self, sound: Waveform | np.ndarray, *, real_length: bool = False) -> HeardSpeech:
        """Front end and encoder, once. Bare arrays are (n,) samples at the front end's rate.

        `real_length`: encode only the frames that hold sound, not 30 s of silence after them. Cheaper and not identical
        to the reference. Raises AudioError for an empty recording or another rate.
        """
        if isinstance(sound, Waveform):
            if sound.sample_rate != self.front_end.sample_rate:
                raise AudioError(
                    f"the recording has {sound.sample_rate} Hz, the model hears {self.front_end.sample_rate} Hz",
                    remedy="Resample it with omni.audio.resample",
                )
            sound = sound.samples
        samples = np.ascontiguousarray(sound, dtype=np.float32)
        if not len(samples):
            raise AudioError("the recording is empty", remedy="Check the microphone")
        device = self.llm.device
        mel = self.front_end(samples, device=device)
        states = self.encode_mel(mel, len(samples), real_length=real_length)
        key = int.from_bytes(hashlib.blake2b(samples.tobytes(), digest_size=6).digest(), "big")
        return HeardSpeech(states, len(samples) / self.front_end.sample_rate, key * 2 + int(real_length))

    def encode_mel(self, mel: Tensor, n_samples: int, *, real_length: bool = False) -> Tensor:
        """(windows, 3000, n_mels) -> (windows, T, dim); by real length (1, T, dim), as windows then differ."""
        if not real_length:
            return self.encoder(mel)
        windows = mel.shape[0]
        last = frames_of(n_samples - (windows - 1) * WINDOW_SAMPLES)
        step = 2 * self.adapter.downsample  # mel frames behind one embedding
        last = min(WINDOW_FRAMES, max(step, -(-last // step) * step))
        if windows == 1:
            return self.encoder(mel[:, :last])
        whole = self.encoder(mel[:-1])
        tail = self.encoder(mel[-1:, :last])
        flat = torch.cat([whole.flatten(0, 1), tail[0]])
        return flat[None]

    def adapt(self, speech: HeardSpeech, text: Tensor | None = None) -> Tensor:
        """Heard speech (and the prompt's words, (1, N, dim)) -> (1, n, dim) embeddings, windows joined."""
        windows = speech.states.shape[0]
        words = text.expand(windows, -1, -1) if text is not None else None
        return self.adapter(speech.states, words).flatten(0, 1)[None].to(self.llm.dtype)

    # ---- prompt

    def encode(self, text: str) -> list[int]:
        """A prompt's ids, SPEECH_ID at its placeholders."""
        return encode_prompt(self.tokenizer, text)

    @torch.inference_mode()
    def prompt(self, ids: Sequence[int] | str, speeches: Sequence[HeardSpeech] = ()) -> Prompt:
        """Splice speech into a prompt: the i-th placeholder becomes the i-th speech. Raises ModelError."""
        ids = self.encode(ids) if isinstance(ids, str) else [int(i) for i in ids]
        places = [index for index, token in enumerate(ids) if token == SPEECH_ID]
        if len(places) != len(speeches):
            raise ModelError(f"the prompt has {len(places)} places for speech, {len(speeches)} recordings were given")
        words = [i for i in ids if i != SPEECH_ID]
        text = self.llm.embed(torch.tensor([words], device=self.llm.device))
        parts: list[Tensor] = []
        keys: list[int] = []
        done = 0
        for place, speech in zip(places, speeches, strict=True):
            before = place - len(parts) // 2  # placeholders passed so far do not count among the words
            sound = self.adapt(speech, text)
            parts += [text[:, done:before], sound]
            keys += words[done:before] + [-(speech.key * 8192 + n + 1) for n in range(sound.shape[1])]
            done = before
        parts.append(text[:, done:])
        keys += words[done:]
        return Prompt(torch.cat(parts, dim=1), tuple(keys), tuple(words))
