"""Phantom studies of mibg_spect: early and late SPECT and planar views with the truth.

`generate` writes one case of hospital A, or with ``shift`` of hospital B, as a folder that
looks like what a hospital would give for training: ``dicom/``, ``truth.nii.gz``,
``truth.json``. `simulate` makes the same in memory, for training on a wider world.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mibg_spect.acquire import (
    ANY_DEPARTMENT,
    DEPARTMENT_A,
    DEPARTMENT_B,
    MEGP,
    Camera,
    PlanarView,
    Pose,
    Scene,
    draw_camera,
    draw_poses,
    planar_view,
    set_scene,
    shadow,
    simulation_points,
    tomogram,
    volume_points,
)
from apps.mibg_spect.anatomy import Patient
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.population import ANY_HOSPITAL, HOSPITAL_A, HOSPITAL_B, draw_patient
from operators.measure.decay import normalised_counts, washout_percent
from operators.measure.planar import heart_to_mediastinum, place_regions
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.phantom.label_writer import save_labels
from operators.phantom.nm_writer import PhantomStudy, Shot, write_static, write_tomogram

FIRST_HOSPITAL_B_SEED = 100_000
"""Evaluation uses hospital B and seeds from here on; training never does."""
CONVERSION_COEFFICIENTS = {"LEHR": 0.55, "LME": 0.73, "MEGP": 0.88}
"""What the calibration phantom gives for the simulated collimators (see the unit test)."""
WORLD = 8_123_001
"""First part of every random generator here, so that no other phantom shares its numbers."""
POPULATIONS = {Hospital.A: HOSPITAL_A, Hospital.B: HOSPITAL_B, Hospital.ANY: ANY_HOSPITAL}
"""Whose patients."""
DEPARTMENTS = {Hospital.A: DEPARTMENT_A, Hospital.B: DEPARTMENT_B, Hospital.ANY: ANY_DEPARTMENT}
"""Whose cameras."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Times:
    """When what happened: hours after injection, seconds per view, seconds of the planar view."""

    injected: datetime
    hours: dict[Phase, float]
    seconds_per_view: float
    planar_seconds: float
    dose_mbq: float

    def at(self, phase: Phase) -> datetime:
        """Start of the tomography of a phase."""
        return self.injected + timedelta(hours=self.hours[phase])


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A simulated patient with volumes and truth.

    Args:
        seed: Of the case.
        hospital: Of the case.
        patient: At injection; see `washout_percent` for what left the heart until the late images.
        washout_percent: True washout of the myocardium, without physical decay.
        camera: Of both acquisitions.
        times: Of both acquisitions.
        volumes_zyx: ``(z, y, x)`` float32 counts in ``camera.geometry``.
        labels_zyx: ``(z, y, x)`` uint8 in the same grid, values of `LABELS`.
        poses: Of the patient.
        scenes: For what is derived later, such as planar views.
    """

    seed: int
    hospital: Hospital
    patient: Patient
    washout_percent: float
    camera: Camera
    times: Times
    volumes_zyx: dict[Phase, NDArray[np.float32]]
    labels_zyx: dict[Phase, NDArray[np.uint8]]
    poses: dict[Phase, Pose]
    scenes: dict[Phase, Scene]

    @property
    def late_from_early_lps(self) -> NDArray[np.float64]:
        """``(4, 4)`` float64: a tissue's place early to its place late, LPS mm of the instances."""
        early, late = self.poses[Phase.EARLY], self.poses[Phase.LATE]
        origin = np.asarray(self.camera.origin_mm_lps)
        rotation = late.rotation @ early.rotation.T
        out = np.eye(4)
        out[:3, :3] = rotation
        out[:3, 3] = origin + late.shift_mm - rotation @ (origin + early.shift_mm)
        return out


def simulate(seed: int, hospital: Hospital = Hospital.A) -> Case:
    """One case in memory; the same seed and hospital give the same numbers."""
    rng = generator(WORLD, hospital.number, seed)
    patient = draw_patient(rng, POPULATIONS[hospital])
    camera = draw_camera(rng, DEPARTMENTS[hospital])
    early_pose, late_pose = draw_poses(rng, DEPARTMENTS[hospital])
    poses = {Phase.EARLY: early_pose, Phase.LATE: late_pose}
    times = _draw_times(rng)
    washout, later = _draw_later(rng, patient)
    texture_seed = int(rng.integers(2**31))
    scenes, volumes, labels = {}, {}, {}
    for phase, person in ((Phase.EARLY, patient), (Phase.LATE, later)):
        scenes[phase] = set_scene(
            person,
            poses[phase],
            dose_mbq=times.dose_mbq,
            hours=times.hours[phase],
            rng=generator(texture_seed),
        )
        volumes[phase] = tomogram(camera, scenes[phase], seconds_per_view=times.seconds_per_view, rng=rng)
        labels[phase] = patient.labels(poses[phase].to_patient(volume_points(camera)))
    return Case(
        seed=seed,
        hospital=hospital,
        patient=patient,
        washout_percent=washout,
        camera=camera,
        times=times,
        volumes_zyx=volumes,
        labels_zyx=labels,
        poses=poses,
        scenes=scenes,
    )


def _draw_times(rng: np.random.Generator) -> Times:
    day = datetime(2024, 1, 8) + timedelta(days=int(rng.integers(360)), minutes=int(rng.integers(480, 600)))  # noqa: DTZ001 - DICOM times are local
    return Times(
        injected=day,
        hours={
            Phase.EARLY: int(rng.integers(18, 35)) / 60,
            Phase.LATE: int(rng.integers(190, 260)) / 60,
        },
        seconds_per_view=float(rng.choice([30.0, 35.0, 40.0])),
        planar_seconds=300.0,
        dose_mbq=round(float(rng.normal(111, 6)), 1),
    )


def _draw_later(rng: np.random.Generator, patient: Patient) -> tuple[float, Patient]:
    """Washout in percent and the patient at the late images."""
    washout = float(rng.uniform(0, 60))
    # A heart cannot fall below the blood that it holds.
    fraction = max(1 - washout / 100, 0.8 / patient.heart.uptake)
    others = {
        "blood": float(rng.uniform(0.75, 0.95)),
        "background": float(rng.uniform(0.8, 1.0)),
        "lung": float(rng.uniform(0.65, 0.95)),
        "liver": float(rng.uniform(0.85, 1.05)),
        "spleen": float(rng.uniform(0.8, 1.0)),
    }
    return 100 * (1 - fraction), patient.washed_out(fraction, others)


# -------------------------------------------------------------------- cases


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Writes one case into a folder: ``dicom/``, ``truth.json``, ``truth.nii.gz``.

    Args:
        seed: Same seed, same files.
        output: Folder of the case; made if needed.
        shift: A patient of hospital B, whose bodies, cameras and protocols differ.
    """
    case = simulate(seed, Hospital.B if shift else Hospital.A)
    views, truth_planar = _planar_views(case)
    _write_dicom(case, views, output / "dicom")
    for phase, name in ((Phase.EARLY, "truth.nii.gz"), (Phase.LATE, "truth_late.nii.gz")):
        save_labels(output / name, case.labels_zyx[phase], case.camera.geometry)
    truth = _truth_of(case) | truth_planar
    (output / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")


def _planar_views(case: Case) -> tuple[dict[Phase, PlanarView], dict[str, Any]]:
    """Noisy views, and the ratios that a noise-free medium-energy camera gives in the true regions."""
    rng = generator(WORLD, case.hospital.number, case.seed, 77)
    pixel_mm = float(rng.choice([2.2, 2.4]))
    views: dict[Phase, PlanarView] = {}
    truth: dict[str, Any] = {}
    for phase, scene in case.scenes.items():
        offset = float(rng.uniform(-15, 15))
        views[phase] = planar_view(
            case.camera,
            scene,
            seconds=case.times.planar_seconds,
            pixel_mm=pixel_mm,
            offset_mm=offset,
            rng=rng,
        )
        reference = planar_view(
            replace(case.camera, collimator=MEGP),
            scene,
            seconds=case.times.planar_seconds,
            pixel_mm=pixel_mm,
            offset_mm=offset,
            rng=None,
        )
        labels = case.patient.labels(case.poses[phase].to_patient(simulation_points()))
        regions = place_regions(
            *(
                shadow(np.isin(labels, values), pixel_mm=pixel_mm, offset_mm=offset)
                for values in ((4,), (1, 2), (1,))
            ),
            body_width_px=2 * case.patient.torso.semi_axes_mm[0] / pixel_mm,
        )
        heart, mediastinum = heart_to_mediastinum(reference.counts_yx, regions)
        truth[f"hmr_std_{phase}"] = heart / mediastinum
        heart, mediastinum = heart_to_mediastinum(views[phase].counts_yx, regions)
        truth[f"hmr_{phase}"] = heart / mediastinum
    return views, truth


def _truth_of(case: Case) -> dict[str, Any]:
    weight, dose = case.patient.weight_kg, case.times.dose_mbq
    truth: dict[str, Any] = {
        "app": "mibg_spect",
        "kind": "synthetic phantom",
        "seed": case.seed,
        "hospital": case.hospital.name,
        "labels": {str(value): name for name, value in LABELS.items()},
        "denervated": case.patient.is_denervated,
        "heart_uptake": case.patient.heart.uptake,
        "washout_percent": case.washout_percent,
        "collimator": case.camera.collimator.name,
        "collimator_coefficients": CONVERSION_COEFFICIENTS,
        "weight_kg": weight,
        "dose_mbq": dose,
        "late_from_early_lps": case.late_from_early_lps.tolist(),
    }
    for phase, volume in case.volumes_zyx.items():
        hours = case.times.hours[phase]
        labels = case.labels_zyx[phase]
        truth[f"minutes_after_injection_{phase}"] = hours * 60
        for name, value in LABELS.items():
            truth[f"{name}_counts_{phase}"] = float(volume[labels == value].mean())
        truth[f"heart_counts_norm_{phase}"] = normalised_counts(
            truth[f"heart_counts_{phase}"], hours_after_injection=hours, weight_kg=weight, activity_mbq=dose
        )
        lungs = float(volume[np.isin(labels, (1, 2))].mean())
        truth[f"heart_lung_{phase}"] = truth[f"heart_counts_{phase}"] / lungs
        truth[f"heart_liver_{phase}"] = truth[f"heart_counts_{phase}"] / truth[f"liver_counts_{phase}"]
    truth["washout_spect"] = washout_percent(
        truth["heart_counts_early"],
        truth["heart_counts_late"],
        hours_between=case.times.hours[Phase.LATE] - case.times.hours[Phase.EARLY],
    )
    return truth


def _write_dicom(case: Case, views: dict[Phase, PlanarView], folder: Path) -> None:
    station = f"HOSPITAL_{case.hospital.name}"
    study = PhantomStudy(
        seed=case.seed,
        kind="MIBG",
        sex=case.patient.sex,
        age_years=case.patient.age_years,
        weight_kg=case.patient.weight_kg,
        injected=case.times.injected,
        activity_mbq=case.times.dose_mbq,
        description="I-123 MIBG myocardial SPECT (phantom)",
        station=station,
    )
    for number, phase in enumerate((Phase.EARLY, Phase.LATE), start=1):
        tomography = Shot(
            name=phase.value,
            number=number,
            description=f"MIBG SPECT {phase}",
            acquired=case.times.at(phase),
            frame_duration_s=case.times.seconds_per_view,
            views=case.camera.views,
            collimator_name=case.camera.collimator.name,
            orbit_mm=case.camera.orbit_mm,
        )
        write_tomogram(
            folder / f"{phase}.dcm",
            case.volumes_zyx[phase],
            case.camera.geometry,
            study,
            tomography,
            method=case.camera.method,
        )
        static = replace(
            tomography,
            name=f"planar_{phase}",
            number=number + 10,
            description=f"MIBG planar anterior {phase}",
            acquired=case.times.at(phase) - timedelta(minutes=7),
            frame_duration_s=case.times.planar_seconds,
            views=1,
        )
        view = views[phase]
        write_static(folder / f"planar_{phase}.dcm", view.counts_yx, view.pixel_mm, study, static)
