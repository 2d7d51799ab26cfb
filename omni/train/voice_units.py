"""Half-phones in a few flavours: the units that stand between the decoder and the vocoder.

Every phone is cut in the middle of its middle state; the halves of one name are clustered by their mean mel-cepstrum
and log F0 (k-means, the more flavours the more often it occurs). Neighbouring units always differ, so nothing is lost
when CTC merges repeats, and two known frames per phone make cross-entropy and CTC the same loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omni.voice.phones import INDEX, PAUSE, PHONES, VOWELS, Phone

F0, N_MCEP = 25, 25  # column of F0 in a lesson's parameters
_F0_WEIGHT = 4.0  # 0.15 of log F0 counts as much as 0.6 of cepstral distance


@dataclass
class Example:
    """One utterance, ready to learn from."""

    phones: list[Phone]
    pieces: np.ndarray  # (4 N,) 5 ms frames of each piece of a half-phone
    params: np.ndarray  # (frames, 31) mcep, F0 in Hz, strengths
    units: np.ndarray  # (2 N,) ids

    @property
    def frames(self) -> np.ndarray:
        """(2 N,) 5 ms frames of each half-phone."""
        return self.pieces.reshape(-1, 2).sum(1)


def phones_of(lesson: Sequence[Sequence[Any]]) -> list[Phone]:
    """A lesson's phones (rows as in `load_lessons`), described as the front end describes them."""
    words = [row[2] for row in lesson]
    phones = []
    for index, (name, stress, word, *_) in enumerate(lesson):
        # flite makes "'s" a word of its own; to our lexicon it belongs to the noun
        starts = name != PAUSE and word != words[index - 1] and (not word.startswith("'") or not words[index - 1])
        following = words[index + 1] if index + 1 < len(lesson) else ""
        ends = name != PAUSE and following != word and (not following.startswith("'"))
        mark = lesson[index - 1][4] if name == PAUSE and index else ""
        phones.append(Phone(name, stress if name in VOWELS else 0, starts, ends, mark))
    return phones


def piece_frames(lesson: Sequence[Sequence[Any]], total: int) -> np.ndarray:
    """(4 N,) frames of the pieces of each phone: its first state, two halves of the middle one, the last state.

    The teacher chooses parameters by one tree per state, and its states are of very different lengths: without their
    borders a network sees sounds jump at places that it cannot know."""
    ends = np.minimum([row[6] for row in lesson], total)
    ends[-1, -1] = total
    first, middle, last = np.diff(ends.reshape(-1), prepend=0).reshape(-1, 3).T
    return np.stack([first, middle // 2, middle - middle // 2, last], axis=1).reshape(-1)


def half_phone_names(phones: Sequence[Phone]) -> np.ndarray:
    """(2 N,) ids of the half-phones: 2 * phone + half."""
    ids = np.array([INDEX[phone.name] for phone in phones])
    return np.stack([2 * ids, 2 * ids + 1], axis=1).reshape(-1)


def features(params: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(2 N, 26): what clusters are made of."""
    params = params.astype(np.float32)
    ends = np.cumsum(frames)
    starts = ends - frames
    sums = np.concatenate([np.zeros((1, params.shape[1]), np.float64), np.cumsum(params, axis=0, dtype=np.float64)])
    means = (sums[ends] - sums[starts]) / np.maximum(frames, 1)[:, None]
    voiced = np.concatenate([[0], np.cumsum(params[:, F0] > 0)])
    count = voiced[ends] - voiced[starts]
    pitch = means[:, F0] * frames / np.maximum(count, 1)
    log_f0 = np.log(np.where(count > 0, pitch, np.exp(4.6)))
    return np.concatenate([means[:, :N_MCEP], _F0_WEIGHT * log_f0[:, None]], axis=1).astype(np.float32)


def fit_units(rows: np.ndarray, names: np.ndarray, *, total: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cluster (n, 26) features by half-phone name -> centroids (K, 26) and the half-phone of each (K,)."""
    from sklearn.cluster import MiniBatchKMeans

    counts = np.bincount(names, minlength=2 * len(PHONES))
    share = np.sqrt(counts) / np.sqrt(counts).sum() * total
    centroids, owners = [], []
    for name in np.flatnonzero(counts):
        mine = rows[names == name][:20_000]
        k = int(min(max(2, round(share[name])), max(1, len(mine) // 20)))
        centroids.append(MiniBatchKMeans(k, random_state=seed, n_init=1, batch_size=1024).fit(mine).cluster_centers_)
        owners += [name] * k
    return np.concatenate(centroids).astype(np.float32), np.array(owners)


def assign(rows: np.ndarray, names: np.ndarray, centroids: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """(n,) unit ids: the nearest flavour of each row's own half-phone."""
    units = np.zeros(len(rows), np.int64)
    for name in np.unique(names):
        mine, ids = np.flatnonzero(names == name), np.flatnonzero(owners == name)
        own = centroids[ids]
        distance = (own**2).sum(1)[None] - 2 * rows[mine] @ own.T
        units[mine] = ids[distance.argmin(1)]
    return units
