"""Whisper's decoder over states that were computed once, for the language model and for the transcript."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from speech_llm_parts import WHISPER_CONTROL, Sizes, whisper_of, write_hf_whisper, write_openai_whisper

from core.errors import ModelError
from omni.front_end import LogMel
from omni.pipeline import HeardSpeech
from omni.whisper_encoder import load_encoder, open_whisper
from omni.whisper_text import load_transcriber

CPU = {"dtype": torch.float32, "device": torch.device("cpu")}
START = [WHISPER_CONTROL[name] for name in list(WHISPER_CONTROL)[1:]]
END = WHISPER_CONTROL["<|endoftext|>"]
SOUND = np.sin(np.arange(16_000) ** 1.3 * 0.01).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_hf_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def heard(folder):
    encoder = load_encoder(open_whisper(folder), **CPU)
    with torch.inference_mode():
        return HeardSpeech(encoder(LogMel(80)(SOUND)), 1.0, 0)


def greedy_by_transformers(mel, count):
    """The judge: transformers' whole model, no cache, everything recomputed at every token."""
    model, ids = whisper_of(Sizes()), list(START)
    with torch.inference_mode():
        for _ in range(count):
            logits = model(input_features=mel.transpose(1, 2), decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            logits[END + 1 :] = -torch.inf
            if (token := int(logits.argmax())) == END:
                break
            ids.append(token)
    return ids[len(START) :]


def test_transcript_equals_transformers_whisper(folder, heard):
    reader = load_transcriber(open_whisper(folder), **CPU)
    ids = reader.token_ids(heard.states, START, END, max_tokens=20)
    assert ids == greedy_by_transformers(LogMel(80)(SOUND), 20)
    assert ids
    transcript = reader.transcribe(heard)
    whole = reader.token_ids(heard.states, START, END)
    assert transcript.text == reader.tokenizer.decode(whole, skip_special_tokens=True).strip()
    assert transcript.seconds == 1.0 and "<|" not in transcript.text


def test_openai_file_reads_the_same(folder, heard, tmp_path):
    """The published .pt holds no tokenizer; one from a folder serves."""
    source = open_whisper(write_openai_whisper(tmp_path / "tiny.pt"))
    same = load_transcriber(source, tokenizer=folder, **CPU)
    judge = load_transcriber(open_whisper(folder), **CPU)
    assert same.token_ids(heard.states, START, END) == judge.token_ids(heard.states, START, END)
    with pytest.raises(ModelError, match="tokenizer"):
        load_transcriber(source, **CPU)


def test_windows_are_joined(folder, heard):
    reader = load_transcriber(open_whisper(folder), **CPU)
    one = reader.transcribe(heard).text
    two = reader.transcribe(HeardSpeech(torch.cat([heard.states, heard.states]), 31.0, 0)).text
    assert two == f"{one} {one}"


def test_unknown_language_is_named(folder, heard):
    with pytest.raises(ModelError, match=r"<\|xx\|>"):
        load_transcriber(open_whisper(folder), **CPU).transcribe(heard, language="xx")
