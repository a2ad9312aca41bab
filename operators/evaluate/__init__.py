"""Metrics with intervals: patient-wise bootstrap, and the form in which they are printed."""

from operators.evaluate.report import Evaluation, Metric

__all__ = ["Evaluation", "Metric"]
