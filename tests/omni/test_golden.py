"""Parity with the reference implementation on golden data, stage by stage and end to end.

`LECTERN_GOLDEN=DIR pytest tests/omni -k golden` runs them on another folder of the same layout; no size is assumed.
Integers must be equal. Tolerances are those of the folder's README; a stage is also fed the golden output of the stage
before it, so that a deviation is found where it arises.
"""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from omni.checkpoint import load_pipeline, read_config
from omni.ctc_decoder import collapse
from omni.generate import GenerationOptions, decode
from omni.losses import reply_states, speech_loss, splice_batch, text_loss, upsample_for_ctc
from omni.prompt import SPEECH_ID
from omni.streaming import ReplyOptions, reply

GOLDEN = Path(os.environ.get("LECTERN_GOLDEN", Path(__file__).parents[1] / "golden" / "llama_omni_tiny"))
LM = {"rtol": 0.0, "atol": 1e-4}
CTC = {"rtol": 1e-5, "atol": 5e-4}
WAVE = {"rtol": 0.0, "atol": 2e-5}
# In float32, CTC's sums of log-probabilities reach 27,000, where one unit in the last place is 0.2 %: the reference's
# gradients are 0.3 % from float64's, and states that differ by 1e-6 move them as much.
CTC_NOISE = 2e-2
CASES = ["B", "B2", "B3", "F"]


with np.load(GOLDEN / "golden.npz") as _file:
    OMEGAS = sorted(int(m[1]) for name in _file.files if (m := re.fullmatch(r"C(\d+)\.emit_step", name)))


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "golden.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(
        GOLDEN / "checkpoint",
        whisper=GOLDEN / "whisper_encoder_openai.safetensors",
        vocoder=GOLDEN / "vocoder_generator.safetensors",
        tokenizer=GOLDEN / "tokenizer",
    )


@pytest.fixture(scope="module")
def heard(pipeline, arrays):
    return pipeline.hear(arrays["A.wav"])


def prompt_of(case, pipeline, arrays, heard):
    if case == "B3":
        return pipeline.prompt(arrays["B3.input_ids"][0])
    if case == "F":
        return pipeline.prompt((GOLDEN / "prompt.txt").read_text(), [heard])
    return pipeline.prompt(arrays["A.input_ids"][0], [heard])


def options_of(case, arrays):
    """B has no end token; B2 has its own and would go on as long as B without them."""
    if case == "B2":
        return {"max_new_tokens": arrays["B.gen_ids"].shape[1], "eos_ids": tuple(arrays["B2.eos_token_id"].tolist())}
    return {"max_new_tokens": arrays[f"{case}.gen_ids"].shape[1], "eos_ids": ()}


@pytest.fixture(scope="module")
def steps(pipeline, arrays, heard):
    return {
        case: list(
            decode(
                pipeline,
                prompt_of(case, pipeline, arrays, heard),
                options=GenerationOptions(keep_states=True, **options_of(case, arrays)),
            )
        )
        for case in CASES
    }


def close(actual, expected, tolerance):
    actual = actual.detach().float().numpy() if isinstance(actual, torch.Tensor) else actual
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, **tolerance)


# ---- A: front end, encoder, adapter, splice, prefill


def test_golden_waveform_and_mel_bank(pipeline, arrays):
    np.testing.assert_array_equal(arrays["A.wav_int16"].astype(np.float32) / 32768, arrays["A.wav"])
    close(pipeline.front_end._bank, arrays["A.mel_filters"], {"rtol": 0, "atol": 1e-7})


def test_golden_log_mel(pipeline, arrays):
    close(pipeline.front_end(arrays["A.wav"])[0], arrays["A.log_mel"], LM)


def test_golden_log_mel_of_trimmed_31_seconds(pipeline, arrays):
    tiled = np.tile(arrays["A.wav"], 16)[:500_000][:480_000]
    close(pipeline.front_end(tiled)[0, ::50], arrays["A2.log_mel_trimmed_31s_every50th"], LM)


def test_golden_longer_sound_continues_in_a_second_window(pipeline, arrays):
    """The first window of 31 s of sound is what the reference makes of it; the rest is heard too."""
    sound = np.tile(arrays["A.wav"], 16)[:500_000]
    if len(sound) <= 480_000:
        pytest.skip("this folder's recording is too short to fill 30 s sixteen times over")
    mel = pipeline.front_end(sound)
    assert mel.shape[0] == 2
    close(mel[0, ::50], arrays["A2.log_mel_trimmed_31s_every50th"], LM)


def test_golden_encoder(pipeline, arrays, heard):
    close(heard.states, arrays["A.encoder_out"], LM)
    mel = torch.from_numpy(arrays["A.log_mel"])[None]
    close(pipeline.encoder(mel), arrays["A.encoder_out"], LM)
    assert arrays["A.speech_lengths"].item() == mel.shape[1]


def test_golden_adapter(pipeline, arrays, heard):
    close(pipeline.adapt(heard), arrays["A.projector_out"], LM)


def test_golden_splice(pipeline, arrays, heard):
    assert (arrays["A.input_ids"] == SPEECH_ID).sum() == 1
    close(prompt_of("A", pipeline, arrays, heard).embeds, arrays["A.inputs_embeds"], LM)


def test_golden_prefill(pipeline, arrays, heard):
    hidden = pipeline.llm(torch.from_numpy(arrays["A.inputs_embeds"]))
    close(hidden, arrays["A.prefill_last_hidden"], LM)
    close(pipeline.llm.logits(hidden[:, -16:]), arrays["A.prefill_logits_last16"], LM)


# ---- B, B2, B3, F: generation, speech states, alignment, units


def test_golden_prompt_ids(pipeline, arrays):
    assert pipeline.encode((GOLDEN / "prompt.txt").read_text()) == arrays["F.prompt_ids"][0].tolist()


@pytest.mark.parametrize("case", CASES)
def test_golden_tokens_and_states(case, steps, arrays):
    assert [step.token for step in steps[case]] == arrays[f"{case}.gen_ids"][0].tolist()
    close(torch.stack([step.hidden for step in steps[case]]), arrays[f"{case}.hidden_for_tts"], LM)
    close(torch.stack([step.logits for step in steps[case]]), arrays[f"{case}.step_logits"], LM)


@pytest.mark.parametrize("case", CASES)
def test_golden_alignment_and_units(case, steps, arrays, pipeline):
    alignment = [frame for step in steps[case] for frame in step.alignment]
    assert alignment == arrays[f"{case}.ctc_argmax"].tolist()
    assert collapse(alignment, pipeline.speech_decoder.blank) == arrays[f"{case}.units"].tolist()


def test_golden_stops_at_the_end_token(steps, arrays):
    assert steps["B2"][-1].finish == "end"
    assert steps["B2"][-1].token in arrays["B2.eos_token_id"]
    assert steps["B"][-1].finish == "length"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["whole", "cached"])
def test_golden_speech_decoder_states(case, way, pipeline, arrays):
    hidden = torch.from_numpy(arrays[f"{case}.hidden_for_tts"])[None]
    if way == "whole":
        frames = pipeline.speech_decoder.frames(hidden)
    else:
        with pipeline.speech_decoder.streaming() as stream:
            frames = torch.cat([stream.frames(state) for state in hidden.split(1, dim=1)], dim=1)
    close(frames[0], arrays[f"{case}.ctc_pre_output"], CTC)


def test_golden_ctc_logits(pipeline, arrays):
    logits = pipeline.speech_decoder(torch.from_numpy(arrays["B.hidden_for_tts"])[None])[0]
    close(logits[arrays["B.ctc_logits_frames"].tolist()], arrays["B.ctc_logits_sel"], CTC)


def test_golden_upsampling(pipeline, arrays):
    upsampled = upsample_for_ctc(torch.from_numpy(arrays["B.hidden_for_tts"]), 0, pipeline.speech_decoder.upsample)
    close(upsampled[: len(arrays["B.upsampled_input_first60"])], arrays["B.upsampled_input_first60"], LM)


def test_golden_text(pipeline, steps):
    """Text pieces of case F, put together, are the reference's text (stored without surrounding space)."""
    ids = [step.token for step in steps["F"]]
    meta = json.loads((GOLDEN / "meta.json").read_text())
    assert pipeline.tokenizer.decode(ids, skip_special_tokens=True).strip() == meta["F.text"].strip()


# ---- C: streaming


def run_c(omega, pipeline, arrays, heard):
    options = ReplyOptions(generation=GenerationOptions(**options_of("B", arrays)), omega=omega, chunk_mode="reference")
    return list(reply(pipeline, prompt_of("B", pipeline, arrays, heard), options=options))


@pytest.mark.parametrize("omega", OMEGAS)
def test_golden_stream_chunks(omega, pipeline, arrays, heard):
    events = run_c(omega, pipeline, arrays, heard)
    result = events[-1].result
    assert list(result.token_ids) == arrays["B.gen_ids"][0].tolist()
    assert list(result.units_per_token) == arrays["C.new_units_per_token"].tolist()
    assert [index for index, _ in result.chunks] == arrays[f"C{omega}.emit_step"].tolist()
    assert [length for _, length in result.chunks] == arrays[f"C{omega}.chunk_len"].tolist()
    assert [u for event in events for u in event.units] == arrays[f"C{omega}.chunk_units"].tolist()
    waves = [event.waveform.samples for event in events if event.waveform]
    assert [len(wave) for wave in waves] == arrays[f"C{omega}.chunk_samples"].tolist()
    for key, part in ((f"C{omega}.chunk_wavs", waves), (f"C{omega}.chunk_wavs_first3", waves[:3])):
        if key in arrays:
            close(np.concatenate(part), arrays[key], WAVE)


# ---- D: vocoder


def test_golden_vocoder_without_durations(pipeline, arrays):
    close(pipeline.vocoder(arrays["D.code"][0], predict_durations=False), arrays["D.wav_nodur"], WAVE)


def test_golden_vocoder_durations(pipeline, arrays):
    vocoder = pipeline.vocoder
    close(vocoder.log_durations(arrays["D.code"][0]), arrays["D.log_dur"][0], LM)
    assert vocoder.durations(arrays["D.code"][0]).tolist() == arrays["D.durations"][0].tolist()
    assert vocoder.durations(arrays["B.units"]).tolist() == arrays["D4.durations_full_units"][0].tolist()


@pytest.mark.parametrize(("code", "wave"), [("D.code", "D"), ("D2.code_with_invalid", "D2"), ("D3.code", "D3")])
def test_golden_vocoder_with_durations(code, wave, pipeline, arrays):
    close(pipeline.vocoder(arrays[code][0]), arrays[f"{wave}.wav_dur"], WAVE)


# ---- E: training losses and gradients


def ctc_weight():
    return read_config(GOLDEN / "checkpoint").ctc_loss_weight


@pytest.fixture(scope="module")
def trained(arrays):
    """A pipeline of its own with gradients on, and what case E computes with it."""
    pipeline = load_pipeline(
        GOLDEN / "checkpoint",
        whisper=GOLDEN / "whisper_encoder_openai.safetensors",
        tokenizer=GOLDEN / "tokenizer",
    )
    parts = {"encoder": pipeline.encoder.hf, "adapter": pipeline.adapter, "llm": pipeline.llm.hf}
    for module in (*parts.values(), pipeline.speech_decoder):
        module.requires_grad_(True)
    mel = torch.cat([pipeline.front_end(arrays["A.wav"]), pipeline.front_end(arrays["E.wav2"])])
    ids, labels, keep = (torch.from_numpy(arrays[f"E.{n}"]).long() for n in ("input_ids", "labels", "attention_mask"))
    batch = splice_batch(pipeline, ids, labels, keep, mel, torch.from_numpy(arrays["E.speech_lengths"]))
    hidden = pipeline.llm(batch.embeds, keep=batch.keep)
    states = reply_states(hidden, batch.labels)
    lm = text_loss(pipeline.llm, hidden, batch.labels)
    ctc = speech_loss(pipeline.speech_decoder, states, torch.from_numpy(arrays["E.tgt_units"]))
    total = lm + ctc_weight() * ctc
    total.backward()
    return pipeline, batch, states, {"lm": lm.item(), "ctc": ctc.item(), "total": total.item()}


def test_golden_batch_splice(trained, arrays):
    _, batch, _, _ = trained
    np.testing.assert_array_equal(batch.keep.long().numpy(), arrays["E.out_attention_mask"])
    np.testing.assert_array_equal(batch.labels.numpy(), arrays["E.out_labels"])
    valid = arrays["E.out_attention_mask"][1].astype(bool)
    close(batch.embeds[1][torch.from_numpy(valid)], arrays["E.out_inputs_embeds_item1"][valid], LM)


def test_golden_reply_states(trained, arrays):
    _, _, states, _ = trained
    close(states[0], arrays["E.resp_hidden_item0"], LM)
    close(states[1], arrays["E.resp_hidden_item1"], LM)
    lengths = [max(len(s) * trained[0].speech_decoder.upsample, int((u >= 0).sum()))
               for s, u in zip(states, arrays["E.tgt_units"], strict=True)]  # fmt: skip
    # the reference's mask marks padding or content; either way the counts must be these
    mask = arrays["E.upsample_mask"]
    counts = mask.sum(1).tolist()
    assert lengths in (counts, [mask.shape[1] - count for count in counts])


def test_golden_losses(trained, arrays):
    losses = trained[3]
    for name in ("lm", "ctc", "total"):
        np.testing.assert_allclose(losses[name], arrays[f"E.{name}_loss"].item(), rtol=1e-5, atol=1e-4)


def test_golden_loss_of_one_sequence(pipeline, arrays):
    loss = speech_loss(
        pipeline.speech_decoder,
        [torch.from_numpy(arrays["B.hidden_for_tts"])],
        torch.from_numpy(arrays["E1.tgt_units"]),
    )
    np.testing.assert_allclose(loss.item(), arrays["E1.ctc_loss"].item(), rtol=1e-5, atol=1e-4)


def named_gradients(pipeline):
    """Gradients under the checkpoint's names; the encoder's under openai's."""
    from omni.whisper_encoder import openai_name

    for name, parameter in pipeline.llm.hf.named_parameters():
        yield name, parameter.grad
    for name, parameter in pipeline.encoder.hf.named_parameters():
        yield "model.speech_encoder." + openai_name("encoder." + name).removeprefix("encoder."), parameter.grad
    for name, parameter in pipeline.adapter.named_parameters():
        yield "model.speech_projector." + name, parameter.grad
    for name, parameter in pipeline.speech_decoder.named_parameters():
        yield "speech_generator." + name, parameter.grad


def test_golden_gradients(trained, arrays):
    gradients = dict(named_gradients(trained[0]))
    checked = 0
    for key, expected in arrays.items():
        if key.startswith("E.grad."):
            actual = gradients[key.removeprefix("E.grad.")].numpy()
            np.testing.assert_allclose(actual, expected, rtol=CTC_NOISE, atol=CTC_NOISE * np.abs(expected).max())
            checked += 1
    assert checked
    norms = json.loads((GOLDEN / "meta.json").read_text())["E.grad_norms"]
    for name, expected in norms.items():
        np.testing.assert_allclose(gradients[name].norm().item(), expected, rtol=CTC_NOISE, err_msg=name)


def test_golden_gradients_of_the_speech_decoder(trained, arrays):
    """From the golden reply states the noise is the same as the reference's, so the gradients agree closely."""
    decoder = copy.deepcopy(trained[0].speech_decoder)
    decoder.zero_grad()
    states = [torch.from_numpy(arrays[f"E.resp_hidden_item{row}"]) for row in (0, 1)]
    (ctc_weight() * speech_loss(decoder, states, torch.from_numpy(arrays["E.tgt_units"]))).backward()
    for name, parameter in decoder.named_parameters():
        if (expected := arrays.get(f"E.grad.speech_generator.{name}")) is not None:
            np.testing.assert_allclose(parameter.grad, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
