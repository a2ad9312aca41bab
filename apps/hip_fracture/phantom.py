"""Phantom studies of hip_fracture: radiographs of hips with known fractures.

`generate` writes one case of hospital A, or with ``shift`` of hospital B: ``dicom/`` and
``truth.json``. `simulate` makes the same in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)

from apps.hip_fracture.acquire import DEPARTMENT_A, DEPARTMENT_B, LATERAL, Image, take
from apps.hip_fracture.anatomy import Femur, Pelvis
from apps.hip_fracture.labels import Fracture as HipClass
from apps.hip_fracture.population import HOSPITAL_A, HOSPITAL_B, Hip, Person, draw_person
from operators.phantom.cr_writer import RadiographStudy, Shot, ViewSaidBy, write_radiograph
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator

FIRST_HOSPITAL_B_SEED = 100_000
"""Evaluation uses hospital B and seeds from here on; training never does."""
WORLD = 15
"""Keeps this app's random numbers apart from other apps'."""
PERSON, HEADER, IMAGE = range(1, 4)
"""Each stage draws from a generator of its own."""
POPULATIONS = {Hospital.A: HOSPITAL_A, Hospital.B: HOSPITAL_B}
DEPARTMENTS = {Hospital.A: DEPARTMENT_A, Hospital.B: DEPARTMENT_B}

ANTERO_POSTERIOR = Code("399348003", "SCT", "antero-posterior")
LATERAL_VIEW = Code("399067008", "SCT", "lateral")
CROSS_TABLE = Code("111069", "DCM", "Crosstable")
HIP_JOINT = Code("24136001", "SCT", "Hip joint")
PELVIS = Code("12921003", "SCT", "Pelvis")


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A simulated patient with the radiographs.

    Args:
        seed: Of the case.
        hospital: Of the case.
        person: The patient, truth included.
        images: In the order in which they were taken.
    """

    seed: int
    hospital: Hospital
    person: Person
    images: tuple[Image, ...]


def simulate(seed: int, hospital: Hospital = Hospital.A) -> Case:
    """One case in memory; the same seed and hospital give the same case."""
    person = draw_person(generator(WORLD, hospital.number, seed, PERSON), POPULATIONS[hospital])
    femur, pelvis = Femur.made(person.shape, person.quality), Pelvis.made(person.shape, person.quality)
    images = tuple(
        take(
            person,
            femur,
            pelvis,
            view,
            DEPARTMENTS[hospital],
            generator(WORLD, hospital.number, seed, IMAGE, number),
        )
        for number, view in enumerate(person.views)
    )
    return Case(seed=seed, hospital=hospital, person=person, images=images)


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Writes one case into a folder: ``dicom/`` and ``truth.json``.

    Args:
        seed: The same seed gives the same files.
        output: Folder of the case; made if needed.
        shift: A patient of hospital B, whose patients, detectors and processing differ.
    """
    case = simulate(seed, Hospital.B if shift else Hospital.A)
    study, shots = headers_of(case)
    written = []
    for image, shot in zip(case.images, shots, strict=True):
        file = f"dicom/image_{shot.number}.dcm"
        written.append((file, *write_radiograph(output / file, image.grey, study, shot)))
    (output / "truth.json").write_text(json.dumps(truth_of(case, written), indent=1) + "\n", encoding="utf-8")


def headers_of(case: Case) -> tuple[RadiographStudy, tuple[Shot, ...]]:
    """How the case's files say what they are; none of it depends on a fracture."""
    rng = generator(WORLD, case.hospital.number, case.seed, HEADER)
    department = DEPARTMENTS[case.hospital]
    study = RadiographStudy(
        kind="HIP",
        seed=case.seed,
        station=f"HOSPITAL_{case.hospital.name}",
        description="Hip radiography (phantom)",
        age_years=case.person.age_years,
        sex=case.person.sex,
        is_dx=bool(rng.random() < department.dx),
    )
    one_series, text = bool(rng.random() < 0.5), list(ViewSaidBy)[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    if one_series and text is ViewSaidBy.TEXT:
        text = ViewSaidBy.CODE
    values, shares = zip(*department.bits, strict=True)
    bits = int(rng.choice(values, p=shares))
    monochrome1 = bool(rng.random() < department.monochrome1)
    syntax = [ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless][
        int(rng.choice(3, p=(0.3, 0.35, 0.35)))
    ]
    language = int(rng.integers(2))
    pixel_spacing = bool(rng.random() < 0.3)
    return study, tuple(
        _shot(
            image,
            i + 1,
            1 if one_series else i + 1,
            text,
            study,
            bits,
            monochrome1,
            syntax,
            language,
            pixel_spacing,
        )
        for i, image in enumerate(case.images)
    )


TEXTS = {
    "ap pelvis": ("Pelvis AP", "骨盤 正面"),
    "ap hip": ("Hip {} AP", "{}股関節 正面"),
    "cross-table": ("Hip {} axial", "{}股関節 軸位"),
    "lauenstein": ("Hip {} Lauenstein", "{}股関節 ラウエン"),
}
SIDE_TEXTS = {"R": ("Rt", "右"), "L": ("Lt", "左"), "B": ("both", "両")}


def _shot(
    image: Image,
    number: int,
    series: int,
    said_by: ViewSaidBy,
    study: RadiographStudy,
    bits: int,
    monochrome1: bool,
    syntax: UID,
    language: int,
    pixel_spacing: bool,
) -> Shot:
    lateral, cross = image.technique in LATERAL, image.technique == "cross-table"
    text = TEXTS[image.technique][language].format(SIDE_TEXTS[image.side][language])
    whole = image.technique == "ap pelvis"
    return Shot(
        number=number,
        series=series,
        series_description=text if (series == number and number > 1) or said_by is ViewSaidBy.TEXT else "Hip",
        view=LATERAL_VIEW if lateral else ANTERO_POSTERIOR,
        view_modifier=CROSS_TABLE if cross else None,
        view_position=("RL" if image.side == "R" else "LL") if lateral else "AP",
        said_by=said_by,
        body_part="PELVIS" if whole else "HIP",
        region=PELVIS if whole else HIP_JOINT,
        laterality=image.side,
        patient_orientation=_orientation(image),
        pixel_mm=image.pixel_mm,
        source_mm=image.source_mm,
        detector_mm=image.detector_mm,
        kvp=image.kvp,
        bits=bits,
        is_monochrome1=monochrome1,
        pixel_spacing=pixel_spacing and not study.is_dx,
        transfer_syntax=syntax,
    )


def _orientation(image: Image) -> tuple[str, str]:
    """Patient Orientation (0020,0020): where columns and rows run to."""
    if image.technique != "cross-table":
        return "L", "F"
    column, row = ("H" if image.side == "R" else "F"), "P"
    opposite = {"H": "F", "F": "H", "A": "P", "P": "A"}
    for _ in range(image.rotated_deg // 90):
        column, row = row, opposite[column]
    return column, row


def truth_of(case: Case, written: list[tuple[str, UID, UID]]) -> dict[str, Any]:
    """All that truth.json says."""
    seen = {side for image in case.images for side in image.marks}
    return {
        "app": "hip_fracture",
        "kind": "synthetic phantom",
        "seed": case.seed,
        "hospital": case.hospital.name,
        "classes": [hip_class.value for hip_class in HipClass],
        "age_years": case.person.age_years,
        "sex": case.person.sex,
        "bmi": case.person.bmi,
        "painful": case.person.painful,
        "bone_density": case.person.quality.density,
        "hips": {side: _hip_truth(case.person.hips[side]) for side in sorted(seen)},
        "images": [
            {
                "sop_instance_uid": str(sop),
                "series_instance_uid": str(series),
                "file": file,
                "view": "LATERAL" if image.technique in LATERAL else "AP",
                "technique": image.technique,
                "side": image.side,
                "rows": image.grey.shape[0],
                "columns": image.grey.shape[1],
                "spacing_mm": image.pixel_mm,
                "magnification": image.magnification,
                "rotated_deg": image.rotated_deg,
                "hips": {side: _seen_hip(case, image, side) for side in sorted(image.marks)},
            }
            for image, (file, sop, series) in zip(case.images, written, strict=True)
        ],
    }


def _hip_truth(hip: Hip) -> dict[str, Any]:
    fracture = hip.fracture
    out: dict[str, Any] = {
        "class": hip.hip_class.value,
        "displaced": bool(fracture and fracture.displaced),
        "operated": hip.implant is not None,
        "implant": hip.implant,
    }
    for name in ("garden", "pauwels_deg", "obliquity_deg", "displacement_mm", "angulation_deg"):
        out[name] = getattr(fracture, name) if fracture else None
    out["gap_mm"] = fracture.gap_mm if fracture else None
    out["lt_fragment"] = bool(fracture and fracture.lt_fragment)
    return out


def _seen_hip(case: Case, image: Image, side: str) -> dict[str, Any]:
    hip = case.person.hips[side]
    marks = image.marks[side]
    return {
        "class": hip.hip_class.value,
        "displaced": bool(hip.fracture and hip.fracture.displaced),
        "operated": hip.implant is not None,
        "is_centred": image.side in (side, "B"),
        **{f"{name}_px": [round(y, 2), round(x, 2)] for name, (y, x) in marks.items()},
        "box_px": _box(image, marks),
    }


def _box(image: Image, marks: dict[str, tuple[float, float]]) -> list[float]:
    """Around head, neck and both trochanters with a margin, clipped to the picture: y0, x0, y1, x1."""
    names = ("joint_centre", "head", "neck", "lesser_trochanter", "greater_trochanter")
    yx = np.array([marks[name] for name in names])
    margin = 30.0 * image.magnification / image.pixel_mm
    low, high = yx.min(axis=0) - margin, yx.max(axis=0) + margin
    rows, columns = image.grey.shape
    return [
        round(float(np.clip(value, 0, top)), 1)
        for value, top in zip((*low, *high), (rows - 1, columns - 1, rows - 1, columns - 1), strict=True)
    ]
