"""A trained locator's folder: its config.json, checked against the weights beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelError
from rag.calibration import LogisticModel
from rag.locator_scores import REFUSAL_FEATURES, SPAN_FEATURES

CONFIG, WEIGHTS = "config.json", "weights.safetensors"


@dataclass(frozen=True)
class LocatorCard:
    """config.json: what the weights are and how their scores are to be read."""

    architecture: dict[str, Any]  # LocatorConfig
    memory: str  # "module:Class" of the memory layer whose weights are in the file; empty: none
    sha256: str  # of the weights file
    trunk: str  # embedder whose embeddings and tokeniser are used
    prior: float  # logit per unit of coarse score
    skip_below: float  # windows whose coarse score is below this share of the best one are not worth reading
    span: LogisticModel | None  # None: not calibrated yet, probabilities of the softmax are used
    refusal: LogisticModel | None
    refuse_above: float = 1.0  # probability of no answer from which a question counts as unanswered

    @classmethod
    def load(cls, folder: Path) -> LocatorCard:
        """Read and check a model folder. Raises ModelError with the remedy if anything is missing or damaged."""
        remedy = 'Restore models/locator from the repository, retrain it, or set locator.model = "sentence"'
        try:
            content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            models = {
                key: LogisticModel.from_json(content[key]) if content.get(key) else None for key in ("span", "refusal")
            }
            for key, names in (("span", SPAN_FEATURES), ("refusal", REFUSAL_FEATURES)):
                model = models[key]
                if model is not None and model.features != names:
                    raise ValueError(f"{key} is fitted on {model.features}, not {names}")
            card = cls(
                content["architecture"],
                content["memory"],
                content["sha256"],
                content["trunk"],
                content["prior"],
                content["skip_below"],
                **models,
                refuse_above=float(content.get("refuse_above", 1.0)),
            )
        except OSError as error:
            raise ModelError(f"the trained locator has no readable {folder / CONFIG}", remedy=remedy) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder / CONFIG} is damaged ({error!r})", remedy=remedy) from error
        weights = folder / WEIGHTS
        try:
            found = hashlib.sha256(weights.read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"the trained locator's weights {weights} are missing", remedy=remedy) from error
        if found != card.sha256:
            raise ModelError(
                f"{weights} is truncated or altered: its SHA-256 is {found[:12]}..., not {card.sha256[:12]}...",
                remedy=remedy,
            )
        return card
