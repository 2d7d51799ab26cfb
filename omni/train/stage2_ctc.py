"""Stage 2: the speech decoder alone learns to voice the answers; everything else stays frozen.

python -m omni.train.stage2_ctc data.jsonl --checkpoint STAGE1_DIR --whisper DIR --out DIR

Equation (3) of LLaMA-Omni: CTC between the answer's units and the upsampled states at its positions; 3 epochs, peak
rate 2e-4 are the paper's. The states come from one pass without gradients.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from core.errors import ModelError, cli_main
from core.runtime import set_up_logging, stay_offline
from omni.ctc_decoder import CTCDecoder
from omni.losses import reply_states, speech_loss, splice_batch
from omni.pipeline import OmniPipeline
from omni.train.instruction_data import InstructionBatch, read_instructions
from omni.train.stage1_adapter import argument_parser, load, run, save


def stage2_loss(pipeline: OmniPipeline, batch: InstructionBatch) -> Tensor:
    """CTC loss of a batch, differentiable in the speech decoder only."""
    with torch.no_grad():
        spliced = splice_batch(pipeline, batch.input_ids, batch.labels, batch.keep, batch.mel, batch.speech_frames)
        states = reply_states(pipeline.llm(spliced.embeds, keep=spliced.keep), spliced.labels)
    assert isinstance(pipeline.speech_decoder, CTCDecoder)
    return speech_loss(pipeline.speech_decoder, states, batch.units)


def prepare(pipeline: OmniPipeline) -> list[nn.Parameter]:
    """Freeze all but the speech decoder; returns its parameters. Raises ModelError where there is none."""
    decoder = pipeline.speech_decoder
    if not isinstance(decoder, CTCDecoder):
        raise ModelError("this checkpoint has no speech decoder", remedy="Its config.json needs ctc_decoder_config")
    for stage in ("encoder", "adapter", "llm"):
        getattr(pipeline, stage).requires_grad_(False)
    return list(decoder.requires_grad_(True).parameters())


def main(argv: list[str] | None = None) -> int:
    arguments = argument_parser(__doc__ or "", rate=2e-4).parse_args(argv)
    pipeline = load(arguments, speak=True)
    run(arguments, read_instructions(arguments.data, need_units=True), pipeline, prepare(pipeline), stage2_loss)
    return save(arguments, pipeline)


if __name__ == "__main__":
    stay_offline()
    set_up_logging()
    sys.exit(cli_main(main))
