"""The embedders with weights: our own encoder for BERT models, sentence-transformers for every other.

Both keep their weights in bfloat16 where the CPU computes in it natively (measured: cosine to float32 0.9999 in the
mean, about 3x the speed), form batches of similar length so that little is padded, and run one thread: two intra-op
threads collapse as soon as anything else runs, so more cores are used by more processes (ingest/embedding.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import ModelError, UsageError
from core.runtime import resolve_device, stay_offline
from core.settings import EmbedderSettings
from ingest.bert import PAD_TO, BertConfig, BertEncoder
from ingest.embedders import Embedder, _pick_dtype, cannot_load, embedder_name, load_token_counter, model_source

# What a batch may hold. On a CPU the activations of about 8 passages fit its caches: 10 % quicker than 32 of them.
_TOKENS_A_BATCH = {"cpu": 2048, "cuda": 32768}


def load_neural(settings: EmbedderSettings, *, device: str, threads: int) -> Embedder:
    """The fastest engine that covers the model. Raises ModelError, UsageError."""
    where = resolve_device(device)
    if where.type == "cpu":
        torch.set_num_threads(threads)
    folder = Path(model_source(settings.model))
    config = BertConfig.read(folder)
    if config is not None:
        return BertEmbedder(settings, folder, config, device=where)
    return SentenceTransformerEmbedder(settings, device=where)


class BertEmbedder:
    """A BERT model with mean pooling (the default one) through ingest/bert.py."""

    def __init__(self, settings: EmbedderSettings, folder: Path, config: BertConfig, *, device: torch.device) -> None:
        from tokenizers import Tokenizer

        self.name = embedder_name(settings)
        self.device = device
        self.dim = config.dim
        self.dtype = _pick_dtype(settings.dtype, device)
        self._settings = settings
        self._max_tokens = _TOKENS_A_BATCH.get(device.type, 8192)
        try:
            self._model = BertEncoder.load(folder, config, device=device, dtype=self.dtype)
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # safetensors and tokenizers raise classes of their own, and bare Exception
            raise cannot_load(settings.model, error) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(config.max_tokens)

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._embed([self._settings.passage_prefix + text for text in texts])

    def embed_query(self, text: str) -> np.ndarray:
        ids = self._tokenizer.encode(self._settings.query_prefix + text).ids  # a batch of one would wake its threads
        with torch.inference_mode():
            vector: np.ndarray = self._model([ids])[0].cpu().numpy()
        return vector

    def count_tokens(self, text: str) -> int:
        return load_token_counter(self._settings)(text)

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.empty((len(texts), self.dim), np.float32)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        with torch.inference_mode():
            lengths = [len(text) for text in ids]
            for batch in length_sorted_batches(lengths, self._settings.batch_size, self._max_tokens):
                vectors[batch] = self._model([ids[i] for i in batch]).cpu().numpy()
        return vectors


class SentenceTransformerEmbedder:
    """Any sentence-transformers model for text, frozen for inference."""

    def __init__(self, settings: EmbedderSettings, *, device: torch.device) -> None:
        stay_offline()
        self.name = embedder_name(settings)
        self.device = device
        self.batch_size = settings.batch_size
        self._query_prefix, self._passage_prefix = settings.query_prefix, settings.passage_prefix
        # Fast tokenizers keep mutable state ("Already borrowed"). The network needs no lock: a question is embedded
        # while a batch of passages is.
        self._tokenizer_lock = threading.Lock()
        self._count_tokens: Callable[[str], int] | None = None
        self._settings = settings
        self.dtype = _pick_dtype(settings.dtype, self.device)
        self._model = _load_sentence_transformer(settings.model, self.device, self.dtype)
        self.dim = 0
        self.dim = self.embed_passages(["a"]).shape[1]

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._embed([self._passage_prefix + text for text in texts])

    def embed_query(self, text: str) -> np.ndarray:
        return self._embed([self._query_prefix + text])[0]

    def count_tokens(self, text: str) -> int:
        if self._count_tokens is None:
            tokenizer = self._model.tokenizer
            backend = getattr(tokenizer, "backend_tokenizer", None)
            if backend is not None and (Path(model_source(self._settings.model)) / "tokenizer.json").is_file():
                self._count_tokens = load_token_counter(self._settings)
            else:
                self._count_tokens = lambda text: len(tokenizer.encode(text, add_special_tokens=False))
        return self._count_tokens(text)

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        vectors: np.ndarray | None = None
        tokenizer = self._model.tokenizer
        with self._tokenizer_lock:
            encoded = tokenizer(
                list(texts), truncation=True, max_length=self._model.max_seq_length, return_token_type_ids=False
            )["input_ids"]
        with torch.inference_mode():
            for batch in length_sorted_batches([len(ids) for ids in encoded], self.batch_size):
                with self._tokenizer_lock:
                    features = tokenizer.pad(
                        {"input_ids": [encoded[i] for i in batch]}, return_tensors="pt", pad_to_multiple_of=PAD_TO
                    )
                features = {key: value.to(self.device) for key, value in features.items()}
                output = self._model(features)["sentence_embedding"]
                rows = torch.nn.functional.normalize(output.float(), dim=1).cpu().numpy()
                if vectors is None:
                    vectors = np.empty((len(texts), rows.shape[1]), np.float32)
                vectors[batch] = rows
        assert vectors is not None
        return vectors


def length_sorted_batches(lengths: Sequence[int], batch_size: int, max_tokens: int = 8192) -> list[list[int]]:
    """Indices in batches of at most `batch_size` texts and, padding included, `max_tokens` (or one text).

    Longest first: a shortage of memory shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for index in order:
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and len(batches[-1]) < batch_size and longest * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _load_sentence_transformer(model: str, device: torch.device, dtype: torch.dtype) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    from sentence_transformers import SentenceTransformer

    try:
        loaded = SentenceTransformer(model_source(model), device=str(device), model_kwargs={"dtype": dtype})
    except (UsageError, ModelError):
        raise
    except Exception as error:  # hub, file and weight errors come from a dozen unrelated classes
        raise cannot_load(model, error) from error
    loaded.eval()
    for parameter in loaded.parameters():
        parameter.requires_grad_(False)
    return loaded
