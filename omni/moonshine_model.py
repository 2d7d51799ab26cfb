"""Moonshine tiny (27 M weights, English) out of its wheel, run with onnxruntime: sound -> states -> logits of subwords.

    model = load_moonshine()                          # one per process and number of threads
    states = model.encode(samples)                    # (frames, 288), 41.7 frames a second
    decoder = model.decoder(states, beams=4)
    logits = decoder.start([])                        # (4, 32768) after the start token
    logits = decoder.step(rows, tokens)               # each row goes on from a row of the last call

The weights lie in the wheel `moonshine-voice` (https://github.com/moonshine-ai/moonshine, MIT): they are found without
importing it, which would open PortAudio. The network: Jeffries et al., "Moonshine: speech recognition for live
transcription and voice commands" (2024). Its products of matrices are of 8 bits with scales taken from all rows at
once, so logits of one row differ by some tenths with its company and with how many tokens are read in one call.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import MissingDependencyError, ModelError
from core.runtime import require
from omni.moonshine_text import numerals

PACKAGE, VERSION = "moonshine-voice", "0.0.73"
SAMPLE_RATE = 16_000  # Hz
LEAST_SAMPLES = 2_000  # below, the encoder's convolutions have nothing to read
BEGIN, END = 1, 2  # tokens
_LAYERS, _HEADS, _HEAD = 6, 8, 36
_FILES = {  # SHA-256 of what this code was measured with
    "encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    "decoder_model_merged.ort": "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    "tokenizer.bin": "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
}
_REMEDY = (
    f"Install it with `pip install --force-reinstall {PACKAGE}=={VERSION}`, or set speech.recogniser = pocketsphinx"
)


def weights_folder() -> Path | None:
    """Where the wheel keeps the weights; None if it is not installed or lacks them. Reads and imports nothing."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "assets" / "tiny-en"
    return folder if all((folder / name).is_file() for name in _FILES) else None


def check_weights(folder: Path) -> None:
    """Raises ModelError unless each file is the one that is expected."""
    for name, expected in _FILES.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"{folder / name} cannot be read: {error.strerror}", remedy=_REMEDY) from error
        if found != expected:
            raise ModelError(f"{folder / name} is damaged or of another version than {VERSION}", remedy=_REMEDY)


def load_moonshine(*, threads: int = 1, folder: Path | None = None) -> MoonshineModel:
    """The model, loaded once per process, number of threads and folder (default: the wheel's).

    Raises MissingDependencyError without the wheel, ModelError for damaged weights.
    """
    folder = folder or weights_folder()
    if folder is None:
        raise MissingDependencyError(f"recognition with Moonshine needs the package {PACKAGE}", remedy=_REMEDY)
    with _LOADING:
        return _load(folder, threads)


_LOADING = threading.Lock()


@lru_cache(maxsize=2)
def _load(folder: Path, threads: int) -> MoonshineModel:
    check_weights(folder)
    return MoonshineModel(folder, threads)


class MoonshineModel:
    """Weights and tokens. Thread-safe; sessions of onnxruntime may be run by several threads at a time."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        onnxruntime = require("onnxruntime", needed_for="speech recognition")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_cpu_mem_arena = False  # it would keep the most that the longest sound has needed
        try:
            self._encoder, self._decoder = (
                onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
                for name in ("encoder_model.ort", "decoder_model_merged.ort")
            )
        except Exception as error:  # onnxruntime has no base class of its own
            raise ModelError(f"Moonshine's weights in {folder} cannot be loaded: {error}", remedy=_REMEDY) from error
        self.outputs = [output.name for output in self._decoder.get_outputs()]
        self.pieces = read_tokens(folder / "tokenizer.bin")

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 at 16 kHz, n >= LEAST_SAMPLES -> (frames, 288) float32."""
        heard = np.ascontiguousarray(samples[None, :], np.float32)
        mask = np.ones(heard.shape, np.int64)
        return self._encoder.run(None, {"input_values": heard, "attention_mask": mask})[0][0]

    def decoder(self, states: np.ndarray, *, beams: int = 1) -> Decoder:
        return Decoder(self._decoder, self.outputs, states, beams)

    def places(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Where each token stands in `text(tokens)`: start and end; empty at 0 for marks without text."""
        places, position, begun = [], 0, False
        for token in tokens:
            piece = self.pieces[token].decode("utf-8", "ignore") if token > END else ""
            length = len(piece) if begun else len(piece.lstrip("\u2581"))
            begun = begun or length > 0
            places.append((position, position + length))
            position += length
        return places

    def text(self, tokens: Sequence[int]) -> str:
        """Written English; characters that were cut in the middle are left out."""
        joined = b"".join(self.pieces[token] for token in tokens if token > END)
        return numerals(joined.decode("utf-8", "ignore").replace("\u2581", " ").strip())


class Decoder:
    """State: the keys and values of `beams` rows of tokens over one sound; all rows are of one length."""

    def __init__(self, session: Any, outputs: list[str], states: np.ndarray, beams: int) -> None:
        self._session, self._outputs, self.beams = session, outputs, beams
        # The decoder's mask is of samples, of which it takes each 384th; a single one is broadcast over all frames.
        self._fixed = {
            "encoder_hidden_states": np.repeat(states[None], beams, axis=0),
            "encoder_attention_mask": np.ones((beams, 1), np.int64),
        }
        self._own: dict[str, np.ndarray] = {}  # keys and values of the tokens: (beams, 8, tokens, 36)
        self._sound: dict[str, np.ndarray] = {}  # of the sound: (beams, 8, frames, 36)
        self.length = 0  # tokens read, the start among them

    def start(self, tokens: Sequence[int]) -> np.ndarray:
        """Read the start token and `tokens`, the same in all rows: (len(tokens) + 1, 32768) logits after each."""
        ids = np.array([[BEGIN, *tokens]], np.int64)
        empty = np.zeros((1, _HEADS, 0, _HEAD), np.float32)
        feeds = {name: values[:1] for name, values in self._fixed.items()}
        names = [name.replace("present", "past_key_values") for name in self._outputs[1:]]
        logits, *caches = self._run({**feeds, **dict.fromkeys(names, empty)}, ids, cached=False)
        for name, cache in zip(names, caches, strict=True):
            kept = self._own if ".decoder." in name else self._sound
            kept[name] = np.repeat(cache, self.beams, axis=0)
        self.length = ids.shape[1]
        return logits[0]

    def keep(self, length: int) -> None:
        """Forget tokens beyond the first `length`, the start among them."""
        self._own = {name: np.ascontiguousarray(cache[:, :, :length]) for name, cache in self._own.items()}
        self.length = length

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> np.ndarray:
        """Row i goes on from row `rows[i]` of the last call with `tokens[i]`: (len(rows), 32768) logits."""
        count = len(rows)
        if list(rows) != list(range(self._own_rows)):
            self._own = {name: cache[list(rows)] for name, cache in self._own.items()}
        fixed = {name: values[:count] for name, values in (*self._fixed.items(), *self._sound.items())}
        logits, *caches = self._run({**fixed, **self._own}, np.array(tokens, np.int64)[:, None], cached=True)
        for name, cache in zip(self._outputs[1:], caches, strict=True):
            if ".decoder." in name:
                self._own[name.replace("present", "past_key_values")] = cache
        self.length += 1
        return logits[:, 0]

    @property
    def _own_rows(self) -> int:
        return len(next(iter(self._own.values())))

    def _run(self, feeds: dict[str, np.ndarray], ids: np.ndarray, *, cached: bool) -> list[np.ndarray]:
        return self._session.run(self._outputs, {**feeds, "input_ids": ids, "use_cache_branch": np.array([cached])})


def read_tokens(path: Path) -> list[bytes]:
    """The pieces of `tokenizer.bin` by number: each a length of one byte, or of two from 128 on (low seven bits first),
    and so many bytes of UTF-8; U+2581 begins a word."""
    data, pieces, position = path.read_bytes(), [], 0
    while position < len(data):
        length = data[position]
        position += 1
        if length >= 128:
            length = length - 128 + 128 * data[position]
            position += 1
        pieces.append(data[position : position + length])
        position += length
    return pieces
