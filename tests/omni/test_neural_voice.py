"""The voice that ships: streaming equals whole, no seams, rate, questions, any text; small untrained networks where
weights do not matter, the shipped ones where they do."""

from __future__ import annotations

import logging
import re
from copy import deepcopy

import numpy as np
import pytest
import torch

from core.errors import ModelError
from core.settings import SpeechSettings
from omni import tts
from omni.audio import concatenate
from omni.causal_layers import LayerConfig
from omni.ctc_decoder import CTCDecoder, CTCDecoderConfig
from omni.types import SpeechSynthesiser, Waveform
from omni.voice.front_end import FrontEnd
from omni.voice.lexicon import LETTERS, Lexicon
from omni.voice.neural_voice import SHIPPED, NeuralVoice, speakers
from omni.voice.phones import STATE_DIM
from omni.voice.source_filter import HOP, SourceFilter
from omni.voice.unit_vocoder import UnitVocoder, UnitVocoderConfig, VocoderStream, positions

shipped = pytest.mark.skipif(not (SHIPPED / "rms" / "voice.safetensors").is_file(), reason="no weights in models/voice")


@pytest.fixture(scope="module", params=[1, 2], ids=["whole units", "units in two pieces"])
def networks(request: pytest.FixtureRequest) -> UnitVocoder:
    torch.manual_seed(3)
    model = UnitVocoder(UnitVocoderConfig(n_units=30, unit_dim=16, frame_dim=12, pieces=request.param)).eval()
    with torch.no_grad():
        model.duration[2].bias.fill_(1.5 - np.log(request.param))  # units of about 5 frames
        model.mean[25] = 4.8  # around 120 Hz
        model.mean[26] = 2.0  # mostly voiced
    return model


@pytest.fixture(scope="module")
def head() -> SourceFilter:
    filters = np.zeros((5, 48))
    filters[:, 24] = 0.2
    return SourceFilter(filters)


@pytest.fixture(scope="module", params=speakers())
def voice(request: pytest.FixtureRequest) -> NeuralVoice:
    """Each speaker that ships."""
    return NeuralVoice.load(SHIPPED / request.param)


def spoken_whole(voice: SpeechSynthesiser, text: str, rate: float = 1.0) -> Waveform:
    return concatenate(list(voice.stream(text, rate=rate)))


@pytest.mark.parametrize("size", [1, 3, 8])
def test_units_in_chunks_sound_exactly_as_all_at_once(networks: UnitVocoder, head: SourceFilter, size: int) -> None:
    units = np.random.default_rng(0).integers(0, 30, 60).tolist()
    whole_stream = VocoderStream(networks, head)
    whole = np.concatenate([whole_stream.push(units), whole_stream.finish()])
    stream = VocoderStream(networks, head)
    pieces = [stream.push(units[at : at + size]) for at in range(0, 60, size)]
    streamed = np.concatenate([*pieces, stream.finish()])
    assert sum(len(piece) > 0 for piece in pieces) > 3
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("frames_of_unit", [0.3, 2.5])
def test_no_unit_is_skipped_and_lengths_add_up(
    networks: UnitVocoder, head: SourceFilter, frames_of_unit: float
) -> None:
    """Pieces may last no frame at all, units at least one; what rounding takes from one goes to the next."""
    model = deepcopy(networks)
    with torch.no_grad():
        model.duration[2].weight.zero_()
        model.duration[2].bias.fill_(float(np.log(frames_of_unit / model.config.pieces)))
    stream = VocoderStream(model, head)
    units = np.random.default_rng(1).integers(0, 30, 200).tolist()
    samples = len(stream.push(units)) + len(stream.finish())
    assert samples / HOP == pytest.approx(200 * max(1.0, frames_of_unit), abs=8)


def test_a_batch_with_padding_gives_what_each_utterance_gives_alone(networks: UnitVocoder) -> None:
    """Training pads, speaking does not: both must see the same edges."""
    long, short = torch.randint(0, 30, (1, 20)), torch.randint(0, 30, (1, 9))
    units = torch.zeros(2, 20, dtype=torch.long)
    units[0], units[1, :9] = long, short
    keep = torch.ones(2, 20, 1)
    keep[1, 9:] = 0
    with torch.no_grad():
        batch, alone = networks.unit_states(units, keep)[1, :9], networks.unit_states(short)[0]
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=1e-5)


def test_positions_count_from_both_ends() -> None:
    places = positions([3, 1])
    assert places.shape == (4, 12)
    np.testing.assert_allclose(places[:3, 0], [1 / 6, 0.5, 5 / 6], rtol=1e-6)
    np.testing.assert_allclose(places[0, 3:5], places[2, [4, 3]], rtol=1e-6)  # mirrored


def test_an_untrained_voice_speaks_piece_by_piece_and_can_be_left(networks: UnitVocoder, head: SourceFilter) -> None:
    layers = LayerConfig(dim=16, n_layers=1, n_heads=2, ffn_dim=32)
    decoder = CTCDecoder(CTCDecoderConfig(STATE_DIM, layers, n_units=30, upsample=2, final_norm=True, lookahead=3))
    small = NeuralVoice(FrontEnd(Lexicon(LETTERS)), decoder, networks, head)
    stream = small.stream("A b c d e f g h i j k l m n o p q r s t u v w x y z. " * 4)
    assert len(next(stream).samples) > 0
    stream.close()
    with pytest.raises(ModelError, match="speaks English only"):
        list(small.stream("租金在每月的第一天到期。"))


def test_weights_that_are_not_there_are_named_with_a_remedy(tmp_path: object, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModelError, match=r"voice in .*speech.voice"):
        tts.load_synthesiser(SpeechSettings(voice=f"lectern:{tmp_path}"))
    with caplog.at_level(logging.WARNING):
        other = tts.load_synthesiser(SpeechSettings(voice=f"auto:{tmp_path}"))
    assert other.name == "espeak" and "espeak-ng speaks instead" in caplog.text


@shipped
@pytest.mark.parametrize(
    "text",
    ["Hello.", "xyzzyq", "$3.5m", "a", "NASA's Q3", "ROFLMAO", "naïve façade", "hmm", "user@example.com", "1/2"],
)
def test_any_text_is_heard(voice: NeuralVoice, text: str) -> None:
    sound = spoken_whole(voice, text)
    assert 0.2 < sound.seconds < 12
    assert float(np.sqrt((sound.samples**2).mean())) > 0.01
    assert np.abs(sound.samples).max() <= 1.0


@shipped
def test_nothing_to_say_gives_nothing(voice: NeuralVoice) -> None:
    assert list(voice.stream("")) == [] and list(voice.stream(" ... ")) == []


@shipped
def test_chinese_goes_to_the_fallback_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    speaker = tts.load_synthesiser(SpeechSettings(voice="lectern"))
    with caplog.at_level(logging.WARNING):
        sound = spoken_whole(speaker, "租金在每月的第一天到期。 Rent is due.")
    assert sound.seconds > 1.5 and sound.sample_rate == 16_000
    assert "speaks English only" in caplog.text


@shipped
@pytest.mark.parametrize("rate", [0.7, 1.2, 1.5])
def test_rate_divides_the_length_and_leaves_the_pitch(voice: NeuralVoice, rate: float) -> None:
    text = "Rent is due on the first day of each month."
    normal, other = spoken_whole(voice, text), spoken_whole(voice, text, rate)
    assert normal.seconds / other.seconds == pytest.approx(rate, rel=0.06)
    assert median_f0(other.samples) == pytest.approx(median_f0(normal.samples), rel=0.08)


def silences(samples: np.ndarray) -> list[float]:
    """Seconds of each stretch of at least 60 ms that is next to silent, the ends aside."""
    level = np.sqrt(np.convolve(samples**2, np.full(160, 1 / 160), "same"))[::80]
    stretches = "".join("_" if quiet else "x" for quiet in level < 0.004).strip("_")
    return [len(stretch) * 0.005 for stretch in re.findall("_{12,}", stretches)]


@shipped
def test_every_mark_is_a_pause(voice: NeuralVoice) -> None:
    marked = "The tenant, who moved in last year, pays the rent on the first day; the landlord pays for repairs."
    plain = re.sub("[,;]", "", marked)
    pauses, without = (sum(silences(spoken_whole(voice, text).samples)) for text in (marked, plain))
    assert sum(length > 0.08 for length in silences(spoken_whole(voice, marked).samples)) >= 3
    assert pauses > without + 0.25


@shipped
def test_speakers_are_chosen_by_name_and_sound_apart(voice: NeuralVoice) -> None:
    chosen = tts.load_synthesiser(SpeechSettings(voice=voice.name))
    assert chosen.name == voice.name
    pitch = median_f0(spoken_whole(voice, "The deposit is returned within thirty days.").samples)
    assert (pitch > 140) == (voice.name == "lectern:slt"), "one of the two is a woman"


def median_f0(samples: np.ndarray) -> float:
    """Hz by autocorrelation over voiced 40 ms windows: no part of the synthesiser."""
    found = []
    for at in range(0, len(samples) - 640, 160):
        window = samples[at : at + 640] - samples[at : at + 640].mean()
        correlation = np.correlate(window, window, "full")[639:]
        lag = 50 + int(correlation[50:240].argmax())
        if correlation[0] > 0.5 and correlation[lag] > 0.5 * correlation[0]:
            found.append(16_000 / lag)
    return float(np.median(found))


@shipped
def test_a_question_rises_where_a_statement_falls(voice: NeuralVoice) -> None:
    rises = []
    for words in ("They signed the new lease", "You can leave early", "It costs more than before"):
        statement, question = (spoken_whole(voice, words + mark).samples for mark in ".?")
        # the last 0.4 s before the pause at the end
        heard = [median_f0(samples[len(samples) - 9600 : len(samples) - 3200]) for samples in (statement, question)]
        rises.append(heard[1] / heard[0])
    assert np.mean(rises) > 1.08


@shipped
def test_no_click_where_pieces_meet(voice: NeuralVoice) -> None:
    """Spectral flux at the seams is not above what speech has elsewhere."""
    pieces = list(voice.stream("The tenant may end this agreement with thirty days of written notice to the landlord."))
    assert len(pieces) > 3
    samples = concatenate(pieces).samples
    frames = np.lib.stride_tricks.sliding_window_view(samples, 256)[::64] * np.hanning(256)
    magnitude = np.abs(np.fft.rfft(frames))
    flux = np.sqrt((np.diff(magnitude, axis=0) ** 2).sum(1))
    seams = np.cumsum([len(piece.samples) for piece in pieces])[:-1]
    near = np.unique(np.concatenate([np.arange(seam // 64 - 4, seam // 64 + 1) for seam in seams]))
    elsewhere = np.delete(flux, near[near < len(flux)])
    assert flux[near[near < len(flux)]].max() <= 1.05 * elsewhere.max()
    # a click is a jump between neighbouring samples
    jumps = np.abs(np.diff(samples))
    assert max(jumps[seam - 1] for seam in seams) <= jumps.max()


@shipped
def test_the_decoder_says_the_phones_it_was_given(voice: NeuralVoice) -> None:
    """Units are half-phones: nearly all of them must belong to the phones of the sentence, in order."""
    import json

    folder = SHIPPED / voice.name.partition(":")[2]
    owners = json.loads((folder / "config.json").read_text())["half_phone_of_unit"]
    from omni.voice.phones import INDEX

    wrong = count = 0
    for text in ("Rent is due on the first day of each month.", "Who signed the quarterly report in nineteen ninety?"):
        phones = voice._front_end.phones(text)
        units = [unit for part in voice.units(phones) for unit in part]
        expected = [2 * INDEX[phone.name] + half for phone in phones for half in (0, 1)][1:]
        assert len(units) == len(expected)
        wrong += sum(owners[unit] != half_phone for unit, half_phone in zip(units, expected, strict=True))
        count += len(expected)
    assert wrong / count <= 0.015
