"""How words that no dictionary has may be said otherwise than they are read: phones against phones.

    table = confusions(words, guess, known)      # (39, 40): P(said so | read so); the last column: not said at all

Words of the dictionary are read by letter rules and aligned (Levenshtein distance by how phones are spoken) with what
the dictionary says: people differ from rules, and from each other, in much the same way, in vowels above all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from omni.close_terms import PHONES, SKIP, SUBSTITUTE

SMOOTHING = 0.5  # counts of what was never seen, divided among all phones by how near they are


def confusions(
    words: Iterable[str], guess: Callable[[str], Sequence[int]], known: Callable[[str], Sequence[int]]
) -> np.ndarray:
    """guess, known: word -> numbers of PHONES. (39, 40) float32, rows sum to 1."""
    near = np.exp(-4.0 * SUBSTITUTE)
    counts = np.zeros((len(PHONES), len(PHONES) + 1))
    counts[:, :-1] = SMOOTHING * near / near.sum(1, keepdims=True)
    for word in words:
        for read, said in aligned(guess(word), known(word)):
            counts[read, said] += 1.0
    return (counts / counts.sum(1, keepdims=True)).astype(np.float32)


def aligned(read: Sequence[int], said: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of phones; len(PHONES) for one that is not said; phones that are only said are left out."""
    costs = np.zeros((len(read) + 1, len(said) + 1))
    costs[1:, 0] = np.cumsum(SKIP[list(read)])
    costs[0, 1:] = np.cumsum(SKIP[list(said)])
    for i, a in enumerate(read, start=1):
        for j, b in enumerate(said, start=1):
            costs[i, j] = min(
                costs[i - 1, j - 1] + SUBSTITUTE[a, b], costs[i - 1, j] + SKIP[a], costs[i, j - 1] + SKIP[b]
            )
    pairs: list[tuple[int, int]] = []
    i, j = len(read), len(said)
    while i:
        a = read[i - 1]
        if j and np.isclose(costs[i, j], costs[i - 1, j - 1] + SUBSTITUTE[a, said[j - 1]]):
            i, j = i - 1, j - 1
            pairs.append((a, said[j]))
        elif np.isclose(costs[i, j], costs[i - 1, j] + SKIP[a]):
            i -= 1
            pairs.append((a, len(PHONES)))
        else:
            j -= 1
    return pairs[::-1]
