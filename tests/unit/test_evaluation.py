"""Bootstrap intervals and the form of an evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from operators.evaluate import Evaluation, Metric
from operators.evaluate.bootstrap import bootstrap, determination, mean_of


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(0).normal(10, 2, 100)
    patients = [str(i) for i in range(100)]
    metric = bootstrap({"x": values}, mean_of("x"), patient_ids=patients)
    half = 1.96 * values.std() / 10
    assert metric.value == pytest.approx(values.mean())
    assert metric.low == pytest.approx(values.mean() - half, abs=0.06)
    assert metric.high == pytest.approx(values.mean() + half, abs=0.06)


def test_rows_of_one_patient_are_drawn_together() -> None:
    """Repeating every row tells nothing new: the interval stays as wide."""
    values = np.random.default_rng(1).normal(0, 1, 30)
    patients = [str(i) for i in range(30)]
    once = bootstrap({"x": values}, mean_of("x"), patient_ids=patients)
    twice = bootstrap({"x": np.tile(values, 2)}, mean_of("x"), patient_ids=patients * 2)
    assert (once.low, once.high) == pytest.approx((twice.low, twice.high))


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = {"x": np.arange(10.0)}
    one, other = (bootstrap(rows, mean_of("x"), patient_ids=list("abcdefghij"), seed=3) for _ in range(2))
    assert one == other


def test_a_null_cohort_has_an_interval_that_covers_zero() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=60)
    rows = {"t": truth, "e": np.full(60, truth.mean()) + rng.normal(0, 0.2, 60)}
    metric = bootstrap(rows, determination("t", "e"), patient_ids=[str(i) for i in range(60)])
    assert metric.low < 0 < metric.high + 0.1


def test_patients_without_a_value_are_left_out() -> None:
    metric = bootstrap({"x": np.array([1.0, np.nan, 3.0])}, mean_of("x"), patient_ids=list("abc"))
    assert metric.value == 2


def test_an_evaluation_is_what_the_interface_promises() -> None:
    evaluation = Evaluation(
        app="mibg_spect",
        n=2,
        model_digest="sha256:00",
        metrics={"dice_heart": Metric(value=0.8, low=0.7, high=0.9)},
        notes=("one case was refused",),
    )
    assert json.loads(json.dumps(evaluation.to_json_dict())) == {
        "app": "mibg_spect",
        "n": 2,
        "model_digest": "sha256:00",
        "metrics": {"dice_heart": {"value": 0.8, "low": 0.7, "high": 0.9}},
    }
    assert "0.700 to 0.900" in evaluation.table()
    assert "one case was refused" in evaluation.table()
