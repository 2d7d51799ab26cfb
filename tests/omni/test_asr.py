"""Recognition: people are understood as well as the default can, long recordings work, Whisper can take its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest
from speech_data import FOLDER, bare, needs_speech, transcripts
from tiny_models import convert_to_ctranslate2, save_tiny_whisper

from core.errors import ModelError, UsageError
from core.settings import SpeechSettings
from omni.arpabet import to_arpabet
from omni.asr import load_recogniser
from omni.audio import load_audio, resample
from omni.language_bias import DocumentLanguage, words_of
from omni.sphinx import SphinxRecogniser
from omni.sphinx_lm import read_trie, write_trie
from omni.transcript_text import tidy
from omni.trigram_mixture import interpolate
from omni.types import SpeechRecogniser, Waveform

GENERAL_MODEL = Path(pytest.importorskip("pocketsphinx").get_model_path("en-us/en-us.lm.bin"))


@pytest.fixture(scope="module")
def sphinx() -> SphinxRecogniser:
    recogniser = load_recogniser(SpeechSettings(recogniser="pocketsphinx"))
    assert isinstance(recogniser, SphinxRecogniser)
    return recogniser


@needs_speech
def test_fluent_readers_are_understood(sphinx: SphinxRecogniser) -> None:
    files = ["librivox_0930.wav", "LJ001-0013.wav", "sb_spk2_snt4.wav", "omni_vicuna_2.wav", "arctic_axb_a0004.wav"]
    heard = [bare(sphinx.transcribe(load_audio(FOLDER / file)).text) for file in files]
    assert jiwer.wer([transcripts()[file] for file in files], heard) < 0.35


@needs_speech
def test_more_than_30_s_at_another_rate_in_stereo_order_kept(sphinx: SphinxRecogniser) -> None:
    files = ["omni_vicuna_2.wav", "librivox_0930.wav", "omni_vicuna_2.wav"]
    gap = np.zeros(16_000 * 10, np.float32)
    parts = [np.concatenate([load_audio(FOLDER / file, sample_rate=16_000).samples, gap]) for file in files]
    long = resample(Waveform(np.concatenate(parts), 16_000), 44_100)
    transcript = sphinx.transcribe(load_audio((44_100, np.stack([long.samples] * 2, axis=1))))
    assert transcript.seconds == pytest.approx(long.seconds) and long.seconds > 30
    assert [s.start_s for s in transcript.segments] == sorted(s.start_s for s in transcript.segments)
    text = transcript.text.lower()
    assert text.count("deal with stress") == 2 and text.index("stress") < text.index("have been") < text.rindex(
        "stress"
    )
    assert transcript.text.startswith("What are") and "stress?" in transcript.text
    assert 0 < transcript.confidence <= 1


def test_nobody_speaking_is_an_empty_transcript(sphinx: SphinxRecogniser) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 32_000).astype(np.float32)
    transcript = sphinx.transcribe(Waveform(noise, 16_000))
    assert (transcript.text, transcript.segments) == ("", ())


@needs_speech
def test_threads_do_not_disturb_each_other(sphinx: SphinxRecogniser) -> None:
    files = ["omni_vicuna_2.wav", "LJ001-0002.wav"]
    sounds = [load_audio(FOLDER / file) for file in files]
    alone = [sphinx.transcribe(sound).text for sound in sounds]
    together: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.__setitem__(i, sphinx.transcribe(sounds[i % 2]).text))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(4)] == alone * 2


# --- the words of the documents -------------------------------------------------------------------------------------

MANUAL = """The Quillon pump has an impeller and a gasket. The impeller of the Quillon pump is replaced every 400 hours.
The gasket is checked by the Zorbex technician. How the Zorbex valve regulates the impeller is said in Section 3.
Are the most effective gaskets tested with stress? The flange torque is 35 Nm."""


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentLanguage]:
    yield DocumentLanguage("v1", tmp_path_factory.mktemp("language"), lambda: [MANUAL])


def test_language_of_documents_is_as_it_is_said(language: DocumentLanguage) -> None:
    sentences = [" ".join(words) for words in language.sentences()]
    assert "the impeller of the quillon pump is replaced every four hundred hours" in sentences
    assert "the flange torque is thirty five newton meters" in sentences
    assert language[0] in {"impeller", "quillon", "gasket", "pump", "zorbex"}


def test_text_written_word_by_word_is_heard_as_people_say_it(tmp_path: Path) -> None:
    """Corpora and some PDF files part "There's" and "don't"; a quoted letter stays alone."""
    text = "Mariah sang There 's Got to Be a Way and did n't stop on the N @-@ 71 , the Company \u2019s road of 'd' ."
    language = DocumentLanguage("corpus", tmp_path, lambda: [text])
    (sentence,) = language.sentences()
    assert sentence[2:8] == ["there's", "got", "to", "be", "a", "way"]
    assert {"didn't", "company's", "d"} <= set(sentence)
    assert not {"s", "at", "t"} & set(sentence)


def test_words_outside_the_dictionary_get_phones_of_cmudict() -> None:
    phones = set((GENERAL_MODEL.parent / "cmudict-en-us.dict").read_text().split())
    for word in ("quillon", "zorbex", "schoeffer", "ebitda", "fentanyl", "lanken", "xylitol", "jurgen"):
        pronunciation = to_arpabet(word).split()
        assert pronunciation and set(pronunciation) <= phones, (word, pronunciation)
    assert to_arpabet("lectern") == "L EH K T ER N"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, object, object]:
    """General and mixed model as pocketsphinx reads them, and the arrays of the mixed one."""
    import pocketsphinx

    base = read_trie(GENERAL_MODEL)
    sentences = [words_of(part) for part in MANUAL.split(". ")]
    model = interpolate(base, sentences, {word for sentence in sentences for word in sentence}, 0.5)
    path = tmp_path_factory.mktemp("lm") / "mixed.lm.bin"
    write_trie(path, model)
    return (*(pocketsphinx.NGramModel.readfile(str(p)) for p in (GENERAL_MODEL, path)), model)


def probability(model: object, words: str) -> float:
    """P(last | the others), judged by pocketsphinx itself (it takes the words last first)."""
    return 1.0001 ** model.prob(words.split()[::-1])  # type: ignore[attr-defined]


def test_mixed_model_is_read_by_pocketsphinx_as_it_was_computed(mixed: tuple) -> None:
    _, read, model = mixed
    for index in np.random.default_rng(0).integers(0, len(model.bigram_logp), 50):
        words = f"{model.words[model.bigram_history[index]]} {model.words[model.bigram_words[index]]}"
        assert np.log(probability(read, words)) == pytest.approx(model.bigram_logp[index], abs=0.002)
    for index in np.random.default_rng(1).integers(0, len(model.trigram_logp), 50):
        bigram = model.trigram_bigram[index]
        ids = (model.trigram_first[index], model.bigram_history[bigram], model.bigram_words[bigram])
        words = " ".join(model.words[i] for i in ids)
        assert np.log(probability(read, words)) == pytest.approx(model.trigram_logp[index], abs=0.002)


@pytest.mark.parametrize("history", ["what", "of the", "the impeller", "quillon pump", "said mister"])
def test_mixed_probabilities_sum_to_one(mixed: tuple, history: str) -> None:
    _, read, model = mixed
    total = sum(probability(read, f"{history} {word}") for word in model.words if word != "<s>")
    assert total == pytest.approx(1, abs=0.002)


def test_words_of_the_documents_rise_and_no_other_sinks_below_its_share(mixed: tuple) -> None:
    general, read, _ = mixed
    assert probability(read, "the quillon pump") > 0.2
    assert probability(read, "of the impeller") > 20 * probability(general, "of the impeller")
    for words in ("the united states", "in new york", "as far as", "once upon a"):
        assert probability(read, words) > 0.49 * probability(general, words)


@needs_speech
def test_bias_is_built_once_and_general_speech_survives_it(
    sphinx: SphinxRecogniser, language: DocumentLanguage
) -> None:
    question = load_audio(FOLDER / "omni_vicuna_2.wav")
    assert "deal with stress" in sphinx.transcribe(question, vocabulary=language).text
    files = {path.name: path.stat().st_mtime_ns for path in language.folder.iterdir()}
    assert any(name.startswith("v1-") for name in files)
    again = DocumentLanguage("v1", language.folder, lambda: pytest.fail("was read again"))
    sphinx.transcribe(question, vocabulary=again)
    assert {path.name: path.stat().st_mtime_ns for path in language.folder.iterdir()} == files


# --- Whisper --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_whisper(tmp_path_factory.mktemp("whisper"))


@needs_speech
@pytest.mark.parametrize("kind", ["transformers", "faster-whisper"])
def test_a_whisper_takes_its_place(kind: str, tiny_whisper: Path, tmp_path: Path) -> None:
    folder = tiny_whisper if kind == "transformers" else convert_to_ctranslate2(tiny_whisper, tmp_path / "ct2")
    recogniser = load_recogniser(SpeechSettings(recogniser=f"{kind}:{folder}"), device="cpu")
    assert isinstance(recogniser, SpeechRecogniser)
    sound = load_audio(FOLDER / "omni_vicuna_2.wav")
    transcript = recogniser.transcribe(sound, vocabulary=["lease", "EBITDA"])
    assert transcript.seconds == pytest.approx(sound.seconds)
    assert all(0 <= s.start_s <= s.end_s <= sound.seconds for s in transcript.segments)
    assert recogniser.transcribe(Waveform(np.zeros(16_000, np.float32), 16_000)).text == ""


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("faster-whisper:/nowhere/at/all", ModelError),
        ("faster-whisper:tiny.en", ModelError),
        ("transformers:nobody/no-such-model", ModelError),
        ("transformers:/nowhere/at/all", ModelError),
        ("ear-trumpet", UsageError),
        ("transformers:", UsageError),
    ],
)
def test_a_recogniser_that_is_not_there_is_one_clear_error(setting: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        load_recogniser(SpeechSettings(recogniser=setting))
    assert caught.value.remedy  # type: ignore[attr-defined]


# --- what the words look like ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("what was revenue in two thousand nineteen", "What was revenue in 2019?"),
        ("in which year did it end", "In which year did it end?"),
        ("the rent is due", "The rent is due."),
        ("what a perfect ending to the day", "What a perfect ending to the day."),
        ("what does the ten k say about twenty twenty two", "What does the 10-K say about 2022?"),
        ("q three of nineteen eighty four", "Q3 of 1984."),
        ("nineteen oh five", "1905."),
        ("three point five percent", "3.5 percent."),
        ("five million dollars", "5 million dollars."),
        ("two point five billion", "2.5 billion."),
        ("one of the two", "One of the two."),
        ("one two three", "One two three."),
        ("three hundred and forty five", "345."),
        ("twenty five thousand", "25,000."),
        ("fifteen hundred", "1500."),
        ("a hundred people", "A hundred people."),
        ("i think i'm late", "I think I'm late."),
        ("the s e c filing", "The SEC filing."),
        ("a b c", "A BC."),
        ("", ""),
    ],
)
def test_transcripts_read_well(words: str, text: str) -> None:
    assert tidy(words) == text
