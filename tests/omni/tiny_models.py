"""Real checkpoints of a few thousand random weights: what they say is noise, how they are loaded and called is not."""

from __future__ import annotations

import json
from pathlib import Path


def save_tiny_vits(folder: Path) -> Path:
    """A VITS voice (22,050 Hz is its vocoder's rate here) over lower-case letters."""
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    torch.manual_seed(0)
    letters = ["<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz' -"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    VitsTokenizer(str(folder / "vocab.json"), phonemize=False, is_uroman=False).save_pretrained(folder)
    config = VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        duration_predictor_filter_channels=16,
        depth_separable_num_layers=1,
        sampling_rate=22_050,
    )
    VitsModel(config).save_pretrained(folder)
    return folder


def save_tiny_whisper(folder: Path) -> Path:
    """A Whisper (80 mel, two layers of width 16) with a byte-level tokenizer without merges."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizerFast,
    )

    torch.manual_seed(0)
    vocabulary = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    special += [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    fast = WhisperTokenizerFast(tokenizer_object=tokenizer, eos_token=special[0], bos_token=special[0])
    ids = {name: fast.convert_tokens_to_ids(name) for name in special[:9]}
    config = WhisperConfig(
        vocab_size=len(fast),
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=448,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        max_length=24,
        suppress_tokens=list(range(len(vocabulary), len(fast))),  # letters only, until the length is reached
        lang_to_id={"<|en|>": ids["<|en|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        is_multilingual=True,
        language="en",
        task="transcribe",
    )
    WhisperProcessor(WhisperFeatureExtractor(), fast).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)  # preprocessor_config.json, which CTranslate2 wants
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def convert_to_ctranslate2(whisper: Path, folder: Path) -> Path:
    """The same checkpoint as faster-whisper reads it."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(whisper), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(str(folder))
    return folder
