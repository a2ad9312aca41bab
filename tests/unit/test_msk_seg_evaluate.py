"""What the metrics of msk_ct count, without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.msk_ct import evaluate as module
from apps.msk_ct.cases import TruthCase
from apps.msk_ct.evaluate import describe_counts, failure_auroc, invented, measure_case
from apps.msk_ct.segmentation import Segmentation
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.read.ct import CtVolume

AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
SHAPE = (8, 20, 20)
SETTINGS = {"confidence": {"psv_limits": {"pelvis": 0.01, "femur": 0.01}, "failed_below_dice": 0.8}}
PELVIS_RIGHT, PELVIS_LEFT, FEMUR_RIGHT, FEMUR_LEFT = 1, 2, 3, 4


def case_of(truth: np.ndarray) -> TruthCase:
    geometry = VolumeGeometry(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), AXIAL)
    volume = CtVolume(hu_zyx=np.zeros(SHAPE, dtype=np.float32), geometry=geometry, instances=())
    return TruthCase(
        name="case", patient_id="P", volume=volume, segments_zyx=truth, tissues_zyx=None, truth={}
    )


def test_what_was_missed_and_what_was_invented_both_count(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.zeros(SHAPE, dtype=np.uint8)
    truth[:, :10, :10], truth[:, 10:, :10] = PELVIS_RIGHT, FEMUR_RIGHT
    found = np.where(truth == PELVIS_RIGHT, PELVIS_RIGHT, 0).astype(np.uint8)
    found[:, 10:, 10:] = FEMUR_LEFT
    segmentation = Segmentation(
        segments_zyx=found,
        uncertainty_zyx=np.zeros(SHAPE, dtype=np.float32),
        psv={PELVIS_RIGHT: 0.005, FEMUR_LEFT: 0.03},
        predictive_dice={PELVIS_RIGHT: 0.9, FEMUR_LEFT: 0.5},
        low_confidence=frozenset(),
        passes=10,
        profile="cpu",
    )
    monkeypatch.setattr(module, "segment", lambda *_, **__: segmentation)
    monkeypatch.setattr(module, "inference_settings", lambda _: SETTINGS)
    notes: list[str] = []
    rows = measure_case(case_of(truth), Path(), "cpu", notes)
    assert [row["dice"] for row in rows] == [1.0, 0.0, 0.0]
    missed, made_up = rows[1:]
    assert missed["relative_variance"] == 0
    assert missed["volume_percent"] == -100
    assert made_up["relative_variance"] == pytest.approx(3)
    assert np.isnan([made_up["volume_percent"], made_up["asd_mm"], made_up["hu"]]).all()
    assert notes == ["case: femur_right was not found", "case: femur_left was found and is not there"]
    columns = {name: np.array([row[name] for row in rows]) for name in module.COLUMNS}
    assert failure_auroc(0.8)(columns) == pytest.approx(0.5)
    assert (
        "3 segments; surface distance of 1 of them, attenuation of 1, in failure_auroc 3"
        in describe_counts(columns)
    )


def test_a_refused_case_counts_with_dice_and_not_as_an_unmarked_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> Segmentation:
        raise Refused("no hip or thigh was found", attribute="PixelData")

    truth = np.full(SHAPE, PELVIS_RIGHT, dtype=np.uint8)
    monkeypatch.setattr(module, "segment", refuse)
    monkeypatch.setattr(module, "inference_settings", lambda _: SETTINGS)
    (row,) = measure_case(case_of(truth), Path(), "cpu", [])
    assert row["dice"] == 0
    assert np.isnan(row["relative_variance"])


def test_a_little_of_a_segment_is_not_invented() -> None:
    truth = np.zeros(SHAPE, dtype=np.uint8)
    found = truth.copy()
    found[0, 0, :10] = PELVIS_LEFT
    assert invented(truth, found, 0.2) == []
    assert invented(truth, found, 0.3) == [PELVIS_LEFT]


def test_the_sign_of_the_correlations_is_told() -> None:
    psv = np.linspace(0.1, 1, 8)
    columns = {name: np.ones(16) for name in module.COLUMNS}
    columns["structure"] = np.repeat([1.0, 2.0], 8)
    columns["psv"] = np.tile(psv, 2)
    columns["dice"] = np.concatenate([1 - psv / 2, psv])
    assert module.mean_correlation(columns) == pytest.approx(1)
    assert "mean +0.00, below 0 for 1 of 2 structures" in describe_counts(columns)[1]


def test_a_bundle_without_limits_is_not_evaluated_into_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "inference_settings", lambda _: {})
    with pytest.raises(ValueError, match="no limits of uncertainty"):
        module.evaluate(Path("cases"), bundle=Path("model"))
