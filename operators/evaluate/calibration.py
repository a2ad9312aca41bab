"""Whether probabilities mean what they say: reliability and its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

BINS = 15
INK = "#1f3b57"
COLOURS = ("#1f6fb2", "#c4571a", "#2f8f4e", "#8a4fb0")


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Answers of about the same confidence.

    Args:
        low, high: Least and highest confidence among them.
        count: How many there are.
        confidence: Their mean confidence.
        accuracy: The share of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(
    confidence: NDArray[np.float64], is_correct: NDArray[np.bool_], *, bins: int = BINS
) -> list[ReliabilityBin]:
    """Answers sorted by confidence and divided into bins of equal numbers, as far as they divide.

    Equal numbers and not equal widths: nearly all answers of a good classifier are near 1, and a bin
    of one answer says nothing (Nixon et al. 2019).

    Args:
        confidence: ``(n,)`` 0..1, the probability of what was answered.
        is_correct: ``(n,)`` whether it was right.
        bins: How many, at most n.

    >>> table = reliability(np.array([0.6, 0.6, 0.9, 0.9]), np.array([1, 0, 1, 1], dtype=bool), bins=2)
    >>> [(one.count, one.confidence, one.accuracy) for one in table]
    [(2, 0.6, 0.5), (2, 0.9, 1.0)]
    """
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, max(1, min(bins, len(order)))) if len(part)]
    return [
        ReliabilityBin(
            low=float(confidence[part].min()),
            high=float(confidence[part].max()),
            count=len(part),
            confidence=float(confidence[part].mean()),
            accuracy=float(is_correct[part].mean()),
        )
        for part in parts
    ]


def expected_calibration_error(
    confidence: NDArray[np.float64], is_correct: NDArray[np.bool_], *, bins: int = BINS
) -> float:
    """Mean distance of confidence and accuracy over the bins of `reliability`; NaN of nothing.

    >>> round(expected_calibration_error(np.full(10, 0.9), np.arange(10) < 5, bins=1), 3)
    0.4
    """
    if not len(confidence):
        return float("nan")
    table = reliability(confidence, is_correct, bins=bins)
    gap = sum(one.count * abs(one.confidence - one.accuracy) for one in table)
    return gap / len(confidence)


def reliability_table(table: Sequence[ReliabilityBin]) -> str:
    """A Markdown table for a model card.

    >>> print(reliability_table([ReliabilityBin(low=0.5, high=0.7, count=9, confidence=0.6, accuracy=0.5)]))
    | confidence | answers | mean confidence | accuracy |
    |---|---|---|---|
    | 0.50 to 0.70 | 9 | 0.60 | 0.50 |
    """
    rows = [
        f"| {one.low:.2f} to {one.high:.2f} | {one.count} | {one.confidence:.2f} | {one.accuracy:.2f} |"
        for one in table
    ]
    return "\n".join(["| confidence | answers | mean confidence | accuracy |", "|---|---|---|---|", *rows])


def reliability_picture(path: Path, curves: Mapping[str, Sequence[ReliabilityBin]]) -> None:
    """Accuracy against confidence as a PNG, a curve for each name, the ideal as a dashed line."""
    figure = Figure(figsize=(4.2, 4.0), dpi=140, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color="0.6")
    for (name, table), colour in zip(
        curves.items(), COLOURS * (1 + len(curves) // len(COLOURS)), strict=False
    ):
        axes.plot(
            [one.confidence for one in table],
            [one.accuracy for one in table],
            marker="o",
            markersize=4,
            color=colour,
            label=name,
        )
    lowest = min((one.low for table in curves.values() for one in table), default=0.0)
    axes.set_xlim(max(0.0, lowest - 0.05), 1.0)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("mean probability of the answer", color=INK)
    axes.set_ylabel("share of right answers", color=INK)
    axes.legend(frameon=False, loc="lower right")
    axes.grid(visible=True, color="0.92")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
