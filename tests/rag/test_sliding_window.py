"""The reader's attention, judged by Hugging Face's BERT, by torch's own attention and by counting what is computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from memory.external_memory import ExternalMemory
from rag import sliding_window
from rag.sliding_window import LocatorConfig, SlidingWindowReader, WindowAttention

TINY = LocatorConfig(dim=32, layers=3, heads=4, ffn_dim=48, vocabulary=200, positions=64, global_tokens=2)


def reader(seed: int = 0, memory: nn.Module | None = None, **changes: int) -> SlidingWindowReader:
    torch.manual_seed(seed)
    return SlidingWindowReader(replace(TINY, **changes), memory).eval()  # type: ignore[arg-type]


def tokens(reads: int, windows: int, length: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 200, (reads, windows, length), generator=generator)
    return ids, (torch.arange(length) > 5).long().expand_as(ids)


def test_without_global_tokens_it_computes_what_hugging_faces_bert_computes():
    from transformers import BertConfig, BertModel

    bert = BertModel(
        BertConfig(
            vocab_size=200, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=64, layer_norm_eps=1e-12,
        ),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    model = reader(global_tokens=0)
    model.load_trunk(bert.state_dict())
    ids, kinds = tokens(2, 1, 20)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 0, 13:] = False
    with torch.no_grad():
        ours = model(ids, kinds, mask).hidden[:, 0]
        theirs = bert(ids[:, 0], attention_mask=mask[:, 0].long(), token_type_ids=kinds[:, 0]).last_hidden_state
    assert torch.allclose(ours[mask[:, 0]], theirs[mask[:, 0]], atol=1e-5)


def test_one_window_is_full_attention_over_global_tokens_and_text():
    torch.manual_seed(0)
    layer = WindowAttention(TINY).eval()
    judge = nn.MultiheadAttention(TINY.dim, TINY.heads, batch_first=True).eval()
    with torch.no_grad():
        judge.in_proj_weight.copy_(layer.qkv.weight)
        judge.in_proj_bias.copy_(layer.qkv.bias)
        judge.out_proj.load_state_dict(layer.out.state_dict())
        x, globals_ = torch.randn(2, 11, 32), torch.randn(2, 3, 32)
        whole = torch.cat([globals_, x], dim=1)
        expected = judge(whole, whole, whole, need_weights=False)[0]
        window, carried = layer(x, globals_, None)
    assert torch.allclose(torch.cat([carried, window], dim=1), expected, atol=1e-5)


def test_global_tokens_are_the_only_way_from_one_window_to_another():
    ids, kinds = tokens(1, 3, 16)
    changed = ids.clone()
    changed[0, 2, 9] = 7
    for count, expected in ((0, False), (2, True)):
        model = reader(global_tokens=count)
        with torch.no_grad():
            moved = (model(ids, kinds).hidden[0, 0] - model(changed, kinds).hidden[0, 0]).abs().max() > 1e-6
        assert bool(moved) is expected


def test_order_and_padding_of_windows_change_nothing():
    model = reader()
    ids, kinds = tokens(1, 3, 16)
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        plain = model(ids, kinds, mask)
        turned = model(ids.flip(1), kinds.flip(1), mask)
        more = torch.zeros(1, 1, 16, dtype=torch.long)
        padded_ids = nn.functional.pad(torch.cat([ids, more], dim=1), (0, 5))
        padded_kinds = nn.functional.pad(torch.cat([kinds, more], dim=1), (0, 5))
        padded = model(padded_ids, padded_kinds, nn.functional.pad(mask, (0, 5, 0, 1)))
    assert torch.allclose(plain.tokens.flip(1), turned.tokens, atol=1e-5)
    assert torch.allclose(plain.tokens, padded.tokens[:, :3, :16], atol=1e-4)
    assert torch.allclose(plain.null, padded.null, atol=1e-4)


def test_scores_computed_grow_linearly_with_the_text_and_are_never_n_by_n(monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    real = sliding_window.attend

    def counting(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        sizes.append(q.shape[0] * q.shape[2] * k.shape[2])
        assert keep is None or keep.numel() <= q.shape[0] * k.shape[2]  # no mask of queries times keys either
        return real(q, k, v, keep)

    monkeypatch.setattr(sliding_window, "attend", counting)
    model, total = reader(), {}
    for windows in (4, 8, 16, 32):
        sizes.clear()
        ids, kinds = tokens(1, windows, 32)
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[0, -1, 20:] = False
        with torch.no_grad():
            model(ids, kinds, mask)
        total[windows] = sum(sizes)
        assert max(sizes) < (windows * 32) ** 2
    assert total[32] / total[4] == pytest.approx(8, rel=0.02)


def test_reading_and_training_compute_the_same():
    model = reader(memory=ExternalMemory(32, slots=4, heads=4))
    ids, kinds = tokens(2, 2, 16)
    with torch.no_grad():
        read = model(ids, kinds).tokens
    assert torch.allclose(model.train()(ids, kinds).tokens, read, atol=1e-5)


def test_an_untrained_memory_leaves_the_reader_as_it_was():
    plain = reader()
    with_memory = reader(memory=ExternalMemory(32, slots=4, heads=4))
    with_memory.load_state_dict(plain.state_dict(), strict=False)
    ids, kinds = tokens(2, 2, 16)
    with torch.no_grad():
        assert torch.equal(plain(ids, kinds).tokens, with_memory(ids, kinds, None, torch.randn(2, 5, 32)).tokens)


def test_scores_too_large_for_plain_exponentials_are_still_attended_to_rightly():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 1, 3, 4) * 40, torch.randn(2, 1, 5, 4) * 40, torch.randn(2, 1, 5, 4)
    keep = torch.tensor([[True] * 4 + [False]] * 2)
    expected = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None])
    assert torch.allclose(sliding_window.attend(q, k, v, keep), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 32), (2, 5, 32)])
def test_the_fused_gelu_is_gelu(shape: tuple[int, ...]):
    torch.manual_seed(0)
    linear, x = nn.Linear(32, 48).bfloat16(), torch.randn(shape).bfloat16()
    with torch.inference_mode():
        expected = nn.functional.gelu(nn.functional.linear(x.float(), linear.weight.float(), linear.bias.float()))
        assert torch.allclose(sliding_window._gelu_of(linear, x).float(), expected, atol=0.02)
