"""Replies of the tiny golden model: every omega and every way of stepping says the same; stopping is immediate."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_llm_parts import GOLDEN
from transformers import LogitsProcessorList
from transformers.generation import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from core.errors import AudioError, ModelError
from memory.external_memory import ExternalMemory
from omni.adapter import CrossModalAdapter, LinearAdapter
from omni.batch import generate_batch
from omni.checkpoint import load_pipeline
from omni.front_end import LogMel
from omni.generate import GenerationOptions, decode
from omni.prompt import SPEECH
from omni.sampling import Sampler, SamplingOptions
from omni.steppers import EagerStepper, StaticStepper
from omni.streaming import ReplyOptions, TextStream, reply
from omni.types import Waveform

TOKENS = 24
QUIET = GenerationOptions(max_new_tokens=TOKENS, eos_ids=())


def load():
    return load_pipeline(
        GOLDEN / "checkpoint",
        whisper=GOLDEN / "whisper_encoder_openai.safetensors",
        vocoder=GOLDEN,
        tokenizer=GOLDEN / "tokenizer",
    )


@pytest.fixture(scope="module")
def pipeline():
    return load()


@pytest.fixture(scope="module")
def silent(pipeline):
    """Units, no sound: where the vocoder is not what is tested."""
    return pipeline.replace(vocoder=None)


@pytest.fixture(scope="module")
def sound():
    with np.load(GOLDEN / "golden.npz") as file:
        return file["A.wav"]


@pytest.fixture(scope="module")
def prompt(pipeline, sound):
    return pipeline.prompt((GOLDEN / "prompt.txt").read_text(), [pipeline.hear(sound)])


@pytest.fixture(scope="module")
def short_prompt(pipeline):
    return pipeline.prompt("What is due?")


@pytest.fixture(scope="module")
def whole(pipeline, short_prompt):
    """One reply, its units and its offline waveform."""
    steps = list(decode(pipeline, short_prompt, options=QUIET))
    states = torch.stack(
        [
            s.hidden
            for s in decode(pipeline, short_prompt, options=GenerationOptions(TOKENS, eos_ids=(), keep_states=True))
        ]
    )
    units = pipeline.speech_decoder.units(states[None])
    return {"tokens": [s.token for s in steps], "units": units, "wave": pipeline.vocoder(units).numpy()}


# ---- streaming


@settings(max_examples=12, deadline=None)
@given(omega=st.integers(1, 200))
def test_streamed_units_equal_whole_for_every_omega(omega, silent, short_prompt, whole):
    """Tokens and units do not depend on omega; every chunk but the last holds omega units or more."""
    events = list(reply(silent, short_prompt, options=ReplyOptions(generation=QUIET, omega=omega)))
    result = events[-1].result
    assert list(result.token_ids) == whole["tokens"]
    assert [unit for event in events for unit in event.units] == whole["units"] == list(result.units)
    assert all(size >= omega for _, size in result.chunks[:-1])


@pytest.mark.parametrize("omega", [7, 40])
def test_streamed_sound_equals_whole_for_every_omega(omega, pipeline, short_prompt, whole):
    events = list(reply(pipeline, short_prompt, options=ReplyOptions(generation=QUIET, omega=omega)))
    result = events[-1].result
    wave = np.concatenate([event.waveform.samples for event in events if event.waveform])
    np.testing.assert_allclose(wave, whole["wave"], rtol=0, atol=2e-5)
    assert result.samples == len(wave)


def test_text_and_sound_interleave(pipeline, short_prompt):
    """Sound comes while text is still being written, not after it."""
    events = list(reply(pipeline, short_prompt, options=ReplyOptions(QUIET, omega=10, chunk_mode="reference")))
    kinds = ["text" if e.text else "sound" if e.waveform else "" for e in events]
    assert kinds.index("sound") < len(kinds) - 1 - kinds[::-1].index("text")
    assert [e.result is not None for e in events] == [False] * (len(events) - 1) + [True]
    assert set(events[-1].result.timings_ms) == {"prefill", "first_text", "first_units", "first_audio", "total"}


def test_vocoder_beside_the_next_tokens_gives_the_same_sound(pipeline, short_prompt, whole):
    options = ReplyOptions(QUIET, vocoder_thread=True)
    events = list(reply(pipeline, short_prompt, options=options))
    wave = np.concatenate([event.waveform.samples for event in events if event.waveform])
    np.testing.assert_allclose(wave, whole["wave"], rtol=0, atol=2e-5)


def test_text_pieces_are_the_decoded_text(pipeline):
    """The judge is the tokenizer on all ids at once; a character cut between tokens is held back."""
    tokenizer = pipeline.tokenizer
    ids = tokenizer("Grüße, 東京! naïve – ok").input_ids[1:]
    stream = TextStream(tokenizer)
    pieces = [stream.push(i) for i in ids]
    assert len(ids) > len("Grüße, 東京! naïve – ok")  # bytes
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + stream.finish() == tokenizer.decode(ids, skip_special_tokens=True)


# ---- stopping


def test_stop_before_the_first_token(pipeline, short_prompt):
    stop = threading.Event()
    stop.set()
    events = list(reply(pipeline, short_prompt, options=ReplyOptions(QUIET), stop=stop))
    assert len(events) == 1 and events[0].result.finish == "cancelled" and not events[0].result.token_ids


def test_stop_takes_effect_before_the_next_token_and_the_next_sound(pipeline, short_prompt):
    stop, seen = threading.Event(), []
    for event in reply(pipeline, short_prompt, options=ReplyOptions(QUIET, chunk_mode="reference"), stop=stop):
        seen.append(event)
        if event.waveform:
            assert not stop.is_set(), "sound after the stop"
            stop.set()
    result = seen[-1].result
    assert result.finish == "cancelled" and len(result.token_ids) < TOKENS
    assert sum(1 for event in seen if event.waveform) == 1


def test_closing_the_iterator_ends_the_work(pipeline, short_prompt):
    calls: list[int] = []
    original = EagerStepper.think

    class Counting(EagerStepper):
        def think(self, token):
            calls.append(1)
            original(self, token)

    events = reply(pipeline, short_prompt, options=ReplyOptions(QUIET), stepper=Counting(pipeline))
    next(events)
    events.close()
    assert len(calls) <= 2


# ---- steppers and caches


def replies_of(pipeline, stepper, prompt):
    events = list(reply(pipeline, prompt, options=ReplyOptions(QUIET), stepper=stepper))
    return events[-1].result


def test_static_buffers_say_the_same(silent, prompt):
    """The path that CUDA graphs replay, here without graphs; windows are crossed by prompt and reply."""
    expected = replies_of(silent, EagerStepper(silent), prompt)
    static = StaticStepper(silent, capacity=700, max_new_tokens=TOKENS, smallest_window=64)
    for _ in range(2):  # the second time with a warm cache
        actual = replies_of(silent, static, prompt)
        assert (actual.token_ids, actual.units) == (expected.token_ids, expected.units)


def test_static_buffers_that_are_too_small_say_so(silent, prompt):
    with pytest.raises(ModelError, match="static_positions"):
        replies_of(silent, StaticStepper(silent, capacity=512, max_new_tokens=TOKENS), prompt)


@pytest.mark.parametrize("kind", ["eager", "static"])
def test_shared_prefix_is_computed_once(kind, silent, sound):
    """A second question after the same beginning reuses it, and is answered as without a cache."""
    make = {
        "eager": lambda: EagerStepper(silent),
        "static": lambda: StaticStepper(silent, capacity=1024, max_new_tokens=TOKENS, smallest_window=256),
    }[kind]
    speech = silent.hear(sound)
    first = silent.prompt(f"system and {SPEECH} one", [speech])
    second = silent.prompt(f"system and {SPEECH} two", [speech])
    other = silent.prompt(f"system and {SPEECH} two", [silent.hear(sound[::-1].copy())])
    stepper = make()
    assert replies_of(silent, stepper, first).reused == 0
    warm = replies_of(silent, stepper, second)
    assert warm.reused >= 300  # words and speech up to the first difference
    assert warm.token_ids == replies_of(silent, make(), second).token_ids
    assert replies_of(silent, stepper, other).reused < 20  # same words, another sound


def test_reply_becomes_prefix_of_the_next_turn(silent):
    stepper = EagerStepper(silent)
    first = silent.prompt("one two three")
    result = replies_of(silent, stepper, first)
    ids = [*first.token_ids, *result.token_ids[:-1], 65, 66]
    assert replies_of(silent, stepper, silent.prompt(ids)).reused == len(ids) - 2


def test_batch_rows_are_what_they_are_alone(silent, prompt, short_prompt):
    """Prompts of 580 and 13 positions, padded, in one batch; one of them ends early."""
    alone = [replies_of(silent, EagerStepper(silent), p) for p in (prompt, short_prompt)]
    together = generate_batch(silent, [prompt, short_prompt, prompt], options=QUIET)
    for reply_, expected in zip(together, [*alone, alone[0]], strict=True):
        assert (reply_.token_ids, reply_.units) == (list(expected.token_ids), list(expected.units))
    stops = GenerationOptions(max_new_tokens=TOKENS, eos_ids=(alone[0].token_ids[5],))
    early = generate_batch(silent, [prompt, short_prompt], options=stops)
    assert early[0].finish == "end" and early[0].token_ids == list(alone[0].token_ids[:6])
    assert early[1].token_ids[: len(early[1].token_ids)] == list(alone[1].token_ids)[: len(early[1].token_ids)]


# ---- sampling


@settings(max_examples=30, deadline=None)
@given(
    temperature=st.floats(0.2, 2.0),
    top_k=st.integers(0, 30),
    top_p=st.floats(0.1, 1.0),
    penalty=st.floats(1.0, 1.8),
    seed=st.integers(0, 1000),
)
def test_filters_equal_transformers(temperature, top_k, top_p, penalty, seed):
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(seed)) * 3
    seen = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(seed))
    judges = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    judges += [TopKLogitsWarper(top_k)] if top_k else []
    judges += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    expected = LogitsProcessorList(judges)(seen, logits.clone())
    actual = Sampler(SamplingOptions(temperature, top_k, top_p, penalty)).filtered(logits, seen)
    torch.testing.assert_close(actual, expected)


def test_sampling_follows_the_distribution_and_the_seed():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    sampler = Sampler(SamplingOptions(temperature=1.0, seed=3))
    counts = torch.bincount(torch.cat([sampler(logits) for _ in range(3000)]), minlength=3) / 3000
    torch.testing.assert_close(counts, logits.softmax(-1)[0], rtol=0, atol=0.04)
    same = [Sampler(SamplingOptions(temperature=1.0, seed=3))(logits.expand(20, -1)).tolist() for _ in range(2)]
    assert same[0] == same[1]


def test_repetition_penalty_reaches_the_loop(pipeline, short_prompt):
    greedy = list(decode(pipeline, short_prompt, options=QUIET))
    options = GenerationOptions(TOKENS, SamplingOptions(repetition_penalty=2.0), eos_ids=())
    varied = [step.token for step in decode(pipeline, short_prompt, options=options)]
    assert len(set(varied)) > len({step.token for step in greedy})


# ---- stages


def test_replace_shares_the_rest_and_checks_sizes(pipeline):
    dim = pipeline.llm.dim
    torch.manual_seed(1)
    other = LinearAdapter(pipeline.encoder.dim, dim, downsample=3, hidden_dim=16).eval()
    replaced = pipeline.replace(adapter=other)
    assert replaced.adapter is other and replaced.llm is pipeline.llm and pipeline.adapter is not other
    with pytest.raises(ModelError, match=f"adapter.output_dim is {dim + 1}, llm.dim is {dim}"):
        pipeline.replace(adapter=LinearAdapter(pipeline.encoder.dim, dim + 1))
    with pytest.raises(ModelError, match=r"front_end.n_mels is 80, encoder.n_mels is 128"):
        pipeline.replace(front_end=LogMel(80))
    with pytest.raises(ModelError, match="no stage 'ears'"):
        pipeline.replace(ears=None)


def test_replaced_adapter_is_used(pipeline, sound):
    torch.manual_seed(1)
    other = LinearAdapter(pipeline.encoder.dim, pipeline.llm.dim, downsample=3, hidden_dim=16).eval()
    replaced = pipeline.replace(adapter=other)
    assert (
        len(replaced.prompt(SPEECH, [replaced.hear(sound)])) - len(pipeline.prompt(SPEECH, [pipeline.hear(sound)]))
        == 200
    )


def test_cross_modal_adapter_starts_as_the_linear_one_and_reads_the_words(pipeline, sound):
    torch.manual_seed(2)
    adapter = CrossModalAdapter(pipeline.adapter, n_heads=4).eval()
    crossed = pipeline.replace(adapter=adapter)
    speech = pipeline.hear(sound)
    one, two = (f"{SPEECH} {words}" for words in ("first words", "other words"))
    plain = pipeline.prompt(one, [speech]).embeds
    torch.testing.assert_close(crossed.prompt(one, [speech]).embeds, plain)
    adapter.gate.data.fill_(0.5)
    a, b = (crossed.prompt(text, [speech]).embeds[:, 1:301] for text in (one, two))
    assert a.shape == b.shape and not torch.allclose(a, b)
    with torch.inference_mode():  # padding of the words changes nothing
        states, words = speech.states, torch.randn(1, 4, pipeline.llm.dim)
        padded = torch.cat([words, torch.randn(1, 2, pipeline.llm.dim)], dim=1)
        keep = torch.tensor([[True] * 4 + [False] * 2])
        torch.testing.assert_close(adapter(states, padded, keep), adapter(states, words))


def test_external_memory_is_read_between_layers(sound):
    """A closed gate changes nothing; an open one does; detaching restores the model."""
    pipeline = load()
    prompt = pipeline.prompt("What is due?")
    expected = pipeline.llm(prompt.embeds)
    torch.manual_seed(0)
    memory = ExternalMemory(pipeline.llm.dim, slots=8, heads=4)
    pipeline.llm.attach_memory(memory, layer=-2)
    torch.testing.assert_close(pipeline.llm(prompt.embeds), expected)
    memory.gate.data.fill_(1.0)
    assert not torch.allclose(pipeline.llm(prompt.embeds), expected)
    assert len(list(decode(pipeline, prompt, options=QUIET))) == TOKENS
    pipeline.llm.attach_memory(None, layer=0)
    torch.testing.assert_close(pipeline.llm(prompt.embeds), expected)


# ---- sound in


def test_sound_over_thirty_seconds_goes_on_in_windows(pipeline, sound):
    long = np.tile(sound, 20)  # 40 s
    speech = pipeline.hear(long)
    assert speech.states.shape[0] == 2 and speech.seconds == pytest.approx(40)
    assert len(pipeline.prompt(SPEECH, [speech])) == len(pipeline.prompt(SPEECH, [pipeline.hear(sound)])) + 300
    first = pipeline.hear(long[: 30 * 16_000])
    torch.testing.assert_close(speech.states[:1], first.states, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("seconds", "embeddings"), [(2.0, 20), (0.05, 1), (40.0, 400), (30.0, 300)])
def test_real_length_encodes_only_the_sound(seconds, embeddings, pipeline, sound):
    samples = np.tile(sound, 21)[: int(seconds * 16_000)]
    speech = pipeline.hear(samples, real_length=True)
    assert pipeline.adapt(speech).shape[1] == embeddings


def test_several_turns_of_speech_in_one_prompt(pipeline, sound):
    one, two = pipeline.hear(sound), pipeline.hear(sound[::2].copy())
    prompt = pipeline.prompt(f"a {SPEECH} b {SPEECH} c", [one, two])
    ids = pipeline.encode(f"a {SPEECH} b {SPEECH} c")
    places = [i for i, token in enumerate(ids) if token < 0]
    torch.testing.assert_close(prompt.embeds[:, places[0] : places[0] + 300], pipeline.adapt(one))
    start = places[1] + 299
    torch.testing.assert_close(prompt.embeds[:, start : start + 300], pipeline.adapt(two))
    words = pipeline.llm.embed(torch.tensor([[i for i in ids if i >= 0]]))
    torch.testing.assert_close(prompt.embeds[:, start + 300 :], words[:, places[1] - 1 :])
    with pytest.raises(ModelError, match="2 places for speech, 1 recordings"):
        pipeline.prompt(ids, [one])


def test_bad_sound_is_refused(pipeline):
    with pytest.raises(AudioError, match="empty"):
        pipeline.hear(np.zeros(0, np.float32))
    with pytest.raises(AudioError, match="44100"):
        pipeline.hear(Waveform(np.zeros(100, np.float32), 44_100))
