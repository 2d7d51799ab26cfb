"""espeak-ng as a library: text to sound and text to phonemes, through ctypes and the wheel `espeakng-loader`.

The library keeps one voice, one speed and one callback per *process*; everything here takes one lock around setting
them and using them. Synthesis runs 300 times faster than speech, so the lock is held for milliseconds.
"""

from __future__ import annotations

import ctypes
import threading
from functools import lru_cache

import numpy as np

from core.errors import ModelError
from core.runtime import require

NORMAL_WORDS_PER_MINUTE = 165
MAX_TEXT = 4000  # characters handed over at once

_AUDIO_OUTPUT_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: sound goes to the callback, espeak_Synth returns when done
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report missing data instead of ending the process
_POSITION_CHARACTER, _CHARS_UTF8 = 1, 1
_RATE = 1  # espeak_PARAMETER
_PHONEMES_IPA = 0x02
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The one engine of this process: get it with `espeak()`."""

    def __init__(self) -> None:
        loader = require("espeakng_loader", needed_for="the espeak voice", package="espeakng-loader")
        self._lock = threading.Lock()
        try:
            self._library = ctypes.CDLL(loader.get_library_path())
            data_path = loader.get_data_path().encode()
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the espeak-ng library cannot be loaded: {error}",
                remedy="Reinstall it with `pip install --force-reinstall espeakng-loader`",
            ) from error
        self.sample_rate: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path, _DONT_EXIT)
        if self.sample_rate <= 0:
            raise ModelError(
                "espeak-ng finds no voice data",
                remedy="Reinstall it with `pip install --force-reinstall espeakng-loader`",
            )
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        self._blocks: list[np.ndarray] = []
        self._callback = _Callback(self._collect)  # kept: ctypes frees a callback that nothing refers to
        self._library.espeak_SetSynthCallback(self._callback)

    def synthesise(self, text: str, *, voice: str, rate: float) -> np.ndarray:
        """(n,) float32 at `sample_rate` Hz; rate 1 = 165 words a minute. Raises ModelError for an unknown voice."""
        encoded = text[:MAX_TEXT].replace("\0", " ").encode()
        with self._lock:
            self._set_voice(voice)
            self._library.espeak_SetParameter(_RATE, round(NORMAL_WORDS_PER_MINUTE * rate), 0)
            self._blocks = []
            status = self._library.espeak_Synth(
                encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
            )
            blocks, self._blocks = self._blocks, []
        if status != 0:
            raise ModelError(
                f"espeak-ng failed with status {status}", remedy="Shorten the text or choose another voice"
            )
        if not blocks:
            return np.zeros(0, dtype=np.float32)
        return np.concatenate(blocks).astype(np.float32) / 32768.0

    def ipa(self, text: str, *, voice: str = "en-us") -> str:
        """The pronunciation of a word or phrase in IPA, stress marks included."""
        pointer = ctypes.c_char_p(text[:MAX_TEXT].replace("\0", " ").encode())
        clauses: list[str] = []
        with self._lock:
            self._set_voice(voice)
            while pointer.value:  # each call consumes one clause and moves the pointer on, to NULL at the end
                clauses.append(
                    self._library.espeak_TextToPhonemes(ctypes.byref(pointer), _CHARS_UTF8, _PHONEMES_IPA).decode()
                )
        return " ".join(clauses).strip()

    def check_voice(self, voice: str) -> None:
        """Raises ModelError unless espeak-ng has this voice."""
        with self._lock:
            self._set_voice(voice)

    def _set_voice(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ModelError(
                f"espeak-ng has no voice {voice!r}",
                remedy="Use a language: en-us, en-gb, de, fr-fr, es, it, cmn, ... (LECTERN_SPEECH__VOICE=espeak:en-gb)",
            )

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # 1 would stop


_instance_lock = threading.Lock()


def espeak() -> Espeak:
    """The engine, started at the first call. Raises MissingDependencyError or ModelError."""
    with _instance_lock:  # two threads must not initialise the library twice
        return _start()


@lru_cache(maxsize=1)
def _start() -> Espeak:
    return Espeak()
