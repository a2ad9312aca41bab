"""Phantom studies of spine_metastasis: sagittal T1 and STIR of a spine with known fractures.

`generate` writes one case of hospital A, or with ``shift`` of hospital B: ``dicom/t1``, ``dicom/stir``
(one of them is missing in a tenth of the patients) and ``truth.json``. `simulate` makes the same in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from apps.spine_metastasis.acquire import (
    DEPARTMENT_A,
    DEPARTMENT_B,
    Scan,
    Stack,
    draw_scan,
    draw_stack,
    empty_canvas,
    expose,
)
from apps.spine_metastasis.anatomy import CORNERS, Spine, Vertebra, build_spine
from apps.spine_metastasis.canvas import Volume
from apps.spine_metastasis.lesions import Kind
from apps.spine_metastasis.paint import paint_patient
from apps.spine_metastasis.population import (
    HOSPITAL_A,
    HOSPITAL_B,
    FieldOfView,
    Group,
    Person,
    draw_person,
)
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.phantom.mr_writer import MrPhantomSeries, MrPhantomStudy, write_mr_series

FIRST_HOSPITAL_B_SEED = 100_000
"""Evaluation uses hospital B and seeds from here on; training never does."""
WORLD = 17_347
"""First part of every random generator here, so that no other phantom shares its numbers."""
PERSON, SCANNER, PAINT, NOISE, HEADER = range(1, 6)
"""Each stage draws from a generator of its own, so that one can be had without the others."""
POPULATIONS = {Hospital.A: HOSPITAL_A, Hospital.B: HOSPITAL_B}
DEPARTMENTS = {Hospital.A: DEPARTMENT_A, Hospital.B: DEPARTMENT_B}
_BODY_PARTS = {
    FieldOfView.LUMBAR: ("LSPINE", "L-spine", "腰椎"),
    FieldOfView.THORACOLUMBAR: ("TLSPINE", "TL-spine", "胸腰椎"),
    FieldOfView.LONG: ("TLSPINE", "TL-spine", "胸腰椎"),
    FieldOfView.THORACIC: ("TSPINE", "T-spine", "胸椎"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A simulated patient with the pictures.

    Args:
        seed: Of the case.
        hospital: Of the case.
        person: Clinical truth.
        spine: Geometric truth.
        stack: The slices.
        scans: One for each sequence that was run.
        signals: By name of the sequence, ``(z, y, x)`` float32 stored values.
    """

    seed: int
    hospital: Hospital
    person: Person
    spine: Spine
    stack: Stack
    scans: tuple[Scan, ...]
    signals: dict[str, Volume]


def clinical_truth(seed: int, hospital: Hospital = Hospital.A) -> Person:
    """The patient of a case, without any picture: milliseconds."""
    return draw_person(generator(WORLD, hospital.number, seed, PERSON), POPULATIONS[hospital])


def simulate(seed: int, hospital: Hospital = Hospital.A) -> Case:
    """One case in memory; the same seed and hospital give the same numbers."""
    person = clinical_truth(seed, hospital)
    spine = build_spine(person.posture, person.changes)
    rng = generator(WORLD, hospital.number, seed, SCANNER)
    department = DEPARTMENTS[hospital]
    stack, fov_mm = draw_stack(rng, department, spine, person.field_of_view)
    names = ("t1", "stir")
    alone = rng.random()
    if alone < 0.1:
        names = ("t1",) if alone < 0.05 else ("stir",)
    scans = tuple(
        draw_scan(rng, department, stack, fov_mm, name, is_second=number > 0)
        for number, name in enumerate(names)
    )
    rng = generator(WORLD, hospital.number, seed, PAINT)
    canvas = empty_canvas(stack, list(scans), rng)
    skin_y = paint_patient(canvas, person, spine, scans[0].tissues, rng)
    rng = generator(WORLD, hospital.number, seed, NOISE)
    signals = {scan.name: expose(canvas, scan, skin_y, rng) for scan in scans}
    return Case(
        seed=seed, hospital=hospital, person=person, spine=spine, stack=stack, scans=scans, signals=signals
    )


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Writes one case into a folder: ``dicom/`` and ``truth.json``.

    Args:
        seed: Same seed, same files.
        output: Folder of the case; made if needed.
        shift: A patient of hospital B, whose patients, scanners and protocols differ.
    """
    case = simulate(seed, Hospital.B if shift else Hospital.A)
    study = study_of(case)
    for number, scan in enumerate(case.scans):
        series = series_of(case, scan, number)
        write_mr_series(output / "dicom" / scan.name, case.signals[scan.name], scan.geometry, study, series)
    (output / "truth.json").write_text(
        json.dumps(truth_of(case), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def study_of(case: Case) -> MrPhantomStudy:
    """Who and where the case is, for its DICOM objects."""
    rng = generator(WORLD, case.hospital.number, case.seed, HEADER)
    syntax = rng.choice(4, p=(0.85, 0.05, 0.05, 0.05))
    body_part, english, japanese = _BODY_PARTS[case.person.field_of_view]
    return MrPhantomStudy(
        kind="SPINE",
        seed=case.seed,
        station=f"HOSPITAL_{case.hospital.name}",
        body_part="SPINE" if rng.random() < 0.12 else body_part,
        description=f"{japanese}MRI" if rng.random() < 0.35 else f"MR {english}",
        field_t=case.stack.field_t,
        age_years=case.person.age_years,
        sex=case.person.sex,
        weight_kg=case.person.weight_kg,
        transfer_syntax=UID((ExplicitVRLittleEndian, JPEGLSLossless, JPEG2000Lossless, RLELossless)[syntax]),
    )


def series_of(case: Case, scan: Scan, number: int) -> MrPhantomSeries:
    """Names and times of a series."""
    rng = generator(WORLD, case.hospital.number, case.seed, HEADER, number + 1)
    weighting = "STIR" if scan.name == "stir" else "T1"
    name = f"{weighting}WI" if weighting == "T1" and rng.random() < 0.5 else weighting
    description = str(
        rng.choice((f"Sag {name}", f"{name} SAG TSE", f"矢状断 {name}", f"{name} 矢状断", f"sag_{name}_fse"))
    )
    return MrPhantomSeries(
        name=scan.name,
        number=number + 2,
        description=description,
        protocol=f"{weighting} sag",
        scanning_sequence=("SE", "IR") if weighting == "STIR" else ("SE",),
        sequence_variant=("SK",),
        repetition_ms=scan.repetition_ms,
        echo_ms=scan.echo_ms,
        inversion_ms=scan.inversion_ms,
        echo_train=int(rng.integers(8, 17)) if weighting == "STIR" else int(rng.integers(2, 5)),
        flip_deg=90.0 if rng.random() < 0.4 else 150.0,
        thickness_mm=case.stack.thickness_mm,
        bandwidth_hz=float(rng.integers(120, 300)),
        phase_encoding="COL" if scan.ghost_rows else "ROW",
        averages=int(rng.integers(1, 4)),
        time=f"0935{10 + 20 * number:02d}",
    )


def truth_of(case: Case) -> dict[str, Any]:
    """All that truth.json says."""
    person = case.person
    seen = [v for v in case.spine.vertebrae if _is_named(v) and _is_inside(case, [v.place(0, v.middle_v_mm)])]
    vertebrae = [_vertebra_truth(case, vertebra) for vertebra in seen]
    sacrum_visible = bool(seen) and seen[-1].level == "S1" and vertebrae[-1]["is_whole"]
    study = study_of(case)
    return {
        "app": "spine_metastasis",
        "kind": "synthetic phantom",
        "seed": case.seed,
        "hospital": case.hospital.name,
        "patient_class": str(person.group),
        "is_malignant": person.group is Group.MALIGNANT,
        "field_of_view": str(person.field_of_view),
        "sacrum_visible": sacrum_visible,
        "c2_visible": False,
        "level_known": sacrum_visible and person.posture.lumbar_count == 5,
        "lumbar_count": person.posture.lumbar_count,
        "age_years": person.age_years,
        "sex": person.sex,
        "field_t": case.stack.field_t,
        "series": {
            scan.name: {
                "folder": f"dicom/{scan.name}",
                "weighting": scan.name.upper(),
                "series_instance_uid": study.uid(scan.name, "series"),
                "shape_zyx": list(scan.geometry.shape_zyx),
                "spacing_mm_zyx": list(scan.geometry.spacing_mm_zyx),
                "origin_mm_lps": list(scan.geometry.origin_mm_lps),
                "direction_lps_zyx": [list(axis) for axis in scan.geometry.direction_lps_zyx],
                "thickness_mm": case.stack.thickness_mm,
                "snr": round(scan.snr, 1),
            }
            for scan in case.scans
        },
        "vertebrae": vertebrae,
    }


def _is_named(vertebra: Vertebra) -> bool:
    return not vertebra.is_sacral or vertebra.level == "S1"


def _is_inside(case: Case, places: list[tuple[float, float]]) -> bool:
    """True when the places are in the picture of every series."""
    for scan in case.scans:
        _, rows, columns = scan.geometry.shape_zyx
        for place in places:
            _, row, column = scan.index_zyx(0.0, place)
            if not (0 <= row <= rows - 1 and 0 <= column <= columns - 1):
                return False
    return True


def _vertebra_truth(case: Case, vertebra: Vertebra) -> dict[str, Any]:
    fracture = vertebra.fracture
    middle = vertebra.place(0.0, vertebra.middle_v_mm)
    corners = {name: vertebra.corner(name) for name in CORNERS}
    lesion = "metastasis" if vertebra.deposit else "haemangioma" if vertebra.haemangioma else "none"
    at = lambda yz: [round(float(v), 2) for v in (vertebra.x_mm, *yz)]  # noqa: E731 - a name for a format
    return {
        "level": vertebra.level,
        "class": str(fracture.kind) if fracture else "none",
        "is_whole": _is_inside(case, list(corners.values())),
        "height_loss": round(vertebra.height_loss, 4),
        "heights_mm": {
            name: round(height, 2)
            for name, height in zip(("anterior", "middle", "posterior"), vertebra.heights_mm, strict=True)
        },
        "lesion": lesion,
        "features": fracture.features if fracture else [],
        "is_atypical": bool(fracture and fracture.is_atypical and fracture.kind is not Kind.OLD),
        "centre_mm_lps": at(middle),
        "corners_mm_lps": {name: at(corner) for name, corner in corners.items()},
        "series": {
            scan.name: {
                "centre_zyx": [round(v, 2) for v in scan.index_zyx(vertebra.x_mm, middle)],
                "corners_yx": {
                    name: [round(v, 2) for v in scan.index_zyx(vertebra.x_mm, corner)[1:]]
                    for name, corner in corners.items()
                },
            }
            for scan in case.scans
        },
    }
