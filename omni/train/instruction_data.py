"""Spoken instructions for training: a JSON Lines file -> batches.

One line: {"audio": "q1.wav", "answer": "It is due on 1 June.", "units": [71, 12, ...]}. `audio` is relative to the
file; `units` (the answer's speech as vocoder units, repeats merged) are needed for stage 2 only. The paper's
InstructS2S-200K has this content: instructions rewritten as people would say them, short speakable answers, both
synthesised (section 3).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.errors import DocumentError
from omni.front_end import WINDOW_FRAMES, WINDOW_SAMPLES
from omni.losses import IGNORE
from omni.pipeline import OmniPipeline
from omni.prompt import INSTRUCTION, SPEECH, format_prompt


@dataclass(frozen=True)
class SpokenInstruction:
    audio: Path
    answer: str
    units: tuple[int, ...] = ()


@dataclass(frozen=True)
class InstructionBatch:
    """Right-padded; what `losses.splice_batch` takes."""

    input_ids: Tensor  # (B, N) int64, one SPEECH_ID a row
    labels: Tensor  # (B, N) int64, IGNORE at the prompt and padding
    keep: Tensor  # (B, N) bool
    mel: Tensor  # (B, 3000, n_mels)
    speech_frames: Tensor  # (B,) mel frames; 3000 as at inference, where the silence is heard too
    units: Tensor  # (B, U) int64, IGNORE at padding


def read_instructions(file: Path, *, need_units: bool = False) -> list[SpokenInstruction]:
    """Raises DocumentError naming the line that is malformed."""
    items = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            item = SpokenInstruction(
                file.parent / raw["audio"], str(raw["answer"]), tuple(map(int, raw.get("units", ())))
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DocumentError(
                f"{file}, line {number}: {error!r}", remedy='Fields: "audio", "answer", "units"'
            ) from error
        if need_units and not item.units:
            raise DocumentError(
                f"{file}, line {number} has no units", remedy="Stage 2 needs them; see the module's help"
            )
        items.append(item)
    return items


def batches(
    items: Sequence[SpokenInstruction], size: int, *, epochs: int, seed: int = 0
) -> Iterator[list[SpokenInstruction]]:
    """Shuffled anew each epoch, the same for the same seed; the last batch of an epoch may be smaller."""
    shuffled = list(items)
    for epoch in range(epochs):
        random.Random(f"{seed}/{epoch}").shuffle(shuffled)
        for start in range(0, len(shuffled), size):
            yield shuffled[start : start + size]


def collate(pipeline: OmniPipeline, items: Sequence[SpokenInstruction]) -> InstructionBatch:
    """Read the sound, tokenise prompt and answer. The answer ends with the turn's end token. Raises AudioError."""
    from omni.audio import load_audio

    prompt = pipeline.encode(format_prompt([("user", f"{SPEECH}\n{INSTRUCTION}")]))
    rate = pipeline.front_end.sample_rate
    rows, mels = [], []
    for item in items:
        # The closing token belongs to the answer: predicting it is how the model learns to stop.
        answer = pipeline.encode(item.answer + "<|eot_id|>")
        rows.append(answer[1:] if answer[0] == pipeline.tokenizer.bos_token_id else answer)
        samples = load_audio(item.audio, sample_rate=rate).samples[:WINDOW_SAMPLES]
        mels.append(pipeline.front_end(samples, device=pipeline.llm.device)[0])
    longest = len(prompt) + max(len(row) for row in rows)
    most_units = max(len(item.units) for item in items)

    def padded(row: Sequence[int], length: int, value: int) -> list[int]:
        return [*row, *[value] * (length - len(row))]

    def tensor(values: list[list[int]]) -> Tensor:
        return torch.tensor(values, device=pipeline.llm.device)

    return InstructionBatch(
        tensor([padded(prompt + row, longest, 0) for row in rows]),
        tensor([padded([IGNORE] * len(prompt) + row, longest, IGNORE) for row in rows]),
        tensor([padded([1] * (len(prompt) + len(row)), longest, 0) for row in rows]).bool(),
        torch.stack(mels),
        torch.full((len(items),), WINDOW_FRAMES, device=pipeline.llm.device),
        tensor([padded(item.units, most_units, IGNORE) for item in items]),
    )
