"""Cases of a folder are measured one after another; a refusal is a result and is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.errors import Refused
from operators.evaluate.cases import Row, cases_of, measure_patients
from operators.read.case_folders import read_truth


@dataclass(frozen=True)
class ACase:
    """A case without images."""

    name: str
    patient_id: str
    truth: dict[str, Any]


def read_case(folder: Path) -> ACase:
    truth = read_truth(folder)
    return ACase(folder.name, truth["patient"], truth)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three cases of two patients; the second is to be refused, the third is like training's."""
    for name, truth in (
        ("one", {"patient": "P1", "value": 0.5, "hospital": "B"}),
        ("three", {"patient": "P2", "value": 2.0, "hospital": "A"}),
        ("two", {"patient": "P2", "hospital": "B"}),
    ):
        (tmp_path / name / "dicom").mkdir(parents=True)
        (tmp_path / name / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return tmp_path


def measure(case: ACase, notes: list[str]) -> Row:
    if "value" not in case.truth:
        raise Refused("Rows is 1, at least 48 are needed", attribute="Rows")
    notes.append(f"{case.name} was measured")
    return {"value": case.truth["value"]}


def test_a_refused_case_has_its_own_row_and_is_told_with_the_reason(data: Path) -> None:
    found = measure_patients(data, read_case, measure, lambda _case: {"dice": 0.0})
    assert found.patient_ids == ["P1", "P2", "P2"]
    assert found.notes == [
        "one was measured",
        "three is of the hospital that training patients come from",
        "three was measured",
        "two was refused: Rows is 1, at least 48 are needed",
    ]
    columns = found.columns("error")
    assert list(columns) == ["dice", "error", "value"]
    np.testing.assert_array_equal(columns["value"], [0.5, 2.0, np.nan])
    np.testing.assert_array_equal(columns["dice"], [np.nan, np.nan, 0.0])
    assert np.isnan(columns["error"]).all()


def test_what_is_no_refusal_ends_the_evaluation(data: Path) -> None:
    def broken(_case: ACase, _notes: list[str]) -> Row:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure_patients(data, read_case, broken, lambda _case: {})


def test_a_folder_without_a_case_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no case"):
        list(cases_of(tmp_path, read_case, []))


def read_refused(folder: Path) -> ACase:
    if folder.name == "three":
        raise Refused("PixelSpacing is missing", attribute="PixelSpacing")
    return read_case(folder)


def test_a_case_whose_images_cannot_be_read_counts_as_its_truth_tells(data: Path) -> None:
    found = measure_patients(
        data,
        read_refused,
        lambda case, _notes: {"value": case.truth.get("value", 0.0)},
        lambda _case: {},
        lambda case: {"dice": case.truth["value"] * 0},
    )
    assert found.patient_ids == ["P1", "three", "P2"]
    assert "three was refused: PixelSpacing is missing" in found.notes
    np.testing.assert_array_equal(found.columns()["dice"], [np.nan, 0.0, np.nan])


def test_a_case_that_cannot_be_read_ends_what_does_not_know_how_to_count_it(data: Path) -> None:
    with pytest.raises(Refused, match="three: PixelSpacing is missing"):
        list(cases_of(data, read_refused, []))
