"""Checkpoints of other sizes in every published layout load to the same model; broken ones fail with one error."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from speech_llm_parts import GOLDEN, Sizes, whisper_of, write_checkpoint, write_hf_whisper, write_openai_whisper
from transformers import LlamaConfig, LlamaForCausalLM

from core.errors import ModelError
from omni.checkpoint import load_pipeline
from omni.generate import GenerationOptions, decode
from omni.vocoder import load_vocoder
from omni.whisper_encoder import load_encoder, open_whisper

TOKENIZER = GOLDEN / "tokenizer"
SOUND = np.sin(np.arange(8000) * 0.3).astype(np.float32)


def load(folder, **options):
    return load_pipeline(folder, tokenizer=TOKENIZER, **options)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return write_openai_whisper(tmp_path_factory.mktemp("whisper") / "tiny.pt")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("omni") / "checkpoint")


@pytest.fixture(scope="module")
def expected(checkpoint, whisper):
    return reply_of(load(checkpoint, whisper=whisper))


def reply_of(pipeline):
    """Tokens and alignment of a short greedy reply to a sound: they depend on every stage."""
    prompt = pipeline.prompt("<speech>" + "hello", [pipeline.hear(SOUND)])
    steps = list(decode(pipeline, prompt, options=GenerationOptions(max_new_tokens=6, eos_ids=())))
    return [(step.token, step.alignment) for step in steps]


@pytest.mark.parametrize("layout", ["safetensors", "bin"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("with_encoder", [True, False])
def test_every_layout_gives_the_same_model(layout, shards, with_encoder, tmp_path, whisper, expected):
    folder = write_checkpoint(tmp_path, layout=layout, shards=shards, with_encoder=with_encoder)
    assert reply_of(load(folder, whisper=whisper)) == expected


def test_hugging_face_whisper_equals_openai_file(tmp_path, checkpoint, expected):
    assert reply_of(load(checkpoint, whisper=write_hf_whisper(tmp_path, tokenizer=False))) == expected


def test_sizes_follow_the_files(checkpoint, whisper):
    pipeline, sizes = load(checkpoint, whisper=whisper), Sizes()
    assert (pipeline.llm.dim, pipeline.encoder.dim, pipeline.encoder.n_mels) == (48, 24, 80)
    assert (pipeline.speech_decoder.n_units, pipeline.speech_decoder.upsample) == (sizes.n_units, sizes.upsample)
    assert pipeline.adapter.linear1.weight.shape == (40, 96)
    assert pipeline.eos_ids == (501, 509)


def test_language_model_equals_transformers(checkpoint, whisper):
    """The judge is transformers' own model, loaded by transformers, generating from the same embeddings."""
    pipeline = load(checkpoint, whisper=whisper)
    config = json.loads((checkpoint / "config.json").read_text())
    known = {k: v for k, v in config.items() if k in LlamaConfig().to_dict() or k == "rope_theta"}
    judge = LlamaForCausalLM(LlamaConfig(**known)).eval()
    tensors = {k: v for f in checkpoint.glob("*.safetensors") for k, v in load_file(f).items()}
    judge.load_state_dict({k: v for k, v in tensors.items() if "speech_" not in k})
    prompt = pipeline.prompt("<speech>" + "hello", [pipeline.hear(SOUND)])
    ids = judge.generate(
        inputs_embeds=prompt.embeds.clone(), max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert ids[0].tolist() == [token for token, _ in reply_of(pipeline)]


def test_encoder_equals_transformers(tmp_path):
    source = open_whisper(write_openai_whisper(tmp_path / "tiny.pt"))
    encoder = load_encoder(source, dtype=torch.float32, device=torch.device("cpu"))
    mel = torch.randn(1, 3000, 80)
    with torch.inference_mode():
        judge = whisper_of(Sizes()).model.encoder(mel.transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(encoder(mel), judge, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs_and_stays_near(dtype, checkpoint, whisper):
    exact, half = load(checkpoint, whisper=whisper), load(checkpoint, whisper=whisper, dtype=dtype)
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        near, judge = half.llm(half.llm.embed(ids)).float(), exact.llm(exact.llm.embed(ids))
    assert torch.nn.functional.cosine_similarity(near, judge, dim=-1).min() > 0.99
    assert len(reply_of(half)) == 6


def test_vocoder_pickle_with_weight_norm(tmp_path):
    """A fairseq pickle {"generator": ...} loads without running code and equals the safetensors file."""
    state = load_file(GOLDEN / "vocoder_generator.safetensors")
    torch.save({"generator": state}, tmp_path / "g_00500000", _use_new_zipfile_serialization=False)
    device = torch.device("cpu")
    old = load_vocoder(tmp_path / "g_00500000", GOLDEN / "vocoder_config.json", device=device)
    new = load_vocoder(GOLDEN / "vocoder_generator.safetensors", GOLDEN / "vocoder_config.json", device=device)
    torch.testing.assert_close(old([1, 2, 3]), new([1, 2, 3]), rtol=0, atol=0)
    # the judge for the folding is torch's own weight norm
    conv = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(*state["ups.0.weight_v"].shape))
    conv.parametrizations.weight.original0.data = state["ups.0.weight_g"]
    conv.parametrizations.weight.original1.data = state["ups.0.weight_v"]
    torch.testing.assert_close(new.ups[0].weight.data, conv.weight.data)


class Bomb:
    def __reduce__(self):
        return (print, ("code ran",))


def test_pickles_run_no_code(tmp_path, capsys):
    torch.save({"generator": {"x": torch.zeros(1)}, "bomb": Bomb()}, tmp_path / "g_00500000")
    with pytest.raises(ModelError, match="g_00500000"):
        load_vocoder(tmp_path / "g_00500000", GOLDEN / "vocoder_config.json", device=torch.device("cpu"))
    assert "code ran" not in capsys.readouterr().out


# ---- broken files


def fails(folder, *needles, **options):
    with pytest.raises(ModelError) as caught:
        load(folder, **options)
    text = str(caught.value)
    assert "\n" not in text
    for needle in needles:
        assert needle in text, text


def copy_of(checkpoint, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_missing_shard(checkpoint, whisper, tmp_path):
    folder = copy_of(checkpoint, tmp_path)
    (folder / "model-00002-of-00002.safetensors").unlink()
    fails(folder, "model-00002-of-00002.safetensors", "missing", "tensor", whisper=whisper)


@pytest.mark.parametrize("layout", ["safetensors", "bin"])
def test_truncated_shard(layout, whisper, tmp_path):
    folder = write_checkpoint(tmp_path, layout=layout)
    shard = next(folder.glob("*-00001-of-*"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    fails(folder, shard.name, "tensor", whisper=whisper)


def test_wrong_shape(checkpoint, whisper, tmp_path):
    folder = copy_of(checkpoint, tmp_path)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if "model.norm.weight" in tensors:
            tensors["model.norm.weight"] = torch.zeros(7)
            save_file(tensors, file)
            break
    fails(folder, file.name, "model.norm.weight", "(7,)", "(48,)", whisper=whisper)


def test_missing_tensor(checkpoint, whisper, tmp_path):
    folder = copy_of(checkpoint, tmp_path)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if tensors.pop("model.norm.weight", None) is not None:
            save_file(tensors, file)
            break
    fails(folder, file.name, "model.norm.weight", whisper=whisper)


def test_no_encoder_anywhere(whisper, tmp_path):
    fails(write_checkpoint(tmp_path, with_encoder=False), "no speech encoder", "Whisper")


def test_encoder_without_stated_heads_asks_for_whisper(checkpoint):
    fails(checkpoint, "speech_encoder", "heads")


def test_whisper_of_another_size(checkpoint, tmp_path):
    other = write_openai_whisper(tmp_path / "other.pt", Sizes(encoder_dim=12))
    fails(checkpoint, "other.pt", "12", "24", whisper=other)


@pytest.mark.parametrize(
    ("change", "needle"),
    [({"hidden_size": None}, "hidden_size"), ({"ctc_decoder_config": "(1,2"}, "ctc_decoder_config")],
)
def test_bad_configuration(change, needle, checkpoint, whisper, tmp_path):
    folder = copy_of(checkpoint, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    fails(folder, "config.json", needle, whisper=whisper)


def test_not_json(checkpoint, whisper, tmp_path):
    folder = copy_of(checkpoint, tmp_path)
    (folder / "config.json").write_text("{")
    fails(folder, "config.json", whisper=whisper)


def test_vocoder_folder_without_vocoder(checkpoint, whisper, tmp_path):
    fails(checkpoint, "no vocoder", whisper=whisper, vocoder=tmp_path)


def test_vocoder_must_know_all_units(whisper, tmp_path):
    folder = write_checkpoint(tmp_path, Sizes(n_units=1001))
    fails(folder, "speech_decoder.n_units is 1001", "vocoder.n_units is only 1000", whisper=whisper, vocoder=GOLDEN)
