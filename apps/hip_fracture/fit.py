"""What is set on answers about patients that the answering networks have not learned from.

One temperature makes the fused probabilities as sure as they are right. How sure AP and lateral have to be
of different answers to contradict each other is set so that a wrong answer weighs twice what a right one is
worth: a fracture that is plain in one view and invisible in the other is a common finding, and no
    contradiction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.hip_fracture.findings import Limits, by_title, decision_on, fused_probabilities
from apps.hip_fracture.labels import VIEWS
from operators.read.projection import View
from operators.train.temperature import fit_temperature

SURES = (0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98)
"""Tried in this order; of equally good ones the first is taken."""
WRONG_WEIGHS = 2.0
FAINTEST = 1e-4
"""Smaller probabilities count as this: they are no surer."""
LEAST_HIPS = 20
"""Fewer hips with both views decide nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A readable hip with both views, and what networks say that have not seen the patient.

    Args:
        parts: ``(3,)`` float64 by view.
        answer: Index of the true answer.
    """

    parts: dict[View, NDArray[np.float64]]
    answer: int


def fit_limits(hips: Sequence[HeldOut]) -> Limits:
    """Temperature and sureness for these hips; the defaults where there are too few of them."""
    if len(hips) < LEAST_HIPS:
        return Limits()
    mean = np.stack([fused_probabilities(_parts(hip), 1.0) for hip in hips])
    answers = np.array([hip.answer for hip in hips], dtype=np.int64)
    temperature = round(fit_temperature(np.log(np.maximum(mean, FAINTEST)), answers), 4)
    tried = [Limits(fusion_temperature=temperature, sure=sure) for sure in SURES]
    return max(tried, key=lambda limits: worth(hips, limits))


def worth(hips: Sequence[HeldOut], limits: Limits) -> float:
    """Right answers less `WRONG_WEIGHS` times the wrong ones, per hip; indeterminate counts nothing.

    >>> sure = {View.AP: np.array([0.9, 0.1, 0.0]), View.LATERAL: np.array([0.9, 0.0, 0.1])}
    >>> worth([HeldOut(parts=sure, answer=0), HeldOut(parts=sure, answer=1)], Limits())
    -0.5
    """
    total = 0.0
    for hip in hips:
        fused = fused_probabilities(_parts(hip), limits.fusion_temperature)
        decision = decision_on(fused, by_title(hip.parts), limits)
        if decision.class_index is not None:
            total += 1.0 if decision.class_index == hip.answer else -WRONG_WEIGHS
    return total / len(hips)


def _parts(hip: HeldOut) -> list[NDArray[np.float64]]:
    return [hip.parts[view] for view in VIEWS]
