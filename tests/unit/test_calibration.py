"""Temperatures, reliability and the metrics of classifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from operators.evaluate.calibration import expected_calibration_error, reliability, reliability_picture
from operators.evaluate.classification import (
    INDETERMINATE,
    classification_metrics,
    delong_interval,
    macro_area_under_curve,
)
from operators.train.temperature import RANGE, fit_temperature


def calibrated_answers(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose softmax is what labels are drawn from, and the labels."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (count, 3))
    chances = softmax(scores, axis=1)
    return scores, np.array([rng.choice(3, p=one) for one in chances])


def error_of(scores: np.ndarray, labels: np.ndarray) -> float:
    found = softmax(scores, axis=1)
    return expected_calibration_error(found.max(axis=1), found.argmax(axis=1) == labels)


@pytest.mark.parametrize("factor", [3.0, 0.4])
def test_a_temperature_undoes_what_made_scores_too_sure_or_too_shy(factor: float) -> None:
    scores, labels = calibrated_answers(2000)
    distorted = scores * factor
    temperature = fit_temperature(distorted, labels)
    assert temperature == pytest.approx(factor, rel=0.1)
    assert error_of(distorted / temperature, labels) < 0.5 * error_of(distorted, labels)


def test_a_temperature_changes_no_answer() -> None:
    scores, labels = calibrated_answers(200)
    temperature = fit_temperature(scores * 5, labels)
    assert ((scores * 5 / temperature).argmax(axis=1) == scores.argmax(axis=1)).all()


def test_always_right_on_few_cases_is_no_reason_to_be_sure_without_limit() -> None:
    labels = np.arange(60) % 3
    temperature = fit_temperature(np.eye(3)[labels] * 3, labels)
    assert temperature > RANGE[0]
    surest = softmax(np.array([3.0, 0.0, 0.0]) / temperature).max()
    assert 0.9 < surest < 0.99


def test_nothing_gives_no_temperature() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64))


def test_bins_hold_equal_numbers_and_every_answer_once() -> None:
    confidence = np.random.default_rng(0).uniform(0.5, 1, 100) ** 0.1
    table = reliability(confidence, confidence > 0.96, bins=7)
    assert sum(one.count for one in table) == 100
    assert {one.count for one in table} <= {14, 15}
    assert [one.low for one in table] == sorted(one.low for one in table)


def test_what_is_as_right_as_it_is_sure_has_nearly_no_error_and_the_overconfident_has_one() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 5000)
    is_right = rng.random(5000) < confidence
    assert expected_calibration_error(confidence, is_right) < 0.03
    assert expected_calibration_error(np.full(5000, 1.0), is_right) == pytest.approx(0.25, abs=0.02)


def test_the_picture_of_reliability_is_a_png_that_is_the_same_again(tmp_path: Path) -> None:
    table = reliability(np.linspace(0.4, 1, 40), np.arange(40) > 10, bins=5)
    for name in ("one.png", "two.png"):
        reliability_picture(tmp_path / name, {"AP": table, "lateral": table[1:]})
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size[0] > 400
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_an_area_of_several_classes_is_the_mean_over_those_that_occur() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.7, 0.2, 0.1]])
    assert macro_area_under_curve(np.array([0, 0, 1, 1]), probabilities) == pytest.approx(0.75)


def test_the_interval_after_delong_holds_the_true_area_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    true_area, held = 0.7602, 0  # of two normal distributions one standard deviation apart
    for _ in range(300):
        score = np.concatenate([rng.normal(0, 1, 40), rng.normal(1, 1, 40)])
        metric = delong_interval(np.arange(80) >= 40, score)
        held += metric.low <= true_area <= metric.high
    assert 0.91 <= held / 300 <= 0.98


def test_indeterminate_counts_as_wrong_and_is_told_apart() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.7, 0.3]])
    metrics = classification_metrics(
        labels, probabilities, patient_ids=list("abcd"), decided=np.array([0, INDETERMINATE, 1, 0])
    )
    found = {name: metric.value for name, metric in metrics.items()}
    assert found["accuracy"] == 0.5
    assert found["accuracy_decided"] == pytest.approx(2 / 3)
    assert found["indeterminate_share"] == 0.25
    assert (found["sensitivity"], found["specificity"]) == (0.5, 0.5)
    assert found["auc"] == 0.75


def test_intervals_come_of_patients_not_of_images() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20) % 2, 10)
    is_right = np.repeat(rng.random(20) < 0.7, 10)  # all images of a patient are right or wrong together
    probabilities = np.eye(2)[np.where(is_right, labels, 1 - labels)]
    by_patient = classification_metrics(
        labels, probabilities, patient_ids=[str(k // 10) for k in range(200)]
    )["accuracy"]
    by_image = classification_metrics(labels, probabilities, patient_ids=[str(k) for k in range(200)])[
        "accuracy"
    ]
    assert by_patient.high - by_patient.low > 2 * (by_image.high - by_image.low)
