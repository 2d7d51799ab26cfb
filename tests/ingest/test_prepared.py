"""Packing of pages: what comes back is what went in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.prepared import pack_text, pack_words, unpack_text, unpack_words

coordinates = st.floats(-20_000, 20_000, allow_nan=False, width=32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40), *([coordinates] * 4)), max_size=60))
def test_word_boxes_return_within_a_hundredth_of_a_point(words: list[tuple[float, ...]]) -> None:
    starts = np.cumsum([word[0] + 1 for word in words]) if words else np.zeros(0)
    ranges = np.array([[s, s + w[1]] for s, w in zip(starts, words, strict=True)], np.int32).reshape(-1, 2)
    boxes = np.array([word[2:] for word in words], np.float32).reshape(-1, 4)
    got_ranges, got_boxes = unpack_words(pack_words(ranges, boxes))
    assert got_ranges.dtype == np.int32 and got_boxes.dtype == np.float32
    np.testing.assert_array_equal(got_ranges, ranges)
    np.testing.assert_allclose(got_boxes, boxes, atol=0.0125)


def test_boxes_of_a_page_take_a_few_bytes_a_word() -> None:
    words = np.arange(600)
    ranges = np.stack([words * 6, words * 6 + 5], axis=1).astype(np.int32)
    x0, y0 = (words % 12) * 45.3 + 50, 760 - (words // 12) * 13.7
    boxes = np.stack([x0, y0, x0 + 38.2, y0 + 10.1], axis=1).astype(np.float32)
    assert len(pack_words(ranges, boxes)) < 8 * len(words)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=100))
def test_text_returns_unchanged(text: str) -> None:
    assert unpack_text(pack_text(text)) == text


def test_lone_surrogates_of_broken_pdfs_survive_in_page_text() -> None:
    assert unpack_text(pack_text("a\ud800b")) == "a\ud800b"
