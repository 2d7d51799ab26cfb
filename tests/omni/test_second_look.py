"""A second look at what was understood: passages, evidence, what is believed; and the listener beside."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import numpy as np
import pytest

from core.settings import SpeechSettings
from omni.audio import resample
from omni.language_bias import BiasedModel, DocumentLanguage
from omni.passage_words import PassageWords, passages_of
from omni.types import Waveform

pytest.importorskip("pocketsphinx")

from omni.biased_models import BiasedModels
from omni.moonshine_bias import general_trigram
from omni.moonshine_model import load_moonshine, weights_folder
from omni.moonshine_terms import Repair
from omni.phone_recogniser import HeardPhones, load_phone_recogniser
from omni.second_listener import SecondListener
from omni.second_look import Evidence, SecondLook
from omni.sphinx_decoder import general_language_model

if weights_folder() is None:
    pytest.skip("the wheel moonshine-voice is not installed", allow_module_level=True)

PASSAGES = [
    "the byzantines helped the khazars . the pecheneg tribes came later",
    "the mandolin has eight strings . it is played with a plectrum",
    "bacteria are small . many of them live in water",
]
SAID = "how many strings does the mandolin have"


class Known(BiasedModel):
    def passages(self) -> list[str]:
        return PASSAGES


@pytest.fixture(scope="module")
def known() -> BiasedModel:
    return Known(general_language_model(), {})


@pytest.fixture(scope="module")
def look(known: BiasedModel) -> SecondLook:
    return SecondLook(known, general_trigram())


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """The product's own voice, 16 kHz."""
    from omni.tts import load_synthesiser

    voice = load_synthesiser(SpeechSettings(voice="lectern"))
    samples = np.concatenate([piece.samples for piece in voice.stream(SAID + "?")])
    return resample(Waveform(samples, voice.sample_rate), 16_000).samples


@pytest.fixture(scope="module")
def heard(sound: np.ndarray) -> HeardPhones:
    return load_phone_recogniser()(load_moonshine().encode(sound))


# --- passages ---------------------------------------------------------------------------------------------------------


def test_passages_hold_whole_sentences_in_order() -> None:
    sentences = [[f"w{i}", "x", "y"] for i in range(100)]
    passages = list(passages_of(sentences))
    assert len(passages) == 4 and all(passage.endswith(" .") for passage in passages)
    assert [word for passage in passages for word in passage.split() if word[0] == "w"] == [s[0] for s in sentences]


def test_words_of_the_passage_that_a_question_finds_are_expected_and_others_are_not() -> None:
    near = PassageWords(PASSAGES).near([("who did the byzantines help", 0.6), ("who did the bison tins help", 0.4)])
    assert near is not None
    assert near.p("khazars") > 0.05 and near.p("mandolin") == near.p("xylophone") == 0
    assert near.p("khazars", ("the",)) > near.p("khazars", ("came",))  # it stands behind "the"
    assert sum(near.words.values()) == pytest.approx(1, abs=0.15)  # marks between sentences are no words


def test_what_no_passage_knows_finds_none() -> None:
    assert PassageWords(PASSAGES).near([("zebras", 1.0)]) is None
    assert PassageWords([]).near([("the khazars", 1.0)]) is None


def test_passages_are_kept_with_the_language_of_the_documents(tmp_path: Path) -> None:
    text = "The Hadravan pump is old. Its quillwort is replaced in May."
    built = BiasedModels().of(DocumentLanguage("v1", tmp_path, lambda: [text]), wait=True)
    assert built is not None
    assert built.passages() == ["the hadravan pump is old . its quillwort is replaced in may ."]


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_word_that_sounds_otherwise_gives_way_to_one_of_the_passage(look: SecondLook, heard: HeardPhones) -> None:
    line = "How many strings does the man darling have?"
    doubts = [(line.index("man"), line.index(" have"), 6.0)]
    repairs = look.repairs(line, Evidence(heard, [(line, 0.6), ("How many strings does the mandolin have?", 0.4)],
                                                 [(SAID, 1.0)], doubts))  # fmt: skip
    assert repairs is not None and look.applied(line, repairs) == "How many strings does the mandolin have?"
    assert [repair.probability for repair in repairs] == sorted((r.probability for r in repairs), reverse=True)


def test_what_was_understood_stays(look: SecondLook, heard: HeardPhones) -> None:
    line = "How many strings does the mandolin have?"
    for second in ([], [(SAID, 1.0)], [("how many springs does the man darling have", 1.0)]):
        repairs = look.repairs(line, Evidence(heard, [(line, 1.0)], second, [(0, len(line), 0.1)]))
        assert repairs is not None and look.applied(line, repairs) == line


def test_an_s_alone_is_no_other_word(look: SecondLook, heard: HeardPhones) -> None:
    line = "How many strings does the mandolin have?"
    others = [("How many strings does the mandolin's have?", 0.4), ("How many springs does the mandolin have?", 0.2)]
    repairs = look.repairs(line, Evidence(heard, [(line, 0.4), *others], [(SAID, 1.0)], [(0, len(line), 9.0)]))
    assert repairs is not None
    assert "springs" in {repair.term for repair in repairs} and "mandolin's" not in {repair.term for repair in repairs}


def test_a_line_about_nothing_in_the_documents_is_left_alone(look: SecondLook, heard: HeardPhones) -> None:
    assert look.repairs("Zebras!", Evidence(heard, [("Zebras!", 1.0)])) is None


def test_a_line_about_something_else_gives_way_only_where_another_listener_heard_so(
    look: SecondLook, heard: HeardPhones
) -> None:
    line = "How many strings does the man darling have?"
    readings, doubts = [(line, 1.0)], [(line.index("man"), line.index(" have"), 6.0)]

    def seen(line: str, second: list[tuple[str, float]], *, on_topic: bool) -> list[Repair] | None:
        return look.repairs(line, Evidence(heard, readings, second, doubts, on_topic=on_topic))

    assert seen(line, [], on_topic=False) is None and seen(line, [], on_topic=True) is not None
    repairs = seen(line, [(SAID, 1.0)], on_topic=False)
    assert repairs is not None and look.applied(line, repairs) == "How many strings does the mandolin have?"
    assert seen(line, [("how many strings does the man darling have", 1.0)], on_topic=False) == []
    assert seen("Strings, please", [("strings please", 1.0)], on_topic=False) is None  # short: an order, or a thank-you


def test_a_voice_that_pocketsphinx_does_not_understand_is_not_judged_by_it(
    look: SecondLook, heard: HeardPhones
) -> None:
    line = "How many strings does the man darling have?"
    assert look.repairs(line, Evidence(heard, [(line, 1.0)], [("oh money screens thus a medal in half", 1.0)])) is None


# --- the listener -----------------------------------------------------------------------------------------------------


def test_one_is_listened_to_at_a_time_and_others_do_not_wait(known: BiasedModel, sound: np.ndarray) -> None:
    listener = SecondListener()
    listener.prepare(known)
    listener.prepare = lambda biased: None  # type: ignore[method-assign]  # nobody else asks for the decoder
    first = listener.listen(known)
    assert first is not None
    second = listener.listen(known)
    first.accept(sound)
    if second is not None:
        second.accept(sound)
        assert second.heard() == ()
        second.close()
    assert listener.listen(known) is None
    heard = first.heard()
    assert sum(p for _, p in heard) == pytest.approx(1) and set(SAID.split()) & set(heard[0][0].split())
    first.accept(sound)  # more follows
    assert len(first.heard()[0][0].split()) > len(heard[0][0].split())
    first.close()
    assert listener.listen(known) is not None


def test_until_the_words_are_loaded_nothing_is_heard_and_nobody_waits(known: BiasedModel) -> None:
    listener = SecondListener()
    loaded: Queue[BiasedModel] = Queue()
    listener.prepare = loaded.put  # type: ignore[method-assign]
    assert listener.listen(known) is None
    assert loaded.get(timeout=60) is known  # in the background
