"""Device, dtype, threads, seeds, optional packages and logging: what depends on the machine, decided once."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from core.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    import torch


def require(module: str, *, needed_for: str, package: str = "") -> ModuleType:
    """Import an optional `module`, or raise MissingDependencyError that names the pip line.

    >>> av = require("av", needed_for="reading MP3 files")
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{needed_for} needs the package {package or module}, which is not installed",
            remedy=f"Install it with `pip install {package or module}`",
        ) from error


def resolve_device(device: str) -> torch.device:
    """`auto` -> CUDA when there is one, else CPU; any torch device name otherwise. Raises ModelError."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(
            f"device = {device!r} was asked for, but torch sees no GPU here",
            remedy='Set device = "cpu" (LECTERN_DEVICE=cpu) or install a CUDA build of torch',
        )
    return torch.device(device)


def resolve_dtype(dtype: str) -> torch.dtype:
    """One of float32, bfloat16, float16 as torch's dtype."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def release_memory() -> None:
    """Give memory that large work has left free back to the system: glibc keeps it otherwise. Nothing elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def stay_offline() -> None:
    """Forbid libraries to phone home: hub look-ups, telemetry, analytics. Call before they are imported."""
    for name, value in {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "ANONYMIZED_TELEMETRY": "False",  # chromadb
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "LANGCHAIN_TRACING_V2": "false",
        "LANGSMITH_TRACING": "false",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)


def bound_kernels() -> None:
    """Keep 32 of oneDNN's compiled kernels, not 1,024: one for each length of text, which no server stops meeting. An
    hour of questions was a gigabyte; the time of an answer stays the same. Call before torch is imported."""
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, "32")


def bound_arenas(count: int = 1) -> None:
    """Let glibc keep `count` heaps instead of eight a core: threads come and go, and each heap keeps the most
    that any has needed, in pieces that cannot be given back. One costs no time: numbers take few and large blocks, and
    Python has a heap of its own for what is small. Nothing elsewhere, or where MALLOC_ARENA_MAX says otherwise. Call
    before threads start."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").mallopt(-8, count)  # M_ARENA_MAX of malloc.h


def set_up_logging(verbose: bool = False) -> None:
    """For the entry points only: warnings (or debug) of ours on stderr, third parties quiet."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for package in ("core", "ingest", "rag", "memory", "omni", "web"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)
    for noisy in ("httpx", "chromadb", "pypdf", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
