"""The two training losses of LLaMA-Omni, and how a batch of spoken instructions becomes one of embeddings.

    batch = splice_batch(pipeline, input_ids, labels, keep, mel, speech_frames)
    lm = text_loss(pipeline.llm, hidden, batch.labels)              # stage 1: adapter and language model
    ctc = speech_loss(decoder, reply_states(hidden, batch.labels), units)      # stage 2: speech decoder alone

Equations (1) and (3) of the paper, as the reference computes them: both are differentiable through every stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, ctc_loss, log_softmax, pad

from omni.ctc_decoder import CTCDecoder
from omni.pipeline import OmniPipeline
from omni.prompt import SPEECH_ID
from omni.stages import LanguageModel

IGNORE = -100  # label of positions that are not learned


@dataclass(frozen=True)
class SplicedBatch:
    """Right-padded embeddings with speech in place."""

    embeds: Tensor  # (B, T, dim)
    labels: Tensor  # (B, T) int64, IGNORE at speech, prompt and padding
    keep: Tensor  # (B, T) bool, False at padding


def speech_lengths(frames: Tensor, downsample: int) -> Tensor:
    """Mel frames with sound -> embeddings that the adapter makes of them (the encoder halves, rounding up)."""
    return (frames + 1) // 2 // downsample


def splice_batch(
    pipeline: OmniPipeline,
    input_ids: Tensor,
    labels: Tensor,
    keep: Tensor,
    mel: Tensor,
    speech_frames: Tensor,
    *,
    max_length: int | None = None,
) -> SplicedBatch:
    """Ids (B, N) with one SPEECH_ID a row, mel (B, 3000, n_mels) -> embeddings, speech cut to `speech_frames` (B,).

    Rows longer than `max_length` positions are cut at the end, as the reference does.
    """
    keep = keep.bool()
    words = pipeline.llm.embed(input_ids.clamp(min=0))
    text_keep = keep & (input_ids != SPEECH_ID)
    speech = pipeline.adapter(pipeline.encoder(mel), words, text_keep).to(words.dtype)
    lengths = speech_lengths(speech_frames, pipeline.adapter.downsample).tolist()
    rows, row_labels = [], []
    for row in range(input_ids.shape[0]):
        place = int((input_ids[row] == SPEECH_ID).nonzero()[0, 0])
        end = int(keep[row].sum())
        sound = speech[row, : lengths[row]]
        ignored = labels.new_full((len(sound),), IGNORE)
        rows.append(torch.cat([words[row, :place], sound, words[row, place + 1 : end]])[:max_length])
        row_labels.append(torch.cat([labels[row, :place], ignored, labels[row, place + 1 : end]])[:max_length])
    longest = max(len(row) for row in rows)
    return SplicedBatch(
        torch.stack([pad(row, (0, 0, 0, longest - len(row))) for row in rows]),
        torch.stack([pad(row, (0, longest - len(row)), value=IGNORE) for row in row_labels]).long(),
        torch.stack([torch.arange(longest, device=keep.device) < len(row) for row in rows]),
    )


def text_loss(llm: LanguageModel, hidden: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the next token over all learned positions of the batch."""
    logits = llm.logits(hidden[:, :-1]).float()
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE)


def reply_states(hidden: Tensor, labels: Tensor) -> list[Tensor]:
    """The states at the reply's own positions, (n_i, dim) a row: what training upsamples and speaks."""
    return [row[mask] for row, mask in zip(hidden, labels != IGNORE, strict=True)]


def upsample_for_ctc(states: Tensor, n_units: int, upsample: int) -> Tensor:
    """(n, dim) -> (T, dim) with T = max(upsample * n, n_units), so that an alignment always exists.

    Frame i repeats state trunc(i / (T / n)), divided in float32 as the reference does.
    """
    n = len(states)
    frames = max(upsample * n, n_units)
    ratio = torch.tensor(frames / n, dtype=torch.float32, device=states.device)
    index = (torch.arange(frames, device=states.device, dtype=torch.float32) / ratio).long()
    return states[index.clamp(max=n - 1)]


def speech_loss(decoder: CTCDecoder, states: Sequence[Tensor], units: Tensor) -> Tensor:
    """CTC loss: summed over the batch, divided by the total number of target units.

    `states`: (n_i, input_dim) a row; `units` (B, U) padded with IGNORE.
    """
    targets = [row[row != IGNORE].long() for row in units]
    rows = [upsample_for_ctc(s, len(t), decoder.upsample) for s, t in zip(states, targets, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    padded = torch.stack([pad(row, (0, 0, 0, longest - len(row))) for row in rows])
    keep = (torch.arange(longest)[None] < lengths[:, None]).to(padded.device)
    x = decoder.norm(decoder.layers.run(decoder.embed(padded), keep=keep))
    log_probs = log_softmax(decoder.output_proj(x).float(), dim=-1)
    target_lengths = torch.tensor([len(t) for t in targets])
    total = ctc_loss(
        log_probs.transpose(0, 1),
        torch.cat(targets),
        lengths,
        target_lengths,
        blank=decoder.blank,
        reduction="sum",
        zero_infinity=True,
    )
    return total / int(target_lengths.sum())
