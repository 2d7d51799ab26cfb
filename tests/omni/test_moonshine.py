"""Moonshine: its weights found, checked and run; searching, writing and streaming."""

from __future__ import annotations

import logging
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelError
from core.settings import SpeechSettings
from omni import asr, moonshine_model
from omni.asr import load_recogniser, recogniser_name
from omni.audio import resample
from omni.language_bias import DocumentLanguage
from omni.moonshine import MoonshineRecogniser
from omni.moonshine_model import BEGIN, END, MoonshineModel, load_moonshine, read_tokens, weights_folder
from omni.moonshine_search import TEXT_TOKENS, beam_search, token_limit
from omni.moonshine_terms import Repair
from omni.moonshine_text import numerals, written
from omni.second_look import Evidence
from omni.types import StreamingRecogniser, Waveform

FOLDER = weights_folder()
needs_weights = pytest.mark.skipif(FOLDER is None, reason="the wheel moonshine-voice is not installed")
SAID = "How often is the pump of the building replaced? The owner pays for it within thirty days."


@pytest.fixture(scope="module")
def model() -> MoonshineModel:
    return load_moonshine()


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """The product's own voice, 16 kHz."""
    return spoken(SAID)


def spoken(text: str) -> np.ndarray:
    from omni.tts import load_synthesiser

    voice = load_synthesiser(SpeechSettings(voice="lectern"))
    samples = np.concatenate([piece.samples for piece in voice.stream(text)])
    return resample(Waveform(samples, voice.sample_rate), 16_000).samples


def words(text: str) -> list[str]:
    return "".join(c.lower() if c.isalnum() else " " for c in text).split()


def overlap(a: str, b: str) -> float:
    """Share of the words of the longer text that both have."""
    first, second = words(a), words(b)
    return sum(min(first.count(w), second.count(w)) for w in set(first)) / max(len(first), len(second), 1)


# --- weights ----------------------------------------------------------------------------------------------------------


def test_tokens_of_the_file_have_lengths_of_one_or_two_bytes(tmp_path: Path) -> None:
    long = b"x" * 300
    data = b"\x05<unk>" + b"\x00" + bytes([128 + 300 % 128, 300 // 128]) + long + "\x04\u2581a".encode()
    (tmp_path / "tokenizer.bin").write_bytes(data)
    assert read_tokens(tmp_path / "tokenizer.bin") == [b"<unk>", b"", long, "\u2581a".encode()]


@needs_weights
def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "tiny", dirs_exist_ok=True)
    with (tmp_path / "tiny" / "encoder_model.ort").open("r+b") as file:
        file.seek(5_000_000)
        file.write(struct.pack("<I", 12345))
    with pytest.raises(ModelError, match=r"encoder_model\.ort is damaged.*pip install"):
        load_moonshine(folder=tmp_path / "tiny")


@pytest.fixture
def fresh_recognisers() -> Iterator[None]:
    asr._load.cache_clear()
    yield
    asr._load.cache_clear()


@pytest.mark.usefixtures("fresh_recognisers")
def test_without_good_weights_pocketsphinx_listens_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pocketsphinx")
    for name in moonshine_model._FILES:
        (tmp_path / name).write_bytes(b"half a file")
    monkeypatch.setattr(moonshine_model, "weights_folder", lambda: tmp_path)
    with caplog.at_level(logging.WARNING):
        assert load_recogniser(SpeechSettings()).name == "pocketsphinx"
    assert "pocketsphinx" in caplog.text and "damaged" in caplog.text
    with pytest.raises(ModelError):
        load_recogniser(SpeechSettings(recogniser="moonshine"))


def test_auto_means_moonshine_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(asr, "weights_folder", lambda: tmp_path)
    assert recogniser_name(SpeechSettings()) == "moonshine"
    monkeypatch.setattr(asr, "weights_folder", lambda: None)
    assert recogniser_name(SpeechSettings()) == "pocketsphinx"
    assert recogniser_name(SpeechSettings(recogniser="transformers:x")) == "transformers:x"


# --- decoding ---------------------------------------------------------------------------------------------------------


@needs_weights
def test_one_beam_is_what_a_plain_loop_over_the_published_graph_gives(model: MoonshineModel, sound: np.ndarray) -> None:
    import onnxruntime

    assert FOLDER is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    encoder, decoder = (
        onnxruntime.InferenceSession(str(FOLDER / name), options, providers=["CPUExecutionProvider"])
        for name in ("encoder_model.ort", "decoder_model_merged.ort")
    )
    heard, mask = sound[None], np.ones((1, len(sound)), np.int64)
    feeds = {
        "encoder_hidden_states": encoder.run(None, {"input_values": heard, "attention_mask": mask})[0],
        "encoder_attention_mask": mask,  # of samples, as published
    }
    past = {i.name: np.zeros((1, 8, 0, 36), np.float32) for i in decoder.get_inputs() if "past" in i.name}
    outputs = [output.name for output in decoder.get_outputs()]
    expected, token = [], BEGIN
    while token != END and len(expected) < token_limit(len(sound)):
        ids = {"input_ids": np.array([[token]]), "use_cache_branch": np.array([token != BEGIN])}
        found = dict(zip(outputs, decoder.run(outputs, {**feeds, **past, **ids}), strict=True))
        for name in past:
            if token == BEGIN or ".decoder." in name:
                past[name] = found[name.replace("past_key_values", "present")]
        token = int(found["logits"][0, -1, :TEXT_TOKENS].argmax())
        expected.append(token)
    best = beam_search(model, model.encode(sound), token_limit(len(sound)), beams=1)[0]
    assert len(expected) > 10
    assert list(best.tokens) == expected


@needs_weights
def test_readings_come_best_first_and_differ(model: MoonshineModel, sound: np.ndarray) -> None:
    states = model.encode(sound)
    readings = beam_search(model, states, token_limit(len(sound)), beams=5)
    assert len(readings) == 5 and len({reading.tokens for reading in readings}) == 5
    assert [r.score for r in readings] == sorted((r.score for r in readings), reverse=True)
    # a wider search finds nothing worse than the likeliest token each time; scores differ by some tenths with company
    assert readings[0].score > beam_search(model, states, token_limit(len(sound)), beams=1)[0].score - 1.0


@needs_weights
def test_what_goes_on_and_on_is_stopped(model: MoonshineModel) -> None:
    """A hum of 20 s is nothing that could be said in more than so many tokens."""
    hum = (0.2 * np.sin(np.arange(20 * 16_000) * 2 * np.pi * 120 / 16_000)).astype(np.float32)
    for beam in beam_search(model, model.encode(hum), 40, beams=3):
        assert len(beam.tokens) <= 41


# --- the recogniser ---------------------------------------------------------------------------------------------------


@needs_weights
def test_nobody_speaking_is_an_empty_transcript() -> None:
    recogniser = load_recogniser(SpeechSettings())
    assert isinstance(recogniser, StreamingRecogniser) and recogniser.name == "moonshine"
    noise = np.random.default_rng(0).normal(0, 0.02, 32_000).astype(np.float32)
    for samples in (np.zeros(32_000, np.float32), noise, np.zeros(0, np.float32), np.zeros(100, np.float32)):
        session = recogniser.stream()
        session.accept(samples)
        assert session.finish().text == ""
        if len(samples):
            assert recogniser.transcribe(Waveform(samples, 16_000)).text == ""


@needs_weights
@pytest.mark.parametrize("block", [512, 2_560, 100_000])
def test_streamed_is_what_the_whole_recording_gives(sound: np.ndarray, block: int) -> None:
    recogniser = load_recogniser(SpeechSettings())
    assert isinstance(recogniser, StreamingRecogniser)
    session = recogniser.stream()
    partials = []
    for start in range(0, len(sound), block):
        session.accept(sound[start : start + block])
        partials.append(session.partial())
    paused = session.pause()
    assert session.finish() == paused
    whole = recogniser.transcribe(Waveform(sound, 16_000))
    assert overlap(paused.text, whole.text) >= 0.8
    assert overlap(whole.text, SAID) >= 0.5
    if block < 10_000:  # something is shown while it is said, and what is shown grows
        lengths = [len(partial.split()) for partial in partials]
        assert 0 < lengths[len(lengths) // 2] < lengths[-1]


@needs_weights
def test_speech_longer_than_the_network_reads_is_divided(sound: np.ndarray) -> None:
    recogniser = load_recogniser(SpeechSettings())
    long = np.tile(np.concatenate([sound, np.zeros(3_000, np.float32)]), int(27 * 16_000 / len(sound)) + 1)
    session = recogniser.stream()  # type: ignore[attr-defined]
    session.accept(long)
    transcript = session.finish()
    whole = recogniser.transcribe(Waveform(long, 16_000))
    for heard in (transcript, whole):
        assert len(heard.segments) >= 2
        assert heard.segments[-1].end_s > 27
        assert words(heard.text).count("pump") >= 3


@needs_weights
def test_a_name_of_the_documents_is_understood_with_them_and_not_without(tmp_path: Path) -> None:
    """Of eight invented names most are written as the documents write them, of which few are guessed without."""
    names = ["Zyxelon", "Quarrie", "Dravonex", "Brimwhistle", "Oskenrod", "Tarvaldi", "Melquiston", "Grubnikov"]
    text = "\n\n".join(
        f"The {name} pump is replaced every year. Contact the owner about the {name}. Each {name} valve has a seal."
        for name in names
    )
    language = DocumentLanguage("names", tmp_path, lambda: text.split("\n\n"))
    recogniser = load_recogniser(SpeechSettings())
    found = {"with": 0, "without": 0}
    for name in names:
        waveform = Waveform(spoken(f"How often is the {name} pump replaced?"), 16_000)
        biased, general = recogniser.compare(waveform, language)  # type: ignore[attr-defined]
        found["with"] += name in biased.text
        found["without"] += name in general.text
    assert found["with"] >= found["without"] + 3


class Noted:
    """In the place of a second look: puts `instead` for the first word, and notes what it was shown."""

    def __init__(self, instead: str = "") -> None:
        self.instead, self.shown = instead, list[tuple[str, Evidence]]()

    def repairs(self, line: str, evidence: Evidence) -> list[Repair] | None:
        self.shown.append((line, evidence))
        end = len(line.split()[0])
        text = self.instead + line[end:]
        return [Repair(text, line[:end], self.instead, 0, end, 0.99, ())] if self.instead else None

    def applied(self, line: str, repairs: list[Repair], least: float) -> str:
        return repairs[0].text if repairs[0].probability > least else line


@needs_weights
def test_talk_about_something_else_is_looked_at_from_the_reading_without_documents(
    sound: np.ndarray, tmp_path: Path
) -> None:
    """The documents' words come in by the second look alone, which is told that the line does not sound like them."""
    recogniser = load_recogniser(SpeechSettings())
    assert isinstance(recogniser, MoonshineRecogniser)
    language = DocumentLanguage("names", tmp_path, lambda: ["Zyxelon Quarrie Dravonex. The Zyxelon hums."] * 3)
    expected = recogniser.expectation(language, wait=True)
    assert expected is not None
    sound = sound[: 6 * 16_000]
    plain = recogniser.read(sound, None)
    beside = [("zyxelon often is", 1.0)]
    for instead in ("", "Zyxelon"):
        noted = Noted(instead)
        reading = recogniser.read(sound, replace(expected, second=noted), beside=lambda: beside)  # type: ignore[arg-type]
        [(line, evidence)] = noted.shown
        assert not evidence.on_topic and list(evidence.second) == beside
        assert written(line) == plain.text
        assert (reading.text == plain.text) == (not instead)
        assert reading.text.startswith(instead) and reading.corrections == ()
    noted = Noted("Zyxelon")
    assert recogniser.read(sound, replace(expected, second=noted), final=False).text == plain.text  # type: ignore[arg-type]
    assert noted.shown == []  # somebody is still speaking


@needs_weights
def test_a_line_about_the_documents_is_written_as_they_write(sound: np.ndarray, tmp_path: Path) -> None:
    recogniser = load_recogniser(SpeechSettings())
    assert isinstance(recogniser, MoonshineRecogniser)
    for passage, name in (("Soap is made by P&G. And P&G sells it.", "P&G"), ("Soap is made by hand.", "P and G")):
        language = DocumentLanguage(name, tmp_path / name[-3:], lambda passage=passage: [passage])  # type: ignore[misc]
        expected = recogniser.expectation(language, wait=True)
        assert expected is not None
        noted = replace(expected, second=Noted("P and G"))  # type: ignore[arg-type]
        reading = recogniser.read(sound[: 6 * 16_000], noted, beside=tuple)
        assert reading.text.startswith(f"{name} ")
        assert reading.hypotheses[0].text == reading.text


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "line"),
    [
        ("Who ranked B. Y. U. as the best in nineteen o four,", "Who ranked BYU as the best in 1904?"),
        ("during August eighteen, sixty two", "During August 1862."),
        ("Early Hdtv, in twenty twelve, was good.", "Early HDTV, in 2012, was good."),
        ("Agent Joseph D..", "Agent Joseph D."),
        ("the costs of the B y U s school", "The costs of the BYU's school."),
        ("five million dollars and twenty-five", "5 million dollars and 25."),
        ("It costs $5 million.", "It costs $5 million."),
        ("which is plan B I think", "Which is plan B I think."),
        ("who wrote Chronicles I I I", "Who wrote Chronicles III?"),
        ("World War I. I. and World War I", "World War II and World War I."),
        ("...", ""),
    ],
)
def test_writing_is_made_even(heard: str, line: str) -> None:
    assert written(heard, {"byu": "BYU", "hdtv": "HDTV", "ii": "II"}) == line


def test_roman_numerals_are_capitals_and_names_stay() -> None:
    assert (
        numerals("Henry Viii, Part Ii, Iii and Xiii; Vi and Xi Li") == "Henry VIII, Part II, III and XIII; Vi and Xi Li"
    )
