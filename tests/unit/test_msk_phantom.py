"""The CT phantom of hip and thigh: repeatable, valid, and anatomically in order."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless
from scipy import ndimage

from apps.msk_ct import muscles
from apps.msk_ct.acquire import Coverage
from apps.msk_ct.anatomy import OTHER, names_of_values
from apps.msk_ct.phantom import Case, generate, simulate, truth_of, write_case
from apps.msk_ct.population import Difficulty
from apps.msk_ct.structures import SEGMENTS, STRUCTURES, Side, classes_of, segment_number
from apps.msk_ct.tune import tuned_radii
from operators.geometry import VolumeGeometry
from operators.phantom.ct_writer import CtPhantomStudy, write_ct_series
from operators.read.ct import read_ct_volume
from tests.dicom_checks import dciodvfy_errors

WHOLE_SEED = 4
"""Hip to knee, easy, head first."""
FEET_FIRST_SEED = 21
"""Hip to knee, feet first, with columns that run to the patient's right."""


@pytest.fixture(scope="module")
def whole() -> Case:
    return simulate(WHOLE_SEED, coarse=True)


@pytest.fixture(scope="module")
def feet_first() -> Case:
    return simulate(FEET_FIRST_SEED, coarse=True)


@pytest.fixture(scope="module")
def folder(whole: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("msk") / "case"
    write_case(whole, path)
    return path


def test_the_same_seed_makes_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_case(simulate(WHOLE_SEED, coarse=True), tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.*") if path.is_file())
    assert len(names) > 20
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_seed_or_hospital_makes_another_patient(whole: Case) -> None:
    other, shifted = simulate(8, coarse=True), simulate(WHOLE_SEED, shift=True, coarse=True)
    assert len({case.person.bmi for case in (whole, other, shifted)}) == 3
    assert shifted.scanner.kernel not in ("STANDARD", "BONE")
    assert truth_of(shifted)["hospital"] == "B"


def test_twelve_successive_seeds_have_every_grade_three_times() -> None:
    grades = [list(Difficulty)[seed % len(Difficulty)] for seed in range(100, 112)]
    assert all(grades.count(grade) == 3 for grade in Difficulty)


def test_every_segment_is_there_and_of_one_piece(whole: Case) -> None:
    assert whole.scanner.coverage is Coverage.HIP_TO_KNEE
    for segment in SEGMENTS:
        mask = whole.segments_zyx == segment.number
        pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
        assert count > 0, segment.name
        assert np.bincount(pieces.ravel())[1:].max() >= 0.9 * mask.sum(), segment.name


def test_muscles_of_the_standard_body_have_the_published_volumes() -> None:
    radii, volumes = tuned_radii()
    assert set(radii) == {s.name for s in STRUCTURES if not s.is_bone}
    for name, volume in volumes.items():
        assert volume == pytest.approx(muscles.VOLUME_ML[name] * muscles.SHARE_OF_YOUNG, rel=0.03), name
        assert radii[name] == pytest.approx(muscles.standard_radii_mm()[name], rel=0.03), name


def test_volumes_are_those_of_an_adult(whole: Case) -> None:
    truth = truth_of(whole)
    cut = set(truth["truncated"])
    for segment in SEGMENTS:
        if segment.structure.is_bone or segment.number in cut:
            continue
        share = truth["volumes_ml"][str(segment.number)] / muscles.VOLUME_ML[segment.structure.name]
        assert 0.25 < share < 1.25, segment.name


@pytest.mark.parametrize("name", ["whole", "feet_first"])
def test_right_is_on_the_patients_right(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    affine = case.scanner.geometry.affine_lps
    for structure in STRUCTURES[:-1]:
        sides = []
        for side in (Side.RIGHT, Side.LEFT):
            index = np.argwhere(case.segments_zyx == segment_number(structure.name, side)).mean(axis=0)
            sides.append(float((affine @ [*index, 1])[0]))
        assert sides[0] < sides[1], structure.name


@pytest.mark.parametrize("name", ["whole", "feet_first"])
def test_the_pelvis_is_above_the_femur(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    affine = case.scanner.geometry.affine_lps
    heights = [
        float((affine @ [*np.argwhere(classes_of(case.segments_zyx) == value).mean(axis=0), 1])[2])
        for value in (1, 2)
    ]
    assert heights[0] > heights[1] + 100


@pytest.mark.parametrize("name", ["whole", "feet_first"])
def test_truth_lies_in_the_grid_that_the_reader_gives(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case: Case = request.getfixturevalue(name)
    write_case(case, tmp_path)
    volume = read_ct_volume(sorted((tmp_path / "dicom").iterdir()))
    assert volume.geometry.is_same_as(case.scanner.geometry)
    np.testing.assert_allclose(volume.hu_zyx, np.clip(case.hu_zyx, -1024, 3071), atol=0.51)
    image = nibabel.load(tmp_path / "truth.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), case.segments_zyx)
    corner = image.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner[:3] * [-1, -1, 1], volume.geometry.origin_mm_lps, atol=1e-3)
    expected = "FFS" if name == "feet_first" else "HFS"
    assert {one.PatientPosition for one in volume.instances} == {expected}


def test_a_slice_is_a_valid_ct_image(folder: Path) -> None:
    path = folder / "dicom" / "slice_0002.dcm"
    assert dciodvfy_errors(path) == []
    header = pydicom.dcmread(path, stop_before_pixels=True)
    assert str(header.PatientName).startswith("PHANTOM^")
    assert header.BodyPartExamined == "HIP"
    assert header.Laterality == ""
    assert header.ConvolutionKernel in ("STANDARD", "BONE")


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_compressed_slices_keep_their_values(syntax: pydicom.uid.UID, tmp_path: Path) -> None:
    hu = np.random.default_rng(0).normal(40, 300, (2, 64, 72)).round()
    geometry = VolumeGeometry(
        (2, 64, 72), (5.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )
    study = CtPhantomStudy(
        kind="TEST", seed=1, station="A", body_part="HIP", description="t", transfer_syntax=syntax
    )
    files = write_ct_series(tmp_path, hu, geometry, study)
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_ct_volume(files).hu_zyx, np.clip(hu, -1024, 3071))


def test_truth_says_what_the_labels_and_the_clean_ct_show(whole: Case, folder: Path) -> None:
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["labels"]["1"] == "pelvis_right"
    assert truth["labels"]["43"] == "sacrum"
    voxel_ml = whole.scanner.geometry.voxel_volume_ml
    for number in (5, 10, 43):
        mask = whole.segments_zyx == number
        assert truth["volumes_ml"][str(number)] == pytest.approx(mask.sum() * voxel_ml, abs=1e-2)
        assert truth["mean_hu"][str(number)] == pytest.approx(whole.clean_zyx[mask].mean(), abs=0.1)
    assert segment_number("pectineus", Side.RIGHT) not in truth["truncated"]
    assert segment_number("gluteus_maximus", Side.RIGHT) in truth["truncated"]


def test_tissues_have_the_attenuation_they_should(whole: Case) -> None:
    means = {name: whole.clean_zyx[whole.fine_zyx == value].mean() for name, value in OTHER.items()
             if (whole.fine_zyx == value).sum() > 50}  # fmt: skip
    assert -125 < means["fat"] < -60
    assert -20 < means["marrow"] + 60 < 200
    assert means["cortical_bone"] > 500
    muscle = whole.clean_zyx[(whole.segments_zyx > 4) & (whole.segments_zyx < 43)].mean()
    assert 0 < muscle < 65


def test_fine_labels_are_named_and_agree_with_the_segments(whole: Case) -> None:
    names = names_of_values()
    assert {str(value) for value in np.unique(whole.fine_zyx)} <= set(names)
    fine, segments = whole.fine_zyx, whole.segments_zyx
    muscle = (segments > 4) & (segments < 43)
    np.testing.assert_array_equal(fine[muscle], segments[muscle])
    assert not np.isin(fine[np.isin(segments, (1, 2, 3, 4, 43))], (0, OTHER["fat"], OTHER["bladder"])).any()


def test_a_truncated_case_names_what_is_cut() -> None:
    truth = truth_of(simulate(6, coarse=True))
    assert truth["difficulty"] == "truncated"
    assert segment_number("femur", Side.RIGHT) in truth["truncated"]
    assert segment_number("femur", Side.LEFT) in truth["truncated"]


def test_severe_atrophy_is_seen_in_volume_and_attenuation() -> None:
    truth = truth_of(simulate(7, coarse=True))
    worse = Side(truth["affected_side"])
    better = Side.LEFT if worse is Side.RIGHT else Side.RIGHT
    for name in ("gluteus_medius", "adductor_muscles", "gluteus_maximus"):
        here, there = (str(segment_number(name, side)) for side in (worse, better))
        assert truth["volumes_ml"][here] < truth["volumes_ml"][there], name
        assert truth["mean_hu"][here] < truth["mean_hu"][there], name


def test_a_case_of_full_size_is_written(tmp_path: Path) -> None:
    generate(10, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "dicom",
        "truth.nii.gz",
        "anatomy.nii.gz",
        "truth.json",
    }
    assert json.loads((tmp_path / "truth.json").read_text())["spacing_mm_zyx"][0] <= 5
