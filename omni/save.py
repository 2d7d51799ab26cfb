"""Writing a trained pipeline in the published layout, so that `load_pipeline` and other programs read it.

save_checkpoint(pipeline, Path("mine"), like=Path("Llama-3.1-8B-Omni"))
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import ModelError
from omni.checkpoint import ADAPTER, DECODER
from omni.pipeline import OmniPipeline

SHARD_BYTES = 4 * 10**9
BESIDE = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def save_checkpoint(pipeline: OmniPipeline, folder: Path, *, like: Path, shard_bytes: int = SHARD_BYTES) -> Path:
    """Write language model, adapter and speech decoder; configuration and tokenizer are copied from `like`.

    The encoder is frozen in training and not written: `load_pipeline` takes it from Whisper's own file. The index comes
    last, so a folder with an index is whole. Raises ModelError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in BESIDE:
            if (like / name).exists() and like != folder:
                shutil.copy(like / name, folder / name)
        index = folder / "model.safetensors.index.json"
        index.unlink(missing_ok=True)
        shards = list(_shards(_tensors(pipeline), shard_bytes))
        weight_map: dict[str, str] = {}
        for number, tensors in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            save_file(tensors, folder / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(tensors, file)
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1))
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written: {error}", remedy="Choose another folder, or make room"
        ) from error
    return folder


def _tensors(pipeline: OmniPipeline) -> Iterator[tuple[str, Tensor]]:
    stages = (("", pipeline.llm.hf), (ADAPTER, pipeline.adapter), (DECODER, pipeline.speech_decoder))  # type: ignore[attr-defined]
    for prefix, module in stages:
        assert isinstance(module, nn.Module) or module is None, type(module)
        for name, tensor in module.state_dict().items() if module is not None else ():
            # a cross-modal adapter keeps the published names for its linear part
            yield prefix + name.removeprefix("linear.") if prefix == ADAPTER else prefix + name, tensor.detach()


def _shards(tensors: Iterator[tuple[str, Tensor]], limit: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        count = tensor.numel() * tensor.element_size()
        if shard and size + count > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.cpu().clone().contiguous()  # clone: tied weights may not share memory in safetensors
        size += count
    if shard:
        yield shard
