"""Two trigram models in one: a general one and counts of other text, interpolated over the union of their n-grams.

    model = interpolate(read_trie(general), sentences, usable_words, weight=0.5)      # 2 s of CPU
    write_trie(path, model)

P(w | h) = (1 - t(h)) * P_general(w | h) + t(h) * P_documents(w | h): linear interpolation (Jelinek & Mercer, 1980), so
that general speech keeps its whole model. The documents' share t(h) rises to `weight` for a history that they know
well. P_documents is a Witten-Bell smoothed trigram (Witten & Bell, 1991).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from omni.sphinx_lm import TrigramModel

SMALL_DOCUMENT = 2000  # words; of a text this short, half the trust is put into the frequency of single words


def interpolate(base: TrigramModel, sentences: Iterable[list[str]], usable: set[str], weight: float) -> TrigramModel:
    """Mix a trigram model of `sentences` into `base`; words that are not `usable` break an n-gram."""
    words = list(base.words)
    ids = {word: index for index, word in enumerate(words)}
    for word in sorted(usable - ids.keys()):
        ids[word] = len(words)
        words.append(word)
    size = len(words)
    start, end = ids["<s>"], ids["</s>"]
    stream = [-1]  # one long array; -1 separates
    for sentence in sentences:
        stream += [start, *(ids[word] if word in usable else -1 for word in sentence), end, -1]
    text = np.array(stream, dtype=np.int64)

    # counts: unigrams, bigrams as (word, history), trigrams as (bigram key, first)
    predicted = text[(text >= 0) & (text != start)]
    count1 = np.bincount(predicted, minlength=size).astype(np.float64)
    p1_doc = count1 / count1.sum()
    before, after = text[:-1], text[1:]
    whole = (before >= 0) & (after >= 0) & (after != start)
    key2_doc, count2 = np.unique(after[whole] * size + before[whole], return_counts=True)
    first = text[:-2]
    whole3 = (first >= 0) & whole[1:] & (text[1:-1] != start)
    place = np.searchsorted(key2_doc, text[2:][whole3] * size + text[1:-1][whole3])
    key3_doc, count3 = np.unique(place * size + first[whole3], return_counts=True)

    # unigrams
    p1_base = np.zeros(size)
    p1_base[: len(base.words)] = np.exp(base.unigram_logp.astype(np.float64))
    back1_base = np.zeros(size)
    back1_base[: len(base.words)] = base.unigram_backoff
    # What documents say about a history is worth `weight` as far as they have seen it, and less below.
    trust1 = 0.5 * weight * len(predicted) / (len(predicted) + SMALL_DOCUMENT)
    p1 = (1 - trust1) * p1_base + trust1 * p1_doc

    # bigrams: the union, sorted by (word, history)
    key2_base = base.bigram_words * size + base.bigram_history
    key2 = _union(key2_base, key2_doc)
    word2, history2 = key2 // size, key2 % size
    total, kinds = _history_totals(key2_doc % size, count2, size)
    p2_doc = p1_doc[word2] * np.where(total > 0, kinds / np.maximum(total + kinds, 1), 1.0)[history2]
    at2_doc = np.searchsorted(key2, key2_doc)
    history_doc = key2_doc % size
    p2_doc[at2_doc] += count2 / (total + kinds)[history_doc]
    p2_base = np.exp(back1_base[history2]) * p1_base[word2]
    at2_base = np.searchsorted(key2, key2_base)
    p2_base[at2_base] = np.exp(base.bigram_logp)
    trust2 = _trust(trust1, weight, total, kinds)
    p2 = (1 - trust2[history2]) * p2_base + trust2[history2] * p2_doc
    back1 = _backoff(history2, p2, p1[word2], size)

    # trigrams: (index into the union of bigrams "b c") * size + a
    key3_base = at2_base[base.trigram_bigram] * size + base.trigram_first
    key3_doc = at2_doc[key3_doc // size] * size + key3_doc % size
    key3 = _union(key3_base, key3_doc)
    suffix3, first3 = key3 // size, key3 % size
    context3 = np.searchsorted(key2, history2[suffix3] * size + first3)  # the bigram "a b"
    context3 = np.minimum(context3, len(key2) - 1)
    in_union = key2[context3] == history2[suffix3] * size + first3
    back2_base = np.zeros(len(key2))
    back2_base[at2_base] = base.bigram_backoff
    at3_doc = np.searchsorted(key3, key3_doc)
    total3, kinds3 = _history_totals(context3[at3_doc], count3, len(key2))
    p3_doc = p2_doc[suffix3] * np.where(total3 > 0, kinds3 / np.maximum(total3 + kinds3, 1), 1.0)[context3]
    p3_doc[at3_doc] += count3 / (total3 + kinds3)[context3[at3_doc]]
    p3_base = np.exp(back2_base[context3]) * p2_base[suffix3]
    p3_base[np.searchsorted(key3, key3_base)] = np.exp(base.trigram_logp)
    trust3 = _trust(trust2[word2], weight, total3, kinds3)[context3]
    p3 = (1 - trust3) * p3_base + trust3 * p3_doc
    back2 = _backoff(context3[in_union], p3[in_union], p2[suffix3[in_union]], len(key2))

    return TrigramModel(
        words,
        _log(p1),
        back1,
        word2,
        history2,
        _log(p2),
        back2,
        suffix3,
        first3,
        _log(p3),
    )


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sorted union of two sorted arrays: a stable sort merges two runs, six times faster than numpy's hashing."""
    merged = np.sort(np.concatenate([a, b]), kind="stable")
    return merged[np.concatenate([[True], merged[1:] != merged[:-1]])]


def _history_totals(history: np.ndarray, counts: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Per history: how often it was seen, and how many different words followed it (Witten & Bell's T)."""
    total = np.bincount(history, weights=counts, minlength=size)
    return total, np.bincount(history, minlength=size).astype(np.float64)


def _trust(lower: float | np.ndarray, weight: float, total: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The documents' share per history: `lower` where they never saw it, towards `weight` the better they know it."""
    return lower + (weight - lower) * total / np.maximum(total + kinds, 1)


def _backoff(history: np.ndarray, p: np.ndarray, p_lower: np.ndarray, size: int) -> np.ndarray:
    """log of (1 - sum of seen p) / (1 - sum of the same words' lower-order p), per history."""
    left = np.maximum(1.0 - np.bincount(history, weights=p, minlength=size), 1e-6)
    lower = np.maximum(1.0 - np.bincount(history, weights=p_lower, minlength=size), 1e-6)
    return np.log(left / lower).astype(np.float32)


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.clip(p, 1e-12, 1.0)).astype(np.float32)
