"""The transcript of speech that has already been encoded: Whisper's decoder over the states the adapter also reads.

    reader = load_transcriber(open_whisper(path), tokenizer=path, dtype=dtype, device=device)
    speech = pipeline.hear(waveform)             # the only pass through the encoder
    question = reader.transcribe(speech)         # words, for retrieval and for the screen

One encoder pass (two thirds of Whisper's work on a short question) thus serves both the language model and retrieval.
Greedy, without timestamps; windows are transcribed one by one and joined.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperDecoder

from core.errors import ModelError
from omni.pipeline import HeardSpeech
from omni.types import Transcript
from omni.weights import load_into
from omni.whisper_encoder import WhisperSource


class WhisperText(nn.Module):
    """Whisper's text decoder with its tied output projection."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        config._attn_implementation = "sdpa"
        self.hf = WhisperDecoder(config)
        self.tokenizer: Any = None

    @torch.inference_mode()
    def token_ids(self, states: Tensor, start: list[int], end: int, *, max_tokens: int = 224) -> list[int]:
        """Encoder states (1, T, dim) and the starting control tokens -> the ids that follow, without `end`."""
        cache: Any = None
        ids = torch.tensor([start], device=states.device)
        out: list[int] = []
        limit = min(max_tokens, self.hf.config.max_target_positions - len(start))
        suppressed = torch.tensor(self._suppressed(end), device=states.device, dtype=torch.long)
        while len(out) < limit:
            step = self.hf(ids, encoder_hidden_states=states, past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            logits = nn.functional.linear(step.last_hidden_state[0, -1], self.hf.embed_tokens.weight)
            logits[suppressed] = -torch.inf
            token = int(logits.argmax())
            if token == end:
                break
            out.append(token)
            ids = torch.tensor([[token]], device=states.device)
        return out

    def _suppressed(self, end: int) -> list[int]:
        """Control tokens and timestamps, which must not appear inside the text."""
        if self.tokenizer is None:
            return []
        return [i for i in range(end + 1, self.hf.config.vocab_size)]

    def transcribe(self, speech: HeardSpeech, *, language: str = "en") -> Transcript:
        """Words of heard speech. `language`: Whisper's code. Raises ModelError for one it does not know."""
        names = ["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"]
        start = [self.tokenizer.convert_tokens_to_ids(name) for name in names]
        end = self.tokenizer.convert_tokens_to_ids("<|endoftext|>")
        unknown = self.tokenizer.unk_token_id
        for name, token in zip([*names, "<|endoftext|>"], [*start, end], strict=True):
            if token is None or (token == unknown and name != "<|endoftext|>"):
                raise ModelError(f"Whisper's tokenizer has no {name}", remedy="Use a multilingual Whisper")
        texts = []
        for window in speech.states.to(self.hf.embed_tokens.weight.dtype):
            ids = self.token_ids(window[None], start, end)
            texts.append(self.tokenizer.decode(ids, skip_special_tokens=True).strip())
        return Transcript(" ".join(filter(None, texts)), (), speech.seconds)


def load_transcriber(
    source: WhisperSource, *, tokenizer: Path | None = None, dtype: torch.dtype, device: torch.device
) -> WhisperText:
    """The decoder half of a Whisper. `tokenizer`: a Hugging Face Whisper folder; default: the one of `source`."""
    if source.rename("decoder.embed_tokens.weight") not in source.weights:
        raise ModelError(
            f"{source.weights.origin} holds only Whisper's encoder, so it cannot write a transcript",
            remedy="Give the whole Whisper, or let another recogniser transcribe",
        )
    home = tokenizer or source.folder
    if home is None:
        raise ModelError(
            f"{source.weights.origin} has no tokenizer beside it",
            remedy="Give a folder such as openai/whisper-large-v3",
        )
    from transformers import WhisperTokenizer

    with torch.device("meta"):
        text = WhisperText(source.config)
    load_into(text.hf, source.weights, rename=lambda n: source.rename("decoder." + n), dtype=dtype, device=device)
    try:
        text.tokenizer = WhisperTokenizer.from_pretrained(home, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(f"Whisper's tokenizer in {home} cannot be read: {error}") from error
    return text.eval().requires_grad_(False)
