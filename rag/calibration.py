"""Logistic models whose weights were fitted on data: how likely a sentence answers, and whether to answer at all.

The weights travel in `calibration.json` beside this file, together with the command that refits them.

>>> calibration().refusal_of("sentence").model.probability({"cosine": 0.7})   # features left out count as their mean
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ModelError

PATH = Path(__file__).with_name("calibration.json")


@dataclass(frozen=True)
class LogisticModel:
    """p = 1 / (1 + exp(-(bias + sum_i weight_i (x_i - mean_i) / scale_i)))."""

    features: tuple[str, ...]
    mean: np.ndarray  # (F,)
    scale: np.ndarray  # (F,)
    weights: np.ndarray  # (F,)
    bias: float

    def probabilities(self, matrix: np.ndarray) -> np.ndarray:
        """(n, F) features, in the order of `features` -> (n,) probabilities."""
        z = self.bias + ((matrix - self.mean) / self.scale) @ self.weights
        return 1.0 / (1.0 + np.exp(-np.clip(z, -30, 30)))

    def probability(self, values: Mapping[str, float]) -> float:
        row = np.array([values.get(name, self.mean[i]) for i, name in enumerate(self.features)], dtype=np.float64)
        return float(self.probabilities(row[None])[0])

    @classmethod
    def fit(cls, features: tuple[str, ...], x: np.ndarray, y: np.ndarray, *, l2: float = 1.0) -> LogisticModel:
        """Newton's method on the L2-penalised likelihood; x (n, F), y (n,) in {0, 1}. The bias is not penalised."""
        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-6)
        design = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
        penalty = np.diag([l2] * x.shape[1] + [0.0])
        theta = np.zeros(design.shape[1])
        for _ in range(25):
            p = 1.0 / (1.0 + np.exp(-np.clip(design @ theta, -30, 30)))
            gradient = design.T @ (p - y) + penalty @ theta
            hessian = (design * (p * (1 - p))[:, None]).T @ design + penalty
            step = np.linalg.solve(hessian, gradient)
            theta -= step
            if np.abs(step).max() < 1e-8:
                break
        return cls(features, mean, scale, theta[:-1], float(theta[-1]))

    def to_json(self) -> dict[str, Any]:
        return {
            "bias": round(self.bias, 4),
            "features": {
                name: {"weight": round(float(w), 4), "mean": round(float(m), 4), "scale": round(float(s), 4)}
                for name, w, m, s in zip(self.features, self.weights, self.mean, self.scale, strict=True)
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LogisticModel:
        rows = data["features"]
        mean, scale, weights = (
            np.array([float(row[key]) for row in rows.values()]) for key in ("mean", "scale", "weight")
        )
        return cls(tuple(rows), mean, scale, weights, float(data["bias"]))


@dataclass(frozen=True)
class Refusal:
    """Whether to answer: fitted on the spans of one locator, whose scores mean what they mean."""

    model: LogisticModel  # P(the hits support an answer)
    threshold: float  # answers below it are refused

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Refusal:
        return cls(LogisticModel.from_json(data), float(data["threshold"]))


@dataclass(frozen=True)
class Calibration:
    sentence: LogisticModel  # P(sentence holds the answer)
    refusals: Mapping[str, Refusal]  # by the locator's name; "sentence" is always there

    def refusal_of(self, locator: str) -> Refusal:
        return self.refusals.get(locator, self.refusals["sentence"])


@lru_cache(maxsize=4)
def calibration(path: Path = PATH) -> Calibration:
    """The shipped weights. Raises ModelError if the file is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        refusals = {"sentence": Refusal.from_json(data["refusal"])}
        if "refusal_trained" in data:
            refusals["trained"] = Refusal.from_json(data["refusal_trained"])
        return Calibration(LogisticModel.from_json(data["sentence"]), refusals)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the calibration file {path.name} cannot be read ({error})",
            remedy="Refit it with `python -m rag.train_calibration --data SQUAD_TRAIN.json`",
        ) from error
