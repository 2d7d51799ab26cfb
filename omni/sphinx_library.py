"""pocketsphinx's decoder through its C interface, so that other threads run while it decodes.

    decoder = new_decoder()          # pocketsphinx.Decoder's methods, as far as omni/sphinx_decoder.py needs them

The Python binding in the wheel holds the interpreter lock through a whole utterance: a server would stand still while
somebody is being understood. The wheel's extension exports the C functions, too (pocketsphinx.h of version 5), and
ctypes lets go of the lock around each long call. Where they are not exported (Windows), the binding itself is used.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_long, c_size_t, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.runtime import require

logger = logging.getLogger(__name__)

_BASE = 1.0001  # of pocketsphinx's logarithms
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {  # name: (result, arguments)
    "ps_config_init": (c_void_p, [c_void_p]),
    "ps_config_set_str": (c_void_p, [c_void_p, c_char_p, c_char_p]),
    "ps_config_set_int": (c_void_p, [c_void_p, c_char_p, c_long]),
    "ps_config_free": (c_int, [c_void_p]),
    "ps_init": (c_void_p, [c_void_p]),
    "ps_free": (c_int, [c_void_p]),
    "ps_start_stream": (c_int, [c_void_p]),
    "ps_start_utt": (c_int, [c_void_p]),
    "ps_process_raw": (c_int, [c_void_p, c_char_p, c_size_t, c_int, c_int]),
    "ps_end_utt": (c_int, [c_void_p]),
    "ps_get_hyp": (c_char_p, [c_void_p, POINTER(c_int32)]),
    "ps_get_n_frames": (c_int, [c_void_p]),
    "ps_seg_iter": (c_void_p, [c_void_p]),
    "ps_seg_next": (c_void_p, [c_void_p]),
    "ps_seg_word": (c_char_p, [c_void_p]),
    "ps_seg_prob": (c_int32, [c_void_p, POINTER(c_int32), POINTER(c_int32), POINTER(c_int32)]),
    "ps_seg_frames": (None, [c_void_p, POINTER(c_int), POINTER(c_int)]),
    "ps_seg_free": (None, [c_void_p]),
    "ps_nbest": (c_void_p, [c_void_p]),
    "ps_nbest_next": (c_void_p, [c_void_p]),
    "ps_nbest_hyp": (c_char_p, [c_void_p, POINTER(c_int32)]),
    "ps_nbest_free": (None, [c_void_p]),
    "ps_add_word": (c_int, [c_void_p, c_char_p, c_char_p, c_int]),
    "ps_lookup_word": (c_void_p, [c_void_p, c_char_p]),
    "ps_add_lm_file": (c_int, [c_void_p, c_char_p, c_char_p]),
    "ps_add_keyphrase": (c_int, [c_void_p, c_char_p, c_char_p]),
    "ps_set_align_text": (c_int, [c_void_p, c_char_p]),
    "ps_activate_search": (c_int, [c_void_p, c_char_p]),
    "ps_remove_search": (c_int, [c_void_p, c_char_p]),
    "ps_set_cmn": (c_int, [c_void_p, c_char_p]),
    "ps_get_cmn": (c_char_p, [c_void_p, c_int]),
    "ckd_free": (None, [c_void_p]),
}

# Microseconds each, but hundreds a sentence. To let go of the lock means to wait for it again, up to 5 ms each time if
# another thread computes: these keep it.
_BRIEF = frozenset(
    str.split(
        """ps_nbest_next ps_nbest_hyp ps_nbest_free ps_seg_next ps_seg_word ps_seg_prob ps_seg_frames ps_seg_free
        ps_get_n_frames ckd_free"""
    )
)


@dataclass(frozen=True)
class Hypothesis:
    hypstr: str
    best_score: float  # 1.0001 to the power of the score

    @property
    def score(self) -> float:
        return self.best_score


@dataclass(frozen=True)
class Word:
    word: str
    prob: float  # posterior, 0..1
    start_frame: int = 0  # of 10 ms
    end_frame: int = 0  # its last one


@lru_cache(maxsize=1)
def _library() -> Any:
    """The wheel's extension with the functions above; None if it does not export them."""
    try:
        extension = importlib.import_module("pocketsphinx._pocketsphinx")
        library = ctypes.CDLL(str(extension.__file__))
        locked = ctypes.PyDLL(str(extension.__file__))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(locked if name in _BRIEF else library, name)
            function.restype, function.argtypes = result, arguments
            setattr(library, name, function)
    except (ImportError, OSError, AttributeError) as error:
        logger.info("pocketsphinx through its Python binding, which holds up other threads: %s", error)
        return None
    return library


def new_decoder(*, language_model: bool = True) -> Any:
    """A decoder with the wheel's US English model; raises RuntimeError if it cannot be loaded.

    language_model: False leaves its trigram out, for features only.
    """
    sphinx: Any = require("pocketsphinx", needed_for="speech recognition")
    if _library() is None:
        return sphinx.Decoder(samprate=16_000, loglevel="FATAL", **({} if language_model else {"lm": None}))
    paths = {
        "hmm": sphinx.get_model_path("en-us/en-us"),
        "dict": sphinx.get_model_path("en-us/cmudict-en-us.dict"),
        **({"lm": sphinx.get_model_path("en-us/en-us.lm.bin")} if language_model else {}),
    }
    return Decoder(paths)


class Decoder:
    """One ps_decoder_t. Used by one thread at a time."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._library = library = _library()
        self._pointer: int | None = None
        config = library.ps_config_init(None)
        for name, value in {**paths, "loglevel": "FATAL"}.items():
            library.ps_config_set_str(config, name.encode(), value.encode())
        library.ps_config_set_int(config, b"samprate", 16_000)
        self._pointer = library.ps_init(config)
        library.ps_config_free(config)  # the decoder keeps its own reference
        if not self._pointer:
            raise RuntimeError(f"no acoustic model in {paths['hmm']}")

    def __del__(self) -> None:
        if getattr(self, "_pointer", None):
            self._library.ps_free(self._pointer)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(self._pointer, *arguments) < 0:
            raise RuntimeError(f"{name} failed")

    def start_stream(self) -> None:
        self._call("ps_start_stream")

    def start_utt(self) -> None:
        self._call("ps_start_utt")

    def process_raw(self, data: bytes, *, no_search: bool = False, full_utt: bool = False) -> None:
        self._call("ps_process_raw", data, len(data) // 2, int(no_search), int(full_utt))

    def end_utt(self) -> None:
        self._call("ps_end_utt")

    def n_frames(self) -> int:
        return int(self._library.ps_get_n_frames(self._pointer))

    def hyp(self) -> Hypothesis | None:
        score = c_int32()
        words = self._library.ps_get_hyp(self._pointer, byref(score))
        return Hypothesis(words.decode(), _BASE**score.value) if words is not None else None

    def seg(self) -> Iterator[Word]:
        ignored = (byref(c_int32()), byref(c_int32()), byref(c_int32()))
        item = self._library.ps_seg_iter(self._pointer)
        try:
            while item:
                probability = _BASE ** self._library.ps_seg_prob(item, *ignored)
                first, last = c_int(), c_int()
                self._library.ps_seg_frames(item, byref(first), byref(last))
                yield Word(self._library.ps_seg_word(item).decode(), probability, first.value, last.value)
                item = self._library.ps_seg_next(item)  # frees itself at the end
        finally:
            if item:
                self._library.ps_seg_free(item)

    def nbest(self) -> Iterator[Hypothesis]:
        item = self._library.ps_nbest(self._pointer)
        try:
            while item and (item := self._library.ps_nbest_next(item)):  # frees itself at the end
                score = c_int32()
                words = self._library.ps_nbest_hyp(item, byref(score))
                yield Hypothesis(words.decode() if words is not None else "", _BASE**score.value)
        finally:
            if item:
                self._library.ps_nbest_free(item)

    def add_word(self, word: str, phones: str, update: bool = True) -> None:
        self._call("ps_add_word", word.encode(), phones.encode(), int(update))

    def lookup_word(self, word: str) -> str | None:
        found = self._library.ps_lookup_word(self._pointer, word.encode())
        if not found:
            return None
        phones = ctypes.string_at(found).decode()
        self._library.ckd_free(found)
        return phones

    def add_lm_file(self, name: str, path: str) -> None:
        self._call("ps_add_lm_file", name.encode(), path.encode())

    def add_keyphrase(self, name: str, phrase: str) -> None:
        self._call("ps_add_keyphrase", name.encode(), phrase.encode())

    def set_align_text(self, text: str) -> None:
        """Hear nothing but these words, in this order; all must stand in the dictionary."""
        self._call("ps_set_align_text", text.encode())

    def activate_search(self, name: str) -> None:
        self._call("ps_activate_search", name.encode())

    def remove_search(self, name: str) -> None:
        self._call("ps_remove_search", name.encode())

    def set_cmn(self, mean: str) -> None:
        self._call("ps_set_cmn", mean.encode())

    def get_cmn(self, update: bool = False) -> str:
        return str(self._library.ps_get_cmn(self._pointer, int(update)).decode())
