"""The spine phantom: the same bytes every time, valid objects, right contrast, and a truth that fits."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from apps.spine_metastasis.anatomy import CORNERS
from apps.spine_metastasis.phantom import clinical_truth, generate, simulate, truth_of
from apps.spine_metastasis.population import FieldOfView, Group
from operators.phantom.hospital import Hospital

DCIODVFY = "/usr/bin/dciodvfy"
SEED = 6
"""A metastasis that has replaced all of a broken L1; both sequences, no sacrum."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One written case."""
    path = tmp_path_factory.mktemp("spine")
    generate(SEED, path)
    return path


@pytest.fixture(scope="module")
def truth(folder) -> dict:
    return json.loads((folder / "truth.json").read_text(encoding="utf-8"))


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path) -> None:
    generate(SEED, tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) > 20
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)


@pytest.mark.parametrize(("seed", "shift"), [(SEED, False), (100_003, True)])
def test_every_object_is_valid(seed, shift, tmp_path) -> None:
    generate(seed, tmp_path, shift=shift)
    files = sorted(tmp_path.rglob("*.dcm"))
    assert files
    for path in files[:: max(len(files) // 4, 1)]:
        said = subprocess.run([DCIODVFY, str(path)], capture_output=True, text=True, check=False).stderr
        assert "Error" not in said


def test_slices_are_an_even_sagittal_stack_in_the_order_of_their_normal(folder, truth) -> None:
    for name, series in truth["series"].items():
        slices = [dcmread(path) for path in sorted((folder / "dicom" / name).glob("*.dcm"))]
        row, column = np.split(np.asarray(slices[0].ImageOrientationPatient, dtype=float), 2)
        normal = np.cross(row, column)
        assert abs(normal[0]) > 0.99
        places = [float(np.dot(normal, np.asarray(one.ImagePositionPatient, dtype=float))) for one in slices]
        assert np.allclose(np.diff(places), series["spacing_mm_zyx"][0], atol=1e-3)
        assert len({one.FrameOfReferenceUID for one in slices}) == 1


def test_both_series_are_in_one_frame_of_reference(folder) -> None:
    frames = {dcmread(path).FrameOfReferenceUID for path in (folder / "dicom").glob("*/slice_0001.dcm")}
    assert len(frames) == 1


@pytest.mark.parametrize("name", ["t1", "stir"])
def test_a_position_in_the_truth_is_that_of_the_object(folder, truth, name) -> None:
    """Up to the patient's motion between the series."""
    for vertebra in truth["vertebrae"]:
        slice_, row, column = vertebra["series"][name]["centre_zyx"]
        one = dcmread(folder / "dicom" / name / f"slice_{round(slice_) + 1:04d}.dcm")
        x, y, z = (float(v) for v in one.ImagePositionPatient)
        spacing = [float(v) for v in one.PixelSpacing]
        at = (x, y + column * spacing[1], z - row * spacing[0])
        off = np.abs(np.asarray(at) - vertebra["centre_mm_lps"])
        assert off[0] <= float(one.SpacingBetweenSlices) / 2 + 0.01
        assert off[1:].max() < (0.05 if name == "t1" else 4.0)


def _mean_around(signal: np.ndarray, centre_zyx: list[float], radius: int = 4) -> float:
    z, y, x = (round(v) for v in centre_zyx)
    return float(
        np.median(signal[z, max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1])
    )


@pytest.mark.parametrize("seed", [SEED, 9])
def test_a_metastatic_vertebra_is_dark_in_t1_and_bright_in_stir(seed) -> None:
    case = simulate(seed)
    vertebrae = truth_of(case)["vertebrae"]
    ill = [v for v in vertebrae if v["class"] == "malignant" and "whole_body" in v["features"]]
    well = [v for v in vertebrae if v["class"] == v["lesion"] == "none" and v["is_whole"]]
    assert ill
    assert well
    for vertebra in ill:
        near = min(well, key=lambda v: abs(v["centre_mm_lps"][2] - vertebra["centre_mm_lps"][2]))
        signals = {
            name: [
                _mean_around(case.signals[name], v["series"][name]["centre_zyx"]) for v in (vertebra, near)
            ]
            for name in ("t1", "stir")
        }
        assert signals["t1"][0] < 0.8 * signals["t1"][1]
        assert signals["stir"][0] > 1.5 * signals["stir"][1]


def test_marrow_is_brighter_than_disc_in_t1_and_darker_than_liquor_in_stir() -> None:
    case = simulate(SEED)
    vertebrae = truth_of(case)["vertebrae"]
    pairs = [
        (above, below)
        for above, below in pairwise(vertebrae)
        if above["class"] == below["class"] == "none" == above["lesion"] == below["lesion"]
        and above["is_whole"]
    ]
    assert len(pairs) >= 3
    for above, below in pairs:
        between = [
            np.mean([above["series"]["t1"]["corners_yx"][a], below["series"]["t1"]["corners_yx"][b]], axis=0)
            for a, b in (
                ("anterior_inferior", "anterior_superior"),
                ("posterior_inferior", "posterior_superior"),
            )
        ]
        disc = [above["series"]["t1"]["centre_zyx"][0], *np.mean(between, axis=0)]
        marrow = _mean_around(case.signals["t1"], above["series"]["t1"]["centre_zyx"])
        assert _mean_around(case.signals["t1"], disc, 1) < marrow
        stir = case.signals["stir"]
        row = round(above["series"]["stir"]["centre_zyx"][1])
        slice_ = round(above["series"]["stir"]["centre_zyx"][0])
        assert _mean_around(stir, above["series"]["stir"]["centre_zyx"]) < 0.5 * stir[slice_, row].max()


def test_height_loss_in_the_truth_is_that_of_the_corners_for_wedges() -> None:
    found = 0
    for seed in range(60):
        if clinical_truth(seed).group is not Group.OSTEOPOROTIC:
            continue
        for vertebra in truth_of(simulate(seed))["vertebrae"]:
            if "wedge" not in vertebra["features"]:
                continue
            corners = {name: np.asarray(vertebra["corners_mm_lps"][name]) for name in CORNERS}
            front = np.linalg.norm(corners["anterior_superior"] - corners["anterior_inferior"])
            back = np.linalg.norm(corners["posterior_superior"] - corners["posterior_inferior"])
            assert front == pytest.approx(vertebra["heights_mm"]["anterior"], abs=0.1)
            assert front < back
            found += 1
        if found >= 3:
            break
    assert found >= 3


def test_the_sacrum_is_in_view_of_lumbar_and_long_fields_only() -> None:
    seen = {}
    for seed in range(40):
        view = clinical_truth(seed).field_of_view
        if view not in seen:
            seen[view] = truth_of(simulate(seed))["sacrum_visible"]
    assert seen == {view: view in (FieldOfView.LUMBAR, FieldOfView.LONG) for view in FieldOfView}


def test_fresh_fractures_of_a_patient_are_of_one_kind_and_deposits_only_malignant() -> None:
    people = [clinical_truth(seed, hospital) for seed in range(300) for hospital in (Hospital.A, Hospital.B)]
    for person in people:
        kinds = {str(f.kind) for f in person.changes.fractures.values()} - {"old"}
        assert kinds == (set() if person.group is Group.NONE else {str(person.group)})
        assert person.group is Group.MALIGNANT or not person.changes.deposits
    shares = [np.mean([p.group is group for p in people]) for group in Group]
    assert np.allclose(shares, (0.08, 0.49, 0.43), atol=0.06)
