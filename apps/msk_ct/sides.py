"""Which side of the patient a voxel is on, from the structures found without their side.

Right and left are parted by a plane: through the sacrum, and midway between what is there
twice. Where neither is in the picture, one leg is, and its side is told by what lies medial in it.
What can be told by none of these is refused: a side is never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.structures import STRUCTURES
from operators.errors import Refused
from operators.infer.components import largest_component
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
OTHER_PAIRS_MM = {"pelvis": 60.0, "psoas_major": 30.0}
"""What else is there twice and the least gap between its sides, where neither sacrum nor femora tell."""
LEAST_SHARE = 0.2
"""Of the voxels of a pair in a slice, on the side with less of them."""
CUT_OFF_MM = 6.0
"""What lies as near to the lateral end of the body in its rows is cut off by the edge of the scan."""
LEAST_APART_MM = 10.0
"""Between what is medial and what is lateral in a leg, for its side to be told."""
WIDEST_LEG_MM = 280.0
"""Muscles and bones of one side are narrower, hip and all."""
LEAST_MIDPOINTS = 3
"""Slices that must tell where the middle is; one alone may be a piece of sacrum that the edge cuts off."""
LEAST_SACRUM_MM2 = 50.0
"""Its tip is whole in many pictures that cut off the rest."""
STEEPEST = 0.25
"""Of the plane against the axis of the body, and against straight ahead."""
LEAST_SPAN_MM = 60.0
"""Along the body between midpoints, for the plane to lean."""
WHOLE_SHARE = 0.85
"""A part of a structure that has as much of itself on one side belongs there as a whole."""
REACHES_OVER_MM = 20.0
"""So far a part may reach over the plane; what lies farther is the other side's, joined to it."""
BONE_REACHES_OVER_MM = 5.0
"""The hip bones are joined in the midline itself."""


@dataclass(frozen=True)
class _Midpoint:
    """A point of the plane between the sides, mm, and the direction from side to side there."""

    z: float
    y: float
    x: float
    turn: float | None
    weight: float


def is_left(
    classes_zyx: NDArray[np.uint8],
    axes: tuple[Axis, Axis, Axis],
    body_zyx: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Where the patient's left is, ``(z, y, x)`` bool.

    Args:
        classes_zyx: ``(z, y, x)`` uint8, class values 0..22, in the order of the patient.
        axes: Of that grid, mm; the last one runs to the patient's left.
        body_zyx: ``(z, y, x)`` bool, where the body is; None: everywhere.

    Raises:
        Refused: Nothing tells the sides apart.
    """
    body = np.ones(classes_zyx.shape, dtype=np.bool_) if body_zyx is None else body_zyx
    points = _midpoints(classes_zyx, axes, body)
    if len(points) < LEAST_MIDPOINTS:
        leg = _is_left_leg(classes_zyx, axes[2])
        if leg is None:
            raise Refused(
                "PixelData: neither the sacrum nor both femora are seen, and which side of the patient "
                "this is cannot be told",
                attribute="PixelData",
            )
        return np.full(classes_zyx.shape, leg, dtype=np.bool_)
    return _with_whole_parts(_beyond_plane_mm(points, axes), classes_zyx)


def _midpoints(
    classes_zyx: NDArray[np.uint8], axes: tuple[Axis, Axis, Axis], body_zyx: NDArray[np.bool_]
) -> list[_Midpoint]:
    """Of the sacrum and the femora; where there are none, of the first other pair that is seen."""
    pixel_mm2 = axes[1].spacing_mm * axes[2].spacing_mm
    points = _pair_midpoints(classes_zyx, axes, body_zyx, "femur", LEAST_GAP_MM)
    sacrum = largest_component(classes_zyx == NUMBER["sacrum"])
    for z, plane, body in zip(axes[0].places_mm, sacrum, body_zyx, strict=True):
        rows, columns = np.nonzero(plane)
        if len(rows) * pixel_mm2 >= LEAST_SACRUM_MM2 and not _is_cut_off(rows, columns, body, axes[2]):
            y, x = _centre(rows, columns, axes)
            points.append(_Midpoint(float(z), y, x, None, 1.0))
    for name, gap_mm in OTHER_PAIRS_MM.items():
        if len(points) < LEAST_MIDPOINTS:
            points = _pair_midpoints(classes_zyx, axes, body_zyx, name, gap_mm)
    return points


def _pair_midpoints(
    classes_zyx: NDArray[np.uint8],
    axes: tuple[Axis, Axis, Axis],
    body_zyx: NDArray[np.bool_],
    name: str,
    gap_mm: float,
) -> list[_Midpoint]:
    """Midway between the right and the left one of a structure, slice by slice."""
    points = []
    for z, plane, body in zip(axes[0].places_mm, classes_zyx, body_zyx, strict=True):
        rows, columns = np.nonzero(plane == NUMBER[name])
        pair = _pair(rows, columns, axes, gap_mm)
        if pair is None or _is_cut_off(rows, columns, body, axes[2]):
            continue
        (y_right, x_right), (y_left, x_left) = pair
        turn = (y_left - y_right) / (x_left - x_right)
        middle = ((y_left + y_right) / 2, (x_left + x_right) / 2)
        points.append(_Midpoint(float(z), *middle, turn, 0.5))
    return points


def _is_cut_off(
    rows: NDArray[np.int64], columns: NDArray[np.int64], body_yx: NDArray[np.bool_], axis: Axis
) -> bool:
    """True when the body ends beside a structure: its centre is then not that of the whole."""
    occupied = np.flatnonzero(body_yx[np.unique(rows)].any(axis=0))
    if not len(occupied):
        return True
    inside = min(int(columns.min()) - int(occupied[0]), int(occupied[-1]) - int(columns.max()))
    return inside * axis.spacing_mm < CUT_OFF_MM


def _pair(
    rows: NDArray[np.int64], columns: NDArray[np.int64], axes: tuple[Axis, Axis, Axis], gap_mm: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Centres (y, x) of the right and the left one of a pair in a slice, parted by the widest gap."""
    if not len(columns):
        return None
    occupied = np.unique(columns)
    gaps = np.diff(occupied)
    if not len(gaps) or gaps.max() * axes[2].spacing_mm < gap_mm:
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


def _beyond_plane_mm(points: list[_Midpoint], axes: tuple[Axis, Axis, Axis]) -> NDArray[np.float32]:
    """How far to the left of the plane ``x + turn * y = a + b * z`` of the midpoints, ``(z, y, x)`` mm.

    Along x; midpoints far from the others are left out. Farther from the midpoints than they are
    from one another the plane goes on straight along the body, so that no noise of a few of them
    grows with the distance.
    """
    turns = [p.turn for p in points if p.turn is not None]
    turn = float(np.clip(np.median(turns), -STEEPEST, STEEPEST)) if turns else 0.0
    z = np.array([p.z for p in points])
    across = np.array([p.x + turn * p.y for p in points])
    weight = np.array([p.weight for p in points])
    middle = float(z.mean())
    slope, offset = 0.0, float(np.median(across))
    reach_mm = (0.0, 0.0)
    for _ in range(3):
        off = np.abs(across - offset - slope * (z - middle))
        near = off <= max(2.5 * float(np.median(off)), 4.0)
        span_mm = float(np.ptp(z[near]))
        if span_mm <= LEAST_SPAN_MM:
            slope, offset = 0.0, float(np.median(across[near]))
            break
        slope, offset = np.polyfit(z - middle, across, 1, w=np.sqrt(weight * near))
        slope = float(np.clip(slope, -STEEPEST, STEEPEST))
        reach_mm = (float(z[near].min()) - span_mm, float(z[near].max()) + span_mm)
    here = axes[2].places_mm[None, None] + turn * axes[1].places_mm[None, :, None]
    along = np.clip(axes[0].places_mm, *reach_mm) - middle
    plane = offset + slope * along[:, None, None]
    return np.asarray(here - plane, dtype=np.float32)


def _is_left_leg(classes_zyx: NDArray[np.uint8], axis: Axis) -> bool | None:
    """True when what lies medial in a leg lies on the right of what lies lateral; None: not to be told."""
    medial, lateral, any_of = (
        np.isin(classes_zyx, [NUMBER[name] for name in names]).sum(axis=(0, 1))
        for names in (MEDIAL, LATERAL, NUMBER)
    )
    if not medial.any() or not lateral.any():
        return None
    share = np.cumsum(any_of) / any_of.sum()
    across = axis.places_mm[np.searchsorted(share, [0.005, 0.995])]
    where = [float(np.average(axis.places_mm, weights=count)) for count in (medial, lateral)]
    if across[1] - across[0] > WIDEST_LEG_MM or abs(where[0] - where[1]) < LEAST_APART_MM:
        return None
    return where[0] < where[1]


def _with_whole_parts(
    beyond_mm_zyx: NDArray[np.float32], classes_zyx: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """The sides, changed near the plane so that connected parts of a structure are not cut without need."""
    left = beyond_mm_zyx > 0
    out = left.copy()
    for value, box in enumerate(ndimage.find_objects(classes_zyx, max_label=len(STRUCTURES)), start=1):
        structure = STRUCTURES[value - 1]
        if box is None or not structure.is_paired:
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
        reach_mm = BONE_REACHES_OVER_MM if structure.is_bone else REACHES_OVER_MM
        may_move = (told >= 0) & (np.abs(beyond_mm_zyx[box]) <= reach_mm)
        out[box] = np.where(may_move, told == 1, out[box])
    return out
