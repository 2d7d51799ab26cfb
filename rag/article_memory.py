"""The memory that reads are trained with: paragraphs of SQuAD articles as entries, each article being one document."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ingest.embedders import Embedder
from rag.locator_reads import Example
from rag.squad import Squad
from rag.surroundings import entries_around, stacked

log = logging.getLogger(__name__)
LOST = 0.15  # share of the entries that are left out, so that the reader leans on none of them


class ArticleMemory:
    """Vectors of the paragraphs of `articles` by the frozen embedder, kept in a file between starts of a run."""

    def __init__(self, data: Squad, articles: Collection[int], embedder: Embedder, cache: Path) -> None:
        self.articles = frozenset(articles)
        self._embedder = embedder
        self._first: dict[int, int] = {}  # article -> its first paragraph; they lie next to each other
        for paragraph, article in enumerate(data.article_of):
            self._first.setdefault(article, paragraph)
        self._article_of = np.array(data.article_of)
        shape = (len(data.contexts), embedder.dim)
        self.vectors = np.load(cache) if cache.exists() else np.zeros(shape, np.float16)
        missing = [i for i, a in enumerate(data.article_of) if a in self.articles and not self.vectors[i].any()]
        if missing:
            log.info("embedding %d paragraphs for the memory", len(missing))
            self.vectors[missing] = embedder.embed_passages([data.contexts[i] for i in missing])
            np.save(cache, self.vectors)
        self._questions: dict[str, np.ndarray] = {}

    def _question(self, text: str) -> np.ndarray:
        if text not in self._questions:
            if len(self._questions) > 4096:
                self._questions.clear()
            self._questions[text] = self._embedder.embed_query(text)
        return self._questions[text]

    def entries(self, examples: Sequence[Example], rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Entries (B, W, M, E) and mask (B, W, M) of reads; with `rng` some are lost, as in training."""
        found = []
        for example in examples:
            article = int(self._article_of[example.question.paragraph])
            first = self._first[article]
            document = self.vectors[self._article_of == article].astype(np.float32)
            shown = {p - first for p in example.paragraphs}
            asked = self._question(example.question.text)
            found.append([entries_around(asked, document, p - first, shown) for p in example.paragraphs])
        table, mask = stacked(found)
        if rng is not None:
            mask &= rng.random(mask.shape) >= LOST
        return torch.from_numpy(table), torch.from_numpy(mask)
