"""The baseline: ridge regression of the SARA total on gait parameters, one for each view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from apps.gait_ataxia.parameters import NAMES

ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LEAST_KNOWN = 0.9
"""Share of walks in which a view must show a parameter for it to be used."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """A linear model of standardised parameters.

    Args:
        columns: Indices into `NAMES`.
        mean: Of each column.
        spread: Of each column.
        weights: Of each column.
        constant: Intercept.
    """

    columns: tuple[int, ...]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weights: NDArray[np.float64]
    constant: float

    def predict(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(n,)`` SARA totals, 0 to 40, of ``(n, parameter)``; what is missing counts as average."""
        scaled = (vectors[:, list(self.columns)] - self.mean) / self.spread
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -4, 4)
        return np.clip(scaled @ self.weights + self.constant, 0, 40)

    def to_json_dict(self) -> dict[str, Any]:
        """As it stands in the bundle."""
        return {
            "columns": [NAMES[k] for k in self.columns],
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
            "weights": self.weights.tolist(),
            "constant": self.constant,
        }

    @classmethod
    def from_json_dict(cls, raw: dict[str, Any]) -> Ridge:
        """The inverse of `to_json_dict`."""
        return cls(
            columns=tuple(NAMES.index(name) for name in raw["columns"]),
            mean=np.array(raw["mean"]),
            spread=np.array(raw["spread"]),
            weights=np.array(raw["weights"]),
            constant=float(raw["constant"]),
        )


def fit_ridge(vectors: NDArray[np.float64], sara: NDArray[np.float64]) -> Ridge:
    """The ridge regression of these walks of one view, its penalty chosen by leave-one-out.

    Args:
        vectors: ``(n, parameter)``.
        sara: ``(n,)``.
    """
    known = np.isfinite(vectors)
    columns = np.flatnonzero(known.mean(axis=0) >= LEAST_KNOWN)
    chosen = np.where(known, vectors, np.nan)[:, columns]
    mean, spread = np.nanmean(chosen, axis=0), np.nanstd(chosen, axis=0) + 1e-6
    scaled = np.clip(np.nan_to_num((chosen - mean) / spread, nan=0.0), -4, 4)
    model = RidgeCV(alphas=ALPHAS).fit(scaled, sara)
    return Ridge(
        columns=tuple(int(k) for k in columns),
        mean=mean,
        spread=spread,
        weights=np.asarray(model.coef_),
        constant=float(model.intercept_),
    )
