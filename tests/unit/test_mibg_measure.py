"""Measurements of mibg_spect: formulas, regions, and what is said when a number cannot be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.mibg_spect.cases import TruthCase, read_case, read_labels
from apps.mibg_spect.labels import Phase
from apps.mibg_spect.phantom import CONVERSION_COEFFICIENTS, generate
from apps.mibg_spect.quantify import Measurements, quantify
from apps.mibg_spect.results import MEANINGS, STANDARD_NAMES
from apps.mibg_spect.segment import Segmentation
from operators.encode import codes
from operators.measure.decay import decay_factor, normalised_counts, washout_percent
from operators.measure.planar import place_regions, standardised_ratio
from operators.measure.region import mediastinal_box, voxel_places_mm_lps

SEED = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases") / "case"
    generate(SEED, folder)
    return folder


@pytest.fixture(scope="module")
def case(folder: Path) -> TruthCase:
    return read_case(folder)


@pytest.fixture(scope="module")
def true_segmentation(folder: Path, case: TruthCase) -> Segmentation:
    late = read_labels(folder / "truth_late.nii.gz", case.volumes[Phase.LATE].geometry, case.truth["labels"])
    return Segmentation(
        reference=Phase.EARLY,
        labels_zyx={Phase.EARLY: case.labels_zyx, Phase.LATE: late},
        heart_probability_zyx=(case.labels_zyx == 4).astype(np.float32),
        late_from_early_lps=np.asarray(case.truth["late_from_early_lps"]),
    )


@pytest.fixture(scope="module")
def measured(case: TruthCase, true_segmentation: Segmentation) -> Measurements:
    return quantify(
        case.volumes, true_segmentation, planar=case.planar, collimator_coefficients=CONVERSION_COEFFICIENTS
    )


def test_decay_of_one_half_life() -> None:
    assert decay_factor(0) == 1
    assert decay_factor(26.4) == pytest.approx(0.25)


def test_normalised_counts_undo_decay_dose_and_weight() -> None:
    counts = 50.0 * decay_factor(4) * 120 / 70
    assert normalised_counts(
        counts, hours_after_injection=4, weight_kg=70, activity_mbq=120
    ) == pytest.approx(50)


def test_pure_decay_is_no_washout() -> None:
    assert washout_percent(80, 80 * decay_factor(3.5), hours_between=3.5) == pytest.approx(0)


def test_washout_without_counts_above_background_is_refused() -> None:
    with pytest.raises(ValueError, match="background"):
        washout_percent(10, 5, hours_between=3, early_background=10)


def test_a_medium_energy_ratio_is_its_own_standard() -> None:
    assert standardised_ratio(2.3, 0.88) == pytest.approx(2.3)
    with pytest.raises(ValueError, match="positive"):
        standardised_ratio(2.3, 0.0)


def test_counts_and_washout_of_the_true_masks_are_the_truth(case: TruthCase, measured: Measurements) -> None:
    for name in ("heart_counts_early", "heart_counts_norm_late", "washout_spect", "heart_lung_early"):
        assert measured.value(name) == pytest.approx(case.truth[name], rel=0.02, abs=0.2), name


def test_planar_ratio_is_near_the_truth(case: TruthCase, measured: Measurements) -> None:
    for phase in Phase:
        assert measured.value(f"hmr_{phase}") == pytest.approx(case.truth[f"hmr_{phase}"], abs=0.2)


def test_the_planar_heart_lies_left_of_and_below_the_mediastinum(measured: Measurements) -> None:
    for regions in measured.planar.values():
        left, _, right, bottom = regions.mediastinum_px
        assert regions.heart_centre_px[0] > (left + right) / 2
        assert regions.heart_centre_px[1] > bottom


def test_an_unknown_collimator_is_never_guessed(case: TruthCase, true_segmentation: Segmentation) -> None:
    measured = quantify(
        case.volumes, true_segmentation, planar=case.planar, collimator_coefficients={"OTHER": 0.5}
    )
    assert measured.value("hmr_early") is not None
    assert measured.value("hmr_std_early") is None
    assert any("not standardised" in warning for warning in measured.warnings)
    missing = next(q for q in measured.quantities if q.name == "hmr_std_early")
    assert case.planar[Phase.EARLY].collimator_name in missing.why_missing


def test_early_only_gives_no_washout(case: TruthCase, true_segmentation: Segmentation) -> None:
    only = replace(
        true_segmentation, labels_zyx={Phase.EARLY: case.labels_zyx}, late_from_early_lps=np.eye(4)
    )
    measured = quantify({Phase.EARLY: case.volumes[Phase.EARLY]}, only, planar={})
    names = {quantity.name for quantity in measured.quantities}
    assert "heart_counts_norm_early" in names
    assert not any("washout" in name or "late" in name for name in names)


def test_a_missing_weight_leaves_the_counts_unnormalised(
    case: TruthCase, true_segmentation: Segmentation
) -> None:
    volumes = {phase: replace(volume, patient_weight_kg=None) for phase, volume in case.volumes.items()}
    measured = quantify(volumes, true_segmentation, planar={})
    assert measured.value("heart_counts_norm_early") is None
    assert any("PatientWeight" in warning for warning in measured.warnings)
    assert measured.value("washout_spect") is not None


def test_a_shorter_late_acquisition_does_not_look_like_washout(
    case: TruthCase, true_segmentation: Segmentation
) -> None:
    late = case.volumes[Phase.LATE]
    assert late.acquisition_duration_s
    halved = replace(
        late, counts_zyx=late.counts_zyx / 2, acquisition_duration_s=late.acquisition_duration_s / 2
    )
    volumes = {Phase.EARLY: case.volumes[Phase.EARLY], Phase.LATE: halved}
    measured = quantify(volumes, true_segmentation, planar={})
    assert measured.value("washout_spect") == pytest.approx(case.truth["washout_spect"], abs=0.3)
    assert any("duration" in warning for warning in measured.warnings)


def test_the_mediastinal_box_lies_between_the_lungs_above_the_heart(
    case: TruthCase, measured: Measurements
) -> None:
    geometry = case.volumes[Phase.EARLY].geometry
    places = voxel_places_mm_lps(geometry)
    box = places[measured.mediastinum_zyx[Phase.EARLY]].mean(axis=0)
    right, left, heart = (places[case.labels_zyx == value].mean(axis=0) for value in (1, 2, 4))
    assert right[0] < box[0] < left[0]
    assert box[2] > heart[2]


def test_empty_masks_have_no_box_and_no_regions(case: TruthCase) -> None:
    geometry = case.volumes[Phase.EARLY].geometry
    empty = np.zeros(geometry.shape_zyx, dtype=bool)
    with pytest.raises(ValueError, match="lungs and heart"):
        mediastinal_box(empty, empty, empty, geometry)
    with pytest.raises(ValueError, match="outside"):
        place_regions(empty[0], empty[0], empty[0], body_width_px=100)


def test_names_are_unique_and_results_can_be_written(measured: Measurements) -> None:
    names = [quantity.name for quantity in measured.quantities]
    assert len(names) == len(set(names))
    json.dumps({quantity.name: quantity.value for quantity in measured.quantities})


def test_labels_on_another_grid_are_refused(folder: Path, case: TruthCase) -> None:
    geometry = replace(case.volumes[Phase.EARLY].geometry, origin_mm_lps=(0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="grid"):
        read_labels(folder / "truth.nii.gz", geometry, {})


def test_every_measurement_has_a_code_with_one_meaning(measured: Measurements) -> None:
    assert len({meaning.lower() for meaning in MEANINGS.values()}) == len(MEANINGS)
    assert not set(MEANINGS) & set(STANDARD_NAMES)
    assert {quantity.code for quantity in measured.quantities} == set(MEANINGS) | set(STANDARD_NAMES)
    for quantity in measured.quantities:
        said = MEANINGS.get(quantity.code)
        if said is not None and quantity.code != "PLANAR_COUNTS":
            assert quantity.meaning.startswith(said), quantity.name
    assert all(codes.private(value, meaning) for value, meaning in MEANINGS.items())
