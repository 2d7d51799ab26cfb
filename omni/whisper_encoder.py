"""The speech encoder: Whisper's, from any of the files it is published in.

    source = open_whisper(path)                    # large-v3.pt, openai-layout safetensors, or a Hugging Face folder
    encoder = load_encoder(source, dtype=torch.bfloat16, device=device)
    states = encoder(mel)                          # (B, 3000, n_mels) -> (B, 1500, dim)

The layers are transformers' `WhisperEncoder`; only the names differ between the layouts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from core.errors import ModelError
from omni.weights import Weights, load_into, open_weights

HEAD_DIM = 64  # of every published Whisper; used only where no file states the number of heads


@dataclass(frozen=True)
class WhisperSource:
    """A Whisper model on disk: its sizes, its tensors and how they are named."""

    config: WhisperConfig
    weights: Weights
    rename: Callable[[str], str]  # transformers' name below "model." ("encoder.layers.0...") -> the file's name
    folder: Path | None = None  # Hugging Face folder with a tokenizer beside the weights


_OPENAI = (
    (r"^(encoder|decoder)\.embed_positions\.weight$", r"\1.positional_embedding"),
    (r"^decoder\.embed_tokens\.", "decoder.token_embedding."),
    (r"\.layers\.(\d+)\.", r".blocks.\1."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
)


def openai_name(name: str) -> str:
    """transformers' name -> openai-whisper's: `encoder.layers.0.fc1.bias` -> `encoder.blocks.0.mlp.0.bias`."""
    for pattern, replacement in _OPENAI:
        name = re.sub(pattern, replacement, name)
    return name


def open_whisper(path: Path) -> WhisperSource:
    """Find out what `path` is. Raises ModelError."""
    if path.is_dir():
        try:
            raw = json.loads((path / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{path} is no Whisper folder: its config.json cannot be read ({error})",
                remedy="Give a folder such as openai/whisper-large-v3, or an openai-whisper .pt file",
            ) from error
        weights = open_weights(path)
        prefix = "model." if any(name.startswith("model.encoder.") for name in weights.names) else ""
        return WhisperSource(WhisperConfig.from_dict(raw), weights, lambda name: prefix + name, path)
    weights = open_weights(path, inside="model_state_dict")
    return WhisperSource(_openai_config(weights), weights, openai_name)


def whisper_in_checkpoint(weights: Weights, prefix: str, heads: int | None) -> WhisperSource:
    """The encoder inside a speech-LLM checkpoint (`prefix` "model.speech_encoder."); sizes read from its tensors."""
    width, n_mels, _ = weights.shape(prefix + "conv1.weight")
    n_ctx, _ = weights.shape(prefix + "positional_embedding")
    layers = {int(m[1]) for name in weights.names if (m := re.match(re.escape(prefix) + r"blocks\.(\d+)\.", name))}
    if heads is None:
        if width % HEAD_DIM:
            raise ModelError(
                f"{weights.file_of(prefix + 'conv1.weight')}: how many heads {prefix}* has is unknown (width {width})",
                remedy="Give the Whisper file or folder as well; it states the number of heads",
            )
        heads = width // HEAD_DIM
    config = _config(n_mels, n_ctx, width, heads, len(layers))
    return WhisperSource(config, weights, lambda name: prefix + openai_name(name).removeprefix("encoder."))


def _openai_config(weights: Weights) -> WhisperConfig:
    dims = weights.metadata.get("dims")
    dims = json.loads(dims) if isinstance(dims, str) else dims
    if not isinstance(dims, dict):
        raise ModelError(
            f"{weights.origin} does not state Whisper's sizes (`dims`)", remedy="Use openai-whisper's file"
        )
    config = _config(
        dims["n_mels"], dims["n_audio_ctx"], dims["n_audio_state"], dims["n_audio_head"], dims["n_audio_layer"]
    )
    config.decoder_layers, config.decoder_attention_heads = dims["n_text_layer"], dims["n_text_head"]
    config.decoder_ffn_dim = 4 * dims["n_text_state"]
    config.vocab_size, config.max_target_positions = dims["n_vocab"], dims["n_text_ctx"]
    return config


def _config(n_mels: int, n_ctx: int, width: int, heads: int, layers: int) -> WhisperConfig:
    return WhisperConfig(
        num_mel_bins=n_mels,
        max_source_positions=n_ctx,
        d_model=width,
        encoder_attention_heads=heads,
        encoder_layers=layers,
        encoder_ffn_dim=4 * width,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )


class SpeechEncoder(nn.Module):
    """Log-mel windows -> encoder states, half as many."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        config._attn_implementation = "sdpa"
        self.hf = WhisperEncoder(config)

    @property
    def n_mels(self) -> int:
        return self.hf.config.num_mel_bins

    @property
    def dim(self) -> int:
        return self.hf.config.d_model

    @property
    def max_states(self) -> int:
        return self.hf.config.max_source_positions

    def forward(self, mel: Tensor) -> Tensor:
        """(B, frames, n_mels) -> (B, ceil(frames / 2), dim); 3000 frames give the 1500 states that Whisper knows.

        Fewer frames are allowed, cost less and are *not* identical: without the silence to 30 s attention differs.
        """
        hf = self.hf
        x = mel.to(hf.conv1.weight.dtype).transpose(1, 2)
        x = nn.functional.gelu(hf.conv2(nn.functional.gelu(hf.conv1(x)))).transpose(1, 2)
        if x.shape[1] > self.max_states:
            raise ModelError(f"{mel.shape[1]} mel frames are more than the encoder's {2 * self.max_states}")
        x = x + hf.embed_positions.weight[: x.shape[1]]
        for layer in hf.layers:
            x = layer(x, None)
        return hf.layer_norm(x)


def load_encoder(source: WhisperSource, *, dtype: torch.dtype, device: torch.device) -> SpeechEncoder:
    """Build the encoder and fill it. Raises ModelError naming file and tensor."""
    with torch.device("meta"):
        encoder = SpeechEncoder(source.config)
    encoder.hf.requires_grad_(False)  # frozen in both training stages (section 3 of the paper)
    load_into(encoder.hf, source.weights, rename=lambda n: source.rename("encoder." + n), dtype=dtype, device=device)
    return encoder.eval()
