"""Phantom studies of msk_ct: a CT from pelvis to knee with every muscle and bone known.

`generate` writes one case of hospital A, or with ``shift`` of hospital B: ``dicom/``,
``truth.nii.gz`` (segment numbers), ``anatomy.nii.gz`` (every tissue, for training with random
contrast) and ``truth.json``. `simulate` makes the same in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.acquire import Coverage, Scanner, draw_scanner, exposed, put_table
from apps.msk_ct.anatomy import WORKING_MM, Builder, names_of_values
from apps.msk_ct.arms import put_arms
from apps.msk_ct.population import HOSPITAL_A, HOSPITAL_B, Difficulty, Person, draw_person
from apps.msk_ct.structures import SEGMENTS
from apps.msk_ct.tissue import blurred, hounsfield
from operators.phantom.ct_writer import CtPhantomStudy, write_ct_series
from operators.phantom.fields import Field
from operators.phantom.identity import generator
from operators.phantom.label_writer import save_labels

WORLD = 30
"""Keeps this app's random numbers apart from other apps'."""
COARSE_WORKING_MM = 4.5
COMPRESSION = 4
"""Of the labels: hundreds of slices in every case."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A simulated patient with the CT and the truth, all on `scanner.geometry`.

    Args:
        seed: Of the case.
        shift: Hospital B.
        difficulty: Its grade.
        person: The patient.
        scanner: How they were scanned.
        hu_zyx: As the scanner gives it.
        clean_zyx: Blurred but without noise and calibration error.
        segments_zyx: uint8, 0 to 43.
        fine_zyx: uint8, values of `names_of_values`.
    """

    seed: int
    shift: bool
    difficulty: Difficulty
    person: Person
    scanner: Scanner
    hu_zyx: Field
    clean_zyx: Field
    segments_zyx: NDArray[np.uint8]
    fine_zyx: NDArray[np.uint8]


def simulate(seed: int, *, shift: bool = False, coarse: bool = False) -> Case:
    """One case in memory; the same seed gives the same case.

    Args:
        seed: Successive seeds go through the grades of difficulty.
        shift: A patient of hospital B.
        coarse: On a coarse grid, for tests.
    """
    rng = generator(WORLD, int(shift), seed)
    difficulty = list(Difficulty)[seed % len(Difficulty)]
    person = draw_person(rng, HOSPITAL_B if shift else HOSPITAL_A, difficulty)
    scanner = draw_scanner(rng, person, difficulty, shift=shift, coarse=coarse)
    fineness = COARSE_WORKING_MM if coarse else WORKING_MM
    anatomy = Builder(person, scanner.z, scanner.y, scanner.x, working_mm=fineness).build()
    hu = hounsfield(anatomy, person, scanner.spacing_mm_zyx)
    if person.arms:
        put_arms(hu, anatomy, scanner, person)
    put_table(hu, anatomy, scanner, rng)
    clean = blurred(hu, scanner.spacing_mm_zyx, scanner.fwhm_mm)
    seen = exposed(clean, anatomy, scanner, rng)
    return Case(
        seed=seed,
        shift=shift,
        difficulty=difficulty,
        person=person,
        scanner=scanner,
        hu_zyx=scanner.oriented(seen),
        clean_zyx=scanner.oriented(clean),
        segments_zyx=scanner.oriented(anatomy.segments_zyx),
        fine_zyx=scanner.oriented(anatomy.fine_zyx),
    )


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Writes one case: ``dicom/``, ``truth.nii.gz``, ``anatomy.nii.gz``, ``truth.json``.

    Args:
        seed: The same seed gives the same files.
        output: Folder of the case; made if needed.
        shift: A patient of hospital B: other bodies, disease, scanner.
    """
    write_case(simulate(seed, shift=shift), output)


def write_case(case: Case, output: Path) -> None:
    """Writes the files of a case."""
    geometry = case.scanner.geometry
    write_ct_series(output / "dicom", case.hu_zyx, geometry, study_of(case))
    save_labels(output / "truth.nii.gz", case.segments_zyx, geometry, compression=COMPRESSION)
    save_labels(output / "anatomy.nii.gz", case.fine_zyx, geometry, compression=COMPRESSION)
    (output / "truth.json").write_text(json.dumps(truth_of(case), indent=2) + "\n", encoding="utf-8")


def study_of(case: Case) -> CtPhantomStudy:
    """Who and where the case is, for its DICOM objects."""
    person, scanner = case.person, case.scanner
    body_part, description = scanner.coverage.value
    laterality = "" if body_part in ("HIP", "THIGH") else None
    if scanner.coverage is Coverage.ONE_HIP:
        laterality = "R" if float(scanner.x.mean()) < 0 else "L"
    return CtPhantomStudy(
        kind="MSK",
        seed=case.seed,
        station="HOSPITAL_B" if case.shift else "HOSPITAL_A",
        body_part=body_part,
        description=f"{description} (phantom)",
        laterality=laterality,
        patient_position="FFS" if scanner.feet_first else "HFS",
        age_years=person.age_years,
        sex=person.sex,
        weight_kg=person.weight_kg,
        height_m=person.height_m,
        kernel=scanner.kernel,
        kvp=scanner.kvp,
        contrast="IV contrast" if person.contrast_hu else "",
    )


def truth_of(case: Case) -> dict[str, Any]:
    """What is true of a case, measured in its labels and in its CT without noise."""
    person, scanner = case.person, case.scanner
    flat = case.segments_zyx.ravel()
    counts = np.bincount(flat, minlength=len(SEGMENTS) + 1)
    sums = np.bincount(flat, weights=case.clean_zyx.ravel(), minlength=len(SEGMENTS) + 1)
    lean = np.clip((58 - case.clean_zyx) / 158, 0, 1)
    fats = np.bincount(flat, weights=lean.ravel(), minlength=len(SEGMENTS) + 1)
    present = [s for s in SEGMENTS if counts[s.number]]
    voxel_ml = scanner.geometry.voxel_volume_ml
    return {
        "app": "msk_ct",
        "kind": "synthetic phantom",
        "seed": case.seed,
        "hospital": "B" if case.shift else "A",
        "difficulty": case.difficulty.value,
        "labels": {str(s.number): s.name for s in SEGMENTS},
        "anatomy": names_of_values(),
        "volumes_ml": {str(s.number): round(float(counts[s.number]) * voxel_ml, 3) for s in present},
        "mean_hu": {str(s.number): round(float(sums[s.number] / counts[s.number]), 3) for s in present},
        "fat_fraction": {
            str(s.number): round(float(fats[s.number] / counts[s.number]), 4)
            for s in present
            if not s.structure.is_bone
        },
        "truncated": truncated(case),
        "coverage": scanner.coverage.name.lower(),
        "age_years": person.age_years,
        "sex": person.sex,
        "height_m": person.height_m,
        "weight_kg": person.weight_kg,
        "bmi": person.bmi,
        "affected_side": person.affected.value if person.affected else None,
        "atrophy": {str(k): round(v, 4) for k, v in person.atrophy.items()},
        "hu_drop": {str(k): round(v, 3) for k, v in person.hu_drop.items()},
        "contrast": bool(person.contrast_hu),
        "noise_hu": round(scanner.noise_hu, 2),
        "kernel": scanner.kernel,
        "patient_position": "FFS" if scanner.feet_first else "HFS",
        "spacing_mm_zyx": scanner.spacing_mm_zyx,
    }


def truncated(case: Case) -> list[int]:
    """Numbers of the segments that touch the edge of the field or lie wholly outside it."""
    labels = case.segments_zyx
    edges = [labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]]
    touching = np.unique(np.concatenate([np.unique(edge) for edge in edges]))
    there = np.unique(labels)
    return [s.number for s in SEGMENTS if s.number in touching or s.number not in there]
