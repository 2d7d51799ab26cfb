"""Recognition while somebody speaks: what comes in pieces is understood like the whole, and quickly at its end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest
from speech_data import bare

from omni.audio import load_audio
from omni.biased_models import BiasedModels
from omni.language_bias import DocumentLanguage
from omni.second_opinion import MARGIN, better, combined, n_best
from omni.sphinx import SphinxRecogniser, assemble
from omni.sphinx_decoder import Reading
from omni.types import Hypothesis, StreamingRecogniser, Transcript, Waveform
from omni.window_session import WindowSession

pytest.importorskip("pocketsphinx")

MANUAL = """The Quillon pump has an impeller and a gasket. The impeller of the Quillon pump is replaced every 400 hours.
The gasket of the Quillon pump is checked by the technician. In case of doubt ask Quillon's service."""
QUESTION = "How is the impeller of the Quillon pump replaced?"  # spoken by flite's voice rms


@pytest.fixture(scope="module")
def recogniser() -> SphinxRecogniser:
    return SphinxRecogniser(listeners=2)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory, recogniser: SphinxRecogniser) -> Iterator[DocumentLanguage]:
    manual = DocumentLanguage("v1", tmp_path_factory.mktemp("language"), lambda: [MANUAL])
    recogniser.prepare(manual)
    yield manual


@pytest.fixture(scope="module")
def question() -> np.ndarray:
    return load_audio(Path(__file__).parent / "data" / "quillon_rms.wav", sample_rate=16_000).samples


def understood(text: str) -> bool:
    """All but one word at most: the cepstral mean of one second is not that of the whole."""
    return jiwer.wer(bare(QUESTION), bare(text)) <= 1 / len(QUESTION.split())


def test_words_of_the_documents_are_understood_and_only_with_their_language(
    recogniser: SphinxRecogniser, language: DocumentLanguage, question: np.ndarray
) -> None:
    with_words, general = recogniser.compare(Waveform(question, 16_000), language)
    assert with_words.text == QUESTION
    assert "Quillon" not in general.text and "quillon" not in general.text
    assert recogniser.transcribe(Waveform(question, 16_000)).text == general.text


@pytest.mark.parametrize("block", [512, 5_000])
def test_streamed_is_understood_like_the_whole(
    recogniser: SphinxRecogniser, language: DocumentLanguage, question: np.ndarray, block: int
) -> None:
    session = recogniser.stream(language)
    assert isinstance(recogniser, StreamingRecogniser)
    partials = []
    for start in range(0, len(question), block):
        session.accept(question[start : start + block])
        partials.append(session.partial())
    transcript = session.finish()
    assert understood(transcript.text)
    assert partials[0] == "" and "impeller of the" in partials[-1], "partials come while somebody speaks"
    assert transcript.hypotheses[0].text == transcript.text
    scores = [hypothesis.score for hypothesis in transcript.hypotheses]
    assert scores == sorted(scores, reverse=True) and 0.9 < sum(map(math.exp, scores)) < 1.001


def test_an_utterance_that_goes_on_after_a_pause_is_one(
    recogniser: SphinxRecogniser, language: DocumentLanguage, question: np.ndarray
) -> None:
    session = recogniser.stream(language)
    half = len(question) // 2
    session.accept(question[:half])
    early = session.pause()
    assert early.text and early.text != QUESTION
    session.accept(question[half:])
    late = session.pause()
    assert understood(late.text)
    assert session.finish() is late, "nothing is decoded again"


def test_more_utterances_at_once_than_decoders_wait_and_lose_nothing(
    recogniser: SphinxRecogniser, language: DocumentLanguage, question: np.ndarray
) -> None:
    sessions = [recogniser.stream(language) for _ in range(3)]
    for start in range(0, len(question), 4_000):
        for session in sessions:
            session.accept(question[start : start + 4_000])
    sessions[1].close()  # given up
    first, last = sessions[0].finish().text, sessions[2].finish().text
    assert understood(first) and understood(last)


def test_silence_and_nothing_are_empty(recogniser: SphinxRecogniser, language: DocumentLanguage) -> None:
    for samples in (0, 300, 8_000):
        session = recogniser.stream(language)
        session.accept(np.zeros(samples, np.float32))
        assert session.finish().text == ""


def test_an_unbuilt_language_does_not_keep_the_speaker_waiting(
    recogniser: SphinxRecogniser, language: DocumentLanguage, question: np.ndarray
) -> None:
    """After an upload the model of the state before is used until the new one is built."""
    newer = DocumentLanguage("v2", language.folder, lambda: [MANUAL, "A new page."])
    session = recogniser.stream(newer)
    session.accept(question)
    assert "Quillon pump" in session.finish().text


def test_a_document_is_read_once_and_a_further_one_alone(tmp_path: Path) -> None:
    read: list[str] = []

    def documents(*names: str):  # type: ignore[no-untyped-def]
        def reader(name: str):  # type: ignore[no-untyped-def]
            def passages() -> list[str]:
                read.append(name)
                return [f"The {name} is here, says Mister Zorbex. It is the {name}."]

            return passages

        return lambda: [(name, reader(name)) for name in names]

    first = DocumentLanguage("v1", tmp_path, documents=documents("lease"))
    assert ["the", "lease", "is", "here", "says", "mister", "zorbex"] in list(first.sentences())
    both = DocumentLanguage("v2", tmp_path, documents=documents("lease", "manual"))
    assert len(list(both.sentences())) == 4 and read == ["lease", "manual"]
    list(DocumentLanguage("v3", tmp_path, documents=documents("manual")).sentences())
    assert read == ["lease", "manual"] and len(list((tmp_path / "documents").glob("*.gz"))) == 1


# --- two opinions ----------------------------------------------------------------------------------------------------


def test_the_documents_reading_stands_only_if_it_is_clearly_better() -> None:
    general = Reading("what was the rate", -1000.0, 0.8)
    assert better(Reading("what was the lease", -1000.0 + MARGIN - 1), general) is general
    clear = Reading("what was the lease", -1000.0 + MARGIN + 1)
    assert better(clear, general) is clear
    assert better(clear, None) is clear and better(Reading(), general) is general


def test_n_best_holds_both_opinions_with_what_was_chosen_first() -> None:
    chosen = Reading("a", -1000.0, alternatives=(("b", -1013.0),))
    ranked = n_best(chosen, chosen, Reading("c", -990.0))
    assert [words for words, _ in ranked] == ["a", "c", "b"]
    assert sum(math.exp(score) for _, score in ranked) == pytest.approx(1)
    whole = combined([[Hypothesis("x", 0.0), Hypothesis("y", -2.0)], [Hypothesis("z", -1.0)]])
    assert whole == (Hypothesis("x z", -1.0), Hypothesis("y z", -3.0))


def test_what_pocketsphinx_heard_is_written_as_the_documents_write(tmp_path: Path) -> None:
    language = DocumentLanguage("v1", tmp_path, lambda: ["Few forget World War II. After World War II came peace."])
    biased = BiasedModels().of(language, wait=True)
    pieces = [(0.0, 2.0, [Reading("how did world war two end", -1000.0, 0.8)])]
    assert assemble(pieces, 2.0, biased).text == "How did World War II end?"
    assert assemble(pieces, 2.0, None).text == "How did world war two end?"


# --- recognisers that only hear whole recordings ----------------------------------------------------------------------


def test_whole_recordings_are_heard_again_as_they_grow_and_not_at_every_block() -> None:
    lengths: list[int] = []

    def transcribe(sound: Waveform) -> Transcript:
        lengths.append(len(sound.samples))
        return Transcript(f"{len(sound.samples)} samples", (), sound.seconds)

    session = WindowSession(transcribe, clock=lambda: 0.0)
    for _ in range(100):  # 3.2 s
        session.accept(np.zeros(512, np.float32))
    assert session.partial() == f"{lengths[-1]} samples" and len(lengths) == 3
    assert session.finish().text == "51200 samples"


def test_a_slow_recogniser_is_asked_less_often() -> None:
    now, asked = [0.0], []

    def transcribe(sound: Waveform) -> Transcript:
        asked.append(sound.seconds)
        now[0] += 2.0
        return Transcript("words", (), sound.seconds)

    session = WindowSession(transcribe, clock=lambda: now[0])
    for _ in range(10):
        session.accept(np.zeros(16_000, np.float32))
    assert asked == [1.0, 5.0, 9.0]


def test_a_long_utterance_is_read_in_windows() -> None:
    session = WindowSession(lambda sound: Transcript("piece", (), sound.seconds), clock=lambda: 0.0)
    for _ in range(30):
        session.accept(np.zeros(16_000, np.float32))
    transcript = session.finish()
    assert transcript.text == "piece piece" and transcript.seconds == 30
