"""A second look at what was understood: passages, forced alignment, evidence; and the listener beside."""

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
from omni.forced_alignment import aligned
from omni.moonshine_bias import general_trigram
from omni.moonshine_terms import Repair
from omni.second_listener import SecondListener
from omni.second_look import Evidence, SecondLook
from omni.sphinx_decoder import general_language_model

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


# --- sound ------------------------------------------------------------------------------------------------------------


def test_sound_speaks_for_the_words_that_were_said(sound: np.ndarray) -> None:
    words = SAID.split()
    with aligned(sound, words) as heard:
        assert heard is not None
        assert heard.gain(2, 3, ["strings"]) == 0.0
        for other in (["elephants"], ["bananas", "and"], ["quillworts"]):
            wrong = heard.gain(2, 3, other)
            assert wrong is not None and wrong < -20
    with aligned(sound, [*words[:2], "elephants", *words[3:]]) as heard:
        assert heard is not None
        right = heard.gain(2, 3, ["strings"])
        assert right is not None and right > 20


def test_words_that_the_sound_has_no_room_for_do_not_gain_by_being_left_out(sound: np.ndarray) -> None:
    """A way through the first words alone scores better than one through all of them."""
    words = SAID.split()
    long = ["unconstitutionally", "telecommunications", "representatives"]
    with aligned(sound, words) as heard:
        assert heard is not None
        for start, end in ((2, 3), (0, 2), (6, 7)):
            gain = heard.gain(start, end, [*words[start:end], *long])
            assert gain is None or gain < -20
    with aligned(sound, [*words, long[0]]) as heard:  # what was heard too much at the end keeps the rest from nothing
        assert heard is not None
        wrong = heard.gain(2, 3, ["bananas"])
        assert wrong is not None and wrong < -20


def test_what_cannot_be_said_is_no_evidence(sound: np.ndarray) -> None:
    with aligned(sound, SAID.split()) as heard:
        assert heard is not None and heard.gain(2, 3, ["---"]) is None
    with aligned(sound, []) as heard:
        assert heard is None


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_word_that_sounds_otherwise_gives_way_to_one_of_the_passage(look: SecondLook, sound: np.ndarray) -> None:
    line = "How many strings does the man darling have?"
    doubts = [(line.index("man"), line.index(" have"), 6.0)]
    repairs = look.repairs(line, sound, Evidence([(line, 0.6), ("How many strings does the mandolin have?", 0.4)],
                                                 [(SAID, 1.0)], doubts))  # fmt: skip
    assert repairs is not None and look.applied(line, repairs) == "How many strings does the mandolin have?"
    assert [repair.probability for repair in repairs] == sorted((r.probability for r in repairs), reverse=True)


def test_what_was_understood_stays(look: SecondLook, sound: np.ndarray) -> None:
    line = "How many strings does the mandolin have?"
    for second in ([], [(SAID, 1.0)], [("how many springs does the man darling have", 1.0)]):
        repairs = look.repairs(line, sound, Evidence([(line, 1.0)], second, [(0, len(line), 0.1)]))
        assert repairs is not None and look.applied(line, repairs) == line


def test_a_line_about_nothing_in_the_documents_is_left_alone(look: SecondLook, sound: np.ndarray) -> None:
    assert look.repairs("Zebras!", sound, Evidence([("Zebras!", 1.0)])) is None


def test_a_line_about_something_else_gives_way_only_where_another_listener_heard_so(
    look: SecondLook, sound: np.ndarray
) -> None:
    line = "How many strings does the man darling have?"
    readings, doubts = [(line, 1.0)], [(line.index("man"), line.index(" have"), 6.0)]

    def seen(line: str, second: list[tuple[str, float]], *, on_topic: bool) -> list[Repair] | None:
        return look.repairs(line, sound, Evidence(readings, second, doubts, on_topic=on_topic))

    assert seen(line, [], on_topic=False) is None and seen(line, [], on_topic=True) is not None
    repairs = seen(line, [(SAID, 1.0)], on_topic=False)
    assert repairs is not None and look.applied(line, repairs) == "How many strings does the mandolin have?"
    sure = seen(line, [(SAID, 1.0)], on_topic=True)
    assert sure is not None and sure[0].term == repairs[0].term and sure[0].probability > repairs[0].probability
    assert seen("Strings, please", [("strings please", 1.0)], on_topic=False) is None  # short: an order, or a thank-you


def test_a_voice_that_pocketsphinx_does_not_understand_is_not_judged_by_it(look: SecondLook, sound: np.ndarray) -> None:
    line = "How many strings does the man darling have?"
    assert look.repairs(line, sound, Evidence([(line, 1.0)], [("oh money screens thus a medal in half", 1.0)])) is None


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
