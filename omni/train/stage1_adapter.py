"""Stage 1: the adapter and the language model learn to answer spoken instructions in text; the encoder stays frozen.

python -m omni.train.stage1_adapter data.jsonl --checkpoint DIR --whisper DIR --out DIR [--lora-rank 16]

Equation (1) of LLaMA-Omni; 3 epochs, batches of 32, peak rate 2e-5 are the paper's. With --lora-rank the language model
learns through low-rank updates (peft), which are merged before saving; without, all its weights do.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import cli_main
from core.runtime import require, resolve_device, resolve_dtype, seed_everything, set_up_logging, stay_offline
from omni.losses import splice_batch, text_loss
from omni.pipeline import OmniPipeline
from omni.train.instruction_data import InstructionBatch, SpokenInstruction, batches, collate, read_instructions
from omni.train.loop import LoopOptions, train


def stage1_loss(pipeline: OmniPipeline, batch: InstructionBatch) -> Tensor:
    """Next-token loss over the answers of a batch."""
    spliced = splice_batch(pipeline, batch.input_ids, batch.labels, batch.keep, batch.mel, batch.speech_frames)
    return text_loss(pipeline.llm, pipeline.llm(spliced.embeds, keep=spliced.keep), spliced.labels)


def prepare(pipeline: OmniPipeline, *, lora_rank: int = 0) -> list[nn.Parameter]:
    """Freeze everything but the adapter and the language model (or its low-rank updates); returns what learns."""
    llm: nn.Module = pipeline.llm.hf  # type: ignore[attr-defined]
    adapter: nn.Module = pipeline.adapter  # type: ignore[assignment]
    pipeline.encoder.requires_grad_(False)  # type: ignore[attr-defined]
    adapter.requires_grad_(True)
    if lora_rank:
        peft = require("peft", needed_for="low-rank training")

        llm.requires_grad_(False)
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        peft.inject_adapter_in_model(
            peft.LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules=targets), llm
        )
    else:
        llm.requires_grad_(True)
    return [p for module in (adapter, llm) for p in module.parameters() if p.requires_grad]


def merge_lora(llm: nn.Module) -> None:
    """Fold low-rank updates into the weights they update and take the wrappers out, so that names are as published."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(llm.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, leaf = name.rpartition(".")
            setattr(llm.get_submodule(parent), leaf, module.get_base_layer())


def main(argv: list[str] | None = None) -> int:
    parser = argument_parser(__doc__ or "", rate=2e-5)
    parser.add_argument("--lora-rank", type=int, default=0, help="0: all weights of the language model (default)")
    arguments = parser.parse_args(argv)
    pipeline = load(arguments, speak=True)
    items = read_instructions(arguments.data)
    run(arguments, items, pipeline, prepare(pipeline, lora_rank=arguments.lora_rank), stage1_loss)
    if arguments.lora_rank:
        merge_lora(pipeline.llm.hf)  # type: ignore[attr-defined]
    return save(arguments, pipeline)


# ---- shared by both stages


def argument_parser(description: str, *, rate: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="JSON Lines, see omni/train/instruction_data.py")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    parser.add_argument("--whisper", type=Path, metavar="PATH", help="where the checkpoint holds no encoder")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="default: the checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=8, help="batches per step (4 x 8 = the paper's 32)")
    parser.add_argument("--learning-rate", type=float, default=rate)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--seed", type=int, default=0)
    return parser


def load(arguments: argparse.Namespace, *, speak: bool) -> OmniPipeline:
    from omni.checkpoint import load_pipeline

    seed_everything(arguments.seed)
    return load_pipeline(
        arguments.checkpoint,
        whisper=arguments.whisper,
        tokenizer=arguments.tokenizer,
        device=resolve_device(arguments.device),
        dtype=resolve_dtype(arguments.dtype),
        speak=speak,
    )


def run(
    arguments: argparse.Namespace,
    items: Sequence[SpokenInstruction],
    pipeline: OmniPipeline,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[OmniPipeline, InstructionBatch], Tensor],
) -> list[float]:
    """Train on the items as the arguments say; returns the losses."""
    per_epoch = math.ceil(len(items) / arguments.batch_size)
    steps = max(1, per_epoch * arguments.epochs // arguments.accumulate)
    options = LoopOptions(arguments.learning_rate, steps, accumulate=arguments.accumulate)
    order = batches(items, arguments.batch_size, epochs=arguments.epochs, seed=arguments.seed)
    with torch.enable_grad():
        return train(parameters, (collate(pipeline, part) for part in order), lambda b: loss(pipeline, b), options)


def save(arguments: argparse.Namespace, pipeline: OmniPipeline) -> int:
    from omni.save import save_checkpoint

    print(save_checkpoint(pipeline, arguments.out, like=arguments.checkpoint))
    return 0


if __name__ == "__main__":
    stay_offline()
    set_up_logging()
    sys.exit(cli_main(main))
