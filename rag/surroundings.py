"""What a reader is told about the text around its windows: the entries that it reads from the external memory.

A window's entries are vectors of chunks of its own document, each with its nearness to the question and its role:

    own       the chunk that the window shows: what it is about as a whole
    before    the chunk before it in reading order
    after     the chunk after it
    nearest   those of the document nearest to the question that no window of the read shows

Training and the product lay entries out with the same function, over paragraphs here and stored chunk vectors there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

ROLES = ("own", "before", "after", "nearest")
ENTRY_FEATURES = 1 + len(ROLES)  # columns after the vector: cosine with the question, role one-hot
NEAREST = 4


def entries_around(
    question: np.ndarray, document: np.ndarray, row: int, shown: Collection[int], nearest: int = NEAREST
) -> np.ndarray:
    """Entries (m, dim + ENTRY_FEATURES) float32 of a window that shows chunk `row`, m <= 3 + nearest.

    question (dim,) and document (chunks, dim) are unit vectors, the document in reading order; `shown` are the rows
    that any window of the read shows.
    """
    if not len(document):
        return np.zeros((0, len(question) + ENTRY_FEATURES), np.float32)
    cosine = document @ question
    order = np.argsort(-cosine, kind="stable")[: nearest + len(shown) + 1]
    elsewhere = [int(i) for i in order if i not in shown and i != row][:nearest]
    near = [(i, role) for role, i in enumerate((row, row - 1, row + 1)) if 0 <= i < len(document)]
    chosen = near + [(i, ROLES.index("nearest")) for i in elsewhere]
    entries = np.zeros((len(chosen), document.shape[1] + ENTRY_FEATURES), np.float32)
    for at, (i, role) in enumerate(chosen):
        entries[at, : document.shape[1]] = document[i]
        entries[at, document.shape[1]] = cosine[i]
        entries[at, document.shape[1] + 1 + role] = 1.0
    return entries


def stacked(entries: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Entries of each window of each read, padded: (B, W, M, E) float32, and (B, W, M) True where one stands."""
    width = max(len(read) for read in entries)
    most = max((len(found) for read in entries for found in read), default=0)
    dim = next((found.shape[1] for read in entries for found in read), 0)
    table = np.zeros((len(entries), width, most, dim), np.float32)
    mask = np.zeros((len(entries), width, most), bool)
    for b, read in enumerate(entries):
        for w, found in enumerate(read):
            table[b, w, : len(found)], mask[b, w, : len(found)] = found, True
    return table, mask
