"""Training of the model that pronounces unknown words (omni/voice/letters_to_sound.py), on the voice's dictionary.

Letters and phones are aligned by expectation maximisation: each letter stands for none to two phones, the likeliest
split of every word is counted, and the counts make the next round's probabilities. Then n-grams are counted.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from omni.voice.letters_to_sound import END, START, CountTrie, LettersToSound
from omni.voice.lexicon import Pronunciation

ORDER = 6  # 8 is no better
_MAX_PHONES = 2  # per letter
_SEEN = 3  # rarer chunks are mistakes of the dictionary or of the alignment
_UNSEEN = -12.0  # log probability


def train_letters(entries: Mapping[str, Pronunciation], *, order: int = ORDER) -> LettersToSound:
    """The joint n-gram model of words -> phones; some seconds of CPU for a hundred thousand words."""
    aligned = align_all(entries)
    counts = Counter(chunk for _, parts in aligned for chunk in parts)
    usual = {chunk for chunk, count in counts.items() if count >= min(_SEEN, 1 + len(aligned) // 1000)}
    words = [list(zip(word, parts, strict=True)) for word, parts in aligned if usual >= set(parts)]
    symbols = [symbol for symbol, _ in Counter(symbol for word in words for symbol in word).most_common()]
    ids = {symbol: index for index, symbol in enumerate(symbols, start=2)}
    return LettersToSound(symbols, count_trie([[START, *map(ids.__getitem__, word), END] for word in words], order))


def count_trie(sentences: Iterable[list[int]], order: int) -> CountTrie:
    """n-grams up to `order` with their Kneser-Ney counts."""
    raw: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        for size in range(1, order + 1):
            raw[size - 1].update(tuple(sentence[i : i + size]) for i in range(len(sentence) - size + 1))
    kept = [raw[-1]]
    for size in range(order - 1, 0, -1):
        different = Counter(gram[1:] for gram in raw[size])
        # Nothing stands before the start of a word: there, how often counts.
        different.update({gram: count for gram, count in raw[size - 1].items() if gram[0] == START})
        kept.insert(0, different)
    kept[0][(START,)] = 0  # a history, never predicted
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    children: list[np.ndarray] = []
    discounts: list[float] = []
    place: dict[tuple[int, ...], int] = {(): 0}
    for grams in kept:
        once, twice = (sum(count == n for count in grams.values()) for n in (1, 2))
        discounts.append(once / max(once + 2 * twice, 1))
        ordered = sorted(grams, key=lambda gram: (place[gram[:-1]], gram[-1]))
        if () not in place:
            children.append(np.bincount([place[gram[:-1]] for gram in ordered], minlength=len(place)))
        rows.append((np.array([gram[-1] for gram in ordered]), np.array([grams[gram] for gram in ordered])))
        place = {gram: index for index, gram in enumerate(ordered)}
    symbols, counts = zip(*rows, strict=True)
    return CountTrie(symbols, counts, tuple(children), tuple(discounts))


@dataclass(frozen=True)
class LetterScore:
    """Shares over words that were not trained on."""

    words: float  # said phone by phone as the dictionary says them, stress aside
    with_stress: float
    phone_errors: float  # edits (roughly: by matching blocks) per phone of the dictionary

    def __str__(self) -> str:
        return f"words {self.words:.3f}, with stress {self.with_stress:.3f}, phone errors {self.phone_errors:.3f}"


def score(guess: Callable[[str], Pronunciation], entries: Iterable[tuple[str, Pronunciation]]) -> LetterScore:
    right = stressed = words = errors = phones = 0
    for word, truth in entries:
        said = guess(word)
        plain, plain_truth = ([p.rstrip("1") for p in part] for part in (said, truth))
        right += plain == plain_truth
        stressed += said == truth
        words += 1
        phones += len(truth)
        for _, a, b, c, d in difflib.SequenceMatcher(None, plain, plain_truth, autojunk=False).get_opcodes():
            errors += 0 if plain[a:b] == plain_truth[c:d] else max(b - a, d - c)
    return LetterScore(right / max(words, 1), stressed / max(words, 1), errors / max(phones, 1))


# -------------------------------------------------------------------------------------------------------- alignment
def align_all(
    entries: Mapping[str, Pronunciation], *, rounds: int = 4, sample: int = 12_000
) -> list[tuple[str, list[str]]]:
    """Words of a to z with the phones of each letter; those with more phones than letters can hold are left out."""
    words = [word for word in entries if word.isalpha()]
    scores = _fit({word: entries[word] for word in words[:: max(1, len(words) // sample)]}, rounds)
    aligned = ((word, _align(word, entries[word], scores)) for word in words)
    return [(word, parts) for word, parts in aligned if parts is not None]


def _fit(entries: Mapping[str, Pronunciation], rounds: int) -> dict[tuple[str, str], float]:
    """Log probabilities of (letter, phones), by Viterbi training from a flat start."""
    scores: dict[tuple[str, str], float] = {}
    for _ in range(rounds):
        counts: Counter[tuple[str, str]] = Counter()
        for word, phones in entries.items():
            parts = _align(word, phones, scores)
            if parts is not None:
                counts.update(zip(word, parts, strict=True))
        totals: Counter[str] = Counter()
        for (letter, _), count in counts.items():
            totals[letter] += count
        scores = {pair: math.log(count / totals[pair[0]]) for pair, count in counts.items()}
    return scores


def _align(word: str, phones: Pronunciation, scores: Mapping[tuple[str, str], float]) -> list[str] | None:
    """The likeliest split of the phones over the letters, or None if there are more than the letters can hold."""
    n_letters, n_phones = len(word), len(phones)
    if n_phones > _MAX_PHONES * n_letters:
        return None
    chunks = [[" ".join(phones[i : i + k]) for k in range(_MAX_PHONES + 1)] for i in range(n_phones + 1)]
    best = [-math.inf] * (n_phones + 1)
    best[0] = 0.0
    back: list[list[int]] = []
    for index, letter in enumerate(word):
        new, choice = [-math.inf] * (n_phones + 1), [0] * (n_phones + 1)
        left = n_letters - index - 1
        # stay near the diagonal, which is also what a flat start needs
        for i in range(n_phones + 1):
            if best[i] == -math.inf:
                continue
            for k in range(min(_MAX_PHONES, n_phones - i) + 1):
                if n_phones - i - k > _MAX_PHONES * left:
                    continue
                score = best[i] + scores.get((letter, chunks[i][k]), _UNSEEN - 2 * abs(k - 1))
                if not scores:
                    score = best[i] - abs((i + k) / max(n_phones, 1) - (index + 1) / n_letters) - 0.1 * abs(k - 1)
                if score > new[i + k]:
                    new[i + k], choice[i + k] = score, k
        best = new
        back.append(choice)
    if best[n_phones] == -math.inf:
        return None
    parts, at = [], n_phones
    for choice in reversed(back):
        k = choice[at]
        parts.append(chunks[at - k][k])
        at -= k
    return parts[::-1]
