"""Both training stages on the tiny golden model: losses fall, only the right parts move, the result loads again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from speech_llm_parts import GOLDEN

from core.errors import DocumentError
from omni.adapter import CrossModalAdapter
from omni.audio import save_wav
from omni.checkpoint import load_pipeline
from omni.ctc_decoder import CTCDecoder
from omni.losses import IGNORE
from omni.prompt import SPEECH_ID
from omni.save import save_checkpoint
from omni.train import stage1_adapter, stage2_ctc
from omni.train.instruction_data import batches, collate, read_instructions
from omni.train.loop import LoopOptions, learning_rate_at, train
from omni.types import Waveform

WHISPER = GOLDEN / "whisper_encoder_openai.safetensors"


def load(folder=GOLDEN / "checkpoint"):
    return load_pipeline(folder, whisper=WHISPER, tokenizer=GOLDEN / "tokenizer")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two spoken instructions with their answers and units."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines = []
    for number, answer in enumerate(["Yes.", "It is due in June."]):
        save_wav(folder / f"q{number}.wav", Waveform(rng.normal(0, 0.1, 8000).astype(np.float32), 16_000))
        lines.append(json.dumps({"audio": f"q{number}.wav", "answer": answer, "units": [5, 9, 5, 700 + number]}))
    (folder / "data.jsonl").write_text("\n".join(lines) + "\n\n")
    return folder / "data.jsonl"


def weights_of(pipeline):
    parts = {
        "llm": pipeline.llm,
        "adapter": pipeline.adapter,
        "encoder": pipeline.encoder,
        "ctc": pipeline.speech_decoder,
    }
    return {name: torch.cat([p.detach().flatten().clone() for p in part.parameters()]) for name, part in parts.items()}


def test_collation_learns_the_answer_and_its_end(data):
    pipeline = load()
    batch = collate(pipeline, read_instructions(data))
    assert (batch.input_ids == SPEECH_ID).sum(1).tolist() == [1, 1]
    for row, answer in enumerate(["Yes.", "It is due in June."]):
        learned = batch.labels[row][batch.labels[row] != IGNORE].tolist()
        assert pipeline.tokenizer.decode(learned) == answer + "<|eot_id|>"
        assert batch.input_ids[row][batch.labels[row] != IGNORE].tolist() == learned
        assert int(batch.keep[row].sum()) == int((batch.labels[row] != IGNORE).nonzero()[-1]) + 1
    assert batch.mel.shape == (2, 3000, 128) and batch.units.shape == (2, 4)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_stage1_moves_adapter_and_language_model(lora_rank, data):
    pipeline = load()
    before, batch = weights_of(pipeline), collate(pipeline, read_instructions(data))
    parameters = stage1_adapter.prepare(pipeline, lora_rank=lora_rank)
    with torch.enable_grad():
        losses = train(parameters, [batch] * 8, lambda b: stage1_adapter.stage1_loss(pipeline, b), LoopOptions(3e-3, 8))
    assert losses[-1] < 0.8 * losses[0]
    ids = torch.arange(9)[None]
    with torch.no_grad():
        adapted = pipeline.llm(pipeline.llm.embed(ids))
        if lora_rank:
            stage1_adapter.merge_lora(pipeline.llm.hf)
            torch.testing.assert_close(pipeline.llm(pipeline.llm.embed(ids)), adapted, rtol=1e-4, atol=1e-4)
    after = weights_of(pipeline)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"llm", "adapter"}


def test_stage2_moves_the_speech_decoder_alone(data):
    pipeline = load()
    before, batch = weights_of(pipeline), collate(pipeline, read_instructions(data, need_units=True))
    parameters = stage2_ctc.prepare(pipeline)
    with torch.enable_grad():
        losses = train(parameters, [batch] * 8, lambda b: stage2_ctc.stage2_loss(pipeline, b), LoopOptions(3e-3, 8))
    assert losses[-1] < 0.7 * losses[0]
    after = weights_of(pipeline)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"ctc"}


def test_saved_checkpoint_loads_as_the_same_model(tmp_path):
    pipeline = load()
    assert isinstance(pipeline.speech_decoder, CTCDecoder)
    pipeline.speech_decoder.output_proj.bias.data += 1
    folder = save_checkpoint(pipeline, tmp_path / "mine", like=GOLDEN / "checkpoint", shard_bytes=500_000)
    assert len(list(folder.glob("*.safetensors"))) > 3
    again = weights_of(load(folder))
    for name, expected in weights_of(pipeline).items():
        assert torch.equal(again[name], expected), name


def test_trained_cross_modal_adapter_survives_saving(tmp_path):
    pipeline = load()
    torch.manual_seed(3)
    adapter = CrossModalAdapter(pipeline.adapter, n_heads=pipeline.llm.config.num_attention_heads).eval()
    adapter.gate.data.fill_(0.7)
    crossed = pipeline.replace(adapter=adapter.requires_grad_(False))
    folder = save_checkpoint(crossed, tmp_path / "crossed", like=GOLDEN / "checkpoint")
    again = load_pipeline(folder, whisper=WHISPER, tokenizer=GOLDEN / "tokenizer", adapter="cross_modal")
    states, words = torch.randn(1, 50, 32), torch.randn(1, 4, 64)
    torch.testing.assert_close(again.adapter(states, words), adapter(states, words))
    torch.testing.assert_close(load(folder).adapter(states), pipeline.adapter(states))


def test_command_trains_and_saves(data, tmp_path, capsys):
    """The recipe from its command line, one step; its output is a checkpoint."""
    options = ["--checkpoint", GOLDEN / "checkpoint", "--whisper", WHISPER, "--tokenizer", GOLDEN / "tokenizer",
               "--device", "cpu", "--dtype", "float32", "--epochs", "1", "--accumulate", "1",
               "--out", tmp_path / "out"]  # fmt: skip
    assert stage2_ctc.main([str(data), *map(str, options)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert load(tmp_path / "out").speech_decoder.n_units == 1000


def test_batches_cover_every_item_once_an_epoch():
    order = list(batches(list(range(7)), 3, epochs=2, seed=1))
    assert [len(part) for part in order] == [3, 3, 1, 3, 3, 1]
    for epoch in (order[:3], order[3:]):
        assert sorted(item for part in epoch for item in part) == list(range(7))
    assert order == list(batches(list(range(7)), 3, epochs=2, seed=1)) and order[:3] != order[3:]


def test_rate_rises_then_falls():
    options = LoopOptions(1.0, 100)
    rates = [learning_rate_at(step, options) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 3) and max(rates) == 1.0 and rates[-1] < 0.01
    assert rates[3:] == sorted(rates[3:], reverse=True)


@pytest.mark.parametrize(
    ("line", "needle"),
    [("{", "line 1"), ('{"audio": "x.wav"}', "answer"), ('{"audio": "x", "answer": "y"}', "no units")],
)
def test_malformed_data_names_the_line(line, needle, tmp_path):
    (tmp_path / "data.jsonl").write_text(line)
    with pytest.raises(DocumentError, match=needle):
        read_instructions(tmp_path / "data.jsonl", need_units=True)
