"""What an evaluation says, for a person and for a script."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 100
"""Columns of the table, notes included."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value with its 95 % interval.

    Args:
        value: Over all patients.
        low, high: Bounds of the interval.
    """

    value: float
    low: float
    high: float

    def to_json_dict(self) -> dict[str, float | None]:
        """``value``, ``low``, ``high``; null where there is no number.

        >>> Metric(value=0.9, low=0.8, high=float("nan")).to_json_dict()
        {'value': 0.9, 'low': 0.8, 'high': None}
        """
        raw = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if math.isfinite(number) else None for name, number in raw.items()}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of one app on one set of patients.

    Args:
        app: Name of the app.
        n: Patients.
        model_digest: Of the bundle evaluated.
        metrics: By the names of the outside interface.
        notes: Sentences that belong beside the numbers: what the data are, what failed.
    """

    app: str
    n: int
    model_digest: str
    metrics: dict[str, Metric]
    notes: tuple[str, ...] = field(default=())

    def to_json_dict(self) -> dict[str, Any]:
        """The object that ``evaluate --json`` prints."""
        return {
            "app": self.app,
            "n": self.n,
            "model_digest": self.model_digest,
            "metrics": {name: metric.to_json_dict() for name, metric in self.metrics.items()},
        }

    def table(self) -> str:
        """A table for the terminal, notes below, as text."""
        table = Table(title=f"{self.app}: {self.n} patients", caption="\n".join(self.notes) or None)
        table.add_column("metric")
        table.add_column("value", justify="right")
        table.add_column("95 % interval", justify="right")
        for name, metric in self.metrics.items():
            table.add_row(name, f"{metric.value:.3f}", f"{metric.low:.3f} to {metric.high:.3f}")
        text = StringIO()
        Console(file=text, width=WIDTH).print(table)
        return text.getvalue()
