"""Which side of the patient a voxel is on, from the structures found without their side.

Right and left are parted by a plane: through the sacrum, and midway between what is there
twice. Where neither is in the picture, one leg is, and its side is told by what lies medial in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.structures import STRUCTURES
from operators.preprocess.separable import Axis

NUMBER = {structure.name: i for i, structure in enumerate(STRUCTURES, start=1)}
MEDIAL = ("gracilis", "adductor_muscles", "semimembranosus", "pectineus", "pelvis", "obturator_internus")
LATERAL = (
    "vastus_lateralis_and_vastus_intermedius",
    "tensor_fasciae_latae",
    "biceps_femoris",
    "gluteus_medius",
    "gluteus_minimus",
    "femur",
)
LEAST_GAP_MM = 35.0
"""Between the femora of both sides in a slice; head and trochanter of one are nearer."""
LEAST_SHARE = 0.2
"""Of the femora's voxels in a slice, on the side with less of them."""
LEAST_SACRUM_MM2 = 150.0
STEEPEST = 0.25
"""Of the plane against the axis of the body, and against straight ahead."""
WHOLE_SHARE = 0.85
"""A part of a structure that has as much of itself on one side belongs there as a whole."""


@dataclass(frozen=True)
class _Midpoint:
    """A point of the plane between the sides, mm, and the direction from side to side there."""

    z: float
    y: float
    x: float
    turn: float | None
    weight: float


def is_left(classes_zyx: NDArray[np.uint8], axes: tuple[Axis, Axis, Axis]) -> NDArray[np.bool_]:
    """Where the patient's left is, ``(z, y, x)`` bool.

    Args:
        classes_zyx: ``(z, y, x)`` uint8, class values 0..22, in the order of the patient.
        axes: Of that grid, mm; the last one runs to the patient's left.
    """
    points = _midpoints(classes_zyx, axes)
    if points:
        left = _beyond_plane(points, axes)
    else:
        left = np.full(classes_zyx.shape, _is_left_leg(classes_zyx, axes[2]), dtype=np.bool_)
    return _with_whole_parts(left, classes_zyx)


def _midpoints(classes_zyx: NDArray[np.uint8], axes: tuple[Axis, Axis, Axis]) -> list[_Midpoint]:
    points = []
    pixel_mm2 = axes[1].spacing_mm * axes[2].spacing_mm
    for z, plane in zip(axes[0].places_mm, classes_zyx, strict=True):
        rows, columns = np.nonzero(plane == NUMBER["sacrum"])
        if len(rows) * pixel_mm2 >= LEAST_SACRUM_MM2:
            y, x = _centre(rows, columns, axes)
            points.append(_Midpoint(float(z), y, x, None, 1.0))
        pair = _pair(*np.nonzero(plane == NUMBER["femur"]), axes)
        if pair is not None:
            (y_right, x_right), (y_left, x_left) = pair
            turn = (y_left - y_right) / (x_left - x_right)
            middle = ((y_left + y_right) / 2, (x_left + x_right) / 2)
            points.append(_Midpoint(float(z), *middle, turn, 0.5))
    return points


def _pair(
    rows: NDArray[np.int64], columns: NDArray[np.int64], axes: tuple[Axis, Axis, Axis]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Centres (y, x) of the right and the left femur in a slice, parted by the widest gap."""
    if not len(columns):
        return None
    occupied = np.unique(columns)
    gaps = np.diff(occupied)
    if not len(gaps) or gaps.max() * axes[2].spacing_mm < LEAST_GAP_MM:
        return None
    border = occupied[int(gaps.argmax())]
    right = columns <= border
    if min(right.mean(), 1 - right.mean()) < LEAST_SHARE:
        return None
    return _centre(rows[right], columns[right], axes), _centre(rows[~right], columns[~right], axes)


def _centre(
    rows: NDArray[np.int64], columns: NDArray[np.int64], axes: tuple[Axis, Axis, Axis]
) -> tuple[float, float]:
    y = axes[1].first_mm + float(rows.mean()) * axes[1].spacing_mm
    return y, axes[2].first_mm + float(columns.mean()) * axes[2].spacing_mm


def _beyond_plane(points: list[_Midpoint], axes: tuple[Axis, Axis, Axis]) -> NDArray[np.bool_]:
    """Left of the plane ``x + turn * y = a + b * z`` that the midpoints lie in, outliers left out."""
    turns = [p.turn for p in points if p.turn is not None]
    turn = float(np.clip(np.median(turns), -STEEPEST, STEEPEST)) if turns else 0.0
    z = np.array([p.z for p in points])
    across = np.array([p.x + turn * p.y for p in points])
    weight = np.array([p.weight for p in points])
    middle = float(z.mean())
    slope, offset = 0.0, float(np.median(across))
    if np.ptp(z) > 60:
        for _ in range(3):
            off = np.abs(across - offset - slope * (z - middle))
            near = weight * (off <= max(2.5 * float(np.median(off)), 4.0))
            slope, offset = np.polyfit(z - middle, across, 1, w=np.sqrt(near))
            slope = float(np.clip(slope, -STEEPEST, STEEPEST))
    here = axes[2].places_mm[None, None] + turn * axes[1].places_mm[None, :, None]
    return np.asarray(here > offset + slope * (axes[0].places_mm - middle)[:, None, None], dtype=np.bool_)


def _is_left_leg(classes_zyx: NDArray[np.uint8], axis: Axis) -> bool:
    """True when what lies medial in a leg lies on the right of what lies lateral."""
    medial, lateral = (
        np.isin(classes_zyx, [NUMBER[name] for name in names]).sum(axis=(0, 1)) for names in (MEDIAL, LATERAL)
    )
    if not medial.any() or not lateral.any():
        return False
    where = [float(np.average(axis.places_mm, weights=count)) for count in (medial, lateral)]
    return where[0] < where[1]


def _with_whole_parts(left: NDArray[np.bool_], classes_zyx: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The sides, changed so that connected parts of a structure are not cut without need."""
    out = left.copy()
    for value, box in enumerate(ndimage.find_objects(classes_zyx, max_label=len(STRUCTURES)), start=1):
        if box is None or not STRUCTURES[value - 1].is_paired:
            continue
        parts, count = ndimage.label(classes_zyx[box] == value)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        share = np.bincount(parts.ravel(), weights=left[box].ravel(), minlength=count + 1) / np.maximum(
            sizes, 1
        )
        decided = np.full(count + 1, -1, dtype=np.int8)
        decided[share >= WHOLE_SHARE], decided[share <= 1 - WHOLE_SHARE] = 1, 0
        decided[0] = -1
        told = decided[parts]
        out[box] = np.where(told >= 0, told == 1, out[box])
    return out
