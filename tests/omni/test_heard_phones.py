"""Phones heard in a sound: the network, words held against them, words looked for in them; and how it is trained."""

from __future__ import annotations

import itertools
import logging
import math
import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import ModelError
from core.settings import SpeechSettings
from omni import moonshine
from omni.arpabet import phones as said_as
from omni.audio import resample
from omni.close_terms import PHONES, phone_numbers
from omni.moonshine import MoonshineRecogniser
from omni.moonshine_model import load_moonshine, weights_folder
from omni.phone_alignment import PhoneAlignment
from omni.phone_recogniser import BLANK, READ, WEIGHTS, HeardPhones, PhoneRecogniser, load_phone_recogniser
from omni.phone_search import PhoneIndex
from omni.train.phones import PhoneHead, edits
from omni.train.sayings import aligned, confusions
from omni.types import Waveform

needs_moonshine = pytest.mark.skipif(weights_folder() is None, reason="the wheel moonshine-voice is not installed")
SAID = "what did the byzantines help the zorbanians with"


def ways(word: str) -> tuple[tuple[int, ...], ...]:
    numbers = tuple(phone_numbers(said_as(word)))
    return (numbers,) if numbers else ()


@pytest.fixture(scope="module")
def recogniser() -> PhoneRecogniser:
    return load_phone_recogniser()


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """A sentence by the product's own voice, as Moonshine's encoder hears it."""
    from omni.tts import load_synthesiser

    voice = load_synthesiser(SpeechSettings(voice="lectern"))
    samples = np.concatenate([piece.samples for piece in voice.stream(SAID + "?")])
    return load_moonshine().encode(resample(Waveform(samples, voice.sample_rate), 16_000).samples)


def any_sound(frames: int, seed: int = 0) -> HeardPhones:
    """Frames in which each phone has some probability."""
    p = np.random.default_rng(seed).dirichlet(np.full(READ, 0.3), frames)
    skipped = np.full(READ + BLANK, -np.inf, np.float32)
    skipped[READ:] = math.log(0.1)
    return HeardPhones(np.log(np.concatenate([p, p[:, :BLANK]], axis=1) + 1e-5).astype(np.float32), skipped)


# --- the network ------------------------------------------------------------------------------------------------------


@needs_moonshine
def test_the_phones_that_were_said_are_heard(recogniser: PhoneRecogniser, states: np.ndarray) -> None:
    said = [phone for word in SAID.split() for phone in ways(word)[0]]
    heard = phone_numbers(" ".join(recogniser.phones(states)))
    assert edits(heard, said) < 0.35 * len(said)
    assert edits(random.Random(0).sample(heard, len(heard)), said) > 0.6 * len(said)  # not by chance


def test_each_frame_is_a_distribution_over_phones_and_none(recogniser: PhoneRecogniser) -> None:
    heard = recogniser(np.random.default_rng(0).normal(size=(30, 288)).astype(np.float32))
    assert heard.logp.shape == (30, READ + BLANK)
    assert np.exp(heard.logp[:, :READ]).sum(1) == pytest.approx(1, abs=1e-3)
    assert (np.exp(heard.logp[:, READ:]).sum(1) < 1.6).all()  # what is read one way may be said another


def test_it_is_the_network_that_was_trained(recogniser: PhoneRecogniser) -> None:
    import torch

    weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in load_file(WEIGHTS).items()}
    weights.pop("sayings")
    head = PhoneHead(np.zeros(288, np.float32), np.ones(288, np.float32)).eval()
    head.load_state_dict(weights)
    states = np.random.default_rng(1).normal(size=(40, 288)).astype(np.float32)
    with torch.inference_mode():
        expected = torch.log_softmax(head(torch.from_numpy(states)[None])[0], -1).numpy()
    assert np.abs(np.exp(recogniser(states).logp[:, :READ]) - np.exp(expected)).max() < 1e-4


def test_bad_weights_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.safetensors cannot be read.*git checkout"):
        load_phone_recogniser(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cut\.safetensors is damaged"):
        load_phone_recogniser(tmp_path / "cut.safetensors")
    other = load_file(WEIGHTS) | {"first.bias": np.zeros(3, np.float16)}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"of another network: first\.bias is \(3,\)"):
        load_phone_recogniser(tmp_path / "other.safetensors")


@needs_moonshine
def test_without_its_weights_people_are_understood_all_the_same_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(moonshine, "load_phone_recogniser", lambda: load_phone_recogniser(tmp_path / "none"))
    with caplog.at_level(logging.WARNING):
        assert MoonshineRecogniser().phones is None
    assert "cannot be read" in caplog.text and "git checkout" in caplog.text


# --- words held against the sound -------------------------------------------------------------------------------------


def all_timings(heard: HeardPhones, phones: list[int]) -> float:
    """log P of the phones in that order, by trying each way of cutting the frames: blanks, phone, blanks, phone, ..."""
    frames = len(heard.logp)
    kinds = [BLANK, *itertools.chain.from_iterable((phone, BLANK) for phone in phones)]
    total = -np.inf
    for cuts in itertools.combinations_with_replacement(range(frames + 1), len(kinds) - 1):
        bounds = [0, *cuts, frames]
        if any(bounds[2 * i + 1] == bounds[2 * i + 2] for i in range(len(phones))):
            continue  # a phone that lasts no frame
        parts = zip(kinds, itertools.pairwise(bounds), strict=True)
        total = np.logaddexp(total, sum(float(heard.logp[start:end, kind].sum()) for kind, (start, end) in parts))
    return float(total)


@pytest.mark.parametrize("seed", range(3))
def test_all_timings_count(seed: int) -> None:
    heard = any_sound(6, seed)
    said = {"ab": ((1, 2),), "c": ((3,), (4,)), "silent": ()}
    line = PhoneAlignment(heard, ["ab", "silent", "c"], said.__getitem__)
    expected = np.logaddexp(all_timings(heard, [1, 2, 3]), all_timings(heard, [1, 2, 4]))
    assert line.total == pytest.approx(expected, abs=1e-4)
    gain = line.gain(0, 1, ["c"])
    ways_of = [all_timings(heard, [a, b]) for a in (3, 4) for b in (3, 4)]
    assert gain == pytest.approx(np.logaddexp.reduce(ways_of) - expected, abs=1e-4)
    assert line.gain(0, 1, ["ab"]) == pytest.approx(0, abs=1e-4) and line.gain(0, 1, ["silent"]) is None
    assert line.gain(2, 3, []) == pytest.approx(all_timings(heard, [1, 2]) - expected, abs=1e-4)


def test_a_phone_that_was_read_off_letters_may_be_left_out() -> None:
    heard = any_sound(6)
    line = PhoneAlignment(heard, ["x"], lambda word: [(1, 2 + READ)])
    both, one = all_timings(heard, [1, 2]), all_timings(heard, [1]) + math.log(0.1)
    assert line.total == pytest.approx(np.logaddexp(both, one), abs=1e-4)


@needs_moonshine
def test_phones_speak_for_the_words_that_were_said(recogniser: PhoneRecogniser, states: np.ndarray) -> None:
    heard, said = recogniser(states), SAID.split()
    right = PhoneAlignment(heard, said, ways)
    assert right.starts == sorted(right.starts) and right.starts[-1] == len(states)
    for other in (["bananas"], ["zebra", "annie"], ["elephants"]):
        wrong = right.gain(6, 7, other)
        assert wrong is not None and wrong < -5
    misheard = [*said[:6], "sore", "banana", *said[7:]]
    gain = PhoneAlignment(heard, misheard, ways).gain(6, 8, ["zorbanians"])
    assert gain is not None and gain > 5
    long = PhoneAlignment(heard, said, ways).gain(7, 8, ["with", "telecommunications"])  # there is no room for it
    assert long is not None and long < -5


# --- words looked for -------------------------------------------------------------------------------------------------


@needs_moonshine
def test_a_name_is_found_where_it_was_said(recogniser: PhoneRecogniser, states: np.ndarray) -> None:
    names = [
        "zorbanians",
        "byzantines",
        "mandolin",
        "elephants",
        "quarries",
        "hyacinthus",
        "shipbuilding",
        "melquiston",
    ]
    heard = recogniser(states)
    found = PhoneIndex({name: ways(name) for name in names}).spotted(heard)
    assert {spot.word for spot in found[:2]} == {"zorbanians", "byzantines"}
    starts = PhoneAlignment(heard, SAID.split(), ways).starts
    for spot in found[:2]:
        at = SAID.split().index(spot.word)
        assert abs(spot.start - starts[at]) <= 6 and abs(spot.end - starts[at + 1]) <= 8


@pytest.mark.parametrize("seed", range(3))
def test_the_best_path_of_a_word_is_found_among_others(seed: int) -> None:
    heard = any_sound(7, seed)
    words: dict[str, list[tuple[int, ...]]] = {"a": [(1, 2, 3, 4)], "b": [(5, 6, 7, 8), (9, 10, 11, 12, 13)]}
    best = heard.logp[:, :READ].max(1)
    for spot in PhoneIndex(words).spotted(heard, worst=-99.0):
        tried: dict[tuple[int, int], float] = {}
        for phones in words[spot.word]:
            for bounds in itertools.combinations(range(8), len(phones) + 1):
                path = 0.0
                for place, phone in enumerate(phones):  # each lasts as long as it likes, then come blanks
                    start, end = bounds[place], bounds[place + 1]
                    last = place == len(phones) - 1
                    path += max(
                        heard.logp[start:cut, phone].sum() + heard.logp[cut:end, BLANK].sum()
                        for cut in range(end if last else start + 1, end + 1)
                    )
                tried[bounds[0], bounds[-1]] = max(
                    tried.get((bounds[0], bounds[-1]), -np.inf),
                    (path - best[bounds[0] : bounds[-1]].sum()) / len(phones),
                )
        where = max(tried, key=tried.__getitem__)
        assert spot.score == pytest.approx(tried[where], abs=1e-3) and (spot.start, spot.end) == where


def test_nothing_is_found_among_no_words_or_in_no_sound() -> None:
    assert PhoneIndex({}).spotted(any_sound(5)) == []
    assert PhoneIndex({"no": [(1, 2)]}).spotted(any_sound(5)) == []  # too short to be told from others
    assert PhoneIndex({"long": [(1, 2, 3, 4, 5)]}).spotted(any_sound(0)) == []


# --- how names are said -----------------------------------------------------------------------------------------------


def test_phones_are_paired_with_those_that_sound_alike() -> None:
    k, ae, aa, z, er, r = (PHONES.index(phone) for phone in ["K", "AE", "AA", "Z", "ER", "R"])
    assert aligned([k, ae, z, er], [k, aa, z, r]) == [(k, k), (ae, aa), (z, z), (er, r)]
    assert aligned([k, ae, z], [k, z]) == [(k, k), (ae, BLANK), (z, z)]
    assert aligned([k, z], [k, ae, z]) == [(k, k), (z, z)]


def test_what_is_said_otherwise_in_the_dictionary_becomes_likelier() -> None:
    ae, aa, k = (PHONES.index(phone) for phone in ["AE", "AA", "K"])
    table = confusions(["a", "b", "c", "d"], lambda word: [k, ae], lambda word: [k, aa if word == "a" else ae])
    assert table.shape == (BLANK, READ) and table.sum(1) == pytest.approx(1, abs=1e-4)
    assert table[ae, ae] > table[ae, aa] > 5 * table[ae, k] and table[k, k] > 0.9
