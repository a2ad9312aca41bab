"""Four small classifiers, kept as numbers: nothing of them is ever unpickled.

Each turns the slab picture into a probability. Gradient boosting is kept as XGBoost's JSON, nearest
neighbours, logistic regressions, principal components and calibrations as arrays of one safetensors
file. Training is in `apps.dat_spect.train`; what is here predicts, and needs no scikit-learn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import xgboost
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from apps.dat_spect.features import Picture, Regions, numbers, picture_vector
from apps.dat_spect.labels import Feature
from operators.errors import BrokenBundle

Array = NDArray[np.float64]
ARRAYS = "models/classifiers.safetensors"
EDGE = 1e-4
"""Probabilities are kept this far from 0 and 1 where a logarithm is taken."""


def log_odds(probability: Array) -> Array:
    """Logarithm of the odds, bounded.

    >>> log_odds(np.array([0.5, 1.0])).round(2).tolist()
    [0.0, 9.21]
    """
    inside = np.clip(probability, EDGE, 1 - EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def logistic(score: Array) -> Array:
    """Probability of log odds.

    >>> logistic(np.array([0.0])).tolist()
    [0.5]
    """
    return np.asarray(1.0 / (1.0 + np.exp(-score)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Arrays:
    """Something that is nothing but arrays."""

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Its arrays by name."""
        return {f"{prefix}.{one.name}": getattr(self, one.name) for one in fields(self)}

    @classmethod
    def of(cls, stored: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """Built of its arrays.

        Raises:
            BrokenBundle: One is missing.
        """
        names = [one.name for one in fields(cls)]
        missing = [name for name in names if f"{prefix}.{name}" not in stored]
        if missing:
            raise BrokenBundle(f"{ARRAYS} lacks {', '.join(f'{prefix}.{name}' for name in missing)}")
        return cls(**{name: np.asarray(stored[f"{prefix}.{name}"], dtype=np.float64) for name in names})


@dataclass(frozen=True, kw_only=True, eq=False)
class Components(_Arrays):
    """Principal components.

    Args:
        mean: ``(d,)``.
        axes: ``(k, d)``, each of unit length.
    """

    mean: Array
    axes: Array

    def scores(self, rows: Array) -> Array:
        """``(n, d)`` to ``(n, k)``."""
        return np.asarray((rows - self.mean) @ self.axes.T)


@dataclass(frozen=True, kw_only=True, eq=False)
class Regression(_Arrays):
    """Logistic regression on standardised inputs.

    Args:
        mean, scale: ``(d,)`` of the training inputs.
        weights: ``(d,)``.
        bias: ``(1,)``.
    """

    mean: Array
    scale: Array
    weights: Array
    bias: Array

    def probability(self, rows: Array) -> Array:
        """``(n, d)`` to ``(n,)``."""
        return logistic((rows - self.mean) / self.scale @ self.weights + self.bias[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours(_Arrays):
    """k nearest neighbours on standardised inputs.

    Args:
        mean, scale: ``(d,)`` of the training inputs.
        points: ``(m, d)``, standardised.
        answers: ``(m,)``, 0 or 1.
        k: ``(1,)``.
    """

    mean: Array
    scale: Array
    points: Array
    answers: Array
    k: Array

    def probability(self, rows: Array) -> Array:
        """``(n, d)`` to ``(n,)``: share of the k nearest, drawn to one half as if two more were seen."""
        count = int(self.k[0])
        standard = (rows - self.mean) / self.scale
        distance = ((standard[:, None, :] - self.points[None]) ** 2).sum(axis=2)
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
        return np.asarray((self.answers[nearest].sum(axis=1) + 1) / (count + 2))


@dataclass(frozen=True, eq=False)
class Boosted:
    """Gradient-boosted trees.

    Args:
        booster: Of XGBoost, binary logistic.
    """

    booster: xgboost.Booster

    def probability(self, rows: Array) -> Array:
        """``(n, d)`` to ``(n,)``."""
        return np.asarray(self.booster.predict(xgboost.DMatrix(rows, nthread=1)), dtype=np.float64)


Model = Boosted | Neighbours | Regression


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration(_Arrays):
    """Platt's calibration: slope and intercept on log odds, from cases held out.

    Args:
        line: ``(2,)``.
    """

    line: Array

    def probability(self, raw: Array) -> Array:
        """``(n,)`` to ``(n,)``."""
        return logistic(self.line[0] * log_odds(raw) + self.line[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """One of the four: its view of the picture, its components, its model, its calibration."""

    name: str
    components: Components
    model: Model
    calibration: Calibration

    def inputs(self, slab: Picture, regions: Regions) -> Array:
        """``(1, d)``: components of the view, then numbers."""
        return inputs_of(self.name, [slab], regions, self.components)

    def probability(self, slab: Picture, regions: Regions) -> float:
        """Of the abnormal answer, calibrated."""
        return float(self.calibration.probability(self.model.probability(self.inputs(slab, regions)))[0])


def inputs_of(name: str, slabs: list[Picture], regions: Regions, components: Components) -> Array:
    """``(n, d)`` inputs of a classifier."""
    pictures = np.stack([picture_vector(name, slab, regions) for slab in slabs])
    measured = np.stack([numbers(name, slab, regions) for slab in slabs])
    return np.concatenate([components.scores(pictures), measured], axis=1)


KINDS: dict[str, type[Boosted] | type[Neighbours] | type[Regression]] = {
    Feature.LOW_UPTAKE: Boosted,
    Feature.ASYMMETRY: Neighbours,
    Feature.DOT_SHAPE: Regression,
    "direct": Boosted,
}
"""F1 by gradient boosting, F2 by nearest neighbours, F3 by logistic regression, F4 by boosting."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifiers:
    """All that decides, beside the template.

    Args:
        each: Name of `KINDS` to classifier.
        fusion: Log odds of F1, F2, F3 and age in decades from 60 to abnormal: model 3.
        ratios: Mean binding ratio and asymmetry index to abnormal: model 1.
    """

    each: dict[str, Classifier]
    fusion: Regression
    ratios: Regression

    def features(self, slab: Picture, regions: Regions) -> dict[Feature, float]:
        """Probabilities of low uptake, asymmetry and dot shape."""
        return {feature: self.each[feature].probability(slab, regions) for feature in Feature}

    def abnormal(self, features: Mapping[Feature, float], age_years: float) -> float:
        """Model 3."""
        return float(self.fusion.probability(fusion_inputs([features], [age_years]))[0])

    def by_ratios(self, mean_ratio: float, asymmetry_percent: float) -> float:
        """Model 1."""
        return float(self.ratios.probability(np.array([[mean_ratio, asymmetry_percent]]))[0])

    def direct(self, slab: Picture, regions: Regions) -> float:
        """F4: the picture alone."""
        return self.each["direct"].probability(slab, regions)


def fusion_inputs(features: list[Mapping[Feature, float]], ages_years: list[float]) -> Array:
    """``(n, 4)``: log odds of F1, F2 and F3, and decades from 60."""
    odds = log_odds(np.array([[one[feature] for feature in Feature] for one in features]))
    return np.concatenate([odds, (np.asarray(ages_years)[:, None] - 60.0) / 10.0], axis=1)


# ------------------------------------------------------------------- bundle


def save_classifiers(classifiers: Classifiers, bundle: Path) -> None:
    """Write them into a bundle."""
    arrays = classifiers.fusion.arrays("fusion") | classifiers.ratios.arrays("ratios")
    (bundle / "models").mkdir(parents=True, exist_ok=True)
    for name, one in classifiers.each.items():
        arrays |= one.components.arrays(f"{name}.components") | one.calibration.arrays(f"{name}.calibration")
        if isinstance(one.model, Boosted):
            raw = json.loads(one.model.booster.save_raw(raw_format="json").decode("utf-8"))
            (bundle / "models" / f"{name}.json").write_text(json.dumps(raw) + "\n", encoding="utf-8")
        else:
            arrays |= one.model.arrays(f"{name}.model")
    save_file({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}, bundle / ARRAYS)


def load_classifiers(bundle: Path) -> Classifiers:
    """Those of a bundle.

    Raises:
        BrokenBundle: Something is missing or broken.
    """
    try:
        stored = load_file(bundle / ARRAYS)
    except (OSError, SafetensorError) as broken:
        raise BrokenBundle(f"{ARRAYS} cannot be read: {broken}") from broken
    each = {
        name: Classifier(
            name=name,
            components=Components.of(stored, f"{name}.components"),
            model=_load_model(name, stored, bundle),
            calibration=Calibration.of(stored, f"{name}.calibration"),
        )
        for name in KINDS
    }
    return Classifiers(
        each=each, fusion=Regression.of(stored, "fusion"), ratios=Regression.of(stored, "ratios")
    )


def _load_model(name: str, stored: Mapping[str, NDArray[Any]], bundle: Path) -> Model:
    kind = KINDS[name]
    if kind is not Boosted:
        return kind.of(stored, f"{name}.model")  # type: ignore[union-attr]
    booster = xgboost.Booster()
    try:
        booster.load_model(bundle / "models" / f"{name}.json")
    except (OSError, xgboost.core.XGBoostError) as broken:
        raise BrokenBundle(f"models/{name}.json cannot be read: {broken}") from broken
    return Boosted(booster)
