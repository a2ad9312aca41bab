"""Bootstrap over patients: how far a metric would move with other patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from operators.evaluate.report import Metric

REPLICATES = 2000
LEVEL = 0.95
Columns = Mapping[str, NDArray[np.float64]]


def bootstrap(
    rows: Columns, statistic: Callable[[Columns], float], *, patient_ids: Sequence[str], seed: int = 0
) -> Metric:
    """A statistic of all rows with its 95 % percentile interval over resampled patients.

    Args:
        rows: Name to ``(n,)`` float64, a value for each row.
        statistic: Of such columns; may return NaN where a resample does not allow it.
        patient_ids: Of each row; rows of one patient are drawn together.
        seed: Of the resampling.

    >>> metric = bootstrap({"x": np.ones(5)}, lambda c: float(c["x"].mean()), patient_ids=list("abcde"))
    >>> metric.value, metric.low, metric.high
    (1.0, 1.0, 1.0)
    """
    groups = _groups(patient_ids)
    value = statistic(rows)
    if not groups:
        return Metric(value=float("nan"), low=float("nan"), high=float("nan"))
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(REPLICATES):
        chosen = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        draws.append(statistic({name: column[chosen] for name, column in rows.items()}))
    usable = np.asarray(draws)[np.isfinite(draws)]
    if not len(usable):
        return Metric(value=value, low=float("nan"), high=float("nan"))
    tail = 100 * (1 - LEVEL) / 2
    low, high = (float(v) for v in np.percentile(usable, [tail, 100 - tail]))
    return Metric(value=value, low=low, high=high)


def _groups(patient_ids: Sequence[str]) -> list[NDArray[np.int64]]:
    ids = np.asarray(patient_ids)
    return [np.flatnonzero(ids == patient_id) for patient_id in dict.fromkeys(patient_ids)]


def mean_of(name: str) -> Callable[[Columns], float]:
    """The mean of a column, rows without a value left out."""

    def statistic(rows: Columns) -> float:
        known = rows[name][np.isfinite(rows[name])]
        return float(known.mean()) if len(known) else float("nan")

    return statistic


def determination(truth: str, estimate: str) -> Callable[[Columns], float]:
    """R², 1 - residual / total sum of squares against the identity line; may be negative.

    >>> determination("t", "e")({"t": np.array([1.0, 2.0, 3.0]), "e": np.array([1.0, 2.0, 3.0])})
    1.0
    """

    def statistic(rows: Columns) -> float:
        known = np.isfinite(rows[truth]) & np.isfinite(rows[estimate])
        true, found = rows[truth][known], rows[estimate][known]
        spread = float(((true - true.mean()) ** 2).sum()) if len(true) else 0.0
        return 1 - float(((true - found) ** 2).sum()) / spread if spread > 0 else float("nan")

    return statistic
