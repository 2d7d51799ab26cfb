"""The documents' language models as recognisers ask for them: at once if there is one, else built in the background.

models = BiasedModels()
biased = models.of(document_language(workspace), wait=False)     # or None, until it has been built
term_index(biased).corrections("replace the quill on pump")
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from omni.arpabet import phones
from omni.close_terms import TermIndex
from omni.language_bias import (
    BiasedModel,
    DocumentLanguage,
    biased_model,
    built_model,
    is_built,
    phrase_language,
    read_built,
)
from omni.language_worker import build_apart
from omni.sphinx_decoder import dictionary_words, general_language_model

logger = logging.getLogger(__name__)


class BiasedModels:
    """Thread-safe; builds one model at a time."""

    def __init__(self) -> None:
        self._building = threading.Lock()
        self._background: set[str] = set()  # languages that are being built

    def of(self, vocabulary: Sequence[str], *, wait: bool) -> BiasedModel | None:
        """The model of a vocabulary (`document_language(workspace)` or a list of words); None without words.

        wait: build it if need be (some seconds; many documents in a process of their own, which may take minutes); else
        the latest of the same documents is used meanwhile, or none.
        """
        if isinstance(vocabulary, DocumentLanguage):
            language = vocabulary
        elif vocabulary:
            language = phrase_language(vocabulary)
        else:
            return None
        if not wait:
            built = built_model(language)
            if built is None or not str(built.language_model).startswith(language.name + "-"):
                self._build_in_background(language)
            return built
        with self._building:
            if language.apart is not None and not is_built(language):
                build_apart(language.apart)
                return built_model(language) or build_here(language)  # of a later state, where one was stored meanwhile
            return build_here(language)

    def _build_in_background(self, language: DocumentLanguage) -> None:
        def build() -> None:
            try:
                self.of(language, wait=True)
            except Exception:  # the documents may be gone by now; the next utterance tries again
                logger.warning("no language model of %s", language.key, exc_info=True)
            finally:
                self._background.discard(language.name)

        if language.name not in self._background:
            self._background.add(language.name)
            threading.Thread(target=build, name="lectern-language", daemon=True).start()


def build_here(language: DocumentLanguage) -> BiasedModel:
    """The mixed model of `language`, built in this process unless it lies in its folder."""
    return biased_model(language, general_language_model(), _Dictionary())


class _Dictionary:
    """Whether pocketsphinx's pronouncing dictionary has a word; read when the first one is asked about, and given up
    with this object: only building needs it."""

    def __init__(self) -> None:
        self._known: Callable[[str], bool] | None = None

    def __call__(self, word: str) -> bool:
        if self._known is None:
            self._known = dictionary_words().__contains__
        return self._known(word)


def term_index(biased: BiasedModel) -> TermIndex:
    """The documents' terms by how they sound."""
    return _term_index(biased.language_model)


@lru_cache(maxsize=4)
def _term_index(language_model: Path) -> TermIndex:
    biased = read_built(language_model)
    return TermIndex(biased.terms, lambda word: biased.pronunciations.get(word, [""])[0] or phones(word))
