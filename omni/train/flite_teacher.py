"""flite's clustergen voices as a teacher: phones and the vocoder's own parameters, without a detour over sound.

    teacher = FliteTeacher("rms")
    lesson = teacher.speak("Rent is due on the first.")      # .phones, .params, .waveform

A clustergen voice (Black, Interspeech 2006) predicts F0, 25 mel-cepstra and five band voicing strengths every 5 ms and
hands them to an MLSA vocoder. All of that stands in flite's utterance structure, which we read through ctypes, so our
networks learn from exact parameters. Needs Debian's package `flite` (libflite.so.1): for training and benchmarks only.
"""

from __future__ import annotations

import ctypes as c
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import MissingDependencyError

FRAME_S = 0.005
N_MCEP, N_BANDS = 25, 5
_STATES = 3  # of every phone; the trees that choose the parameters are each one state's own
_PUNCTUATION = b"R:SylStructure.parent.parent.R:Token.parent.punc"


@dataclass(frozen=True)
class TeacherPhone:
    name: str  # flite's set: ARPAbet in lower case with `ax` and `pau`
    stress: int  # of its syllable: 0, 1
    word: str  # "" in a pause
    starts_syllable: bool
    punctuation: str  # written behind its word
    end_frame: int  # exclusive
    state_ends: tuple[int, ...]  # of its three states, the last one being end_frame


@dataclass(frozen=True)
class Lesson:
    """One utterance as the teacher says it."""

    phones: list[TeacherPhone]
    f0: np.ndarray  # (frames,) Hz, 0 where unvoiced
    mcep: np.ndarray  # (frames, 25) after MLPG
    strengths: np.ndarray  # (frames, 5) voicing per band, 0..1
    waveform: np.ndarray  # (samples,) int16, 16 kHz


class _Track(c.Structure):
    _fields_ = [
        ("type", c.c_char_p),
        ("num_frames", c.c_int),
        ("num_channels", c.c_int),
        ("times", c.POINTER(c.c_float)),
        ("frames", c.POINTER(c.POINTER(c.c_float))),
    ]

    def array(self) -> np.ndarray:
        return np.stack(
            [np.ctypeslib.as_array(self.frames[i], (self.num_channels,)).copy() for i in range(self.num_frames)]
        )


class _Wave(c.Structure):
    _fields_ = [
        ("type", c.c_char_p),
        ("sample_rate", c.c_int),
        ("num_samples", c.c_int),
        ("num_channels", c.c_int),
        ("samples", c.POINTER(c.c_short)),
    ]


class _Utterance(c.Structure):
    _fields_ = [(name, c.c_void_p) for name in ("features", "ffunctions", "relations", "ctx")]


class _Voice(c.Structure):
    _fields_ = [("name", c.c_char_p), ("features", c.c_void_p)]


class _ClustergenDb(c.Structure):
    """The head of flite's cst_cg_db; only what lies behind it by its names is read."""

    _fields_ = [
        ("name", c.c_char_p),
        ("types", c.c_void_p),
        ("num_types", c.c_int),
        ("sample_rate", c.c_int),
        ("f0_mean", c.c_float),
        ("f0_stddev", c.c_float),
        ("num_f0_models", c.c_int),
        ("f0_trees", c.c_void_p),
        ("num_param_models", c.c_int),
        ("param_trees", c.c_void_p),
        ("spamf0_accent_tree", c.c_void_p),
        ("spamf0_phrase_tree", c.c_void_p),
        ("num_channels", c.c_void_p),
        ("num_frames", c.c_void_p),
        ("model_vectors", c.c_void_p),
        ("num_channels_spamf0_accent", c.c_int),
        ("num_frames_spamf0_accent", c.c_int),
        ("spamf0_accent_vectors", c.c_void_p),
        ("model_min", c.c_void_p),
        ("model_range", c.c_void_p),
        ("qtable", c.c_void_p),
        ("model_shape", c.c_int),
        ("frame_advance", c.c_float),
        ("num_dur_models", c.c_int),
        ("dur_stats", c.c_void_p),
        ("dur_cart", c.c_void_p),
        ("phone_states", c.c_void_p),
        ("do_mlpg", c.c_int),
        ("dynwin", c.c_void_p),
        ("dynwinsize", c.c_int),
        ("mlsa_alpha", c.c_float),
        ("mlsa_beta", c.c_float),
        ("multimodel", c.c_int),
        ("mixed_excitation", c.c_int),
        ("me_num", c.c_int),
        ("me_order", c.c_int),
        ("me_h", c.POINTER(c.POINTER(c.c_double))),
        ("spamf0", c.c_int),
        ("gain", c.c_float),
    ]


class FliteTeacher:
    """One clustergen voice. `sound=False` cuts flite's vocoder short (4 cepstra), for data without waveforms."""

    def __init__(self, voice: str = "rms", *, sound: bool = True) -> None:
        try:
            self._flite: Any = c.CDLL("libflite.so.1", mode=c.RTLD_GLOBAL)
            for part in ("usenglish", "cmulex"):
                c.CDLL(f"libflite_{part}.so.1", mode=c.RTLD_GLOBAL)
            library = c.CDLL(f"libflite_cmu_us_{voice}.so.1")
        except OSError as error:
            raise MissingDependencyError(
                f"the teacher voice cannot be loaded: {error}", remedy="Install it with `apt-get install flite`"
            ) from error
        for name, result, arguments in (
            ("flite_synth_text", c.POINTER(_Utterance), [c.c_char_p, c.c_void_p]),
            ("feat_val", c.c_void_p, [c.c_void_p, c.c_char_p]),
            ("feat_set_int", None, [c.c_void_p, c.c_char_p, c.c_int]),
            ("val_track", c.POINTER(_Track), [c.c_void_p]),
            ("val_wave", c.POINTER(_Wave), [c.c_void_p]),
            ("val_cg_db", c.POINTER(_ClustergenDb), [c.c_void_p]),
            ("mlpg", c.POINTER(_Track), [c.c_void_p, c.c_void_p]),
            ("delete_track", None, [c.c_void_p]),
            ("delete_utterance", None, [c.c_void_p]),
            ("utt_relation", c.c_void_p, [c.c_void_p, c.c_char_p]),
            ("relation_head", c.c_void_p, [c.c_void_p]),
            ("item_next", c.c_void_p, [c.c_void_p]),
            ("item_feat_string", c.c_char_p, [c.c_void_p, c.c_char_p]),
            ("ffeature_string", c.c_char_p, [c.c_void_p, c.c_char_p]),
            ("ffeature_int", c.c_int, [c.c_void_p, c.c_char_p]),
        ):
            function = getattr(self._flite, name)
            function.restype, function.argtypes = result, arguments
        self._flite.flite_init()
        register = getattr(library, f"register_cmu_us_{voice}")
        register.restype, register.argtypes = c.POINTER(_Voice), [c.c_char_p]
        self._voice = register(None)
        features = self._voice.contents.features
        if not sound:
            self._flite.feat_set_int(features, b"mlsa_speed_param", N_MCEP - 5)
        self._db = self._flite.val_cg_db(self._flite.feat_val(features, b"cg_db"))

    @property
    def vocoder_constants(self) -> dict[str, Any]:
        """alpha, beta and gain of the vocoder, and the (bands, taps) FIR filters of its mixed excitation."""
        db = self._db.contents
        filters = np.array([[db.me_h[band][tap] for tap in range(db.me_order)] for band in range(db.me_num)])
        return {"alpha": db.mlsa_alpha, "beta": db.mlsa_beta, "gain": db.gain, "filters": filters}

    def speak(self, text: str) -> Lesson:
        flite = self._flite
        utterance = flite.flite_synth_text(text.encode("ascii", "ignore"), self._voice)
        try:
            features = utterance.contents.features
            wave = flite.val_wave(flite.feat_val(features, b"wave")).contents
            samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).copy()
            track = flite.val_track(flite.feat_val(features, b"param_track"))
            smooth = flite.mlpg(c.cast(track, c.c_void_p), c.cast(self._db, c.c_void_p))
            params = smooth.contents.array()
            flite.delete_track(c.cast(smooth, c.c_void_p))
            strengths = flite.val_track(flite.feat_val(features, b"str_track")).contents.array()
            phones = self._phones(c.cast(utterance, c.c_void_p))
        finally:
            flite.delete_utterance(c.cast(utterance, c.c_void_p))
        return Lesson(phones, params[:, 0], params[:, 1 : 1 + N_MCEP], strengths, samples)

    def _phones(self, utterance: Any) -> list[TeacherPhone]:
        flite, phones = self._flite, []
        item = flite.relation_head(flite.utt_relation(utterance, b"Segment"))
        while item:
            name = flite.item_feat_string(item, b"name").decode()
            pause = name == "pau"
            first = not pause and flite.ffeature_string(item, b"R:SylStructure.p.name") == b"0"
            states = [b"R:segstate.daughter1" + b".n" * index for index in range(_STATES)]
            ends = [flite.ffeature_int(item, state + b".R:mcep_link.daughtern.frame_number") + 1 for state in states]
            phones.append(
                TeacherPhone(
                    name,
                    0 if pause else int(flite.ffeature_string(item, b"R:SylStructure.parent.stress") == b"1"),
                    "" if pause else flite.ffeature_string(item, b"R:SylStructure.parent.parent.name").decode(),
                    first,
                    "" if pause else flite.ffeature_string(item, _PUNCTUATION).decode(),
                    ends[-1],
                    tuple(ends),
                )
            )
            item = flite.item_next(item)
        return phones
