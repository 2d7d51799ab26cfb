"""The speech decoder: streamed equals whole for every split, layers equal transformers', lookahead optional."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaModel

from omni.causal_layers import CausalStack, LayerConfig
from omni.ctc_decoder import CTCDecoder, CTCDecoderConfig, UnitCollapser, collapse
from omni.kv_cache import KVCache, attention_mask

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def tiny_decoder(seed=0, *, lookahead=0, final_norm=False, upsample=5, kv_heads=2, rope=None):
    torch.manual_seed(seed)
    layers = LayerConfig(dim=32, n_layers=2, n_heads=4, n_kv_heads=kv_heads, ffn_dim=48, rope=rope)
    decoder = CTCDecoder(CTCDecoderConfig(24, layers, 12, upsample, final_norm=final_norm, lookahead=lookahead)).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return decoder.requires_grad_(False)


VARIANTS = [{}, {"lookahead": 2}, {"final_norm": True, "kv_heads": 4}, {"rope": LLAMA3, "upsample": 3}]
DECODERS = [tiny_decoder(**variant) for variant in VARIANTS]


@settings(max_examples=40, deadline=None)
@given(which=st.integers(0, len(VARIANTS) - 1), splits=st.lists(st.integers(1, 9), min_size=1, max_size=8),
       seed=st.integers(0, 99))  # fmt: skip
def test_streamed_units_equal_whole_utterance_for_every_split(which, splits, seed):
    """However the states are cut, the units are the same; a repeat across a cut still merges."""
    decoder, states = DECODERS[which], torch.randn(1, sum(splits), 24, generator=torch.Generator().manual_seed(seed))
    with decoder.streaming() as stream:
        streamed = [unit for part in states.split(splits, dim=1) for unit in stream.step(part)]
        streamed += stream.finish()
    assert streamed == decoder.units(states)


@pytest.mark.parametrize("decoder", DECODERS)
def test_streamed_logits_are_numerically_those_of_the_whole(decoder):
    states = torch.randn(1, 40, 24)
    with decoder.streaming() as stream:
        parts = [stream.logits(part) for part in states.split([1, 20, 19], dim=1)] + [stream.logits(None, last=True)]
    torch.testing.assert_close(torch.cat(parts, dim=1), decoder(states), rtol=1e-4, atol=1e-4)


def test_lookahead_waits_and_looks():
    decoder, states = tiny_decoder(lookahead=2), torch.randn(1, 6, 24)
    with decoder.streaming() as stream:
        assert stream.frames(states[:, :2]).shape[1] == 0
        assert stream.frames(states[:, 2:3]).shape[1] == decoder.upsample
    changed = states.clone()
    changed[:, 3] += 1
    first = slice(0, decoder.upsample)
    torch.testing.assert_close(decoder(changed)[:, first], decoder(states)[:, first])  # three states ahead: not seen
    changed[:, 2] += 1
    assert not torch.allclose(decoder(changed)[:, first], decoder(states)[:, first])  # two ahead: seen


def test_decoder_is_causal():
    decoder, states = tiny_decoder(), torch.randn(1, 8, 24)
    changed = states.clone()
    changed[:, 5:] += 1
    same = 5 * decoder.upsample
    torch.testing.assert_close(decoder(changed)[:, :same], decoder(states)[:, :same])


@pytest.mark.parametrize("rope", [None, LLAMA3])
def test_layers_equal_transformers_llama(rope):
    config = LayerConfig(dim=32, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=48, rope=rope)
    stack = CausalStack(config).eval()
    judge = LlamaModel(config.hf()).eval()
    judge.layers.load_state_dict(stack.state_dict())
    judge.norm = torch.nn.Identity()
    x = torch.randn(2, 7, 32)
    with torch.inference_mode():
        expected = judge(inputs_embeds=x.repeat_interleave(5, dim=1)).last_hidden_state
        torch.testing.assert_close(stack.run(x, repeat=5), expected, rtol=1e-5, atol=1e-5)


def test_padding_does_not_change_the_rest():
    decoder, states = tiny_decoder(), torch.randn(1, 4, 24)
    padded = torch.cat([states, torch.randn(1, 3, 24)], dim=1)
    keep = (torch.arange(7 * decoder.upsample) < 4 * decoder.upsample)[None]
    torch.testing.assert_close(decoder.frames(padded, keep=keep)[:, : 4 * decoder.upsample], decoder.frames(states))


def test_batch_rows_align_as_alone():
    decoder, states = tiny_decoder(), torch.randn(3, 6, 24)
    stream = decoder.streaming(batch_size=3)
    together = torch.cat([stream.align(part) for part in states.split(2, dim=1)], dim=1)
    for row, alone in zip(together, states, strict=True):
        assert row.tolist() == decoder(alone[None])[0].argmax(-1).tolist()


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_collapse_in_pieces_equals_the_definition(alignment, cuts):
    """The judge spells CTC's map out: drop what repeats its predecessor, then drop blanks (here 3)."""
    expected = [x for i, x in enumerate(alignment) if x != 3 and (i == 0 or alignment[i - 1] != x)]
    assert collapse(alignment, 3) == expected
    collapser, bounds = UnitCollapser(3), [0, *sorted(min(c, len(alignment)) for c in cuts), len(alignment)]
    pieces = [collapser.push(alignment[a:b]) for a, b in pairwise(bounds)]
    assert [unit for piece in pieces for unit in piece] == expected


# ---- the cache


def test_cache_grows_without_changing_anything():
    decoder, states = tiny_decoder(), torch.randn(1, 12, 24)
    small, large = decoder.streaming(), decoder.streaming()
    small.cache = KVCache(capacity=3)
    for part in states.split(1, dim=1):
        torch.testing.assert_close(small.logits(part), large.logits(part))
    assert small.cache.capacity >= 12 * decoder.upsample


def test_static_steps_equal_eager_ones():
    """Fixed buffers with a window, as CUDA graphs replay them, give what growing slices give."""
    decoder, states = tiny_decoder(), torch.randn(1, 9, 24)
    eager, static = decoder.streaming(), KVCache(64, static=True)
    positions = torch.arange(decoder.upsample)
    for index, state in enumerate(states.split(1, dim=1)):
        window = 16 if (index + 1) * decoder.upsample <= 16 else 64
        out = decoder.layers.static_run(decoder.embed(state), positions, static, window, repeat=decoder.upsample)
        positions = positions + decoder.upsample
        torch.testing.assert_close(decoder.output_proj(decoder.norm(out)), eager.logits(state), rtol=1e-4, atol=1e-5)


def test_mask_keeps_padded_rows_finite():
    mask = attention_mask(2, 1, keep=torch.tensor([[False, False, True]]), like=torch.zeros(1))
    assert (mask[0, 0] == 0).tolist() == [[False, True, False], [False, False, True]]
