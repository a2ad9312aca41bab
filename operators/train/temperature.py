"""One number that makes a classifier as sure as it is right: temperature scaling (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

RANGE = (0.1, 10.0)
"""Of temperatures."""


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The temperature that logits are to be divided by, by maximum likelihood.

    As with Platt (1999) each class has one case more than was seen, spread over all cases: otherwise
    a classifier that was always right would be told to be sure without limit.

    Args:
        logits: ``(n, classes)`` of cases that the model has not learned from.
        labels: ``(n,)`` the true classes.

    Raises:
        ValueError: There is no case.

    >>> round(fit_temperature(np.array([[4.0, 0.0]] * 400), np.arange(400) % 4 // 3), 2)
    3.66
    """
    if not len(labels):
        raise ValueError("a temperature needs at least one case")
    classes = logits.shape[1]
    wanted = (np.eye(classes)[labels] * len(labels) + 1) / (len(labels) + classes)

    def surprise(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum())

    found = minimize_scalar(surprise, bounds=tuple(np.log(RANGE)), method="bounded")
    return float(np.exp(found.x))
