"""The speech language model: what the cache saves, what speech adds to text, and where the time to first audio goes.

    python -m benchmarks.omni [--short]                     # the tiny model of the tests, CPU, a minute
    python -m benchmarks.omni --size 8b --device cuda       # shapes of LLaMA-Omni-8B, random weights, one GPU, < 10 min

1. Speech decoder, n tokens one by one: with a cache against recomputing the whole utterance at every token, both with
   the same fused attention and as the reference does (scores of all frames materialised, log-softmax over all of them).
   Recomputation is timed at some lengths and summed by interpolation; "~" marks sums that go beyond what was timed.
2. Text-only decoding against text and speech, per token; LLaMA-Omni's paper gives 1.28x.
3. Time to first audio for a spoken question, stage by stage (synchronised after each, so their sum is a little more
   than the whole), without and with retrieved context. The vocoder's first chunk is sent after two tokens of five units
   each: how many units random weights make means nothing; real speech has about nine a token.
CPU figures are process time of one thread, so that other programs disturb them little; GPU figures are wall time.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from core.runtime import resolve_device, resolve_dtype
from omni.ctc_decoder import CTCDecoder, collapse
from omni.generate import GenerationOptions, decode
from omni.pipeline import HeardSpeech, OmniPipeline, Prompt
from omni.prompt import SPEECH_ID
from omni.random_model import SHAPES, random_pipeline
from omni.steppers import EagerStepper, StaticStepper, Stepper
from omni.streaming import ReplyOptions, reply
from omni.types import Waveform

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "llama_omni_tiny"
PAPER_SPEECH_SHARE = 1.28
UNITS_PER_TOKEN = 5
SYSTEM_TOKENS, TAIL_TOKENS = 60, 25  # of the published prompt, before and after the speech


class Clock:
    """Process time of one thread on a CPU, synchronised wall time on a GPU; in ms."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
            return time.perf_counter() * 1e3
        return time.process_time() * 1e3

    def best(self, work: Callable[[], object], repeats: int) -> float:
        times = []
        for _ in range(repeats):
            started = self.now()
            work()
            times.append(self.now() - started)
        return min(times)


# ---- 1. cached against recomputed


def recompute_as_reference(decoder: CTCDecoder, states: Tensor) -> list[int]:
    """One token's work in the reference: everything from the start, attention scores and log-probabilities of all."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):  # materialises the scores and their mask
        logits = decoder(states)
    return collapse(logits.float().log_softmax(-1)[0].argmax(-1).tolist(), decoder.blank)


def cached_seconds(decoder: CTCDecoder, states: Tensor, clock: Clock) -> float:
    def run() -> None:
        stream = decoder.streaming()
        for state in states.split(1, dim=1):
            stream.step(state)

    return clock.best(run, 2 if states.shape[1] < 1000 else 1) / 1e3


def summed_seconds(work: Callable[[int], object], tokens: int, limit: int, clock: Clock) -> tuple[float, bool]:
    """(s, extrapolated): `work(n)` summed over n = 1..tokens from samples up to `limit`, a quadratic beyond it."""
    top = min(tokens, limit)
    samples = sorted({1, *(max(1, round(top * (i / 10) ** 1.5)) for i in range(1, 11))})
    times = [clock.best(lambda n=n: work(n), 3 if n <= 64 else 1) for n in samples]  # type: ignore[misc]
    total = float(np.interp(np.arange(1, top + 1), samples, times).sum())
    if tokens > top:
        fit = np.polyfit(samples, times, 2)
        total += float(np.maximum(np.polyval(fit, np.arange(top + 1, tokens + 1)), times[-1]).sum())
    return total / 1e3, tokens > top


@torch.inference_mode()
def measure_cache(decoder: CTCDecoder, clock: Clock, short: bool) -> list[dict[str, Any]]:
    weight = decoder.input_proj.weight
    states = torch.randn(1, 1024, decoder.input_dim, device=weight.device, dtype=weight.dtype)
    rows = []
    with decoder.streaming() as stream:
        streamed = [unit for state in states[:, :64].split(1, dim=1) for unit in stream.step(state)]
    assert streamed == decoder.units(states[:, :64]) == recompute_as_reference(decoder, states[:, :64])
    for tokens in (64, 256, 1024):
        cached = cached_seconds(decoder, states[:, :tokens], clock)
        fused, fused_far = summed_seconds(lambda n: decoder.units(states[:, :n]), tokens, 256 if short else 1024, clock)
        as_reference, reference_far = summed_seconds(
            lambda n: recompute_as_reference(decoder, states[:, :n]), tokens, 160 if short else 256, clock
        )
        rows.append(
            {
                "tokens": tokens,
                "cached_s": cached,
                "ms_per_token": cached / tokens * 1e3,
                "recomputed_s": as_reference,
                "speedup": as_reference / cached,
                "recomputed_fused_s": fused,
                "speedup_over_fused": fused / cached,
                "extrapolated": reference_far or fused_far,
            }
        )
    return rows


# ---- 2. what speech adds


class Paced:
    """A stepper that does all its work and then reports five units a token, so that first audio is comparable."""

    def __init__(self, inner: Stepper, upsample: int, device: torch.device) -> None:
        self.inner, self.count = inner, 0
        self.after_prefill: Callable[[], None] = lambda: None
        each = upsample // UNITS_PER_TOKEN
        runs = [[u for u in range(UNITS_PER_TOKEN * k, UNITS_PER_TOKEN * (k + 1)) for _ in range(each)] for k in (0, 1)]
        self.patterns = [torch.tensor([run], device=device) for run in runs]

    hidden = property(lambda self: self.inner.hidden)
    logits = property(lambda self: self.inner.logits)
    reused = property(lambda self: self.inner.reused)

    def prefill(self, prompt: Prompt) -> None:
        self.count = 0
        self.inner.prefill(prompt)
        self.after_prefill()

    def think(self, token: Tensor) -> None:
        self.inner.think(token)

    def remember(self, token: int) -> None:
        self.inner.remember(token)

    def flush(self) -> Tensor:
        return self.inner.flush()

    def speak(self) -> Tensor:
        self.inner.speak()
        self.count += 1
        return self.patterns[self.count % 2]


def new_ids(count: int, vocab: int, seed: int) -> list[int]:
    return torch.randint(0, vocab, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def prompt_ids(pipeline: OmniPipeline, context: int) -> list[int]:
    """System turn, context, speech, instruction: the published prompt's lengths, ids at random."""
    vocab = pipeline.llm.vocab_size
    return new_ids(SYSTEM_TOKENS, vocab, 0) + new_ids(context, vocab, 1) + [SPEECH_ID] + new_ids(TAIL_TOKENS, vocab, 2)


def sound(seconds: float) -> Waveform:
    noise = np.random.default_rng(0).standard_normal(int(seconds * 16_000)) * 0.1
    return Waveform(noise.astype(np.float32), 16_000)


def measure_speech_share(pipeline: OmniPipeline, stepper: Stepper, clock: Clock, tokens: int) -> dict[str, float]:
    prompt = pipeline.prompt(prompt_ids(pipeline, 0), [pipeline.hear(sound(4.0))])

    def run(speak: bool) -> float:
        steps = decode(
            pipeline,
            prompt,
            options=GenerationOptions(max_new_tokens=tokens, eos_ids=(), speak=speak),
            stepper=stepper,
        )
        next(steps)  # prefill and the first token are not decoding
        started = clock.now()
        for _ in steps:
            pass
        return (clock.now() - started) / (tokens - 1)

    run(True)
    text, both = (min(run(speak) for _ in range(3)) for speak in (False, True))
    return {"text_ms": text, "text_and_speech_ms": both, "share": both / text}


# ---- 3. time to first audio


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    context: int  # tokens of retrieved text
    known: bool = False  # it was in the cache before the question ended (retrieval while the user speaks)
    real_length: bool = False
    chunk_mode: Literal["reference", "seamless"] = "reference"


def measure_first_audio(
    pipeline: OmniPipeline, stepper: Stepper, clock: Clock, case: Case, seconds: float
) -> dict[str, float]:
    """Stages in ms, synchronised after each, and the whole without that; best of three after a warm-up."""
    runs = [first_audio_once(pipeline, stepper, clock, case, seconds, by_stage=True) for _ in range(4)][1:]
    best = min(runs, key=lambda run: sum(run.values()) - run["prompt"])
    whole = [first_audio_once(pipeline, stepper, clock, case, seconds, by_stage=False) for _ in range(3)]
    return best | {"first audio": min(run["total"] for run in whole)}


def first_audio_once(
    pipeline: OmniPipeline, stepper: Stepper, clock: Clock, case: Case, seconds: float, *, by_stage: bool
) -> dict[str, float]:
    waveform, ids = sound(seconds), prompt_ids(pipeline, case.context)
    paced = Paced(stepper, pipeline.speech_decoder.upsample, pipeline.llm.device)  # type: ignore[union-attr]
    known = SYSTEM_TOKENS + case.context if case.known else 0
    stepper.prefill(pipeline.prompt(ids[:known] or [0]))  # what the cache holds when the question has been spoken
    stages: dict[str, float] = {}
    started = last = clock.now()

    def lap(name: str) -> None:
        nonlocal last
        if by_stage:
            now = clock.now()
            stages[name], last = now - last, now

    with torch.inference_mode():
        mel = pipeline.front_end(waveform.samples, device=pipeline.llm.device)
        lap("mel")
        states = pipeline.encode_mel(mel, len(waveform.samples), real_length=case.real_length)
        lap("encoder")
        prompt = pipeline.prompt(ids, [HeardSpeech(states, seconds, key=1)])
        lap("adapter")
    options = ReplyOptions(
        GenerationOptions(max_new_tokens=32, eos_ids=()), omega=2 * UNITS_PER_TOKEN, chunk_mode=case.chunk_mode
    )
    paced.after_prefill = lambda: lap("prefill")
    for event in reply(pipeline, prompt, options=options, stepper=paced):
        if event.units and "tokens" not in stages:
            lap("tokens")
        if event.waveform is not None:
            break
    if not by_stage:
        return {"total": clock.now() - started}
    lap("vocoder")
    return {"prompt": float(len(prompt)), **stages}


# ---- report


def table(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}")
    names = list(rows[0])
    cells = [names, *[[_cell(row.get(name, "")) for name in names] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for number, line in enumerate(cells):
        print("| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "~" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def load_tiny(folder: Path, device: torch.device, dtype: torch.dtype) -> OmniPipeline:
    from omni.checkpoint import load_pipeline

    return load_pipeline(
        folder / "checkpoint",
        whisper=folder / "whisper_encoder_openai.safetensors",
        vocoder=folder,
        tokenizer=folder / "tokenizer",
        device=device,
        dtype=dtype,
    ).replace(tokenizer=None)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer lengths and repeats")
    parser.add_argument("--size", choices=["tiny", *SHAPES], default="tiny", help="tiny: the golden checkpoint")
    parser.add_argument("--data", type=Path, default=GOLDEN, help="another golden folder, for --size tiny")
    parser.add_argument("--device", default="cpu", help="cpu | cuda | auto (default: %(default)s)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="default: bfloat16 on a GPU")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the question, s (default: %(default)s)")
    parser.add_argument("--context", type=int, default=2000, help="tokens of retrieved context (default: %(default)s)")
    arguments = parser.parse_args(argv)

    torch.set_num_threads(1)
    device = resolve_device(arguments.device)
    dtype = resolve_dtype(arguments.dtype or ("bfloat16" if device.type == "cuda" else "float32"))
    clock = Clock(device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()}, one thread"
    print(f"{arguments.size} model, {dtype}, {where}, torch {torch.__version__}")
    started = time.perf_counter()
    if arguments.size == "tiny":
        pipeline = load_tiny(arguments.data, device, dtype)
    else:
        pipeline = random_pipeline(SHAPES[arguments.size], device=device, dtype=dtype)
    decoder = pipeline.speech_decoder
    assert isinstance(decoder, CTCDecoder)
    result: dict[str, Any] = {
        "benchmark": "omni", "size": arguments.size, "device": where, "dtype": str(dtype), "short": arguments.short,
    }  # fmt: skip

    if arguments.size != "8b":
        result["cache"] = measure_cache(decoder, clock, arguments.short)
        table("Speech decoder, token by token: cached, recomputed as the reference does, recomputed with fused kernels",
              result["cache"])  # fmt: skip

    tokens = 24 if arguments.short or device.type == "cpu" else 128
    capacity = 2 ** math.ceil(math.log2(SYSTEM_TOKENS + arguments.context + 300 + TAIL_TOKENS + tokens + 64))
    make: dict[str, Callable[[], Stepper]] = {
        "eager": lambda: EagerStepper(pipeline),
        "static": lambda: StaticStepper(pipeline, capacity=capacity, max_new_tokens=max(tokens, 64)),
    }
    label = {"eager": "eager", "static": "CUDA graphs" if device.type == "cuda" else "static buffers"}
    shares, audio = [], []
    for kind, build in make.items():
        stepper = build()
        share = measure_speech_share(pipeline, stepper, clock, tokens)
        shares.append({"decoding": label[kind], **share, "paper_share": PAPER_SPEECH_SHARE})
        if kind == "eager" and device.type == "cuda" and arguments.short:
            continue
        for case in (
            Case(0),
            Case(0, real_length=True),
            Case(arguments.context),
            Case(arguments.context, known=True),
            Case(arguments.context, known=True, real_length=True),
            Case(0, chunk_mode="seamless"),
        ):
            if arguments.short and kind == "eager" and case != Case(0):
                continue
            row = {
                "decoding": label[kind], "context": case.context, "known early": "yes" if case.known else "",
                "encoder on": "speech" if case.real_length else "30 s", "chunks": case.chunk_mode,
            }  # fmt: skip
            audio.append(row | measure_first_audio(pipeline, stepper, clock, case, arguments.seconds))
        del stepper
    result |= {"speech_share": shares, "first_audio_ms": audio}
    table("One token: text only, text and speech (ms)", shares)
    table(f"Time to first audio of a {arguments.seconds:g} s question (ms)", audio)
    result["seconds"] = round(time.perf_counter() - started, 1)
    if device.type == "cuda":
        result["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        print(f"\npeak memory {result['peak_gib']} GiB")
    else:
        print(
            "\nNo GPU: the goals for 8B shapes (first audio <= 60 ms, <= 120 ms with context, share <= 1.10) are open."
        )
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
