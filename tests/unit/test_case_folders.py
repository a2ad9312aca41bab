"""Case folders: found, read, and never of the hospital that is kept for evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operators.read.case_folders import (
    case_files,
    find_cases,
    is_phantom,
    read_truth,
    refuse_hospital_b,
    training_kind,
)

PHANTOM = {"kind": "synthetic phantom", "hospital": "A"}


def made_case(folder: Path, truth: Any) -> Path:
    (folder / "dicom").mkdir(parents=True)
    (folder / "truth.json").write_text(json.dumps(truth))
    return folder


def test_cases_are_found_at_any_depth_in_the_order_of_names(tmp_path: Path) -> None:
    later = made_case(tmp_path / "b", {})
    first = made_case(tmp_path / "a" / "deep", {})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "truth.json").write_text("{}")  # without dicom/ it is no case
    assert find_cases(tmp_path) == [first, later]


def test_a_folder_without_a_case_says_what_a_case_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a case is a folder with dicom/ and truth\.json"):
        find_cases(tmp_path)


def test_files_of_a_case_have_any_name_and_come_sorted(tmp_path: Path) -> None:
    case = made_case(tmp_path / "a", {})
    for name in ("I2", "sub/I1", "I0"):
        path = case / "dicom" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [path.name for path in case_files(case)] == ["I0", "I2", "I1"]


def test_a_truth_that_is_no_object_is_named(tmp_path: Path) -> None:
    case = made_case(tmp_path / "a", [1, 2])
    with pytest.raises(ValueError, match="a: truth"):
        read_truth(case)


def test_a_case_that_does_not_say_what_it_is_counts_as_a_patient() -> None:
    assert not is_phantom({"site": "Kanazawa"})
    assert is_phantom(PHANTOM)


@pytest.mark.parametrize(
    ("truths", "kind"),
    [
        ([PHANTOM, PHANTOM], "synthetic"),
        ([PHANTOM, {"site": "Kanazawa"}, {}], "synthetic"),
        ([{"site": "Kanazawa"}, {}], "Kanazawa"),
        ([{"site": "Kyoto"}, {"site": "Chiba"}], "Chiba, Kyoto"),
        ([{}, {}], "the site's own cases"),
    ],
)
def test_a_model_calls_itself_synthetic_when_any_of_its_patients_is(
    tmp_path: Path, truths: list[dict[str, Any]], kind: str
) -> None:
    folders = [made_case(tmp_path / str(number), truth) for number, truth in enumerate(truths)]
    assert training_kind(tmp_path) == training_kind(folders) == kind


def test_phantoms_of_hospital_b_are_refused_and_its_patients_are_not(tmp_path: Path) -> None:
    made_case(tmp_path / "a", PHANTOM)
    made_case(tmp_path / "b", {"site": "B", "hospital": "B"})
    refuse_hospital_b(tmp_path)
    made_case(tmp_path / "case_100000", PHANTOM | {"hospital": "B"})
    with pytest.raises(ValueError, match="case_100000 is of hospital B"):
        refuse_hospital_b(tmp_path)
