"""The MIBG phantom: repeatable, valid, and physically right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from apps.mibg_spect.acquire import LEHR, LME, MEGP
from apps.mibg_spect.cases import read_case
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.phantom import CONVERSION_COEFFICIENTS, generate, simulate
from apps.mibg_spect.population import HOSPITAL_A, draw_patient
from operators.phantom import spect
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from tests.dicom_checks import dciodvfy_errors


@pytest.fixture(scope="module")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases") / "case"
    generate(3, folder)
    return folder


@pytest.fixture(scope="module")
def shifted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases") / "case"
    generate(100_900, folder, shift=True)
    return folder


def test_the_same_seed_makes_the_same_files(case_folder: Path, tmp_path: Path) -> None:
    generate(3, tmp_path)
    names = sorted(path.relative_to(case_folder) for path in case_folder.rglob("*.*") if path.is_file())
    assert len(names) == 7
    for name in names:
        assert (tmp_path / name).read_bytes() == (case_folder / name).read_bytes(), name


def test_another_seed_or_hospital_makes_another_patient() -> None:
    patients = [
        simulate(seed, hospital) for seed, hospital in ((1, Hospital.A), (2, Hospital.A), (1, Hospital.B))
    ]
    assert len({case.patient.heart.uptake for case in patients}) == 3


@pytest.mark.parametrize("folder_name", ["case_folder", "shifted_folder"])
def test_objects_are_valid(folder_name: str, request: pytest.FixtureRequest) -> None:
    files = sorted((request.getfixturevalue(folder_name) / "dicom").iterdir())
    assert [path.stem for path in files] == ["early", "late", "planar_early", "planar_late"]
    for path in files:
        assert dciodvfy_errors(path) == [], path


def test_objects_say_that_there_is_no_person(case_folder: Path) -> None:
    for path in (case_folder / "dicom").iterdir():
        instance = pydicom.dcmread(path, stop_before_pixels=True)
        assert str(instance.PatientName).startswith("PHANTOM^")
        assert instance.PatientIdentityRemoved == "YES"
        assert "phantom" in instance.SoftwareVersions


def test_tracer_and_collimator_are_coded(case_folder: Path) -> None:
    instance = pydicom.dcmread(case_folder / "dicom" / "early.dcm", stop_before_pixels=True)
    administration = instance.RadiopharmaceuticalInformationSequence[0]
    assert administration.RadiopharmaceuticalCodeSequence[0].CodeValue == "395787009"
    assert administration.RadionuclideCodeSequence[0].CodeValue == "21572004"
    assert instance.DetectorInformationSequence[0].CollimatorGridName in CONVERSION_COEFFICIENTS
    assert list(instance.ImageType)[2] == "RECON TOMO"


def test_a_case_is_read_back_as_training_would(case_folder: Path) -> None:
    case = read_case(case_folder)
    assert set(case.volumes) == set(case.planar) == set(Phase)
    truth = json.loads((case_folder / "truth.json").read_text())
    heart = case.volumes[Phase.EARLY].counts_zyx[case.labels_zyx == LABELS["heart"]].mean()
    assert float(heart) == pytest.approx(truth["heart_counts_early"], rel=0.01)
    minutes = case.volumes[Phase.LATE].minutes_after_injection
    assert minutes == pytest.approx(truth["minutes_after_injection_late"], abs=0.1)


def test_right_lung_and_liver_are_on_the_patients_right(case_folder: Path) -> None:
    case = read_case(case_folder)
    geometry = case.volumes[Phase.EARLY].geometry
    places = {}
    for name, value in LABELS.items():
        index = np.argwhere(case.labels_zyx == value).mean(axis=0)
        places[name] = geometry.position_mm_lps((index[0], index[1], index[2]))
    assert places["lung_right"][0] < places["heart"][0] < places["lung_left"][0]
    assert places["liver"][0] < places["lung_left"][0]
    assert places["liver"][2] < places["heart"][2] < places["lung_right"][2] + 40
    assert places["heart"][1] < places["lung_right"][1], "the heart lies in front"


def test_counts_are_those_of_a_clinical_study() -> None:
    for seed in range(3):
        case = simulate(seed, Hospital.A)
        if case.camera.is_corrected:
            continue
        early, late = (float(case.volumes_zyx[phase].sum()) for phase in (Phase.EARLY, Phase.LATE))
        assert 1e6 < early < 9e6
        assert late < early


def calibration_ratio(collimator: spect.Collimator, uptake: float) -> float:
    """Heart-to-mediastinum ratio on a flat phantom with a liver, as centres calibrate with."""
    pixel_mm, size, depth = 4.0, 120, 12
    z, x = (np.mgrid[0:size, 0:size].astype(float) - 59.5) * pixel_mm
    plate = ((np.abs(x) < 190) & (np.abs(z) < 190)).astype(np.float32)
    slab = plate.copy()
    slab[(np.abs(x + 50) < 90) & (z < -70) & (z > -170)] = 2.5
    slab[np.hypot(x - 60, z) < 45] = uptake
    activity, mu = (
        np.repeat(layer[:, None, :], depth, axis=1) for layer in (slab, plate * np.float32(0.147))
    )
    view = spect.project(
        activity, mu, spacing_mm=pixel_mm, angles_rad=[0.0], orbit_mm=60, collimator=collimator
    )[0]
    return float(view[np.hypot(x - 60, z) < 30].mean() / view[(np.abs(x) < 20) & (z > 60) & (z < 130)].mean())


@pytest.mark.parametrize("collimator", [LEHR, LME, MEGP], ids=lambda c: c.name)
def test_the_conversion_coefficient_of_a_collimator_emerges_from_its_penetration(
    collimator: spect.Collimator,
) -> None:
    true = np.array([1.0, 1.55, 1.8, 2.6, 3.5])
    seen = [calibration_ratio(collimator, uptake) for uptake in true]
    slope = float(np.polyfit(true - 1, np.array(seen) - 1, 1)[0])
    assert slope == pytest.approx(CONVERSION_COEFFICIENTS[collimator.name], abs=0.02)


def test_standardisation_brings_low_and_medium_energy_together() -> None:
    """1 + (HMR - 1) * 0.88 / CC of the same phantom is the same for both collimators."""
    from operators.measure.planar import standardised_ratio

    for uptake in (1.8, 2.6, 3.5):
        raw = {c.name: calibration_ratio(c, uptake) for c in (LEHR, MEGP)}
        standard = {
            name: standardised_ratio(ratio, CONVERSION_COEFFICIENTS[name]) for name, ratio in raw.items()
        }
        assert raw["MEGP"] - raw["LEHR"] > 0.15
        assert standard["LEHR"] == pytest.approx(standard["MEGP"], abs=0.15)


def test_osem_and_backprojection_recover_a_ball() -> None:
    z, y, x = np.mgrid[0:24, 0:40, 0:40].astype(np.float32)
    ball = (np.sqrt((x - 25) ** 2 + (y - 17) ** 2 + (z - 12) ** 2) < 5).astype(np.float32)
    sharp = spect.Collimator(name="SHARP", fwhm_face_mm=0.1, fwhm_slope=0.0, penetration_fraction=0.0)
    angles = list(2 * np.pi * np.arange(60) / 60)
    views = spect.project(
        ball, np.zeros_like(ball), spacing_mm=5.0, angles_rad=angles, orbit_mm=200, collimator=sharp
    )
    for image in (spect.osem(views, iterations=4, subsets=10), spect.filtered_backprojection(views)):
        centre = np.array([np.average(axis, weights=np.clip(image, 0.3, None) - 0.3) for axis in (z, y, x)])
        np.testing.assert_allclose(centre, [12, 17, 25], atol=0.4)
        assert float(image.sum()) == pytest.approx(float(ball.sum()), rel=0.1)


def test_a_denervated_heart_is_as_faint_as_blood() -> None:
    rng = generator(5)
    patient = draw_patient(rng, replace(HOSPITAL_A, denervated_share=1.0))
    assert patient.is_denervated
    assert 1.0 <= patient.heart.uptake < 1.6


def test_washout_lowers_the_late_heart() -> None:
    case = next(c for c in (simulate(s, Hospital.A) for s in range(20)) if c.washout_percent > 35)
    early, late = case.volumes_zyx[Phase.EARLY], case.volumes_zyx[Phase.LATE]
    hearts = [
        float(volume[case.labels_zyx[phase] == LABELS["heart"]].mean())
        for phase, volume in ((Phase.EARLY, early), (Phase.LATE, late))
    ]
    assert hearts[1] < hearts[0]
