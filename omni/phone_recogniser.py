"""Which phones are heard when: a small network of our own on the states of Moonshine's encoder.

    recogniser = load_phone_recogniser()
    heard = recogniser(states)                   # heard.logp: (frames, 79), 41.7 frames a second
    said = recogniser.phones(states)             # ["DH", "AH", "K", "AA", "Z", "AA", "R", "Z"]

Two convolutions trained with CTC (Graves et al., ICML 2006) by omni/train/phones.py. They know no words, so a name that
neither recogniser has ever read is heard like any other sound: omni/phone_search.py looks for it. About .002 of the
sound's length, as the encoder's states are there anyway.

How a name is said, no dictionary tells: a phone that was read off letters (its number plus READ) may be said otherwise,
as often as rules and dictionary differ about other words (omni/train/sayings.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.errors import ModelError
from omni.close_terms import PHONES

WEIGHTS = Path(__file__).parents[1] / "models" / "recognition" / "phones.safetensors"
STATES, HIDDEN, WIDTH = 288, 256, 5  # of the encoder's states, of the layers between, frames that each of them sees
BLANK = len(PHONES)  # the last column: no phone begins in this frame
READ = BLANK + 1  # added to the number of a phone that was read off letters
_SHAPES = {
    "mean": (STATES,), "scale": (STATES,), "first.weight": (HIDDEN, STATES, WIDTH), "first.bias": (HIDDEN,),
    "second.weight": (HIDDEN, HIDDEN, WIDTH), "second.bias": (HIDDEN,),
    "out.weight": (BLANK + 1, HIDDEN), "out.bias": (BLANK + 1,), "sayings": (BLANK, BLANK + 1),
}  # fmt: skip
_REMEDY = "Restore it with `git checkout models/recognition`, or train it with `python -m omni.train.phones`"


@dataclass(frozen=True)
class HeardPhones:
    """What is heard in each frame."""

    logp: np.ndarray  # (frames, 79) float32, log-probabilities: of PHONES, of none (BLANK), of PHONES that were READ
    skipped: np.ndarray  # (79,) log-probability that one is not said at all; -inf but for those that were READ


class PhoneRecogniser:
    """Immutable after its making."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        """weights: by the names and of the shapes of `_SHAPES`."""
        w = {name: weights[name].astype(np.float32) for name in _SHAPES}
        self._mean, self._scale = w["mean"], w["scale"]
        # (out, in, width) as one matrix of (width * in, out)
        self._layers = [
            (w[f"{name}.weight"].transpose(2, 1, 0).reshape(-1, HIDDEN), w[f"{name}.bias"])
            for name in ("first", "second")
        ]
        self._out, self._bias = w["out.weight"].T, w["out.bias"]
        self._sayings = w["sayings"]  # P(said so | read so), and that it is not said
        self._skipped = np.full(READ + BLANK, -np.inf, np.float32)
        self._skipped[READ:] = np.log(np.maximum(self._sayings[:, BLANK], 1e-9))

    def __call__(self, states: np.ndarray) -> HeardPhones:
        """states: (frames, 288) of `MoonshineModel.encode`."""
        x = _convolved((states - self._mean) * self._scale, *self._layers[0])
        x = x + _convolved(x, *self._layers[1])
        logits = x @ self._out + self._bias
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        read = p[:, :BLANK] @ self._sayings[:, :BLANK].T
        return HeardPhones(np.log(np.maximum(np.concatenate([p, read], axis=1), 1e-9)), self._skipped)

    def phones(self, states: np.ndarray) -> list[str]:
        """The likeliest phone of each frame, runs of one as one."""
        best = self(states).logp[:, :READ].argmax(-1)
        return [PHONES[p] for at, p in enumerate(best) if p != BLANK and (at == 0 or p != best[at - 1])]


def load_phone_recogniser(path: Path = WEIGHTS) -> PhoneRecogniser:
    """The network, loaded once per process and file. Raises ModelError if the file is missing or damaged."""
    with _LOADING:
        return _load(path)


_LOADING = threading.Lock()


@lru_cache(maxsize=2)
def _load(path: Path) -> PhoneRecogniser:
    from safetensors.numpy import load_file

    try:
        weights = load_file(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", remedy=_REMEDY) from error
    except Exception as error:  # safetensors has an exception of its own
        raise ModelError(f"{path} is damaged: {error}", remedy=_REMEDY) from error
    for name, shape in _SHAPES.items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise ModelError(f"{path} is of another network: {name} is {found}, not {shape}", remedy=_REMEDY)
    return PhoneRecogniser(weights)


def _convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """gelu of a convolution over (frames, n), padded with zeros."""
    around = np.pad(x, ((WIDTH // 2, WIDTH // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(around, WIDTH, axis=0)  # (frames, n, WIDTH)
    y = windows.transpose(0, 2, 1).reshape(len(x), -1) @ weight + bias
    return 0.5 * y * (1 + np.tanh(0.7978846 * (y + 0.044715 * y**3)))  # its usual approximation
