"""The ioflupane phantom: repeatable, valid, anatomically and physically right."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from sklearn.metrics import roc_auc_score

from apps.dat_spect.acquire import (
    SIMULATION_MM,
    Correction,
    draw_camera,
    set_scene,
    simulation_points,
    tomogram,
    volume_points,
)
from apps.dat_spect.labels import LABELS, Side
from apps.dat_spect.phantom import DEPARTMENTS, POPULATIONS, Case, clinical_truth, generate, simulate
from apps.dat_spect.population import Diagnosis, Person, Reading, normal_binding
from operators.phantom import spect
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.read.nm import read_nm_volume
from tests.dicom_checks import dciodvfy_errors

Truths = list[tuple[Person, Reading]]


@pytest.fixture(scope="module")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases") / "case"
    generate(3, folder)
    return folder


@pytest.fixture(scope="module")
def shifted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases") / "case"
    generate(100_003, folder, shift=True)
    return folder


@pytest.fixture(scope="module")
def patients() -> dict[Hospital, Truths]:
    return {
        Hospital.A: [clinical_truth(seed, Hospital.A) for seed in range(160)],
        Hospital.B: [clinical_truth(seed, Hospital.B) for seed in range(100_000, 100_100)],
    }


def test_the_same_seed_makes_the_same_files(case_folder: Path, tmp_path: Path) -> None:
    generate(3, tmp_path)
    for name in ("dicom/spect.dcm", "truth.json", "truth.nii.gz"):
        assert (tmp_path / name).read_bytes() == (case_folder / name).read_bytes(), name


def test_another_seed_or_hospital_makes_another_patient() -> None:
    drawn = [clinical_truth(*which)[0] for which in ((1, Hospital.A), (2, Hospital.A), (1, Hospital.B))]
    assert len({person.truth["sbr_mean"] for person in drawn}) == 3


@pytest.mark.parametrize("folder_name", ["case_folder", "shifted_folder"])
def test_objects_are_valid(folder_name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(folder_name) / "dicom" / "spect.dcm"
    assert dciodvfy_errors(path) == []


def test_the_object_says_what_was_given_to_whom(case_folder: Path) -> None:
    truth = json.loads((case_folder / "truth.json").read_text())
    instance = pydicom.dcmread(case_folder / "dicom" / "spect.dcm", stop_before_pixels=True)
    administration = instance.RadiopharmaceuticalInformationSequence[0]
    assert administration.RadiopharmaceuticalCodeSequence[0].CodeValue == "429296007"
    assert administration.RadionuclideCodeSequence[0].CodeValue == "21572004"
    assert float(administration.RadionuclideTotalDose) == truth["dose_mbq"]
    assert list(instance.ImageType)[2] == "RECON TOMO"
    assert str(instance.PatientName).startswith("PHANTOM^")
    assert instance.PatientIdentityRemoved == "YES"
    assert instance.PatientAge == f"{truth['age_years']:03d}Y"
    assert float(instance.PatientSize) == truth["height_m"]
    assert instance.BodyPartExamined == "BRAIN"


def test_corrected_image_says_whether_attenuation_was_corrected(
    case_folder: Path, shifted_folder: Path
) -> None:
    seen = set()
    for folder in (case_folder, shifted_folder):
        truth = json.loads((folder / "truth.json").read_text())
        instance = pydicom.dcmread(folder / "dicom" / "spect.dcm", stop_before_pixels=True)
        seen.add(truth["attenuation_correction"])
        assert ("ATTN" in instance.CorrectedImage) == (truth["attenuation_correction"] == "chang")
    assert seen == {"none", "chang"}


def test_it_is_read_as_a_volume_three_to_six_hours_after_injection(case_folder: Path) -> None:
    truth = json.loads((case_folder / "truth.json").read_text())
    volume = read_nm_volume([case_folder / "dicom" / "spect.dcm"])
    assert volume.minutes_after_injection == pytest.approx(truth["minutes_after_injection"], abs=0.1)
    assert 180 <= truth["minutes_after_injection"] <= 360


# ----------------------------------------------------------------- anatomy


@pytest.mark.parametrize(("seed", "hospital"), [(3, Hospital.A), (100_003, Hospital.B)])
def test_labels_are_where_the_patient_has_them(
    seed: int, hospital: Hospital, case_folder: Path, shifted_folder: Path
) -> None:
    folder = case_folder if hospital is Hospital.A else shifted_folder
    geometry = read_nm_volume([folder / "dicom" / "spect.dcm"]).geometry
    image = nibabel.load(folder / "truth.nii.gz")
    labels = np.asarray(image.dataobj)
    places = {}
    for name, value in LABELS.items():
        index = np.argwhere(labels == value).mean(axis=0)
        ras = image.affine @ [*index, 1]
        places[name] = ras[:3] * (-1, -1, 1)
    assert places["putamen_right"][0] < places["caudate_right"][0]
    assert places["caudate_right"][0] < places["caudate_left"][0] < places["putamen_left"][0]
    for side in Side:
        assert places[f"caudate_{side}"][1] < places[f"putamen_{side}"][1], "the caudate lies in front"
        assert places[f"caudate_{side}"][2] > places[f"putamen_{side}"][2]
    # The NIfTI and the instance describe the same grid.
    corner = image.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner[:3] * (-1, -1, 1), geometry.position_mm_lps((0, 0, 0)), atol=0.01)
    assert labels.shape[::-1] == geometry.shape_zyx


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_striatum_has_the_volume_that_southampton_divides_by(seed: int) -> None:
    case = simulate(seed)
    voxel_ml = case.camera.geometry.voxel_volume_ml
    for side in Side:
        assert case.person.truth[f"volume_{side}_ml"] == pytest.approx(11.2, abs=0.001)
        values = [LABELS[f"caudate_{side}"], LABELS[f"putamen_{side}"]]
        drawn = float(np.isin(case.labels_zyx, values).sum()) * voxel_ml
        assert drawn == pytest.approx(11.2, rel=0.05)


def test_uptake_before_imaging_is_the_truth() -> None:
    """Activity in the physics' grid adds up to the binding of truth.json, and the reference is 1."""
    case = simulate(2)
    pose, head = case.pose, case.head
    scene = set_scene(replace(head, structures=(), texture=1e-6), pose, generator(1))
    points = pose.to_head(simulation_points())
    inside = head.brain.depth_mm(points) > 4
    assert float(scene.activity[head.reference(points)].mean()) == pytest.approx(1.0, abs=0.01)
    for side, sign in ((Side.RIGHT, -1), (Side.LEFT, 1)):
        half = inside & (sign * points[..., 0] > 0)
        bound_ml = float((scene.activity[half] - 1).sum()) * SIMULATION_MM**3 / 1000
        assert bound_ml / 11.2 == pytest.approx(case.person.truth[f"sbr_{side}"], rel=0.03)


# ----------------------------------------------------------------- patients


def test_diagnoses_come_in_the_shares_of_the_hospital(patients: dict[Hospital, Truths]) -> None:
    for hospital, truths in patients.items():
        found = Counter(person.diagnosis for person, _ in truths)
        for diagnosis, share in POPULATIONS[hospital].mix.items():
            tolerance = 3.5 * np.sqrt(share * (1 - share) / len(truths))
            assert found[diagnosis] / len(truths) == pytest.approx(share, abs=tolerance), diagnosis
    ages = [np.mean([person.age_years for person, _ in truths]) for truths in patients.values()]
    assert ages[1] > ages[0] + 2, "hospital B's patients are older"


def test_parkinson_takes_the_posterior_putamen_first(patients: dict[Hospital, Truths]) -> None:
    for person, _ in patients[Hospital.A]:
        truth = person.truth
        worse = min(Side, key=lambda side: truth[f"sbr_{side}"])
        if person.diagnosis is Diagnosis.PD:
            assert truth[f"sbr_putamen_posterior_{worse}"] < truth[f"sbr_putamen_anterior_{worse}"]
            assert truth[f"sbr_putamen_{worse}"] < truth[f"sbr_caudate_{worse}"]
    by_diagnosis = {
        diagnosis: np.mean(
            [
                person.truth["asymmetry_index_percent"]
                for person, _ in patients[Hospital.A]
                if person.diagnosis is diagnosis
            ]
        )
        for diagnosis in (Diagnosis.PD, Diagnosis.DLB, Diagnosis.NORMAL)
    }
    assert by_diagnosis[Diagnosis.PD] > 10
    assert max(by_diagnosis[Diagnosis.DLB], by_diagnosis[Diagnosis.NORMAL]) < 5


def test_normal_binding_falls_with_age_and_spreads_as_published(patients: dict[Hospital, Truths]) -> None:
    assert normal_binding(70, "M") / normal_binding(60, "M") == pytest.approx(1 - 0.063)
    assert normal_binding(60, "F") > normal_binding(60, "M")
    healthy = [
        person.truth["sbr_mean"] / normal_binding(person.age_years, person.sex)
        for truths in patients.values()
        for person, _ in truths
        if person.diagnosis in {Diagnosis.NORMAL, Diagnosis.ET, Diagnosis.AD}
    ]
    assert np.mean(healthy) == pytest.approx(1.0, abs=0.03)
    assert np.std(healthy) == pytest.approx(0.13, abs=0.02)


def test_binding_alone_does_not_decide_everything(patients: dict[Hospital, Truths]) -> None:
    """Early disease, the low end of normal and age overlap, even when the truth is known."""
    for truths in patients.values():
        abnormal = [person.diagnosis.is_presynaptic_deficit for person, _ in truths]
        auc = roc_auc_score(abnormal, [-person.truth["sbr_mean"] for person, _ in truths])
        assert 0.93 <= auc <= 0.97


def test_readers_follow_the_truth_with_errors(patients: dict[Hospital, Truths]) -> None:
    truths = [one for group in patients.values() for one in group]
    low = [reading.is_low for _, reading in truths]
    uptake = [-person.truth["sbr_mean"] for person, _ in truths]
    assert 0.95 < roc_auc_score(low, uptake) < 1.0
    asymmetric = [reading.is_asymmetric for _, reading in truths]
    assert 0.9 < roc_auc_score(asymmetric, [p.truth["asymmetry_index_percent"] for p, _ in truths]) < 1.0
    dots = Counter(person.diagnosis for person, reading in truths if reading.is_dot)
    assert dots[Diagnosis.PD] > dots.total() * 0.7


# ------------------------------------------------------------------ physics


def southampton(case: Case, counts_zyx: np.ndarray) -> list[float]:
    """Binding ratios, right and left, by a 44 mm slab of 160 mL around the true place."""
    points = case.pose.to_head(volume_points(case.camera))
    _, y, z = case.person.striata[1].anchor_mm
    voxel_ml = case.camera.geometry.voxel_volume_ml
    background = counts_zyx[case.labels_zyx == LABELS["reference"]].mean() / voxel_ml
    ratios = []
    for sign in (-1, 1):
        across, along = sign * points[..., 0], points[..., 1] - y - 1
        slab = np.abs(points[..., 2] - z - 5) < 22
        region = slab & (across > 0) & (((across - 26) / 29) ** 2 + (along / 40) ** 2 < 1)
        ratios.append(
            float(counts_zyx[region].sum() / background - region.sum() * voxel_ml) / 11.2,
        )
    return ratios


def test_southampton_recovers_the_truth_with_correction_and_loses_a_third_without() -> None:
    corrected, uncorrected = [], []
    for seed in (0, 2, 3):
        case = simulate(seed)
        true = [case.person.truth[f"sbr_{side}"] for side in Side]
        for correction, found in ((Correction.CHANG, corrected), (Correction.NONE, uncorrected)):
            camera = replace(case.camera, correction=correction)
            counts = tomogram(camera, case.scene, generator(seed))
            found += [seen / exact for seen, exact in zip(southampton(case, counts), true, strict=True)]
    assert np.mean(corrected) == pytest.approx(1.0, abs=0.06)
    assert np.abs(np.array(corrected) - 1).max() < 0.15
    assert 0.55 < np.mean(uncorrected) < 0.85


def test_a_tail_lowers_the_ratio() -> None:
    case = simulate(2)
    ratios = []
    for fraction in (0.0, 0.35):
        collimator = spect.Collimator(name="TEST", penetration_fraction=fraction)
        camera = replace(case.camera, collimator=collimator, correction=Correction.CHANG)
        ratios.append(np.mean(southampton(case, tomogram(camera, case.scene, None))))
    assert ratios[1] < ratios[0]


def test_resolution_and_counts_are_clinical() -> None:
    rng = generator(4)
    for department in DEPARTMENTS.values():
        cameras = [draw_camera(rng, department) for _ in range(40)]
        assert all(8 <= camera.resolution_mm <= 11.8 for camera in cameras)
        assert all(1.5e6 <= camera.counts <= 3.0e6 for camera in cameras)
        assert {camera.is_head_first for camera in cameras} == {True, False}
