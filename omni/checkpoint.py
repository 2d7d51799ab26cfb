"""A published speech language model on disk -> a pipeline ready to run.

    pipeline = load_pipeline(Path("Llama-3.1-8B-Omni"), whisper=Path("large-v3.pt"), vocoder=Path("vocoder"))

Understands the layout of the published checkpoints (`model.*`, `model.speech_encoder.*`, `model.speech_projector.*`,
`speech_generator.*`, `lm_head.weight`), whole or sharded. Every size comes from the configuration or the tensors;
fields of the configuration that we do not know are ignored.
"""

from __future__ import annotations

import ast
import contextlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig

from core.errors import ModelError
from omni.adapter import CrossModalAdapter, LinearAdapter
from omni.causal_layers import LayerConfig
from omni.ctc_decoder import CTCDecoder, CTCDecoderConfig
from omni.front_end import LogMel
from omni.llama import LlamaBackbone
from omni.pipeline import OmniPipeline
from omni.stages import Adapter
from omni.vocoder import load_vocoder
from omni.weights import Weights, load_into, open_weights
from omni.whisper_encoder import SpeechEncoder, load_encoder, open_whisper, whisper_in_checkpoint

ENCODER = "model.speech_encoder."
ADAPTER = "model.speech_projector."
DECODER = "speech_generator."
VOCODER_NAMES = ("g_00500000", "vocoder_generator.safetensors", "generator.safetensors")
VOCODER_CONFIGS = ("config.json", "vocoder_config.json")


@dataclass(frozen=True)
class OmniConfig:
    """`config.json` of a checkpoint, as far as it matters here."""

    llama: LlamaConfig
    encoder_dim: int
    downsample: int  # encoder states per embedding
    decoder: tuple[int, int, int, int] | None  # layers, width, heads, feed-forward width; None: text out only
    n_units: int
    upsample: int
    ctc_loss_weight: float
    eos_ids: tuple[int, ...]
    encoder_heads: int | None  # ours, optional: Whisper's heads where no Whisper file is given


def read_config(folder: Path) -> OmniConfig:
    """Raises ModelError naming the file and the field that is missing or malformed."""
    file = folder / "config.json"
    try:
        raw = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{file} cannot be read: {error}", remedy="Give the folder of a LLaMA-Omni checkpoint"
        ) from error

    def need(key: str) -> Any:
        if raw.get(key) is None:
            raise ModelError(f"{file} has no field {key!r}", remedy="Is this a LLaMA-Omni checkpoint?")
        return raw[key]

    known = {field.name for field in fields(LlamaConfig)} | {"rope_theta", "rope_scaling"}
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        need(key)
    # Ids of special tokens do not shape the model, and transformers warns where they exceed a vocabulary.
    skip = {
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "transformers_version",
        "architectures",
        "dtype",
        "use_cache",
    }
    try:
        llama = LlamaConfig(**{key: value for key, value in raw.items() if key in known and key not in skip})
    except Exception as error:  # transformers validates with exceptions of its own
        raise ModelError(f"{file} is not a valid Llama configuration: {error}") from error
    decoder = raw.get("ctc_decoder_config")
    try:
        shape = ast.literal_eval(decoder) if isinstance(decoder, str) else decoder
        shape = tuple(int(size) for size in shape) if shape else None
        if shape is not None and len(shape) != 4:
            raise ValueError("four sizes expected")
    except (ValueError, SyntaxError, TypeError) as error:
        raise ModelError(
            f"{file}: ctc_decoder_config {decoder!r} is not (layers, width, heads, feed-forward width)"
        ) from error
    return OmniConfig(
        llama=llama,
        encoder_dim=need("speech_encoder_hidden_size"),
        downsample=raw.get("speech_encoder_ds_rate", 5),
        decoder=shape,
        n_units=raw.get("unit_vocab_size", 1000),
        upsample=raw.get("ctc_upsample_factor", 25),
        ctc_loss_weight=float(raw.get("ctc_loss_weight", 1.0)),
        eos_ids=_eos_ids(folder, raw),
        encoder_heads=raw.get("speech_encoder_heads"),
    )


def _eos_ids(folder: Path, raw: dict[str, Any]) -> tuple[int, ...]:
    """generation_config.json has the last word, as in transformers."""
    with contextlib.suppress(OSError, ValueError):
        raw = {**raw, **json.loads((folder / "generation_config.json").read_text())}
    ids = raw.get("eos_token_id")
    return () if ids is None else tuple(ids) if isinstance(ids, list) else (ids,)


def load_pipeline(
    folder: Path,
    *,
    whisper: Path | None = None,
    vocoder: Path | None = None,
    tokenizer: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    adapter: str = "linear",
    speak: bool = True,
) -> OmniPipeline:
    """Load all stages. Raises ModelError: one line that names the file and the tensor.

    `whisper`: openai-whisper's file or a Hugging Face folder; may be None where the checkpoint holds the encoder.
    `vocoder`: folder with the generator and its config.json, or the generator file with the config beside it.
    `tokenizer`: folder; default `folder`. The vocoder always runs in float32: it is small and rounds durations.
    """
    device = torch.device(device)
    config = read_config(folder)
    weights = open_weights(folder)
    encoder = _load_encoder(config, weights, whisper, dtype, device)
    llm = load_llm(config, weights, dtype, device)
    decoder = None
    if speak and config.decoder is not None:
        decoder = _load_decoder(config, weights, dtype, device)
    from transformers import PreTrainedTokenizerFast

    home = tokenizer or folder
    try:
        words = PreTrainedTokenizerFast.from_pretrained(home, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(
            f"the tokenizer in {home} cannot be read: {error}", remedy="It needs tokenizer.json"
        ) from error
    words.clean_up_tokenization_spaces = False  # it would swallow spaces that the model wrote
    return OmniPipeline(
        front_end=LogMel(encoder.n_mels),
        encoder=encoder,
        adapter=_load_adapter(config, weights, adapter, dtype, device),
        llm=llm,
        speech_decoder=decoder,
        vocoder=load_vocoder(*vocoder_files(vocoder), device=device) if decoder is not None and vocoder else None,
        tokenizer=words,
        eos_ids=config.eos_ids,
        max_positions=config.llama.max_position_embeddings,
        name=folder.name,
    )


def vocoder_files(path: Path) -> tuple[Path, Path]:
    """(weights, configuration) from a folder or a weights file."""
    folder = path if path.is_dir() else path.parent
    found = [folder / name for name in VOCODER_NAMES if (folder / name).exists()] if path.is_dir() else [path]
    configs = [folder / name for name in reversed(VOCODER_CONFIGS) if (folder / name).exists()]
    if not found or not found[0].exists():
        raise ModelError(f"no vocoder in {path} ({', '.join(VOCODER_NAMES)})", remedy="Run `python -m omni download`")
    if not configs:
        raise ModelError(f"the vocoder {found[0]} has no config.json beside it", remedy="Download it as well")
    return found[0], configs[0]


def _load_encoder(
    config: OmniConfig, weights: Weights, whisper: Path | None, dtype: torch.dtype, device: torch.device
) -> SpeechEncoder:
    inside = ENCODER + "conv1.weight" in weights
    if whisper is not None:
        source = open_whisper(whisper)
    elif inside:
        source = whisper_in_checkpoint(weights, ENCODER, config.encoder_heads)
    else:
        raise ModelError(
            f"{weights.origin} holds no speech encoder ({ENCODER}*) and no Whisper was given",
            remedy="Set omni.whisper to large-v3.pt or a whisper-large-v3 folder, or run `python -m omni download`",
        )
    if source.config.d_model != config.encoder_dim:
        raise ModelError(
            f"Whisper in {source.weights.origin} is {source.config.d_model} wide, "
            f"the adapter in {weights.origin} expects {config.encoder_dim}",
            remedy="Use the Whisper size that the checkpoint was trained with (large-v3)",
        )
    return load_encoder(source, dtype=dtype, device=device)


def load_llm(config: OmniConfig, weights: Weights, dtype: torch.dtype, device: torch.device) -> LlamaBackbone:
    with torch.device("meta"):
        llm = LlamaBackbone(config.llama)
    tied = "lm_head.weight" not in weights and config.llama.tie_word_embeddings
    load_into(llm.hf, weights, dtype=dtype, device=device, optional=lambda name: tied and name == "lm_head.weight")
    if tied:
        llm.hf.lm_head.weight = llm.hf.model.embed_tokens.weight
    llm.reset_rope()
    return llm.eval().requires_grad_(False)


def _load_adapter(config: OmniConfig, weights: Weights, kind: str, dtype: torch.dtype, device: torch.device) -> Adapter:
    hidden = weights.shape(ADAPTER + "linear1.weight")[0]
    with torch.device("meta"):
        linear = LinearAdapter(
            config.encoder_dim, config.llama.hidden_size, downsample=config.downsample, hidden_dim=hidden
        )
    load_into(linear, weights, rename=lambda name: ADAPTER + name, dtype=dtype, device=device)
    linear.eval().requires_grad_(False)
    if kind == "linear":
        return linear
    if kind != "cross_modal":
        raise ModelError(f"unknown adapter {kind!r}", remedy="Set omni.adapter to linear or cross_modal")
    # Trained extra weights lie beside the linear ones; without them the gate is closed and the adapter is linear.
    adapter = CrossModalAdapter(linear, n_heads=config.llama.num_attention_heads)
    for name, parameter in adapter.named_parameters():
        if not name.startswith("linear.") and ADAPTER + name in weights:
            parameter.data.copy_(weights.get(ADAPTER + name))
    return adapter.to(device=device, dtype=dtype).eval().requires_grad_(False)


def decoder_config(config: OmniConfig, kv_heads: int = 0) -> CTCDecoderConfig:
    """The speech decoder shares everything with the language model but its sizes; RoPE and its scaling included."""
    assert config.decoder is not None
    layers, width, heads, ffn = config.decoder
    llama = config.llama
    return CTCDecoderConfig(
        input_dim=llama.hidden_size,
        layers=LayerConfig(
            dim=width,
            n_layers=layers,
            n_heads=heads,
            n_kv_heads=kv_heads,
            ffn_dim=ffn,
            rope=dict(llama.rope_parameters or {}),
            max_positions=llama.max_position_embeddings,
            norm_eps=llama.rms_norm_eps,
            activation=llama.hidden_act,
            attention_bias=llama.attention_bias,
            mlp_bias=llama.mlp_bias,
        ),
        n_units=config.n_units,
        upsample=config.upsample,
    )


def _load_decoder(config: OmniConfig, weights: Weights, dtype: torch.dtype, device: torch.device) -> CTCDecoder:
    assert config.decoder is not None
    _, width, heads, _ = config.decoder
    kv_width = weights.shape(DECODER + "layers.0.self_attn.k_proj.weight")[0]
    kv_heads = kv_width // (width // heads)  # not in the configuration; the reference has as many as heads
    with torch.device("meta"):
        decoder = CTCDecoder(decoder_config(config, kv_heads))
    load_into(decoder, weights, rename=lambda name: DECODER + name, dtype=dtype, device=device)
    return decoder.eval().requires_grad_(False)
