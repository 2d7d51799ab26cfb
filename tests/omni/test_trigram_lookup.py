"""Probabilities looked up in a trigram file are those that pocketsphinx itself computes from it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from core.errors import ModelError
from omni.biased_models import BiasedModels
from omni.language_bias import DocumentLanguage
from omni.trigram_lookup import TrigramFile

sphinx = pytest.importorskip("pocketsphinx")
GENERAL = Path(sphinx.get_model_path("en-us/en-us.lm.bin"))
SENTENCES = ["what is the total revenue of the company", "how is the quillon impeller of the pump replaced"]


def test_general_and_mixed_probabilities(tmp_path: Path) -> None:
    text = "The Quillon pump has an impeller. The Quillon impeller is replaced every year."
    biased = BiasedModels().of(DocumentLanguage("pump", tmp_path, lambda: [text]), wait=True)
    assert biased is not None
    general = TrigramFile(GENERAL)
    mixed = TrigramFile(biased.language_model, general)
    compared = 0
    for path, looked_up in ((GENERAL, general), (biased.language_model, mixed)):
        judge = sphinx.NGramModel.readfile(str(path))
        for sentence in SENTENCES:
            words = sentence.split()
            for index, word in enumerate(words):
                for history in (words[max(0, index - 2) : index], words[max(0, index - 1) : index]):
                    if looked_up.number(word) >= 0:
                        expected = judge.prob([word, *reversed(history)]) * math.log(1.0001)
                        assert looked_up.logp(word, tuple(history)) == pytest.approx(expected, abs=0.003)
                        compared += 1
    assert compared > 50
    assert general.logp("quillon") == -math.inf and mixed.logp("quillon", ("the",)) > -6


def test_a_history_that_is_unknown_is_none() -> None:
    general = TrigramFile(GENERAL)
    assert general.logp("revenue", ("zzyzx",)) == general.logp("revenue")
    assert general.logp("revenue", ("zzyzx", "the")) == general.logp("revenue", ("the",))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"something else entirely")
    with pytest.raises(ModelError, match="trigram"):
        TrigramFile(tmp_path / "x.bin")
