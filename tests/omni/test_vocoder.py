"""The unit vocoder: the reach computed from its configuration is real; seamless pieces are the whole waveform."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_llm_parts import GOLDEN

from core.errors import ModelError
from omni.vocoder import UnitVocoder, load_vocoder, read_vocoder_config
from omni.vocoder_stream import ContextlessVocoder, SeamlessVocoder, chunk_vocoder

OTHER = {"upsample_rates": (4, 2), "upsample_kernel_sizes": (8, 4), "upsample_initial_channel": 8,
         "resblock_kernel_sizes": (3, 5), "resblock_dilation_sizes": ((1, 2), (1, 3))}  # fmt: skip


def other_vocoder(**changes):
    """Another shape than the golden one, with weights large enough that every tap matters."""
    torch.manual_seed(0)
    config = dataclasses.replace(read_vocoder_config(GOLDEN / "vocoder_config.json"), **{**OTHER, **changes})
    vocoder = UnitVocoder(config).eval().requires_grad_(False)
    for name, parameter in vocoder.named_parameters():
        if "weight" in name and parameter.dim() == 3:
            torch.nn.init.normal_(parameter, std=0.7 / parameter[0].numel() ** 0.5)
    return vocoder


@pytest.fixture(scope="module")
def golden_vocoder():
    weights, config = GOLDEN / "vocoder_generator.safetensors", GOLDEN / "vocoder_config.json"
    return load_vocoder(weights, config, device=torch.device("cpu"))


@pytest.mark.parametrize(
    "changes", [{}, {"resblock": "2"}, {"upsample_rates": (3, 2), "upsample_kernel_sizes": (9, 2)}]
)
def test_reach_is_exact(changes):
    """The judge is autograd: the frames on which a sample has a non-zero gradient are those computed."""
    vocoder = other_vocoder(**changes).double()
    frames, middle = 80, 40 * vocoder.hop
    embedded = vocoder.dict(torch.arange(frames))[None].transpose(1, 2).requires_grad_(True)
    vocoder.dict.forward = lambda ids: embedded.transpose(1, 2)[0]
    wave = UnitVocoder.generate.__wrapped__(vocoder, torch.arange(frames))
    for start, end in [(middle, middle + 1), (middle + 3, middle + vocoder.hop), (middle, middle + 3 * vocoder.hop)]:
        gradient = torch.autograd.grad(wave[start:end].sum(), embedded, retain_graph=True)[0]
        touched = gradient[0].abs().sum(0).nonzero()[:, 0]
        assert (int(touched[0]), int(touched[-1]) + 1) == vocoder.frames_for(start, end)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-1, 999), max_size=60), st.lists(st.integers(0, 15), min_size=1, max_size=12),
       st.sampled_from([1.0, 1.7, 0.6]))  # fmt: skip
def test_seamless_pieces_are_the_offline_waveform(units, sizes, rate):
    """For every cut of every sequence, invalid units included."""
    vocoder = VOCODER
    chunks, pieces, rest = SeamlessVocoder(vocoder, rate=rate), [], list(units)
    for size in sizes:
        pieces.append(chunks.push(rest[:size]))
        rest = rest[size:]
    pieces += [chunks.push(rest), chunks.finish()]
    torch.testing.assert_close(torch.cat(pieces), vocoder(units, rate=rate), rtol=0, atol=2e-5)


VOCODER = other_vocoder()


def test_seamless_golden_vocoder_with_the_stated_lookahead(golden_vocoder):
    """2 units and 21 frames (420 ms): not a unit less would do, and not one more is waited for."""
    assert (golden_vocoder.lookahead_units, golden_vocoder.lookahead_frames) == (2, 21)
    chunks = SeamlessVocoder(golden_vocoder)
    assert chunks.delay_s == pytest.approx(0.42)
    units = torch.randint(0, 1000, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    given_out, known = 0, 0
    durations = golden_vocoder.durations(units).tolist()
    pieces = []
    for index, unit in enumerate(units):
        pieces.append(chunks.push([unit]))
        given_out += len(pieces[-1])
        known = sum(durations[: max(0, index + 1 - 2)])
        assert given_out == max(0, known - 21) * golden_vocoder.hop
    pieces.append(chunks.finish())
    torch.testing.assert_close(torch.cat(pieces), golden_vocoder(units), rtol=0, atol=2e-5)


def test_contextless_chunks_have_seams_and_seamless_ones_have_not(golden_vocoder):
    units = list(range(100, 160))
    whole = golden_vocoder(units)
    alone = [ContextlessVocoder(golden_vocoder).push(units[i : i + 20]) for i in range(0, 60, 20)]
    assert torch.equal(alone[0], golden_vocoder(units[:20]))
    joined = torch.cat(alone)
    assert len(joined) != len(whole) or not torch.allclose(joined, whole, atol=1e-3)


def test_seamless_memory_stays_bounded():
    chunks = SeamlessVocoder(VOCODER)
    for _ in range(200):
        chunks.push([5, 6, 7])
    reach = VOCODER.frames_for(0, VOCODER.hop)
    assert len(chunks._frames) <= 4 * (reach[1] - reach[0]) and len(chunks._units) < 20


def test_nothing_to_say_is_silence():
    assert len(VOCODER([])) == 0 and len(VOCODER([-1, -1])) == 0
    chunks = SeamlessVocoder(VOCODER)
    assert len(chunks.push([])) == 0 and len(chunks.finish()) == 0


def test_faster_rate_is_shorter(golden_vocoder):
    units = list(range(40))
    assert len(golden_vocoder(units, rate=2.0)) < len(golden_vocoder(units)) < len(golden_vocoder(units, rate=0.5))


def test_vocoder_without_whole_hop_refuses_seamless():
    with pytest.raises(ModelError, match="chunk_mode"):
        SeamlessVocoder(other_vocoder(upsample_rates=(4, 2), upsample_kernel_sizes=(7, 4)))


def test_other_vocoders_fall_back_to_contextless():
    class Beep:
        sample_rate, n_units, hop = 8000, 3, 2

        def __call__(self, units, *, predict_durations=True, rate=1.0):
            return torch.ones(2 * len(units))

    assert chunk_vocoder(Beep(), "seamless").push([1, 2]).tolist() == [1.0] * 4
