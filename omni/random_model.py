"""Speech language models of given shapes with random weights: for timing, which does not depend on their values.

    pipeline = random_pipeline(SHAPES["8b"], device=torch.device("cuda"), dtype=torch.bfloat16)

Built on the meta device and filled in place, so the 8B shapes need no more than their own memory. There is no
tokenizer: prompts are ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaConfig, WhisperConfig

from omni.adapter import LinearAdapter
from omni.causal_layers import LayerConfig
from omni.ctc_decoder import CTCDecoder, CTCDecoderConfig
from omni.front_end import LogMel
from omni.llama import LlamaBackbone
from omni.pipeline import OmniPipeline
from omni.vocoder import UnitVocoder, VocoderConfig
from omni.whisper_encoder import SpeechEncoder


@dataclass(frozen=True)
class Shapes:
    """Widths and depths; what is not here is as published."""

    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    encoder_dim: int
    encoder_layers: int
    encoder_heads: int
    adapter_hidden: int
    decoder: tuple[int, int, int, int]  # layers, width, heads, feed-forward width
    vocoder_channels: int
    vocoder_dim: int


SHAPES = {
    # Llama-3.1-8B-Instruct, Whisper large-v3, the paper's adapter and speech decoder, the mHuBERT km1000 vocoder
    "8b": Shapes(4096, 14336, 32, 32, 8, 128_256, 1280, 32, 20, 2048, (2, 4096, 32, 11_008), 512, 128),
    # the same program in seconds on a CPU
    "mini": Shapes(64, 128, 2, 4, 2, 512, 32, 2, 4, 64, (2, 48, 4, 96), 32, 16),
}
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def random_pipeline(shapes: Shapes, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> OmniPipeline:
    """All stages, filled with small random numbers; the vocoder in float32, as when it is loaded."""
    pipeline = empty_pipeline(shapes)
    generator = torch.Generator(device).manual_seed(seed)
    for stage in ("llm", "encoder", "adapter", "speech_decoder"):
        _fill(getattr(pipeline, stage), device, dtype, generator)
    _fill(pipeline.vocoder, device, torch.float32, generator)  # type: ignore[arg-type]
    pipeline.llm.reset_rope()  # type: ignore[attr-defined]
    return pipeline


def empty_pipeline(shapes: Shapes) -> OmniPipeline:
    """All stages on the meta device: shapes without memory."""
    llama = LlamaConfig(
        hidden_size=shapes.hidden,
        intermediate_size=shapes.ffn,
        num_hidden_layers=shapes.layers,
        num_attention_heads=shapes.heads,
        num_key_value_heads=shapes.kv_heads,
        vocab_size=shapes.vocab,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        rope_parameters=dict(ROPE),
    )
    whisper = WhisperConfig(
        num_mel_bins=128,
        d_model=shapes.encoder_dim,
        encoder_layers=shapes.encoder_layers,
        encoder_attention_heads=shapes.encoder_heads,
        encoder_ffn_dim=4 * shapes.encoder_dim,
        pad_token_id=None,
    )
    layers, width, heads, ffn = shapes.decoder
    with torch.device("meta"):
        llm = LlamaBackbone(llama)
        encoder = SpeechEncoder(whisper)
        adapter = LinearAdapter(shapes.encoder_dim, shapes.hidden, hidden_dim=shapes.adapter_hidden)
        stack = LayerConfig(dim=width, n_layers=layers, n_heads=heads, ffn_dim=ffn, rope=dict(ROPE))
        decoder = CTCDecoder(CTCDecoderConfig(shapes.hidden, stack))
        vocoder = UnitVocoder(
            VocoderConfig(
                upsample_rates=(5, 4, 4, 2, 2),
                upsample_kernel_sizes=(11, 8, 8, 4, 4),
                upsample_initial_channel=shapes.vocoder_channels,
                resblock_kernel_sizes=(3, 7, 11),
                resblock_dilation_sizes=((1, 3, 5),) * 3,
                num_embeddings=1000,
                embedding_dim=shapes.vocoder_dim,
                model_in_dim=shapes.vocoder_dim,
                dur_hidden=shapes.vocoder_dim,
            )
        )
    return OmniPipeline(LogMel(128), encoder, adapter, llm, decoder, vocoder, name="random")


def _fill(module: nn.Module, device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Norm weights become 1, everything else N(0, 0.02)."""
    module.to(dtype).to_empty(device=device)
    for name, parameter in module.named_parameters():
        if parameter.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
            nn.init.ones_(parameter)
        else:
            parameter.data.normal_(0.0, 0.02, generator=generator)
    module.eval().requires_grad_(False)
