"""Windows, candidate spans and sentences, judged by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.reading import TokenText as Text
from rag.reading import Window, assemble, best_spans, cut_windows, sentence_logits
from rag.sliding_window import LocatorConfig

CONFIG = LocatorConfig(window_tokens=20, window_overlap=6, question_tokens=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 130), min_size=1, max_size=4))
def test_windows_cover_every_token_and_neighbours_overlap(lengths: list[int]):
    windows = cut_windows(lengths, CONFIG)
    for passage, length in enumerate(lengths):
        own = [w for w in windows if w.passage == passage]
        assert set(range(length)) == {i for w in own for i in range(w.start, w.end)}
        assert all(w.end - w.start <= CONFIG.window_tokens for w in own)
        assert all(b.start <= a.end - CONFIG.window_overlap for a, b in itertools.pairwise(own))
        assert len(own) <= 1 + length / (CONFIG.window_tokens - CONFIG.window_overlap)
    assert windows[0] == Window(0, 0, min(lengths[0], 20))


def test_best_spans_are_those_of_brute_force():
    torch.manual_seed(0)
    start, end = torch.randn(3, 12), torch.randn(3, 12)
    text = torch.rand(3, 12) > 0.3
    everything = [
        (float(start[w, i] + end[w, j]), w, i, j + 1)
        for w in range(3) for i in range(12) for j in range(i, min(i + 5, 12)) if text[w, i] and text[w, j]
    ]  # fmt: skip
    expected = sorted(everything, reverse=True)[:7]
    found = best_spans(start, end, text, count=7, max_tokens=5)
    assert [(s.window, s.start, s.end) for s in found] == [e[1:] for e in expected]
    assert np.allclose([s.logit for s in found], [e[0] for e in expected])


def test_no_span_is_offered_where_there_is_no_text():
    assert best_spans(torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.bool)) == []


def test_a_sentence_scores_the_mean_of_its_tokens_in_all_windows():
    relevance = torch.tensor([[[9.0, 1.0, 3.0], [5.0, 7.0, 9.0]]])
    numbers = torch.tensor([[[-1, 0, 1], [1, 3, -1]]])
    found = sentence_logits(relevance, numbers, 4)[0]
    assert found.tolist()[:2] == [1.0, 4.0] and found[3] == 7.0 and found[2] < -1000  # sentence 2 does not occur


def test_a_batch_repeats_the_question_marks_the_text_and_numbers_sentences_over_the_read():
    first = Text(np.array([11, 12, 13]), np.zeros((3, 2), int), np.array([0, 0, 1]))
    second = Text(np.array([21, 22]), np.zeros((2, 2), int), np.array([0, 0]))
    batch = assemble([np.arange(1, 9)], [[(first, 0, 2), (first, 1, 3), (second, 0, 2)]], CONFIG)
    assert batch.ids[0, 0].tolist() == [101, 1, 2, 3, 4, 102, 11, 12, 102]  # the question is cut at four tokens
    assert batch.kinds[0, 0].tolist() == [0] * 6 + [1] * 3
    assert batch.text[0, 1].nonzero().flatten().tolist() == [6, 7]
    assert [batch.sentences[0, w, 6:8].tolist() for w in range(3)] == [[0, 0], [0, 1], [2, 2]]
    assert batch.first == [[6, 6, 6]]
