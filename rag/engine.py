"""The default wiring of an answer engine over a workspace: the one place that chooses its parts from the settings.

engine = build_engine(Workspace.open(settings.home), settings)
print(engine.answer("When does the lease end?").text)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import LecternError, ModelError
from core.settings import Settings
from rag.answer import AnswerEngine
from rag.recent import Recent
from rag.sentence_locator import SentenceLocator
from rag.types import Locator

if TYPE_CHECKING:
    from ingest.embedders import Embedder
    from ingest.workspace import Workspace

log = logging.getLogger(__name__)

TRAINED_LOCATOR = Path(__file__).parents[1] / "models" / "locator"


class LazyEmbedder:
    """The embedder of the settings, loaded at its first use, that remembers the latest questions and sentences.

    Retriever, locator and the check for support ask for the same texts: each is embedded once.
    """

    def __init__(self, settings: Settings) -> None:
        from ingest.embedders import embedder_name

        self._settings = settings
        self.name = embedder_name(settings.embedder)
        self._dim = 0
        self._queries: Recent[np.ndarray] = Recent(64)
        self._passages: Recent[np.ndarray] = Recent(4096)

    def load(self) -> Embedder:
        from ingest.embedders import load_embedder

        settings = self._settings
        return load_embedder(settings.embedder, device=settings.device, threads=settings.threads)  # cached per process

    @property
    def dim(self) -> int:
        self._dim = self._dim or self.load().dim
        return self._dim

    @dim.setter
    def dim(self, value: int) -> None:  # the protocol's attribute is settable
        self._dim = value

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        vectors = {text: self._passages.get(text) for text in texts}
        if missing := [text for text, vector in vectors.items() if vector is None]:
            for text, vector in zip(missing, self.load().embed_passages(missing), strict=True):
                vectors[text] = vector
                self._passages.put(text, vector)
        found = [vector for text in texts if (vector := vectors[text]) is not None]
        return np.stack(found) if found else np.zeros((0, self.dim), np.float32)

    def embed_query(self, text: str) -> np.ndarray:
        vector = self._queries.get(text)
        if vector is None:
            vector = self.load().embed_query(text)
            self._queries.put(text, vector)
        return vector

    def count_tokens(self, text: str) -> int:
        return self.load().count_tokens(text)


def build_engine(workspace: Workspace, settings: Settings) -> AnswerEngine:
    """An engine as the settings say. Nothing heavy is loaded before the first question."""
    from rag.generators import build_generator
    from rag.retriever import HybridRetriever

    embedder = LazyEmbedder(settings)
    return AnswerEngine(
        HybridRetriever(workspace, embedder, settings.retrieval, device=settings.device, threads=settings.threads),
        build_locator(embedder, workspace, settings),
        workspace=workspace,
        generator=build_generator(settings.answer, device=settings.device),
        settings=settings.answer,
        locator_settings=settings.locator,
        embedder=embedder,
    )


def build_locator(embedder: Embedder, workspace: Workspace, settings: Settings) -> Locator:
    """The locator that `settings.locator.model` names: "sentence", a trained one's folder, or "auto".

    auto: the trained one under models/locator if it is there and loads, else sentences, which a log line announces.
    Raises ModelError if a folder that was named does not load.
    """
    choice = settings.locator.model
    if choice == "sentence":
        return SentenceLocator(embedder, workspace, settings.locator)
    folder = TRAINED_LOCATOR if choice == "auto" else Path(choice).expanduser()
    try:
        if not folder.is_dir():
            raise ModelError(f"no trained locator at {folder}", remedy='Set locator.model = "sentence"')
        from rag.locator import load_locator

        return load_locator(folder, workspace=workspace, settings=settings, embedder=embedder)
    except (LecternError, ImportError, OSError, ValueError, RuntimeError) as error:
        if choice != "auto":
            if isinstance(error, LecternError):
                raise
            raise ModelError(
                f"the locator in {folder} does not load ({error})", remedy='Set locator.model = "sentence"'
            ) from error
        log.info("fine location by sentences: %s", error)
        return SentenceLocator(embedder, workspace, settings.locator)
