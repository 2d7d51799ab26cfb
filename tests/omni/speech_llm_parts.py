"""Tiny speech language models of any size, written to disk in the published layouts. Random weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperForConditionalGeneration

from omni.whisper_encoder import openai_name

GOLDEN = Path(__file__).parents[1] / "golden" / "llama_omni_tiny"


@dataclass(frozen=True)
class Sizes:
    """Deliberately none of the golden checkpoint's."""

    hidden: int = 48
    heads: int = 6
    kv_heads: int = 3
    layers: int = 2
    vocab: int = 512  # the golden tokenizer's
    encoder_dim: int = 24
    encoder_heads: int = 3
    n_mels: int = 80
    downsample: int = 4
    adapter_hidden: int = 40
    decoder: tuple[int, int, int, int] = (3, 32, 4, 56)
    n_units: int = 120
    upsample: int = 7


def whisper_of(sizes: Sizes, seed: int = 1) -> WhisperForConditionalGeneration:
    torch.manual_seed(seed)
    return WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=130,
            num_mel_bins=sizes.n_mels,
            d_model=sizes.encoder_dim,
            encoder_layers=2,
            encoder_attention_heads=sizes.encoder_heads,
            encoder_ffn_dim=4 * sizes.encoder_dim,
            decoder_layers=2,
            decoder_attention_heads=sizes.encoder_heads,
            decoder_ffn_dim=4 * sizes.encoder_dim,
            max_target_positions=48,
            pad_token_id=100,
            bos_token_id=100,
            eos_token_id=100,
            decoder_start_token_id=101,
            init_std=0.3,
        )
    ).eval()


def checkpoint_tensors(sizes: Sizes, *, with_encoder: bool = True) -> tuple[dict[str, torch.Tensor], dict]:
    """The published keys and the configuration."""
    torch.manual_seed(0)
    config = {
        "hidden_size": sizes.hidden,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "num_hidden_layers": sizes.layers,
        "intermediate_size": 2 * sizes.hidden,
        "vocab_size": sizes.vocab,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "initializer_range": 0.3,
    }
    llama = LlamaForCausalLM(LlamaConfig(**config))
    tensors = dict(llama.state_dict())
    layers, width, heads, ffn = sizes.decoder
    stack = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8,
            hidden_size=width,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            num_hidden_layers=layers,
            intermediate_size=ffn,
            initializer_range=0.3,
        )
    )
    for name, tensor in stack.model.layers.state_dict().items():
        tensors[f"speech_generator.layers.{name}"] = tensor
    for name, shape in {
        "speech_generator.input_proj": (width, sizes.hidden),
        "speech_generator.output_proj": (sizes.n_units + 1, width),
        "model.speech_projector.linear1": (sizes.adapter_hidden, sizes.encoder_dim * sizes.downsample),
        "model.speech_projector.linear2": (sizes.hidden, sizes.adapter_hidden),
    }.items():
        tensors[name + ".weight"], tensors[name + ".bias"] = torch.randn(shape) * 0.3, torch.randn(shape[0]) * 0.3
    if with_encoder:
        for name, tensor in whisper_of(sizes).model.encoder.state_dict().items():
            key = openai_name("encoder." + name).removeprefix("encoder.")
            tensors["model.speech_encoder." + key] = tensor
    config |= {
        "ctc_decoder_config": str(sizes.decoder),
        "speech_encoder_hidden_size": sizes.encoder_dim,
        "speech_encoder_ds_rate": sizes.downsample,
        "unit_vocab_size": sizes.n_units,
        "ctc_upsample_factor": sizes.upsample,
        "eos_token_id": [501, 509],
        "a_field_from_the_future": {"unknown": True},
    }
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}, config


def write_checkpoint(folder: Path, sizes: Sizes | None = None, *, layout: str = "safetensors", shards: int = 2,
                     with_encoder: bool = True) -> Path:  # fmt: skip
    """`layout`: safetensors or bin; one shard is written without an index."""
    tensors, config = checkpoint_tensors(sizes or Sizes(), with_encoder=with_encoder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    stem, suffix = ("model", "safetensors") if layout == "safetensors" else ("pytorch_model", "bin")
    weight_map = {}
    names = sorted(tensors)
    for number in range(shards):
        file = f"{stem}.{suffix}" if shards == 1 else f"{stem}-{number + 1:05d}-of-{shards:05d}.{suffix}"
        part = {name: tensors[name] for name in names[number::shards]}
        weight_map |= dict.fromkeys(part, file)
        if layout == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
    if shards > 1:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def write_openai_whisper(file: Path, sizes: Sizes | None = None) -> Path:
    """A file as openai-whisper publishes it: a torch pickle of `dims` and `model_state_dict`."""
    sizes = sizes or Sizes()
    model = whisper_of(sizes)
    state = {openai_name(name): tensor for name, tensor in model.model.state_dict().items()}
    dims = {
        "n_mels": sizes.n_mels,
        "n_audio_ctx": 1500,
        "n_audio_state": sizes.encoder_dim,
        "n_audio_head": sizes.encoder_heads,
        "n_audio_layer": 2,
        "n_vocab": 130,
        "n_text_ctx": 48,
        "n_text_state": sizes.encoder_dim,
        "n_text_head": sizes.encoder_heads,
        "n_text_layer": 2,
    }
    torch.save({"dims": dims, "model_state_dict": state}, file)
    return file


WHISPER_CONTROL = {
    "<|endoftext|>": 100,
    "<|startoftranscript|>": 101,
    "<|en|>": 102,
    "<|transcribe|>": 103,
    "<|notimestamps|>": 104,
}


def write_hf_whisper(folder: Path, sizes: Sizes | None = None, *, tokenizer: bool = True) -> Path:
    """A Hugging Face folder; its tokenizer knows a hundred single characters and the control tokens."""
    whisper_of(sizes or Sizes()).save_pretrained(folder)
    if tokenizer:
        from tokenizers import AddedToken
        from transformers import WhisperTokenizer

        vocab = {chr(33 + index): index for index in range(94)} | {"Ġ" + "abcdef"[i]: 94 + i for i in range(6)}
        words = WhisperTokenizer(vocab=vocab | {"<|endoftext|>": 100}, merges=[])
        words.add_tokens([AddedToken(name, special=True) for name in WHISPER_CONTROL if name != "<|endoftext|>"])
        words.save_pretrained(folder)
    return folder
