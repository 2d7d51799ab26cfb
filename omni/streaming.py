"""Text and speech of one reply as they ripen.

    for event in reply(pipeline, prompt, options=ReplyOptions(omega=10)):
        if event.text: show(event.text)
        if event.waveform: play(event.waveform)
    print(event.result.finish)

After every token the units it completed are counted; as soon as `omega` of them wait they go to the vocoder together,
and at the end the rest (LLaMA-Omni, section 2.5). A larger omega speaks later and, with contextless chunks, smoother.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from omni.ctc_decoder import UnitCollapser
from omni.generate import Finish, GenerationOptions, decode
from omni.pipeline import OmniPipeline, Prompt
from omni.steppers import Stepper
from omni.types import Waveform
from omni.vocoder_stream import ChunkVocoder, chunk_vocoder


@dataclass(frozen=True)
class ReplyOptions:
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    omega: int = 10  # units that must wait before they are vocoded, >= 1
    chunk_mode: Literal["seamless", "reference"] = "seamless"
    rate: float = 1.0  # speaking rate
    vocoder_thread: bool | None = None  # vocode beside the next tokens; None: on a GPU


@dataclass(frozen=True)
class ReplyResult:
    """What a reply was, after it."""

    text: str
    token_ids: tuple[int, ...]  # the end token included
    units: tuple[int, ...]
    units_per_token: tuple[int, ...]
    chunks: tuple[tuple[int, int], ...]  # (token index after which it was sent, number of units); the flush last
    samples: int  # of waveform given out
    finish: Finish
    reused: int  # prompt positions found in the cache
    timings_ms: dict[str, float]  # prefill, first_text, first_units, first_audio, total: since the call


@dataclass(frozen=True)
class OmniEvent:
    """One step of a reply: a piece of text, a chunk of units, a piece of sound, or the result (last, exactly once)."""

    text: str = ""
    units: tuple[int, ...] = ()
    waveform: Waveform | None = None
    result: ReplyResult | None = None


class TextStream:
    """Token ids -> text that is final: a character spread over several tokens is held back until it is whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._done = 0  # ids whose text has been given out
        self._context = 0  # decoding starts here: some tokenizers join a token to the one before it

    def push(self, token: int) -> str:
        self._ids.append(token)
        return self._read(final=False)

    def finish(self) -> str:
        return self._read(final=True)

    def _read(self, *, final: bool) -> str:
        if self._tokenizer is None:
            return ""
        before = self._decode(self._ids[self._context : self._done])
        text = self._decode(self._ids[self._context :])
        if (text.endswith("\ufffd") and not final) or len(text) <= len(before):
            return ""
        self._context, self._done = self._done, len(self._ids)
        return text[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class _Speaker:
    """The vocoder, on this thread or beside it; pieces come out in order."""

    def __init__(self, chunks: ChunkVocoder, sample_rate: int, *, threaded: bool, device: torch.device) -> None:
        self._chunks, self._rate = chunks, sample_rate
        self._pool = ThreadPoolExecutor(1, "vocoder") if threaded else None
        self._stream = torch.cuda.Stream(device) if threaded and device.type == "cuda" else None
        self._jobs: deque[Future[Tensor]] = deque()

    def push(self, units: tuple[int, ...]) -> None:
        self._submit(lambda: self._chunks.push(units))

    def finish(self) -> None:
        self._submit(self._chunks.finish)

    def _submit(self, work: Any) -> None:
        def run() -> Tensor:
            with torch.cuda.stream(self._stream) if self._stream else nullcontext():
                return work().cpu()

        if self._pool is not None:
            self._jobs.append(self._pool.submit(run))
        else:
            job: Future[Tensor] = Future()
            job.set_result(run())
            self._jobs.append(job)

    def ready(self, *, wait: bool = False) -> Iterator[Waveform]:
        while self._jobs and (wait or self._jobs[0].done()):
            samples = self._jobs.popleft().result()
            if len(samples):
                yield Waveform(samples.numpy(), self._rate)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def reply(
    pipeline: OmniPipeline,
    prompt: Prompt,
    *,
    options: ReplyOptions | None = None,
    stepper: Stepper | None = None,
    stop: threading.Event | None = None,
) -> Iterator[OmniEvent]:
    """Stream a reply. Setting `stop` (or closing the iterator) ends it before the next token and the next chunk."""
    options = options or ReplyOptions()
    assert options.omega >= 1, options.omega
    stop = stop or threading.Event()
    started = time.perf_counter()
    timings: dict[str, float] = {}

    def mark(name: str) -> None:
        timings.setdefault(name, (time.perf_counter() - started) * 1000)

    speaks = options.generation.speak and pipeline.speech_decoder is not None
    speaker = None
    if speaks and pipeline.vocoder is not None:
        threaded = pipeline.llm.device.type == "cuda" if options.vocoder_thread is None else options.vocoder_thread
        chunks = chunk_vocoder(pipeline.vocoder, options.chunk_mode, rate=options.rate)
        speaker = _Speaker(chunks, pipeline.vocoder.sample_rate, threaded=threaded, device=pipeline.llm.device)
    collapser = UnitCollapser(pipeline.speech_decoder.blank if pipeline.speech_decoder else -1)
    words = TextStream(pipeline.tokenizer)
    text = ""
    tokens: list[int] = []
    units: list[int] = []
    per_token: list[int] = []
    sent: list[tuple[int, int]] = []
    unsent, samples = 0, 0
    finish: Finish = "cancelled"

    def send(index: int) -> Iterator[OmniEvent]:
        nonlocal unsent
        if unsent:
            chunk = tuple(units[len(units) - unsent :])
            sent.append((index, len(chunk)))
            unsent = 0
            mark("first_units")
            yield OmniEvent(units=chunk)
            if speaker is not None:
                speaker.push(chunk)

    def sound(wait: bool = False) -> Iterator[OmniEvent]:
        nonlocal samples
        for waveform in speaker.ready(wait=wait) if speaker is not None else ():
            if stop.is_set():
                return
            mark("first_audio")
            samples += len(waveform.samples)
            yield OmniEvent(waveform=waveform)

    steps = decode(pipeline, prompt, options=options.generation, stepper=stepper, stop=stop)
    try:
        for step in steps:
            mark("prefill")
            tokens.append(step.token)
            new_units = collapser.push(step.alignment) if speaks else []
            units += new_units
            unsent += len(new_units)
            per_token.append(len(new_units))
            piece = words.push(step.token)
            if piece:
                mark("first_text")
                text += piece
                yield OmniEvent(text=piece)
            if speaks and unsent >= options.omega and not stop.is_set():
                yield from send(step.index)
            yield from sound()
            finish = step.finish or finish
            if stop.is_set():
                finish = step.finish or "cancelled"
                break
        if rest := words.finish():
            text += rest
            yield OmniEvent(text=rest)
        if not stop.is_set():
            yield from send(len(tokens))
            if speaker is not None:
                speaker.finish()
            yield from sound(wait=True)
        mark("total")
        result = ReplyResult(
            text,
            tuple(tokens),
            tuple(units),
            tuple(per_token),
            tuple(sent),
            samples,
            finish,
            stepper.reused if stepper is not None else 0,
            timings,
        )
        yield OmniEvent(result=result)
    finally:
        steps.close()  # type: ignore[attr-defined]
        if speaker is not None:
            speaker.close()
