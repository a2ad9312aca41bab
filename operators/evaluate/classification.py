"""Metrics of classifiers, patient-wise, for `operators.evaluate.Evaluation`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from operators.evaluate.bootstrap import Columns, bootstrap
from operators.evaluate.calibration import expected_calibration_error
from operators.evaluate.report import Metric

INDETERMINATE = -1
"""Instead of a class, where nothing was decided."""


def area_under_curve(is_positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Area under the ROC curve, ties counted half; NaN where one of the two kinds is missing.

    >>> area_under_curve(np.array([False, True, True]), np.array([0.2, 0.2, 0.9]))
    0.75
    """
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)[is_positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def macro_area_under_curve(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean over classes of the area for this class against all others; of two classes the area of the second.

    Args:
        labels: ``(n,)`` true classes.
        probabilities: ``(n, classes)``.

    >>> macro_area_under_curve(np.array([0, 1, 2]), np.eye(3))
    1.0
    """
    classes = range(probabilities.shape[1])
    if len(classes) == 2:
        return area_under_curve(labels == 1, probabilities[:, 1])
    areas = np.array([area_under_curve(labels == k, probabilities[:, k]) for k in classes])
    known = areas[np.isfinite(areas)]
    return float(known.mean()) if len(known) else float("nan")


def delong_interval(is_positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Metric:
    """Area under the ROC curve with its 95 % interval after DeLong (1988), on the logit scale.

    One score for each patient. Where all are ranked rightly DeLong's variance is 0: the interval is
    then that of the bootstrap's kind, a point, and says nothing of further patients.

    >>> metric = delong_interval(np.arange(40) >= 20, np.arange(40) % 27 / 27)
    >>> metric.low < metric.value < metric.high
    True
    """
    area = area_under_curve(is_positive, score)
    positives, negatives = score[is_positive], score[~is_positive]
    if len(positives) < 2 or len(negatives) < 2:
        return Metric(value=area, low=float("nan"), high=float("nan"))
    beats = (positives[:, None] > negatives[None, :]) + 0.5 * (positives[:, None] == negatives[None, :])
    variance = beats.mean(axis=1).var(ddof=1) / len(positives) + beats.mean(axis=0).var(ddof=1) / len(
        negatives
    )
    if variance == 0 or area in (0.0, 1.0):
        return Metric(value=area, low=area, high=area)
    logit = np.log(area / (1 - area))
    reach = float(norm.ppf(0.975)) * np.sqrt(variance) / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-bound))) for bound in (logit - reach, logit + reach))
    return Metric(value=area, low=low, high=high)


def confusion(labels: NDArray[np.int64], decided: NDArray[np.int64], *, classes: int) -> NDArray[np.int64]:
    """How often each class was taken for each, ``(classes, classes + 1)``; last column: indeterminate.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, -1]), classes=2).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(table, (labels, np.where(decided == INDETERMINATE, classes, decided)), 1)
    return table


def confusion_table(table: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A Markdown table of `confusion` for a model card.

    >>> print(confusion_table(np.array([[5, 1, 0], [0, 4, 2]]), ("none", "fracture")))
    | true | none | fracture | indeterminate |
    |---|---|---|---|
    | none | 5 | 1 | 0 |
    | fracture | 0 | 4 | 2 |
    """
    names = [*classes, "indeterminate"]
    rows = [
        f"| {name} | " + " | ".join(map(str, row)) + " |"
        for name, row in zip(classes, table.tolist(), strict=True)
    ]
    return "\n".join(["| true | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1), *rows])


def classification_metrics(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    patient_ids: Sequence[str],
    decided: NDArray[np.int64] | None = None,
) -> dict[str, Metric]:
    """Metrics with 95 % bootstrap intervals over patients.

    ``accuracy`` (indeterminate counts as wrong), ``accuracy_decided`` (of what was decided),
    ``indeterminate_share``, ``auc`` (one class against the others, mean over classes), ``ece`` (of the
    probability of the most likely class), and of two classes ``sensitivity`` and ``specificity``
    (the second one is what is looked for; indeterminate counts as wrong).

    Args:
        labels: ``(n,)`` true classes.
        probabilities: ``(n, classes)``.
        patient_ids: Of each row.
        decided: ``(n,)`` classes or `INDETERMINATE`; None is the most likely class.
    """
    classes = probabilities.shape[1]
    decided = probabilities.argmax(axis=1) if decided is None else decided
    columns = {f"p{k}": probabilities[:, k] for k in range(classes)} | {
        "label": labels.astype(np.float64),
        "decided": decided.astype(np.float64),
    }
    statistics: dict[str, Callable[[Columns], float]] = {
        "accuracy": _share(_is_right, lambda rows: np.ones(len(rows["label"]), dtype=bool)),
        "accuracy_decided": _share(_is_right, _is_decided),
        "indeterminate_share": _share(
            lambda rows: ~_is_decided(rows), lambda rows: np.ones(len(rows["label"]), dtype=bool)
        ),
        "auc": lambda rows: macro_area_under_curve(
            rows["label"].astype(np.int64), _probabilities(rows, classes)
        ),
        "ece": _calibration(classes),
    }
    if classes == 2:
        statistics["sensitivity"] = _share(_is_right, lambda rows: rows["label"] == 1)
        statistics["specificity"] = _share(_is_right, lambda rows: rows["label"] == 0)
    return {
        name: bootstrap(columns, statistic, patient_ids=patient_ids) for name, statistic in statistics.items()
    }


def _is_right(rows: Columns) -> NDArray[np.bool_]:
    return np.asarray(rows["decided"] == rows["label"])


def _is_decided(rows: Columns) -> NDArray[np.bool_]:
    return np.asarray(rows["decided"] != INDETERMINATE)


def _share(
    what: Callable[[Columns], NDArray[np.bool_]], among: Callable[[Columns], NDArray[np.bool_]]
) -> Callable[[Columns], float]:
    def statistic(rows: Columns) -> float:
        chosen = what(rows)[among(rows)]
        return float(chosen.mean()) if len(chosen) else float("nan")

    return statistic


def _probabilities(rows: Columns, classes: int) -> NDArray[np.float64]:
    return np.stack([rows[f"p{k}"] for k in range(classes)], axis=1)


def _calibration(classes: int) -> Callable[[Columns], float]:
    def statistic(rows: Columns) -> float:
        found = _probabilities(rows, classes)
        return expected_calibration_error(found.max(axis=1), found.argmax(axis=1) == rows["label"])

    return statistic
