"""benchmarks/omni.py and the random model it times, on shapes that a CPU runs in seconds: the code of 8B on a GPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks.omni import (
    Case,
    Clock,
    cached_seconds,
    measure_first_audio,
    measure_speech_share,
    recompute_as_reference,
    summed_seconds,
)
from omni.random_model import SHAPES, empty_pipeline, random_pipeline
from omni.steppers import EagerStepper, StaticStepper


@pytest.fixture(scope="module")
def pipeline():
    return random_pipeline(SHAPES["mini"], device=torch.device("cpu"), dtype=torch.float32)


def test_eight_billion_shapes_are_the_published_ones():
    """Llama-3.1-8B has 8,030,261,248 parameters; Whisper large-v3's encoder 637 million; the decoder 426 million."""
    whole = empty_pipeline(SHAPES["8b"])

    def millions(module):
        return round(sum(p.numel() for p in module.parameters()) / 1e6)

    assert sum(p.numel() for p in whole.llm.parameters()) == 8_030_261_248
    assert (millions(whole.encoder), millions(whole.adapter), millions(whole.speech_decoder)) == (637, 22, 426)


@pytest.mark.parametrize("kind", ["eager", "static"])
def test_first_audio_table_has_every_stage(kind, pipeline):
    stepper = EagerStepper(pipeline) if kind == "eager" else StaticStepper(pipeline, capacity=1024, max_new_tokens=64)
    clock = Clock(torch.device("cpu"))
    share = measure_speech_share(pipeline, stepper, clock, tokens=8)
    assert share["text_and_speech_ms"] > share["text_ms"] > 0
    fresh = measure_first_audio(pipeline, stepper, clock, Case(200), 1.0)
    assert set(fresh) == {"prompt", "mel", "encoder", "adapter", "prefill", "tokens", "vocoder", "first audio"}
    assert fresh["prompt"] == 60 + 200 + 300 + 25 and min(fresh.values()) > 0
    known = measure_first_audio(pipeline, stepper, clock, Case(200, known=True, real_length=True), 1.0)
    assert known["prompt"] == 60 + 200 + 10 + 25 and known["encoder"] < fresh["encoder"]
    assert stepper.reused == 260  # what was known before the question ended


def test_bfloat16_runs_through(pipeline):
    half = random_pipeline(SHAPES["mini"], device=torch.device("cpu"), dtype=torch.bfloat16)
    stepper = StaticStepper(half, capacity=640, max_new_tokens=64)
    assert measure_first_audio(half, stepper, Clock(torch.device("cpu")), Case(0), 0.5)["first audio"] > 0


def test_recomputation_gives_the_cached_units_and_costs_more(pipeline):
    decoder, clock = pipeline.speech_decoder, Clock(torch.device("cpu"))
    states = torch.randn(1, 48, decoder.input_dim)
    with torch.inference_mode():
        assert recompute_as_reference(decoder, states) == decoder.units(states)
        slow, _ = summed_seconds(lambda n: recompute_as_reference(decoder, states[:, :n]), 48, 48, clock)
        assert slow > 4 * cached_seconds(decoder, states, clock)


def test_sums_interpolate_and_extrapolate():
    """The judge is the closed form of what the fake clock says work costs: n squared, in ms."""

    class Fake:
        def best(self, work, repeats):
            self.cost = 0
            work()
            return self.cost

    clock = Fake()

    def work(n):
        clock.cost = n * n

    exact = sum(n * n for n in range(1, 201)) / 1e3
    assert summed_seconds(work, 200, 200, clock) == (pytest.approx(exact, rel=0.02), False)
    assert summed_seconds(work, 200, 50, clock) == (pytest.approx(exact, rel=0.02), True)
