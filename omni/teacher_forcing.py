"""Speaking a given text with the speech language model: it reads the text as its own reply and voices its states.

    for waveform in speak_text(pipeline, "The rent is due on 1 June."): play(waveform)

The state that predicts each word of the text is what the speech decoder was trained on, so the words come out as if
the model had chosen them. All states come from one pass; they are voiced a few at a time, so that sound starts early.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

from core.errors import ModelError
from omni.ctc_decoder import UnitCollapser
from omni.pipeline import OmniPipeline
from omni.prompt import format_prompt, plain
from omni.types import Waveform
from omni.vocoder_stream import chunk_vocoder

STATES_A_CHUNK = 8  # words of text voiced at a time
READ_ALOUD = "Please repeat the following text, word for word, and say nothing else.\n\n"


@torch.inference_mode()
def reply_states_of(pipeline: OmniPipeline, text: str) -> torch.Tensor:
    """(1, n + 1, dim): the states that predict the n tokens of `text` as a reply, and its end."""
    prompt = pipeline.encode(format_prompt([("user", READ_ALOUD + plain(text))]))
    reply = pipeline.encode(plain(text))
    if reply and reply[0] == pipeline.tokenizer.bos_token_id:
        reply = reply[1:]
    ids = torch.tensor([prompt + reply], device=pipeline.llm.device)
    if ids.shape[1] > pipeline.max_positions:
        raise ModelError(f"{ids.shape[1]} tokens are too long to be spoken at once", remedy="Speak it in sentences")
    return pipeline.llm(pipeline.llm.embed(ids))[:, len(prompt) - 1 :]


def speak_text(
    pipeline: OmniPipeline, text: str, *, chunk_mode: Literal["seamless", "reference"] = "seamless", rate: float = 1.0
) -> Iterator[Waveform]:
    """Pieces of sound. Raises ModelError where the pipeline has no speech decoder or no vocoder."""
    decoder, vocoder = pipeline.speech_decoder, pipeline.vocoder
    if decoder is None or vocoder is None:
        raise ModelError("this pipeline has no voice", remedy="Load it with a speech decoder and a vocoder")
    states = reply_states_of(pipeline, text)
    stream, collapser = decoder.streaming(1), UnitCollapser(decoder.blank)
    chunks = chunk_vocoder(vocoder, chunk_mode, rate=rate)
    parts = [*states.split(STATES_A_CHUNK, dim=1), None]
    for part in parts:
        with torch.inference_mode():
            alignment = stream.align(part, last=part is None)[0].tolist()
        samples = [chunks.push(collapser.push(alignment))] + ([chunks.finish()] if part is None else [])
        piece = torch.cat([part.cpu() for part in samples])
        if len(piece):
            yield Waveform(piece.numpy(), vocoder.sample_rate)
