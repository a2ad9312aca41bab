"""Radiographs of a phantom patient: how the patient lies, where the beam goes, what is in the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.hip_fracture.anatomy import (
    Femur,
    Pelvis,
    Placement,
    femur_solids,
    flesh_solids,
    metal,
    placed,
    side_frame,
)
from apps.hip_fracture.clutter import clutter
from apps.hip_fracture.fracture import WHOLE, neck_axis
from apps.hip_fracture.population import Hip, Person
from operators.phantom.fields import Field
from operators.phantom.radiograph import (
    Beam,
    Detector,
    Processing,
    Raster,
    exposed,
    line_integrals,
    processed,
    resampled,
)
from operators.phantom.shapes import rotation_about

BONE_STEP_MM = 0.55
"""Between rays through femora, in the object plane."""
BONE_DEPTH_MM = 1.1
PELVIS_STEP_MM = 0.95
PELVIS_DEPTH_MM = 1.6
FLESH_STEP_MM = 5.0
LATERAL = ("cross-table", "lauenstein")


@dataclass(frozen=True, kw_only=True)
class Department:
    """A hospital's equipment and habits.

    Args:
        counts: Range of counts behind the hip, for each pixel.
        monochrome1: Share of images in which small values are bright.
        bits: Bits Stored and how often.
        dx: Share of DX objects, the others are CR.
        equalise, detail, contrast: Ranges of the processing.
        blur_mm: Range of the detector's blur.
    """

    counts: tuple[float, float] = (700.0, 5000.0)
    monochrome1: float = 0.25
    bits: tuple[tuple[int, float], ...] = ((10, 0.35), (12, 0.5), (14, 0.15))
    dx: float = 0.6
    equalise: tuple[float, float] = (0.35, 0.75)
    detail: tuple[float, float] = (0.4, 1.4)
    contrast: tuple[float, float] = (1.5, 4.5)
    blur_mm: tuple[float, float] = (0.12, 0.22)


DEPARTMENT_A = Department()
DEPARTMENT_B = Department(
    counts=(350.0, 1800.0),
    monochrome1=0.75,
    bits=((10, 0.1), (12, 0.4), (14, 0.5)),
    dx=0.35,
    equalise=(0.55, 0.85),
    detail=(0.5, 1.5),
    contrast=(2.5, 6.0),
    blur_mm=(0.16, 0.3),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A radiograph before it is written.

    Args:
        technique: "ap pelvis", "ap hip", "cross-table" or "lauenstein".
        side: "R", "L" or "B".
        grey: ``(y, x)`` 0..1, bone bright, as the file will have it.
        pixel_mm: Of the detector.
        magnification: Of the hip.
        source_mm, detector_mm: From the focus.
        rotated_deg: By which the picture was turned counter-clockwise.
        marks: For each side whose joint is in the picture: name to ``(y, x)`` px.
    """

    technique: str
    side: str
    grey: Field
    pixel_mm: float
    magnification: float
    source_mm: float
    detector_mm: float
    rotated_deg: int
    marks: dict[str, dict[str, tuple[float, float]]]
    kvp: int = 75


def leg_placement(hip: Hip, technique: str, right: bool, rng: np.random.Generator) -> Placement:
    """Where a femur lies in the body for a view."""
    turn, adduction, flexion = hip.turn_deg, hip.adduction_deg, hip.flexion_deg
    if technique == "lauenstein":
        turn, adduction, flexion = (
            -float(rng.uniform(55, 85)),
            -float(rng.uniform(22, 45)),
            float(rng.uniform(5, 35)),
        )
    elif technique == "cross-table":
        flexion = flexion * 0.5
    # In side coordinates: inwards, front to medial; adduction, shaft to medial; flexion, shaft to the front.
    rotation = (
        rotation_about((0, 1, 0), np.deg2rad(-adduction))
        @ rotation_about((1, 0, 0), np.deg2rad(-flexion))
        @ rotation_about((0, 0, 1), np.deg2rad(turn))
    )
    frame = side_frame(right=right)
    return Placement(frame.matrix @ rotation, frame.offset_mm)


def _beam(technique: str, side: str, person: Person, rng: np.random.Generator) -> Beam:
    """The beam of a view, in body coordinates."""
    right = side != "L"
    frame = side_frame(right=right)
    mirror = 1.0 if right else -1.0
    detector = float(rng.choice([1000.0, 1100.0, 1150.0, 1200.0]))
    if technique == "cross-table":
        a = np.deg2rad(rng.uniform(34, 58))
        along, across = np.array([-np.cos(a), 0, np.sin(a)]), np.array([np.sin(a), 0, np.cos(a)])
        along, across = frame.matrix @ along, mirror * (frame.matrix @ across)
        down = np.array([0.0, 1.0, 0.0])
        away = float(rng.uniform(170, 260))
        middle = frame.body((neck_axis(person.shape) * 28)[None])[0]
        spread, roll = (14.0, 14.0, 12.0), 9.0
        tip = rng.normal(0, 4, 2)
    else:
        along, across, down = np.array([0.0, 1.0, 0]), np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
        away = float(rng.uniform(95, 175))
        spread, roll = (10.0, 4.0, 14.0), 2.5
        tip = rng.normal(0, (6.0, 3.0))
        if technique == "ap pelvis":
            middle = np.array([0.0, 0.0, 18.0])
        else:
            middle = frame.body(np.array([[-8.0, 0.0, -28.0]]))[0]
    # A tilt of the pelvis is a tilt of the beam; a turn of the patient is a turn of it.
    turn = (
        rotation_about(tuple(across), np.deg2rad(tip[0]))
        @ rotation_about(tuple(down), np.deg2rad(tip[1]))
        @ rotation_about(tuple(along), np.deg2rad(rng.normal(0, roll)))
    )
    return Beam(
        centre_mm=middle + rng.normal(0, spread),
        across=turn @ across,
        down=turn @ down,
        along=turn @ along,
        source_mm=detector - away,
        detector_mm=detector,
    )


FIELDS_MM = {
    "ap pelvis": ((405, 435), (310, 370)),
    "ap hip": ((190, 260), (240, 310)),
    "cross-table": ((200, 290), (170, 250)),
    "lauenstein": ((200, 280), (200, 280)),
}
"""Width and height on the detector."""
TIGHT = 0.72


def _raster(technique: str, beam: Beam, size: float, rng: np.random.Generator) -> tuple[Raster, float]:
    """Rays of the pixels, and the pixel on the detector, mm."""
    (w0, w1), (h0, h1) = FIELDS_MM[technique]
    pixel = float(rng.choice([0.4, 0.43] if technique == "ap pelvis" else [0.3, 0.35, 0.4]))
    tight = TIGHT if technique != "ap pelvis" and rng.random() < 0.15 else 1.0
    columns = int(rng.uniform(w0, w1) * tight / pixel)
    rows = int(rng.uniform(h0, h1) * tight / pixel)
    step = pixel / (beam.magnification * size)
    return Raster(-step * (rows - 1) / 2, -step * (columns - 1) / 2, step, rows, columns), pixel


def take(
    person: Person,
    femur: Femur,
    pelvis: Pelvis,
    view: tuple[str, str],
    department: Department,
    rng: np.random.Generator,
) -> Image:
    """One radiograph of a patient."""
    technique, side = view
    beam = _beam(technique, side, person, rng)
    raster, pixel = _raster(technique, beam, person.size, rng)
    shown = ("R", "L") if side == "B" or technique in {"ap hip", "lauenstein"} else (side,)
    places = {
        s: leg_placement(person.hips[s], technique if s == side else "ap pelvis", s == "R", rng)
        for s in shown
    }
    p = _bones(person, femur, pelvis, beam, raster, places, technique)
    p += _flesh(person, beam, raster, places)
    opening = collimator(raster, technique, rng)
    scene = clutter(raster, beam, technique, side, person, opening, rng)
    p = np.maximum(p + scene.attenuation, 0)
    detector = _detector(p, opening, pixel, department, technique, rng)
    counts = exposed(p, opening, detector, rng)
    # Air is black whatever the rest: the grey scale is that of what the body covers. The vendor knows
    # where the collimator was, blackens what is beyond it or leaves it as bright as what got no rays.
    inside = opening > 0.5
    covered = inside & (counts < 0.5 * detector.counts)
    filled = np.where(inside, counts, np.float32(np.median(counts[covered])))
    grey = processed(filled, covered, pixel, _look(department, technique, rng))
    grey = np.where(inside, grey, np.float32(0 if rng.random() < 0.75 else 1)).astype(np.float32)
    marks = {
        s: marks_of(person, femur, s, places[s], beam, raster) for s in shown if _is_seen(s, beam, raster)
    }
    quarter = int(rng.choice([0, 0, 0, 0, 1, 3, 2])) if technique == "cross-table" else 0
    return Image(
        technique=technique,
        side=side,
        grey=np.ascontiguousarray(np.rot90(grey, quarter)),
        pixel_mm=pixel,
        magnification=beam.magnification,
        source_mm=beam.source_mm,
        detector_mm=beam.detector_mm,
        rotated_deg=90 * quarter,
        marks={s: {n: _turned(at, grey.shape, quarter) for n, at in m.items()} for s, m in marks.items()},
        kvp=int(rng.integers(70, 86)),
    )


def _turned(at: tuple[float, float], shape: tuple[int, ...], quarter: int) -> tuple[float, float]:
    """Where a pixel comes to lie when the picture is turned by quarters, counter-clockwise.

    >>> [_turned((1.0, 2.0), (10, 20), q) for q in range(4)]
    [(1.0, 2.0), (17.0, 1.0), (8.0, 17.0), (2.0, 8.0)]
    """
    y, x = at
    rows, columns = shape[0] - 1, shape[1] - 1
    return [(y, x), (columns - x, y), (rows - y, columns - x), (x, rows - y)][quarter]


def _is_seen(side: str, beam: Beam, raster: Raster) -> bool:
    v, u = beam.project(side_frame(right=side == "R").offset_mm[None])[0]
    row, column = (v - raster.top_mm) / raster.step_mm, (u - raster.left_mm) / raster.step_mm
    return bool(0 <= row < raster.rows and 0 <= column < raster.columns)


def marks_of(
    person: Person, femur: Femur, side: str, place: Placement, beam: Beam, raster: Raster
) -> dict[str, tuple[float, float]]:
    """Landmarks of a hip, ``(y, x)`` px."""
    fracture = person.hips[side].fracture
    pieces = fracture.fragments if fracture else WHOLE * 2
    base = neck_axis(femur.shape) * 50
    local = {
        "joint_centre": np.zeros(3),
        "head": pieces[0].motion.moved(np.zeros((1, 3)))[0],
        "neck": base * 0.55,
        "lesser_trochanter": pieces[1].motion.moved(base[None] + (14.0, 8.0, -31.0))[0],
        "greater_trochanter": pieces[1].motion.moved(base[None] + (-12.0, 5.0, 26.0))[0],
        "shaft": pieces[1].motion.moved(np.array([[-39.0, 2.0, -90.0]]))[0],
    }
    vu = beam.project(place.body(np.array(list(local.values()))))
    px = (vu - (raster.top_mm, raster.left_mm)) / raster.step_mm
    return {name: (float(y), float(x)) for name, (y, x) in zip(local, px, strict=True)}


def _bones(
    person: Person,
    femur: Femur,
    pelvis: Pelvis,
    beam: Beam,
    raster: Raster,
    places: dict[str, Placement],
    technique: str,
) -> Field:
    """Line integrals of bone and metal on the pixels."""
    fine = raster.coarser(BONE_STEP_MM)
    rough = raster.coarser(PELVIS_STEP_MM)
    sharp = np.zeros((fine.rows, fine.columns), dtype=np.float32)
    soft = np.zeros((rough.rows, rough.columns), dtype=np.float32)
    for side, place in places.items():
        hip = person.hips[side]
        implant, reamed = metal(hip.implant, femur.shape) if hip.implant else (None, None)
        fragments = hip.fracture.fragments if hip.fracture else WHOLE
        for solid in femur_solids(femur, fragments, place, reamed):
            sharp += line_integrals(beam, fine, solid, depth_step_mm=BONE_DEPTH_MM)
        if implant:
            sharp += line_integrals(beam, fine, placed(implant, place), depth_step_mm=BONE_DEPTH_MM)
        frame = side_frame(right=side == "R")
        soft += line_integrals(beam, rough, pelvis.hip_bone_solid(frame), depth_step_mm=PELVIS_DEPTH_MM)
    if technique != "cross-table":
        soft += line_integrals(beam, rough, pelvis.middle_solid(), depth_step_mm=2.0)
    return resampled(sharp, fine, raster) + resampled(soft, rough, raster)


def _flesh(person: Person, beam: Beam, raster: Raster, places: dict[str, Placement]) -> Field:
    coarse = raster.coarser(FLESH_STEP_MM)
    p = np.zeros((coarse.rows, coarse.columns), dtype=np.float32)
    for solid in flesh_solids(person.build, list(places.values())):
        p += line_integrals(beam, coarse, solid, depth_step_mm=FLESH_STEP_MM)
    return np.maximum(resampled(p, coarse, raster), 0)


def collimator(raster: Raster, technique: str, rng: np.random.Generator) -> Field:
    """Share of the beam that passes, ``(y, x)`` float32: a rectangle with soft edges, sometimes turned."""
    most = 0.045 if technique == "ap pelvis" else 0.085
    margin = rng.uniform(-0.03, most, 4) if rng.random() < 0.6 else np.full(4, -0.1)
    angle = np.deg2rad(rng.normal(0, 1.2))
    v = np.linspace(-0.5, 0.5, raster.rows, dtype=np.float32)[:, None] * raster.rows
    u = np.linspace(-0.5, 0.5, raster.columns, dtype=np.float32)[None, :] * raster.columns
    turned_v, turned_u = v * np.cos(angle) - u * np.sin(angle), v * np.sin(angle) + u * np.cos(angle)
    edges = (
        turned_v + raster.rows * (0.5 - margin[0]),
        raster.rows * (0.5 - margin[1]) - turned_v,
        turned_u + raster.columns * (0.5 - margin[2]),
        raster.columns * (0.5 - margin[3]) - turned_u,
    )
    soft = float(rng.uniform(1.5, 5))
    inside = np.ones((raster.rows, raster.columns), dtype=np.float32)
    for edge in edges:
        inside *= np.clip(edge / soft + 0.5, 0, 1)
    return np.asarray(inside * (1 - 0.012) + 0.012 * float(rng.uniform(0.2, 1)), dtype=np.float32)


def _detector(
    p: Field,
    opening: Field,
    pixel_mm: float,
    department: Department,
    technique: str,
    rng: np.random.Generator,
) -> Detector:
    """A detector whose automatic exposure gives the wanted counts behind the hip."""
    wanted = float(np.exp(rng.uniform(*np.log(department.counts))))
    if technique == "cross-table":
        wanted *= float(rng.uniform(0.35, 0.8))
    rows, columns = p.shape
    middle = (slice(rows // 4, 3 * rows // 4), slice(columns // 4, 3 * columns // 4))
    behind = np.exp(-p[middle])[opening[middle] > 0.5]
    level = float(np.percentile(behind, 25 if technique == "cross-table" else 40))
    return Detector(
        pixel_mm=pixel_mm,
        counts=wanted * (pixel_mm / 0.35) ** 2 / max(level, 1e-5),
        scatter=float(rng.uniform(0.2, 0.5)) * (1.4 if technique == "cross-table" else 1.0),
        blur_mm=float(rng.uniform(*department.blur_mm)),
        heel=float(rng.uniform(-0.25, 0.25)),
        fixed_noise=float(rng.uniform(0.001, 0.004)),
    )


def _look(department: Department, technique: str, rng: np.random.Generator) -> Processing:
    equalise = float(rng.uniform(*department.equalise))
    if technique == "cross-table":  # from a thigh's front to the whole pelvis: the widest range of all
        equalise = 0.45 + 0.5 * equalise
    return Processing(
        equalise=equalise,
        equalise_mm=float(rng.uniform(16, 40)),
        detail=float(rng.uniform(*department.detail)),
        detail_mm=float(rng.uniform(0.8, 3.0)),
        low=float(rng.uniform(0.2, 2.5)),
        high=float(rng.uniform(99.3, 99.95)),
        contrast=float(rng.uniform(*department.contrast)),
        centre=float(rng.uniform(0.35, 0.52)),
    )
