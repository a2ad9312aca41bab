"""Phantom studies of dat_spect: an I-123 ioflupane SPECT of a head with known binding.

`generate` writes one case of hospital A, or with ``shift`` of hospital B, as a folder that
looks like what a hospital would give for training: ``dicom/``, ``truth.nii.gz``,
``truth.json``. `simulate` makes the same in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.dat_spect.acquire import (
    DEPARTMENT_A,
    DEPARTMENT_B,
    VIEWS,
    Camera,
    Pose,
    Scene,
    draw_camera,
    draw_pose,
    set_scene,
    tomogram,
    volume_points,
)
from apps.dat_spect.anatomy import STRIATAL_VOLUME_ML, Head
from apps.dat_spect.labels import LABELS
from apps.dat_spect.population import (
    HOSPITAL_A,
    HOSPITAL_B,
    Person,
    Reading,
    draw_head,
    draw_person,
    read_blinded,
)
from operators.measure.decay import decay_factor
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.phantom.label_writer import save_labels
from operators.phantom.nm_writer import IOFLUPANE, PhantomStudy, Shot, write_tomogram

FIRST_HOSPITAL_B_SEED = 100_000
"""Evaluation uses hospital B and seeds from here on; training never does."""
WORLD = 8_123_042
"""First part of every random generator here, so that no other phantom shares its numbers."""
PERSON, READERS, HEAD, CAMERA, NOISE = range(1, 6)
"""Each stage draws from a generator of its own, so that one stage can be had without the others."""
POPULATIONS = {Hospital.A: HOSPITAL_A, Hospital.B: HOSPITAL_B}
"""Whose patients."""
DEPARTMENTS = {Hospital.A: DEPARTMENT_A, Hospital.B: DEPARTMENT_B}
"""Whose cameras."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A simulated patient with the volume and the truth.

    Args:
        seed: Of the case.
        hospital: Of the case.
        person: Clinical truth.
        reading: The readers' features.
        head: The anatomy.
        pose: How it lay.
        camera: And its protocol.
        scene: Activity and attenuation before imaging.
        injected: When.
        hours: From injection to acquisition.
        dose_mbq: At injection.
        counts_zyx: ``(z, y, x)`` float32 in ``camera.geometry``.
        labels_zyx: ``(z, y, x)`` uint8, values of `LABELS`, same grid.
    """

    seed: int
    hospital: Hospital
    person: Person
    reading: Reading
    head: Head
    pose: Pose
    camera: Camera
    scene: Scene
    injected: datetime
    hours: float
    dose_mbq: float
    counts_zyx: NDArray[np.float32]
    labels_zyx: NDArray[np.uint8]


def clinical_truth(seed: int, hospital: Hospital = Hospital.A) -> tuple[Person, Reading]:
    """The patient of a case and the readers' features, without any image: milliseconds."""
    person = draw_person(generator(WORLD, hospital.number, seed, PERSON), POPULATIONS[hospital])
    return person, read_blinded(person, generator(WORLD, hospital.number, seed, READERS))


def simulate(seed: int, hospital: Hospital = Hospital.A) -> Case:
    """One case in memory; the same seed and hospital give the same numbers."""
    person, reading = clinical_truth(seed, hospital)
    stage = lambda number: generator(WORLD, hospital.number, seed, number)  # noqa: E731 - a name for a draw
    rng = stage(HEAD)
    head = draw_head(rng, person, POPULATIONS[hospital])
    pose = draw_pose(rng, DEPARTMENTS[hospital])
    scene = set_scene(head, pose, rng)
    rng = stage(CAMERA)
    camera = draw_camera(rng, DEPARTMENTS[hospital])
    day = datetime(2024, 1, 8) + timedelta(days=int(rng.integers(360)), minutes=int(rng.integers(480, 720)))  # noqa: DTZ001 - DICOM times are local
    minutes = int(rng.integers(180, 361))
    dose = round(float(rng.normal(167, 9)), 1)
    return Case(
        seed=seed,
        hospital=hospital,
        person=person,
        reading=reading,
        head=head,
        pose=pose,
        camera=camera,
        scene=scene,
        injected=day,
        hours=minutes / 60,
        dose_mbq=dose,
        counts_zyx=tomogram(camera, scene, stage(NOISE)),
        labels_zyx=head.labels(pose.to_head(volume_points(camera))),
    )


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Writes one case into a folder: ``dicom/``, ``truth.json``, ``truth.nii.gz``.

    Args:
        seed: Same seed, same files.
        output: Folder of the case; made if needed.
        shift: A patient of hospital B, whose patients, cameras and protocols differ.
    """
    case = simulate(seed, Hospital.B if shift else Hospital.A)
    _write_dicom(case, output / "dicom")
    save_labels(output / "truth.nii.gz", case.labels_zyx, case.camera.geometry)
    (output / "truth.json").write_text(json.dumps(truth_of(case), indent=2) + "\n", encoding="utf-8")


def truth_of(case: Case) -> dict[str, Any]:
    """All that truth.json says."""
    person, reading, camera = case.person, case.reading, case.camera
    return {
        "app": "dat_spect",
        "kind": "synthetic phantom",
        "seed": case.seed,
        "hospital": case.hospital.name,
        "labels": {str(value): name for name, value in LABELS.items()},
        "diagnosis": str(person.diagnosis),
        "is_abnormal": person.diagnosis.is_presynaptic_deficit,
        "severity": person.severity,
        "age_years": person.age_years,
        "sex": person.sex,
        "weight_kg": person.weight_kg,
        "height_m": person.height_m,
        **person.truth,
        "F1": "low" if reading.is_low else "high",
        "F2": "asymmetric" if reading.is_asymmetric else "symmetric",
        "F3": "dot" if reading.is_dot else "comma",
        "low_uptake": reading.is_low,
        "asymmetry": reading.is_asymmetric,
        "dot_shape": reading.is_dot,
        **{
            f"{name}_counts": float(case.counts_zyx[case.labels_zyx == value].mean())
            for name, value in LABELS.items()
        },
        "lesions": sum(len(striatum.lesions) for striatum in person.striata),
        "striatal_volume_ml": STRIATAL_VOLUME_ML,
        "dose_mbq": case.dose_mbq,
        "minutes_after_injection": case.hours * 60,
        "attenuation_correction": str(camera.correction),
        "collimator": camera.collimator.name,
        "reconstruction": camera.method,
        "resolution_mm": camera.resolution_mm,
        "counts": camera.counts,
        "voxel_mm": camera.pixel_mm,
        "matrix": camera.matrix,
        "is_head_first": camera.is_head_first,
        "head_angles_deg": list(case.pose.angles_deg),
        "head_shift_mm": list(case.pose.shift_mm),
        "head_from_lps": head_from_lps(case).tolist(),
        "head_semi_axes_mm": list(case.head.semi_axes_mm),
        "striatum_anchor_mm": list(person.striata[1].anchor_mm),
    }


def head_from_lps(case: Case) -> NDArray[np.float64]:
    """``(4, 4)`` float64: a position of the instance, LPS mm, to the head's own axes."""
    rotation = case.pose.rotation.T
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = -rotation @ (np.asarray(case.camera.origin_mm_lps) + np.asarray(case.pose.shift_mm))
    return out


def _write_dicom(case: Case, folder: Path) -> None:
    person, camera = case.person, case.camera
    study = PhantomStudy(
        seed=case.seed,
        kind="DAT",
        sex=person.sex,
        age_years=person.age_years,
        weight_kg=person.weight_kg,
        height_m=person.height_m,
        injected=case.injected,
        activity_mbq=case.dose_mbq,
        description="I-123 ioflupane brain SPECT (phantom)",
        station=f"HOSPITAL_{case.hospital.name}",
        body_part="BRAIN",
        tracer=IOFLUPANE,
    )
    shot = Shot(
        name="spect",
        number=1,
        description="DaT SPECT " + ("AC" if "ATTN" in camera.corrections else "NoAC"),
        acquired=case.injected + timedelta(hours=case.hours),
        # A longer acquisition where the activity is less, as a protocol of fixed counts has it.
        frame_duration_s=round(
            20 * camera.counts / 2.0e6 * 167 / (case.dose_mbq * decay_factor(case.hours)), 1
        ),
        views=VIEWS,
        collimator_name=camera.collimator.name,
        orbit_mm=camera.orbit_mm,
        corrections=camera.corrections,
    )
    write_tomogram(folder / "spect.dcm", case.counts_zyx, camera.geometry, study, shot, method=camera.method)
