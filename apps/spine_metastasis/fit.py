"""What is learned of out-of-fold probabilities: how sharp the fused probability is to be.

The mean of two calibrated probabilities is too cautious, because two sequences that agree are better
evidence than either; one temperature on the log odds of the mean makes up for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from apps.spine_metastasis.classify import HIGHEST_LIMIT, MALIGNANT, Calibration, fused_causes
from apps.spine_metastasis.labels import FractureClass, Weighting
from operators.measure.decision import fuse

TEMPERATURES = (0.25, 2.0)
LEAST_FRACTURES = 20
"""Fewer fractures seen in both sequences teach no temperature."""
LIMITS = np.linspace(0.3, HIGHEST_LIMIT, 21)
"""Probabilities of a fracture that are tried as the limit."""
FALSE_ALARM_WEIGHT = 0.5
"""Of one false alarm against one missed fracture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A vertebra judged by networks that have not learned from its patient.

    Args:
        patient_id: Whose it is.
        number: Which of the patient's vertebrae.
        fracture: What it is.
        parts: For each sequence ``(3,)`` probabilities.
    """

    patient_id: str
    number: int
    fracture: FractureClass
    parts: Mapping[Weighting, NDArray[np.float64]]


def fit_calibration(held_out: Sequence[HeldOut]) -> Calibration:
    """Limit and temperature; the defaults where there is too little to learn from."""
    return Calibration(
        fractured_from=_fractured_from(held_out), fusion_temperature=_fusion_temperature(held_out)
    )


def _fusion_temperature(held_out: Sequence[HeldOut]) -> float:
    fractures = [
        one for one in held_out if one.fracture != FractureClass.NOT_FRACTURED and len(one.parts) > 1
    ]
    causes = {one.fracture for one in fractures}
    if len(fractures) < LEAST_FRACTURES or len(causes) < 2:
        return 1.0
    is_malignant = np.array([one.fracture == FractureClass.MALIGNANT for one in fractures])

    def surprise(temperature: float) -> float:
        p = np.array([fused_causes(list(one.parts.values()), temperature)[MALIGNANT] for one in fractures])
        p = np.clip(p, 1e-6, 1 - 1e-6)
        return float(-np.mean(np.where(is_malignant, np.log(p), np.log(1 - p))))

    return round(float(minimize_scalar(surprise, bounds=TEMPERATURES, method="bounded").x), 3)


def _fractured_from(held_out: Sequence[HeldOut]) -> float:
    """The limit with the fewest misses and false alarms; the middle one of several as good."""
    is_fractured = np.array([one.fracture != FractureClass.NOT_FRACTURED for one in held_out])
    if len(held_out) < LEAST_FRACTURES or is_fractured.all() or not is_fractured.any():
        return Calibration().fractured_from
    p = np.array([1 - fuse(list(one.parts.values()))[FractureClass.NOT_FRACTURED] for one in held_out])
    costs = np.array(
        [
            (is_fractured & (p < limit)).sum() + FALSE_ALARM_WEIGHT * (~is_fractured & (p >= limit)).sum()
            for limit in LIMITS
        ]
    )
    best = np.flatnonzero(costs == costs.min())
    return round(float(LIMITS[best[len(best) // 2]]), 2)
